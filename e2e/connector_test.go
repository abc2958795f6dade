// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
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

// writeAsConnector writes series as version 1 of the awslabs connector does (its timestream/client.go): each sample a
// single-measure DOUBLE record with six decimals, a dimension per label in no particular order, nothing in common
// attributes, a hundred records at a time.
func writeAsConnector(ctx context.Context, s *system.System, all []rw.Series) error {
	c, err := writeClient(ctx, s)
	if err != nil {
		return err
	}
	var records []types.Record
	for _, one := range all {
		var name string
		var dimensions []types.Dimension
		for i := len(one.Labels) - 1; i >= 0; i-- {
			if l := one.Labels[i]; l.Name == "__name__" {
				name = l.Value
			} else {
				dimensions = append(dimensions, types.Dimension{Name: aws.String(l.Name), Value: aws.String(l.Value)})
			}
		}
		for _, p := range one.Samples {
			text := strconv.FormatFloat(p.Value, 'f', 6, 64)
			if back, err := strconv.ParseFloat(text, 64); err != nil || back != p.Value {
				return fmt.Errorf("%v does not survive six decimals", p.Value)
			}
			records = append(records, types.Record{
				Dimensions: dimensions, MeasureName: aws.String(name), MeasureValue: aws.String(text), MeasureValueType: types.MeasureValueTypeDouble,
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
