// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// TestSQL asks the questions of the connector's verification chapter, by the AWS SDK and by Debian's AWS CLI.
func TestSQL(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	now := time.UnixMilli(time.Now().UnixMilli()).UTC()
	const ups, others = 10, 330
	var sent []rw.Series
	for i := range ups {
		sent = append(sent, rw.New("__name__", "up", "job", "sql", "instance", fmt.Sprintf("host-%d:9100", i)).At(now.UnixMilli()+int64(i), float64(i%2)))
	}
	for i := range others / 3 {
		sent = append(sent, rw.New("__name__", "other", "job", "sql", "n", fmt.Sprint(i)).At(now.UnixMilli(), float64(i)).At(now.UnixMilli()+1, math.NaN()).At(now.UnixMilli()+2, 1e-310))
	}
	send(t, s, rw.V2, sent...)

	t.Run("SDK", func(t *testing.T) {
		q := queryClient(t, s)
		ask := func(sql string) *timestreamquery.QueryOutput {
			t.Helper()
			out, err := q.Query(t.Context(), &timestreamquery.QueryInput{QueryString: &sql})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		for _, sql := range []string{
			`SELECT count() FROM PrometheusDatabase.PrometheusMetricsTable`,
			`SELECT COUNT() FROM PrometheusDatabase.PrometheusMetricsTable`,
			`SELECT count(*) FROM "PrometheusDatabase"."PrometheusMetricsTable"`,
		} {
			out := ask(sql)
			wantRows := []types.Row{{Data: []types.Datum{{ScalarValue: aws.String(fmt.Sprint(ups + others))}}}}
			wantColumns := []types.ColumnInfo{{Name: aws.String("_col0"), Type: &types.Type{ScalarType: types.ScalarTypeBigint}}}
			if !reflect.DeepEqual(out.Rows, wantRows) || !reflect.DeepEqual(out.ColumnInfo, wantColumns) || out.NextToken != nil || *out.QueryId == "" {
				t.Errorf("%s: rows %s, columns %s, next %v, id %q", sql, text(out.Rows), text(out.ColumnInfo), out.NextToken, *out.QueryId)
			}
		}

		out := ask(`SELECT time, instance, measure_value::double FROM PrometheusDatabase.PrometheusMetricsTable WHERE measure_name = 'up' ORDER BY time`)
		wantColumns := []types.ColumnInfo{
			{Name: aws.String("time"), Type: &types.Type{ScalarType: types.ScalarTypeTimestamp}},
			{Name: aws.String("instance"), Type: &types.Type{ScalarType: types.ScalarTypeVarchar}},
			{Name: aws.String("measure_value::double"), Type: &types.Type{ScalarType: types.ScalarTypeDouble}},
		}
		var want []types.Row
		for i := range ups {
			want = append(want, types.Row{Data: []types.Datum{
				{ScalarValue: aws.String(now.Add(time.Duration(i) * time.Millisecond).Format("2006-01-02 15:04:05.000000000"))},
				{ScalarValue: aws.String(fmt.Sprintf("host-%d:9100", i))},
				{ScalarValue: aws.String([]string{"0.0", "1.0"}[i%2])},
			}})
		}
		if !reflect.DeepEqual(out.ColumnInfo, wantColumns) {
			t.Errorf("columns %s, want %s", text(out.ColumnInfo), text(wantColumns))
		}
		if !reflect.DeepEqual(out.Rows, want) {
			t.Errorf("rows %s, want %s", text(out.Rows), text(want))
		}

		for _, c := range []struct{ sql, want string }{
			{`SELECT instance, count(*), max(measure_value::double) FROM PrometheusDatabase.PrometheusMetricsTable WHERE measure_name = 'up' AND time > ago(1h) GROUP BY instance ORDER BY 1 DESC LIMIT 2`, "host-9:9100 1 1.0|host-8:9100 1 0.0"},
			{`SELECT count(DISTINCT n) FROM PrometheusDatabase.PrometheusMetricsTable WHERE measure_name = 'other'`, "110"},
			{`SHOW DATABASES`, "PrometheusDatabase"},
			{`SHOW TABLES FROM PrometheusDatabase`, "PrometheusMetricsTable"},
		} {
			var rows []string
			for _, r := range ask(c.sql).Rows {
				var cells []string
				for _, d := range r.Data {
					cells = append(cells, aws.ToString(d.ScalarValue))
				}
				rows = append(rows, strings.Join(cells, " "))
			}
			if got := strings.Join(rows, "|"); got != c.want {
				t.Errorf("%s: got %s, want %s", c.sql, got, c.want)
			}
		}
	})

	t.Run("AWS CLI", func(t *testing.T) {
		path := "/usr/bin/aws"
		if _, err := os.Stat(path); err != nil {
			if path, err = exec.LookPath("aws"); err != nil {
				t.Fatal("no AWS CLI: install it, `apt-get install awscli` on Debian")
			}
		}
		run := func(args ...string) map[string]any {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), path, append(args, "--endpoint-url", s.TimestreamURL, "--output", "json")...)
			// Nothing of who runs the test may decide where this goes.
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "AWS_DEFAULT_REGION=us-east-1", "AWS_PAGER="}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("aws %s: %v: %s", strings.Join(args, " "), err, stderr.String())
			}
			var answer map[string]any
			if err := json.Unmarshal(out, &answer); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			return answer
		}
		got := run("timestream-query", "query", "--query-string", "SELECT count() FROM PrometheusDatabase.PrometheusMetricsTable")
		if id, _ := got["QueryId"].(string); id == "" {
			t.Errorf("no QueryId in %v", got)
		}
		delete(got, "QueryId")
		delete(got, "QueryStatus") // newer than the text that this follows
		want := map[string]any{
			"Rows":       []any{map[string]any{"Data": []any{map[string]any{"ScalarValue": fmt.Sprint(ups + others)}}}},
			"ColumnInfo": []any{map[string]any{"Name": "_col0", "Type": map[string]any{"ScalarType": "BIGINT"}}},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		tables := run("timestream-write", "list-tables", "--database-name", "PrometheusDatabase")
		if list, _ := tables["Tables"].([]any); len(list) != 1 || list[0].(map[string]any)["TableName"] != "PrometheusMetricsTable" {
			t.Errorf("tables: %v", tables)
		}
	})
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
