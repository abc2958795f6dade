// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/status"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a store with everything a page can show.
type fake struct {
	status local.Status
	err    error
	asked  int
}

func (f *fake) Status(context.Context) (*local.Status, error) {
	f.asked++
	return &f.status, f.err
}

func full() *fake {
	oldest, newest := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC), time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	return &fake{status: local.Status{
		Dir: "/var/lib/timestream-local", FileBytes: 812 << 20, UsedBytes: 700 << 20, LogBytes: 12 << 20, FreeBytes: 91 << 30, MemoryLimit: 1 << 30, MemoryBytes: 256 << 20,
		OpenResults: 3, MaxOpenResults: 64, WaitingWrites: 2,
		Databases: []local.DatabaseStatus{
			{Name: "PrometheusDatabase", Tables: []local.TableStatus{
				{Name: "PrometheusMetricsTable", MemoryHours: 24, MagneticDays: 73000, MagneticWrites: true, Rows: 104857600, Series: 20000, Oldest: &oldest, Newest: &newest, Bytes: 690 << 20},
				{Name: "<script>alert(1)</script>", MemoryHours: 6, MagneticDays: 7},
			}},
			{Name: "empty"},
		},
		ScheduledQueries: []local.ScheduledQueryStatus{
			{Name: "hourly", Enabled: true, Schedule: "cron(0 * * * ? *)", Target: "PrometheusDatabase.hourly", Next: &newest, Last: &local.ScheduledRunStatus{
				Invocation: oldest, Status: "AUTO_TRIGGER_SUCCESS", Rows: 1200, Records: 2400, Took: 1500 * time.Millisecond}},
			{Name: "broken", Schedule: "rate(1 day)", Last: &local.ScheduledRunStatus{Invocation: oldest, Status: "MANUAL_TRIGGER_FAILURE", Failure: "Column '<b>' does not exist"}},
			{Name: "fresh", Enabled: true, Running: true, Schedule: "rate(1 minute)", Target: "a.b", Next: &newest},
		},
		RewriteFailures: []local.RewriteFailure{{Database: "PrometheusDatabase", Table: "PrometheusMetricsTable", Part: "t1_double_p7", Records: 2000000, Failures: 3, Since: oldest, Next: newest, Error: "block <7> is damaged"}},
	}}
}

// registry has the metrics of a process that served for a while.
func registry(t *testing.T) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "timestream_local_requests_total"}, []string{"operation", "error"})
	requests.WithLabelValues("WriteRecords", "").Add(7000)
	requests.WithLabelValues("WriteRecords", "RejectedRecordsException").Add(12)
	requests.WithLabelValues("WriteRecords", "ThrottlingException").Add(188)
	requests.WithLabelValues("Query", "").Add(36)
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "timestream_local_request_duration_seconds", Buckets: []float64{0.004, 0.016, 1}}, []string{"operation"})
	for i := range 100 {
		duration.WithLabelValues("WriteRecords").Observe(map[bool]float64{true: 0.003, false: 0.5}[i < 97])
	}
	duration.WithLabelValues("Query").Observe(30)
	records := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "timestream_local_records_total"}, []string{"outcome"})
	records.WithLabelValues("stored").Add(1234567)
	records.WithLabelValues("rejected").Add(12)
	reg.MustRegister(requests, duration, records)
	return reg
}

func options(t *testing.T, store status.Store) status.Options {
	t.Helper()
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	first := true
	return status.Options{
		Store: store, Gatherer: registry(t), Build: process.Build{Version: "v1.2.3", Revision: "0123456789abcdef", GoVersion: "go1.26"},
		Settings: []flags.Setting{{Name: "data-dir", Value: "/var/lib/timestream-local", Default: "./data"}, {Name: "limits", Value: "strict", Default: "strict"}},
		Faults:   func() string { return "throttle=0.05,seed=7" }, Admin: "http://127.0.0.1:9232",
		Now: func() time.Time {
			if first { // the start was two hours before
				first = false
				return now.Add(-2*time.Hour - 5*time.Minute)
			}
			return now
		},
	}
}

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

