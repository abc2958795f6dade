// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
	"github.com/tributary-project/tributary/timestream/local"
)

// TestTableOfTheConnector takes over a table that the awslabs connector filled: what is in it is read, and its series go on
// as the same series, also in SQL.
func TestTableOfTheConnector(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := system.Options{Store: func(c *local.Config) { c.Dir = dir }}
	start := time.Now().Add(-time.Minute).UnixMilli()

	var old []rw.Series
	for n, labels := range [][]string{
		{"__name__", "up", "instance", "localhost:9090", "job", "prometheus"},
		{"__name__", "up", "instance", "localhost:9100", "job", "node"},
		{"__name__", "prometheus_http_requests_total", "code", "200", "handler", "/api/v1/query", "instance", "localhost:9090", "job", "prometheus"},
		{"__name__", "prometheus_http_requests_total", "code", "500", "handler", "/api/v1/query", "instance", "localhost:9090", "job", "prometheus"},
		{"__name__", "prometheus_http_request_duration_seconds_bucket", "handler", "/", "instance", "localhost:9090", "job", "prometheus", "le", "+Inf"},
		{"__name__", "kube_pod_labels", "instance", "kube", "job", "kube", "label_app", "shop", "pod", "p-1"}, // packed where the table has no such column
	} {
		one := rw.New(labels...)
		for i := range 30 { // 180 records: two batches
			one = one.At(start+int64(i)*1000+int64(n), math.Round(math.Sin(float64(i*n))*1e6)/1e6)
		}
		old = append(old, one)
	}
	t.Run("before", func(t *testing.T) {
		if err := writeAsConnector(t.Context(), system.Start(t, there), old); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("after", func(t *testing.T) { takeOver(t, system.Start(t, there), start, old) })
}

// takeOver continues the series of the connector, which began at start.
func takeOver(t *testing.T, s *system.System, start int64, old []rw.Series) {
	checkAll(t, s, old)

	// They go on, by both protocols, and end.
	goOn := make([]rw.Series, 0, len(old))
	for _, o := range old {
		n := o
		n.Samples = nil
		goOn = append(goOn, n.At(start+40_000, 1.25).At(start+41_000, 0.1+0.2))
	}
	send(t, s, rw.V1, goOn...)
	ended := make([]rw.Series, 0, len(old))
	for _, o := range old {
		n := o
		n.Samples = nil
		ended = append(ended, n.At(start+42_000, math.Float64frombits(value.StaleNaN)))
	}
	send(t, s, rw.V2, ended...)
	everything := append(append(append([]rw.Series{}, old...), goOn...), ended...)
	checkAll(t, s, everything)

	// Both are the same series to SQL.
	const table = `"PrometheusDatabase"."PrometheusMetricsTable"`
	for _, c := range []struct {
		sql  string
		want string
	}{
		{`SELECT count(*) FROM ` + table + ` WHERE measure_name = 'up' AND instance = 'localhost:9090' AND job = 'prometheus'`, "32"},
		{`SELECT count(*) FROM ` + table + ` WHERE measure_name = 'kube_pod_labels' AND label_app = 'shop' AND pod = 'p-1'`, "32"},
		{`SELECT count(DISTINCT instance) FROM ` + table + ` WHERE measure_name = 'up'`, "2"},
	} {
		if got := scalar(t, s, c.sql); got != c.want {
			t.Errorf("%s: %s, want %s", c.sql, got, c.want)
		}
	}

	// A sample that the connector has stored, again: stored once. With another value: a conflict, and the rest is stored.
	count := scalar(t, s, `SELECT count() FROM `+table)
	send(t, s, rw.V2, old...)
	if again := scalar(t, s, `SELECT count() FROM `+table); again != count {
		t.Errorf("%s records after writing the same again, %s before", again, count)
	}
	conflict := old[0]
	conflict.Samples = []rw.Sample{{TimeMs: old[0].Samples[3].TimeMs, Value: 4711}}
	fresh := rw.New("__name__", "fresh", "job", "x").At(start, 1)
	answer, err := rw.Write(t.Context(), s.WriteURL(), rw.V2, conflict, fresh)
	if err != nil || answer.Status != http.StatusBadRequest || answer.Written() != "1 0 0" {
		t.Errorf("conflict: %d %s, %s written (%v)", answer.Status, answer.Text, answer.Written(), err)
	}
	checkAll(t, s, append(everything, fresh))
}

// checkAll reads everything and compares it with what was written.
func checkAll(t *testing.T, s *system.System, written []rw.Series) {
	t.Helper()
	got, err := promtest.ReadAll(t.Context(), s.ReadURL(), 0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	want := series(written)
	if c := promtest.Compare(want, got); !c.OK() || len(got) != len(want) {
		t.Errorf("%d series, want %d; %v", len(got), len(want), c)
	}
}

// scalar returns the one value of a query's answer.
func scalar(t *testing.T, s *system.System, sql string) string {
	t.Helper()
	out, err := queryClient(t, s).Query(t.Context(), &timestreamquery.QueryInput{QueryString: &sql})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(out.Rows) != 1 || len(out.Rows[0].Data) != 1 {
		t.Fatalf("%s: %s", sql, text(out.Rows))
	}
	return aws.ToString(out.Rows[0].Data[0].ScalarValue)
}

// TestWhatTheConnectorCut takes over a table whose connector dropped series, labels' length being the reason, dropped
// samples, and rounded the others. What is there is read as it is; from then on everything is kept, also of the series that
// the connector dropped, and both halves are one series. A sample that Prometheus sends again is a conflict where the
// connector had rounded it, and only there.
func TestWhatTheConnectorCut(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	start := time.Now().Add(-time.Minute).UnixMilli()
	values := []float64{1, 0.5, 1e-7, 0.1 + 0.2, math.NaN(), math.Inf(1), math.Inf(-1), math.Float64frombits(value.StaleNaN),
		123456789.123456789, math.Copysign(0, -1), 2.0000005, 1e300, 5e-324, -1e-9}
	sent := []rw.Series{
		rw.New("__name__", "values", "instance", "a:1", "job", "x"),
		rw.New("__name__", "prometheus_remote_storage_read_request_duration_seconds_bucket", "job", "x", "le", "+Inf"), // 62 bytes
		rw.New("__name__", strings.Repeat("m", 60), "job", "x"),
		rw.New("__name__", "labels", "job", "x", strings.Repeat("l", 60), "fits"),
		rw.New("__name__", "labels", "job", "x", strings.Repeat("l", 61), "does not"),
		rw.New("__name__", "labels", "job", "x"),
		rw.New("__name__", "labels", "job", "x", "text", strings.Repeat("ü", 200)),
		rw.New("__name__", "labels", "job", "x", "with.dot", "1", "地区", "2"),
	}
	for i := range sent {
		for n, v := range values {
			sent[i] = sent[i].At(start+int64(n)*1000, v)
		}
	}
	stored := asConnector(sent)
	if dropped := len(sent) - len(stored); dropped != 2 {
		t.Fatalf("%d series dropped, want the two with names over 60 bytes", dropped)
	}
	if err := writeAsConnector(t.Context(), s, sent); err != nil {
		t.Fatal(err)
	}
	checkAll(t, s, stored)

	// Everything goes on, by both protocols.
	goOn := make([][]rw.Series, 2)
	for i, o := range sent {
		for half := range goOn {
			n := o
			n.Samples = nil
			for k, v := range values {
				n = n.At(start+20_000+int64(half*20_000+k*1000+i), v)
			}
			goOn[half] = append(goOn[half], n)
		}
	}
	send(t, s, rw.V1, goOn[0]...)
	send(t, s, rw.V2, goOn[1]...)
	all := append(append(append([]rw.Series{}, stored...), goOn[0]...), goOn[1]...)
	checkAll(t, s, all)

	// Prometheus sends the past again: what was dropped is filled in, what was rounded stays as it is and is reported.
	kept := map[string]map[int64]uint64{}
	for _, o := range stored {
		kept[seriesOf(o.Labels)] = map[int64]uint64{}
		for _, x := range o.Samples {
			kept[seriesOf(o.Labels)][x.TimeMs] = math.Float64bits(x.Value)
		}
	}
	written, rounded := 0, 0
	for _, o := range sent {
		filled := o
		filled.Samples = nil
		for _, x := range o.Samples {
			// A value that takes more than a plain record in Tributary's layout gets a record of its own; the reader then prefers the
			// plain one, which the connector wrote.
			switch bits, there := kept[seriesOf(o.Labels)][x.TimeMs]; {
			case there && bits != math.Float64bits(x.Value) && plain(x.Value):
				rounded++
			default:
				written++
				if !there {
					filled = filled.At(x.TimeMs, x.Value)
				}
			}
		}
		all = append(all, filled)
	}
	answer, err := rw.Write(t.Context(), s.WriteURL(), rw.V2, sent...)
	if err != nil || answer.Status != http.StatusBadRequest || answer.Written() != fmt.Sprintf("%d 0 0", written) {
		t.Errorf("again: %d, %s written (%v), want %d, and %d conflicts: %s", answer.Status, answer.Written(), err, written, rounded, answer.Text)
	}
	if got := metricValue(t, s.Registry, "tributary_ingest_rejected_total", "kind", "samples", "reason", "conflict"); got != float64(rounded) {
		t.Errorf("%v conflicts, want %d", got, rounded)
	}
	checkAll(t, s, all)
}

// plain tells whether a value is written as a plain record: finite, normal, not -0, and of at most 40 characters.
func plain(v float64) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (v == 0 && !math.Signbit(v) || math.Abs(v) >= 0x1p-1022) && len(strconv.FormatFloat(v, 'f', -1, 64)) <= 40
}

// maxConnectorName is what the connector takes for the longest metric name, and label name.
const maxConnectorName = 60

// asConnector returns what version 1 of the awslabs connector stores of series (its timestream/client.go): not those with a
// name of more than 60 bytes, no samples that are not finite, and of the others six decimals.
func asConnector(all []rw.Series) []rw.Series {
	var out []rw.Series
series:
	for _, one := range all {
		kept := one
		kept.Samples = nil
		for _, l := range one.Labels {
			if len(l.Name) > maxConnectorName || l.Name == "__name__" && len(l.Value) > maxConnectorName {
				continue series
			}
		}
		for _, x := range one.Samples {
			if math.IsNaN(x.Value) || math.IsInf(x.Value, 0) {
				continue
			}
			v, err := strconv.ParseFloat(strconv.FormatFloat(x.Value, 'f', 6, 64), 64)
			if err != nil {
				panic(err) // it was printed just now
			}
			kept = kept.At(x.TimeMs, v)
		}
		out = append(out, kept)
	}
	return out
}

// writeAsConnector writes what it stores of series as it does: each sample a single-measure DOUBLE record without a version, a
// dimension per label in no particular order, nothing in common attributes, a hundred records at a time, one call after the
// other.
func writeAsConnector(ctx context.Context, s *system.System, all []rw.Series) error {
	c, err := writeClient(ctx, s)
	if err != nil {
		return err
	}
	var records []types.Record
	for _, one := range asConnector(all) {
		var name string
		var dimensions []types.Dimension
		for _, i := range rand.Perm(len(one.Labels)) {
			if l := one.Labels[i]; l.Name == "__name__" {
				name = l.Value
			} else {
				dimensions = append(dimensions, types.Dimension{Name: aws.String(l.Name), Value: aws.String(l.Value)})
			}
		}
		for _, p := range one.Samples {
			records = append(records, types.Record{
				Dimensions: dimensions, MeasureName: aws.String(name), MeasureValue: aws.String(strconv.FormatFloat(p.Value, 'f', 6, 64)), MeasureValueType: types.MeasureValueTypeDouble,
				Time: aws.String(strconv.FormatInt(p.TimeMs, 10)), TimeUnit: types.TimeUnitMilliseconds,
			})
		}
	}
	for first := 0; first < len(records); first += 100 {
		if _, err := c.WriteRecords(ctx, &timestreamwrite.WriteRecordsInput{
			DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("PrometheusMetricsTable"), Records: records[first:min(len(records), first+100)],
		}); err != nil {
			return err
		}
	}
	return nil
}
