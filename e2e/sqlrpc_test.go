// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// TestSQLRPC: a statement comes back typed, through gateway and query service, and only what may be read is.
func TestSQLRPC(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	now := time.Now().UnixMilli()
	send(t, s, rw.V1, rw.New("__name__", "up", "job", "x").At(now-1000, 1).At(now, 2.5), rw.New("__name__", "up", "job", "y").At(now, 3))
	const tab = `\"PrometheusDatabase\".\"PrometheusMetricsTable\"`
	stamp := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.000000000") }
	for _, tt := range []struct {
		give string
		want int
		text []string // each in the answer
	}{
		{"SELECT job, CREATE_TIME_SERIES(time, measure_value::double) AS s, count(*), 9007199254740993, 1.5e300 FROM " + tab + " WHERE measure_name = 'up' GROUP BY job ORDER BY job;", 200, []string{
			`"columns":[{"name":"job","type":"varchar"},{"name":"s","type":"timeseries(double)"},{"name":"_col2","type":"bigint"},{"name":"_col3","type":"bigint"},{"name":"_col4","type":"double"}]`,
			fmt.Sprintf(`["x",[{"time":%q,"value":1},{"time":%q,"value":2.5}],2,"9007199254740993",1.5e+300]`, stamp(now-1000), stamp(now)),
			fmt.Sprintf(`["y",[{"time":%q,"value":3}],1,`, stamp(now)),
			`"warnings":[],"rows":"2"`,
		}},
		{"SELECT time FROM " + tab, 200, []string{`"warnings":["the result has more than 2 rows; the others were cut off (the request's limit of 2)"],"rows":"2"`}},
		{"SHOW MEASURES FROM " + tab, 200, []string{`["up","double",[["job","varchar"]]]`}},
		{"DESCRIBE " + tab, 200, []string{`"rows":"2"`}},
		{"SELECT * FROM secret.tab", 403, []string{`table \"secret\".\"tab\"`, "--allowed-tables", "TABLE_NOT_ALLOWED"}},
		{"SHOW TABLES", 403, []string{"--allowed-tables"}},
		{"DROP TABLE " + tab, 400, []string{"begin with SELECT"}},
		{"SELECT nope FROM " + tab, 400, []string{"line 1:8: Column 'nope' does not exist"}},
		{"SELECT 1/0", 400, []string{"Division by zero"}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/tributary/v1/sql", strings.NewReader(`{"statement":"`+tt.give+`","limit":"2"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := (&http.Client{Timeout: time.Minute}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != tt.want {
			t.Errorf("%s: got %d %s (%v), want %d", tt.give, res.StatusCode, body, err, tt.want)
		}
		for _, text := range tt.text {
			if !strings.Contains(string(body), text) {
				t.Errorf("%s: got %s, want %s", tt.give, body, text)
			}
		}
	}
}