const browserAccepts = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// walkHTML calls f for every element.
func walkHTML(n *html.Node, f func(n *html.Node, attr map[string]string)) {
	if n.Type == html.ElementNode {
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		f(n, attr)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		walkHTML(c, f)
	}
}

// textOf is an element's text with single spaces.
func textOf(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestPage(t *testing.T) {
	srv := httptest.NewServer(status.New(options(t, full())))
	defer srv.Close()
	res, body := get(t, srv.URL, "Accept", browserAccepts)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
	if !strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error("the page may load things from elsewhere")
	}
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	byID, links := map[string]string{}, map[string]string{}
	headings, depth := []string{}, 0
	walkHTML(doc, func(n *html.Node, attr map[string]string) {
		if id := attr["id"]; id != "" {
			if _, twice := byID[id]; twice {
				t.Errorf("two elements have the id %s", id)
			}
			byID[id] = textOf(n)
		}
		switch n.Data {
		case "script", "img", "iframe", "object":
			t.Errorf("a %s element", n.Data)
		case "link":
			if !strings.HasPrefix(attr["href"], "data:") {
				t.Errorf("an asset from %s", attr["href"])
			}
		case "a":
			links[textOf(n)] = attr["href"]
		case "html":
			if attr["lang"] == "" {
				t.Error("no language")
			}
		case "th":
			if attr["scope"] == "" {
				t.Errorf("the header %q has no scope", textOf(n))
			}
		case "h1", "h2", "h3":
			level := int(n.Data[1] - '0')
			if level > depth+1 {
				t.Errorf("%s %q follows a heading of level %d", n.Data, textOf(n), depth)
			}
			headings, depth = append(headings, textOf(n)), level
		}
	})
	if len(headings) != 6 {
		t.Errorf("headings: %q", headings)
	}
	for id, want := range map[string]string{
		"uptime": "2 h 5 min", "file": "812 MiB", "free": "91.0 GiB", "memory": "256 MiB", "results": "3", "directory": "/var/lib/timestream-local",
		"faults": "Calls fail on demand: throttle=0.05,seed=7", "now": "2026-11-22 08:00:00",
		"rewrite-failures": "2 000 000 records of PrometheusDatabase.PrometheusMetricsTable could not be rewritten (t1_double_p7): block <7> is damaged. They stay as they are. Failed 3 times since 2026-01-02 03:04:05; next try at 2026-11-22 07:00:00 UTC.",
	} {
		if byID[id] != want {
			t.Errorf("%s: got %q, want %q", id, byID[id], want)
		}
	}
	for id, wants := range map[string][]string{
		"tables": {"PrometheusDatabase PrometheusMetricsTable 104 857 600 20 000 690 MiB 2026-01-02 03:04 2026-11-22 07:00 24 h, 73 000 d on",
			"PrometheusDatabase <script>alert(1)</script> 0 0 0 B – – 6 h, 7 d off", "empty no tables"},
		"scheduled": {"hourly cron(0 * * * ? *) PrometheusDatabase.hourly 2026-11-22 07:00:00 2026-01-02 03:04:05 1 200 2 400 1.5 s AUTO_TRIGGER_SUCCESS",
			"broken rate(1 day) – disabled 2026-01-02 03:04:05 0 0 – MANUAL_TRIGGER_FAILURE Column '<b>' does not exist", "fresh rate(1 minute) a.b running none yet"},
		"requests": {"WriteRecords 7 200 0.96 4 ms 1 s ThrottlingException 188 , RejectedRecordsException 12", "Query 36 < 0.01 1 s 1 s none"},
		"records":  {"Records stored 1 234 567 Records rejected 12"},
		"settings": {"--data-dir /var/lib/timestream-local ./data --limits strict strict"},
	} {
		for _, want := range wants {
			if !strings.Contains(byID[id], want) {
				t.Errorf("%s: got %q, want %q", id, byID[id], want)
			}
		}
	}
	for text, want := range map[string]string{"Metrics": "http://127.0.0.1:9232/metrics", "Health": "http://127.0.0.1:9232/-/healthy", "JSON": "?format=json"} {
		if links[text] != want {
			t.Errorf("%s leads to %q, not to %q", text, links[text], want)
		}
	}
	if !strings.Contains(textOf(doc), "Changed from their defaults: --data-dir=/var/lib/timestream-local") || !strings.Contains(textOf(doc), "v1.2.3, revision 0123456789ab, go1.26") {
		t.Errorf("got %s", textOf(doc))
	}
}

