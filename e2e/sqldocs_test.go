// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/golang/snappy"
	promhistogram "github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// docsAnswers are the answers to the examples of docs/sql.md, by their headings: a row a line, times as the distance from the
// first sample, rounded to milliseconds.
var docsAnswers = map[string]string{
	"Latest value per series": `
node | a:9100 | 1.0 | +59m0s
node | b:9100 | 1.0 | +59m0s`,
	"Average, least and greatest per time window": `
a:9100 | +0s | 24.5 | 20.0 | 29.0 | 30
a:9100 | +30m0s | 24.5 | 20.0 | 29.0 | 30
b:9100 | +0s | 30.0 | 30.0 | 30.0 | 30
b:9100 | +30m0s | 30.0 | 30.0 | 30.0 | 30
c:9100 | +0s | 35.0 | 35.0 | 35.0 | 30
c:9100 | +30m0s | 35.0 | 35.0 | 35.0 | 30`,
	"Percentiles of a gauge": `
a:9100 | 24.0 | 28.0
b:9100 | 30.0 | 30.0
c:9100 | 35.0 | 35.0`,
	"The highest averages": `
c:9100 | 35.0
b:9100 | 30.0`,
	"The highest in each group": `
r1 | b:9100 | 30.0
r2 | c:9100 | 35.0`,
	"Share of the time that a target was up": `
b:9100 | 0.75 | 15
a:9100 | 1.0 | 0`,
	"Outages: runs of failed scrapes": `
b:9100 | +20m0s | +34m0s | 15`,
	"Comparison with a day ago": `
a:9100 | +0s | 30.0 | 20.0 | 10.0
a:9100 | +30m0s | 30.0 | 20.0 | 10.0`,
	"Moving average": `
+0s | 20.0 | 20.0
+1m0s | 21.0 | 20.5
+2m0s | 22.0 | 21.0
+3m0s | 23.0 | 21.5
+4m0s | 24.0 | 22.0
+5m0s | 25.0 | 23.0`,
	"Increase of a counter": `
a:9100 | 200 | 435.0 | 1
a:9100 | 500 | 59.0 | 0
b:9100 | 200 | 1180.0 | 0`,
	"Rate of a counter per time window": `
a:9100 | +0s | 0.16666666666666666
a:9100 | +30m0s | 0.08055555555555556
b:9100 | +0s | 0.3333333333333333
b:9100 | +30m0s | 0.3333333333333333`,
	"Share of requests that failed":              `0.0352`,
	"Percentile of a classic histogram":          `0.4333`,
	"Restarts, by start timestamps":              "a:9100 | -30m0s | +0s\na:9100 | +5m0s | +5m0s",
	"A series in one row":                        `c:9100 | +0s = 1.0, +1m0s = 0.0, +2m0s = 1.0`,
	"Derivative of a gauge":                      "+1m0s | 2.0\n+2m0s | 2.0\n+3m0s | 2.0",
	"Gaps in the data":                           `a:9100 | +9m0s | +20m0s | 11`,
	"Average weighted by time":                   `a:9100 | 59.0`,
	"What is in the inventory and sends nothing": `z:9100`,
	"Values on a grid, gaps filled by straight lines": `
+0s | 0.0
+15m0s | 30.0
+30m0s | 60.0
+45m0s | 90.0`,
	"Samples above a limit": `
a:9100 | 6 | 29.0
b:9100 | 60 | 30.0
c:9100 | 60 | 35.0`,
	"Join with an inventory": `
a:9100 | ada | bln | 29.0
b:9100 | bob | muc | 30.0
c:9100 | nobody | NULL | 35.0`,
	"Samples that are no ordinary number": `
+1m0s | c:9100 | NaN | 1
+2m0s | c:9100 | +Inf | 0
+4m0s | c:9100 | stale | 2`,
	"All samples of a metric, whatever they are": `
+0s | c:9100 | 0.25
+1m0s | c:9100 | NaN
+2m0s | c:9100 | +Inf
+3m0s | c:9100 | 0.5
+4m0s | c:9100 | stale`,
	"Series that have ended": `c:9100 | +4m0s`,
	"Count, sum and mean of native histograms": `
+0s | a:9100 | 10.0 | 5.0 | 0.5
+1m0s | a:9100 | 20.0 | 12.0 | 0.6
+2m0s | a:9100 | 35.0 | 21.0 | 0.6`,
	"Observations per minute of a native histogram": `
+1m0s | 10.0
+2m0s | 15.0`,
	"Packed labels": `
p1 | blue
p2 | red`,
	"Series with a packed label of one value": `p1`,
	"Recording rules":                         `job:http_requests:rate5m | api | 3.5`,
	"Series per metric": `
http_request_duration_seconds_bucket | 4
http_requests_total | 3
up | 2`,
	"Values of a label, and how many": `2 | 2 | a:9100 | b:9100`,
	"Samples stored per metric": `
http_request_duration_seconds_bucket | 240 | +0s | +59m0s
http_requests_total | 180 | +0s | +59m0s
node_temperature_celsius | 180 | +0s | +59m0s`,
	"Exemplars with their trace ids": `
+5m0s | a:9100 | 1 | 0.7 | 4bf92f3577b34da6
+6m0s | a:9100 | 0.1 | 0.05 | 00f067aa0ba902b7`,
	"What a metric is": `
http_requests_total | counter | Requests by status code.
node_load1 | gauge | Load.`,
}

