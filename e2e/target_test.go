// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// target is something to scrape that has everything in it that is hard to store, and changes with each scrape.
type target struct {
	// Host is host:port.
	Host    string
	scrapes atomic.Int64
}

// vanishAfter is the scrape after which some series are no longer there.
const vanishAfter = 4

func newTarget(t testing.TB) *target {
	tg := new(target)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8")
		fmt.Fprint(w, exposition(tg.scrapes.Add(1)))
	}))
	t.Cleanup(s.Close)
	tg.Host = strings.TrimPrefix(s.URL, "http://")
	return tg
}

// Scraped returns an error until the target was scraped n times.
func (tg *target) Scraped(n int64) error {
	if have := tg.scrapes.Load(); have < n {
		return fmt.Errorf("scraped %d times, want %d", have, n)
	}
	return nil
}

// exposition is what the scrape with this number gets, numbered from 1.
func exposition(n int64) string {
	var b strings.Builder
	put := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	put("# HELP target_requests_total Requests.\n# TYPE target_requests_total counter")
	for i, path := range []string{"/", "/api", "/api?x=1&y=2"} {
		for _, status := range []string{"200", "500"} {
			put(`target_requests_total{path=%q,status=%q} %d`, path, status, n*int64(i+1))
		}
	}
	put("# TYPE target_resets_total counter\ntarget_resets_total %d", n%4)
	put("# TYPE target_plain gauge\ntarget_plain %d", n) // no label of its own
	put("# TYPE target_duration_seconds histogram")
	for i, le := range []string{"0.005", "0.1", "2.5", "1e+06", "+Inf"} {
		put(`target_duration_seconds_bucket{le=%q} %d`, le, n*int64(i+1))
	}
	put("target_duration_seconds_sum %g\ntarget_duration_seconds_count %d", 0.37*float64(n), n*5)
	put("# TYPE target_latency summary")
	for _, q := range []string{"0.5", "0.99"} {
		put(`target_latency{quantile=%q} %g`, q, 0.001*float64(n))
	}
	put(`target_latency{quantile="1"} NaN`)
	put("target_latency_sum %g\ntarget_latency_count %d", 0.1*float64(n), n)

	// Values, all of them in one series, too, one after the other. Not -0: Prometheus itself turns it into 0 on its way out, for
	// the generated code of its messages leaves out what is equal to zero.
	values := []string{
		"NaN", "+Inf", "-Inf", "0", "1e-310", "-1e-310", "5e-324", "2.2250738585072014e-308", "1.7976931348623157e308",
		"-1.7976931348623157e308", "1e-7", "0.30000000000000004", "9007199254740993", "18446744073709551615", "1e21",
		"123456789012345678901234567890123456789", "12345678901234567890123456789012345678901234567890", "3.141592653589793e-30", "0.1",
	}
	put("# TYPE target_value gauge")
	for i, v := range values {
		put(`target_value{n="%d"} %s`, i, v)
	}
	put("target_any_value %s", values[n%int64(len(values))])
	put("target_comes_and_goes_as_nan %s", []string{"NaN", "1"}[n%2])

	// Label values.
	put("# TYPE target_text gauge")
	for i, v := range []string{
		`plain`, `"quoted"`, `it's`, `two\nlines`, `back\\slash`, `;,{}=~|*.+?()[]$^`, ` spaces around `, `Ünïcödé ☃ 🌊 日本語`, `--`, `%_`,
		`{\"a\":\"b\"}`, `/* SQL */ ' OR 1=1 --`, `C:\\dir\\`, strings.Repeat("long ", 200), strings.Repeat("é", 800), "\tTab", "null", "0",
	} {
		put(`target_text{text="%s"} %d`, strings.ReplaceAll(v, `"quoted"`, `\"quoted\"`), i)
	}
	put(`target_text{text="",empty=""} 99`)

	// Label names: reserved ones of SQL and of Timestream, long ones, ones that scraping renames, ones that are not
	// identifiers.
	put("# TYPE target_label gauge")
	for _, name := range []string{
		"time", "measure_value", "measure_name", "measure_value__double", "ts_x", "select", "TABLE", "Mixed", "mixed", "job", "instance", "le", "a",
		strings.Repeat("long_name_", 6), strings.Repeat("longer_name_", 6), strings.Repeat("n", 300), "tributary_x", "label_app", "annotation_x",
		"__tributary_x", "__tributary_labels_1", "__reserved__",
	} {
		put(`target_label{%s="v%d",kind="legacy"} %d`, name, n/vanishAfter, n)
	}
	for _, name := range []string{"with.dot", "with space", "with-dash", "Ünïcödé", "1digit", "colon:name", "☃", `quo\"te`, `back\\slash`, "semi;colon"} {
		put(`target_label{"%s"="v",kind="utf8"} %d`, name, n)
	}
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf(`many_%02d="%d"`, i, i))
	}
	put("target_many_labels{%s} %d", strings.Join(many, ","), n)

	// Metric names.
	for _, name := range []string{
		"time", "measure_name", "measure_value", "select", "up_", "UP", "recorded:by:somebody", "__tributary_1_s_00", "__tributary", "_",
		"ts_x", "target_" + strings.Repeat("long_", 60),
	} {
		put(`%s{target="name"} %d`, name, n)
	}
	for _, name := range []string{"name.with.dots", "name-with-dashes", "name--with--dashes", "name:and-dash", "name with spaces", "名前", `quo\"te`, "semi;colon", "new\\nline"} {
		put(`{"%s",target="name"} %d`, name, n)
	}

	// What vanishes, and what comes back.
	if n <= vanishAfter {
		put("target_vanishes{which=\"finite\"} %d\ntarget_vanishes{which=\"NaN\"} NaN", n)
	}
	if n%3 != 0 {
		put("target_flaps %d", n)
	}
	return b.String()
}