func TestJSON(t *testing.T) {
	srv := httptest.NewServer(status.New(options(t, full())))
	defer srv.Close()
	for _, c := range []struct {
		path, accept string
		json         bool
	}{
		{"/", browserAccepts, false}, {"/", "*/*", false}, {"/", "", false}, {"/", "application/json", true}, {"/", "application/json;q=0.9, */*", true},
		{"/?format=json", browserAccepts, true}, {"/?format=html", "application/json", false},
	} {
		res, body := get(t, srv.URL+c.path, "Accept", c.accept)
		if isJSON := res.Header.Get("Content-Type") == "application/json"; isJSON != c.json {
			t.Errorf("%s, Accept: %s: got %s", c.path, c.accept, res.Header.Get("Content-Type"))
			continue
		}
		if !c.json {
			continue
		}
		var p status.Page
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatal(err)
		}
		if p.Version != "v1.2.3" || p.Store.Databases[0].Tables[0].Rows != 104857600 || p.Process.Operations[1].Requests != 7200 || p.Faults == "" || p.Settings[0].Name != "data-dir" || p.Uptime() != 125*time.Minute {
			t.Errorf("got %+v", p)
		}
	}
}

// A page is kept for a second, and a store that cannot answer is no page.
func TestPageIsCheap(t *testing.T) {
	store := full()
	h := status.New(options(t, store))
	ask := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		return w.Code
	}
	for range 2 {
		if code := ask(); code != http.StatusOK {
			t.Errorf("got %d", code)
		}
	}
	if store.asked != 1 {
		t.Errorf("the store was asked %d times", store.asked)
	}
	o := options(t, &fake{err: errors.New("gone")})
	h = status.New(o)
	if code := ask(); code != http.StatusServiceUnavailable {
		t.Errorf("got %d", code)
	}
}

// TestMetricsThatAreThere reads a page of a real database, so that the names of the metrics stay those that it has.
func TestMetricsThatAreThere(t *testing.T) {
	reg := prometheus.NewRegistry()
	cfg := local.DefaultConfig()
	cfg.Dir, cfg.Registerer = t.TempDir(), reg
	db, err := local.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	mux := http.NewServeMux()
	mux.Handle("POST /{$}", wire.New(db, wire.Options{Registerer: reg}))
	mux.Handle("GET /{$}", status.New(status.Options{Store: db, Gatherer: reg}))
	srv := httptest.NewServer(mux)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader(`{"QueryString":"SELECT nothing"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "Timestream_20181101.Query")
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	_, body := get(t, srv.URL, "Accept", "application/json")
	var p status.Page
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if o := p.Process.Operations; len(o) != 1 || o[0].Name != "Query" || o[0].Requests != 1 || o[0].P99 == 0 || len(o[0].Errors) != 1 || o[0].Errors[0].Name != "ValidationException" {
		t.Errorf("operations: %+v", o)
	}
	if p.Process.Queries != 1 || p.Process.FailedQueries != 1 || len(p.Process.Records) < 5 || p.Store.Dir != cfg.Dir {
		t.Errorf("got %+v", p)
	}
}