// TestDocumentedSQL runs every statement of docs/sql.md against data that came by remote write, through the SDK and through the
// gateway, and compares names of columns with the page and values with docsAnswers.
func TestDocumentedSQL(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/sql.md")
	if err != nil {
		t.Fatal(err)
	}
	s := system.Start(t, system.Options{App: func(c *allinone.Config) {
		if err := c.Ingest.AllowedTables.Set("PrometheusDatabase.Inventory"); err != nil {
			t.Fatal(err)
		}
	}})
	// Windows of the examples divide half an hour.
	first := time.Now().Add(-70 * time.Minute).Truncate(30 * time.Minute)
	writeDocsData(t, s, first)
	q := queryClient(t, s)

	example := regexp.MustCompile("(?ms)^### ([^\n]+)\n((?:[^`#][^\n]*\n|\n)*)```sql\n(.*?)```\n\n```text\n([^\n]+)\n(.*?)```")
	found := example.FindAllStringSubmatch(string(page), -1)
	if n := strings.Count(string(page), "```sql"); n != len(found) || n != len(docsAnswers) || n < 20 {
		t.Fatalf("%d statements on the page, %d with a heading and an answer, %d expected", n, len(found), len(docsAnswers))
	}
	for _, f := range found {
		title, sql, header := f[1], f[3], f[4]
		want, ok := docsAnswers[title]
		if !ok {
			t.Errorf("%s: no answer to compare with", title)
			continue
		}
		var documented, wanted []string
		for name := range strings.SplitSeq(header, "|") {
			documented = append(documented, strings.TrimSpace(name))
		}
		for line := range strings.SplitSeq(strings.TrimSpace(want), "\n") {
			wanted = append(wanted, strings.TrimSpace(line))
		}
		for by, ask := range map[string]func(*testing.T, string) ([]string, [][]string){"SDK": askSDK(q), "gateway": askGateway(s.URL)} {
			t.Run(title+" by "+by, func(t *testing.T) {
				names, cells := ask(t, sql)
				if !slices.Equal(names, documented) {
					t.Errorf("columns %q, the page has %q", names, documented)
				}
				rows := make([]string, len(cells))
				for i, r := range cells {
					for k := range r {
						r[k] = distances(r[k], first)
					}
					rows[i] = strings.Join(r, " | ")
				}
				if !slices.Equal(rows, wanted) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(wanted, "\n"))
				}
			})
		}
	}
}

// askSDK runs statements as Timestream's clients do.
func askSDK(q *timestreamquery.Client) func(*testing.T, string) ([]string, [][]string) {
	var cell func(d types.Datum) string
	cell = func(d types.Datum) string {
		switch {
		case aws.ToBool(d.NullValue):
			return "NULL"
		case d.TimeSeriesValue != nil:
			var points []string
			for _, p := range d.TimeSeriesValue {
				points = append(points, aws.ToString(p.Time)+" = "+cell(*p.Value))
			}
			return strings.Join(points, ", ")
		}
		return aws.ToString(d.ScalarValue)
	}
	return func(t *testing.T, sql string) (names []string, rows [][]string) {
		out, err := q.Query(t.Context(), &timestreamquery.QueryInput{QueryString: &sql})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range out.ColumnInfo {
			names = append(names, aws.ToString(c.Name))
		}
		for _, r := range out.Rows {
			var cells []string
			for _, d := range r.Data {
				cells = append(cells, cell(d))
			}
			rows = append(rows, cells)
		}
		return names, rows
	}
}

// askGateway runs statements over the gateway's HTTP API.
func askGateway(url string) func(*testing.T, string) ([]string, [][]string) {
	var cell func(typ string, v any) string
	cell = func(typ string, v any) string {
		switch v := v.(type) {
		case nil:
			return "NULL"
		case float64:
			text := strconv.FormatFloat(v, 'f', -1, 64)
			if typ == "double" && !strings.Contains(text, ".") {
				text += ".0"
			}
			return text
		case []any:
			var points []string
			for _, p := range v {
				point, ok := p.(map[string]any)
				if !ok {
					return fmt.Sprint(v)
				}
				points = append(points, fmt.Sprint(point["time"])+" = "+cell(strings.TrimSuffix(strings.TrimPrefix(typ, "timeseries("), ")"), point["value"]))
			}
			return strings.Join(points, ", ")
		}
		return fmt.Sprint(v)
	}
	return func(t *testing.T, sql string) (names []string, rows [][]string) {
		body, err := json.Marshal(map[string]string{"statement": sql})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/tributary/v1/sql", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		answer, err := rw.Do(req)
		if err != nil || answer.Status != http.StatusOK {
			t.Fatalf("%d %s (%v)", answer.Status, answer.Text, err)
		}
		var columnTypes []string
		whole := false
		for decoder := json.NewDecoder(strings.NewReader(answer.Text)); decoder.More(); {
			var message struct {
				Result struct {
					Header  struct{ Columns []struct{ Name, Type string } }
					Rows    struct{ Rows [][]any }
					Trailer map[string]any
				}
			}
			if err := decoder.Decode(&message); err != nil {
				t.Fatal(err)
			}
			for _, c := range message.Result.Header.Columns {
				names, columnTypes = append(names, c.Name), append(columnTypes, c.Type)
			}
			for _, r := range message.Result.Rows.Rows {
				var cells []string
				for i, v := range r {
					cells = append(cells, cell(columnTypes[i], v))
				}
				rows = append(rows, cells)
			}
			whole = whole || message.Result.Trailer != nil
		}
		if !whole {
			t.Errorf("no trailer in %s", answer.Text)
		}
		return names, rows
	}
}

var docsTimes = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}`)

// distances replaces times by what lies between them and the first sample.
func distances(text string, first time.Time) string {
	return docsTimes.ReplaceAllStringFunc(text, func(text string) string {
		at, err := time.Parse("2006-01-02 15:04:05.000000000", text)
		if err != nil {
			return text
		}
		distance := at.Sub(first.UTC()).Truncate(time.Millisecond).String()
		if !strings.HasPrefix(distance, "-") {
			distance = "+" + distance
		}
		return distance
	})
}

// writeDocsData writes an hour of samples, a minute apart, and what else the page tells of.
func writeDocsData(t *testing.T, s *system.System, first time.Time) {
	t.Helper()
	const minutes = 60
	at := func(i int) int64 { return first.Add(time.Duration(i) * time.Minute).UnixMilli() }
	var sent []rw.Series
	metric := func(f func(i int) float64, pairs ...string) {
		series := rw.New(pairs...)
		for i := range minutes {
			series = series.At(at(i), f(i))
		}
		sent = append(sent, series)
	}
	constant := func(v float64) func(int) float64 { return func(int) float64 { return v } }
	times := func(v float64) func(int) float64 { return func(i int) float64 { return v * float64(i) } }

	metric(constant(1), "__name__", "up", "job", "node", "instance", "a:9100")
	metric(func(i int) float64 {
		if i >= 20 && i < 35 {
			return 0
		}
		return 1
	}, "__name__", "up", "job", "node", "instance", "b:9100")
	metric(func(i int) float64 { return 20 + float64(i%10) }, "__name__", "node_temperature_celsius", "instance", "a:9100", "rack", "r1")
	metric(constant(30), "__name__", "node_temperature_celsius", "instance", "b:9100", "rack", "r1")
	metric(constant(35), "__name__", "node_temperature_celsius", "instance", "c:9100", "rack", "r2")
	metric(func(i int) float64 {
		if i < 30 {
			return 10 * float64(i)
		}
		return 5 * float64(i-30)
	}, "__name__", "http_requests_total", "job", "api", "instance", "a:9100", "code", "200")
	metric(times(1), "__name__", "http_requests_total", "job", "api", "instance", "a:9100", "code", "500")
	metric(times(20), "__name__", "http_requests_total", "job", "api", "instance", "b:9100", "code", "200")
	for le, v := range map[string]float64{"0.1": 5, "0.5": 8, "1": 9, "+Inf": 10} {
		metric(times(v), "__name__", "http_request_duration_seconds_bucket", "job", "api", "instance", "a:9100", "le", le)
	}
	metric(constant(30), "__name__", "queue_length", "instance", "a:9100")
	load, queue := rw.New("__name__", "node_load1", "instance", "a:9100"), rw.New("__name__", "queue_length", "instance", "a:9100")
	for i := range minutes {
		if i < 10 || i >= 20 {
			load = load.At(at(i), 2*float64(i))
		}
		queue = queue.At(at(i-24*60), 20)
	}
	sent = append(sent, load, queue,
		rw.New("__name__", "probe_success", "instance", "c:9100").At(at(0), 1).At(at(1), 0).At(at(2), 1),
		rw.New("__name__", "probe_duration_seconds", "instance", "c:9100").
			At(at(0), 0.25).At(at(1), math.NaN()).At(at(2), math.Inf(1)).At(at(3), 0.5).At(at(4), math.Float64frombits(value.StaleNaN)),
		rw.New("__name__", "kube_pod_labels", "pod", "p1", "label_app", "web", "label_team", "blue").At(at(0), 1).At(at(1), 1),
		rw.New("__name__", "kube_pod_labels", "pod", "p2", "label_app", "web", "label_team", "red").At(at(0), 1),
		rw.New("__name__", "kube_pod_labels", "pod", "p3", "label_app", "db").At(at(0), 1),
		rw.New("__name__", "job:http_requests:rate5m", "job", "api").At(at(0), 3).At(at(1), 3.5),
	)
	jobs := rw.New("__name__", "jobs_processed_total", "instance", "a:9100")
	for i := range 10 {
		start := at(-30)
		if i >= 5 {
			start = at(5)
		}
		jobs.Samples = append(jobs.Samples, rw.Sample{TimeMs: at(i), Value: float64(i % 5), StartMs: start})
	}
	send(t, s, rw.V2, append(sent, jobs)...)

	// Histograms, exemplars and metadata by 1.0, whose messages the library writes.
	encode := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	rpc := rw.New("__name__", "rpc_duration_seconds", "job", "api", "instance", "a:9100")
	for i, h := range []struct {
		count uint64
		sum   float64
	}{{10, 5}, {20, 12}, {35, 21}} {
		native := prompb.FromIntHistogram(at(i), &promhistogram.Histogram{Schema: 0, ZeroThreshold: 0.001, Count: h.count, Sum: h.sum,
			PositiveSpans: []promhistogram.Span{{Offset: 0, Length: 1}}, PositiveBuckets: []int64{int64(h.count)}})
		rpc.Histograms = append(rpc.Histograms, encode(native.Marshal()))
	}
	exemplar := func(le string, i int, v float64, trace string) rw.Series {
		e := prompb.Exemplar{Labels: []prompb.Label{{Name: "trace_id", Value: trace}}, Value: v, Timestamp: at(i)}
		series := rw.New("__name__", "http_request_duration_seconds_bucket", "job", "api", "instance", "a:9100", "le", le)
		series.Exemplars = [][]byte{encode(e.Marshal())}
		return series
	}
	requests, loads := prompb.MetricMetadata{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "http_requests_total", Help: "Requests by status code."},
		prompb.MetricMetadata{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "node_load1", Help: "Load."}
	body := rw.Request{
		Series:   []rw.Series{rpc, exemplar("1", 5, 0.7, "4bf92f3577b34da6"), exemplar("0.1", 6, 0.05, "00f067aa0ba902b7")},
		Metadata: [][]byte{encode(requests.Marshal()), encode(loads.Marshal())},
	}.Encode(rw.V1)
	answer, err := rw.Post(t.Context(), s.WriteURL(), rw.V1.ContentType(), snappy.Encode(nil, body))
	if err != nil || answer.Status != http.StatusNoContent {
		t.Fatalf("write: %d %s (%v)", answer.Status, answer.Text, err)
	}
	writeInventory(t, s, at(0))
}

// writeInventory makes a table of somebody else's.
func writeInventory(t *testing.T, s *system.System, timeMs int64) {
	t.Helper()
	database, table := aws.String("PrometheusDatabase"), aws.String("Inventory")
	if _, err := s.Store.CreateTable(t.Context(), &timestreamwrite.CreateTableInput{DatabaseName: database, TableName: table}); err != nil {
		t.Fatal(err)
	}
	var records []wtypes.Record
	for _, asset := range [][3]string{{"a:9100", "ada", "bln"}, {"b:9100", "bob", "muc"}, {"z:9100", "zoe", "bln"}} {
		records = append(records, wtypes.Record{
			Dimensions:  []wtypes.Dimension{{Name: aws.String("instance"), Value: &asset[0]}},
			MeasureName: aws.String("asset"), MeasureValueType: wtypes.MeasureValueTypeMulti, Time: aws.String(strconv.FormatInt(timeMs, 10)),
			MeasureValues: []wtypes.MeasureValue{
				{Name: aws.String("owner"), Value: &asset[1], Type: wtypes.MeasureValueTypeVarchar},
				{Name: aws.String("site"), Value: &asset[2], Type: wtypes.MeasureValueTypeVarchar},
			},
		})
	}
	if _, err := s.Store.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: database, TableName: table, Records: records}); err != nil {
		t.Fatal(err)
	}
}
