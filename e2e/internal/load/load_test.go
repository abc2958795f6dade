// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSeriesAreRealistic(t *testing.T) {
	const n = 10_000
	set := NewSet(n, "test")
	seen := map[string]bool{}
	fewest, most := math.MaxInt, 0
	names := map[string]bool{}
	for i := range n {
		labels := set.Labels(i)
		fewest, most = min(fewest, len(labels)), max(most, len(labels))
		if !sort.SliceIsSorted(labels, func(a, b int) bool { return labels[a].Name < labels[b].Name }) {
			t.Fatalf("series %d: labels are not sorted: %s", i, text(labels))
		}
		for _, l := range labels {
			names[l.Name] = true
			if l.Name == "__name__" && l.Value != set.Name(i) {
				t.Fatalf("series %d: name %q, want %q", i, l.Value, set.Name(i))
			}
		}
		if k := key(labels); seen[k] {
			t.Fatalf("series %d repeats %s", i, text(labels))
		} else {
			seen[k] = true
		}
	}
	if fewest != 8 || most != 14 {
		t.Errorf("series have %d to %d labels, want 8 to 14", fewest, most)
	}
	if len(names) > 40 {
		t.Errorf("%d label names, want a number that a table takes as columns", len(names))
	}
}

func TestValuesFollowFromSeriesAndTime(t *testing.T) {
	set := NewSet(len(perTarget), "test")
	for i := range set.Len() {
		const now = 1_790_000_000_000
		a, b := set.Value(i, now), set.Value(i, now+15_000)
		if again := set.Value(i, now); math.Float64bits(a) != math.Float64bits(again) {
			t.Errorf("%s: %v and then %v", set.Name(i), a, again)
		}
		if strings.HasSuffix(set.Name(i), "_total") && b <= a {
			t.Errorf("%s: counter goes from %v to %v in 15 s", set.Name(i), a, b)
		}
	}
}

// decoded is a request of either version, as Prometheus' own messages decode it.
func decoded(p Protocol, raw []byte) ([]prompb.TimeSeries, error) {
	if p == V1 {
		var r prompb.WriteRequest
		err := r.Unmarshal(raw)
		return r.Timeseries, err
	}
	var r writev2.Request
	if err := r.Unmarshal(raw); err != nil {
		return nil, err
	}
	if len(r.Symbols) == 0 || r.Symbols[0] != "" {
		return nil, fmt.Errorf("the first of %d symbols is not empty", len(r.Symbols))
	}
	var out []prompb.TimeSeries
	for _, ts := range r.Timeseries {
		var o prompb.TimeSeries
		for i := 0; i < len(ts.LabelsRefs); i += 2 {
			o.Labels = append(o.Labels, prompb.Label{Name: r.Symbols[ts.LabelsRefs[i]], Value: r.Symbols[ts.LabelsRefs[i+1]]})
		}
		for _, s := range ts.Samples {
			o.Samples = append(o.Samples, prompb.Sample{Value: s.Value, Timestamp: s.Timestamp})
		}
		out = append(out, o)
	}
	return out, nil
}

func TestTemplate(t *testing.T) {
	for _, p := range []Protocol{V1, V2} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			const now = 1_790_000_000_123
			span := Span{First: 17, Step: 3, Count: 283}
			set := NewSet(1000, "test")
			got, err := decoded(p, newTemplate(p, set, span, 1).appendRequest(nil, now))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != span.Count {
				t.Fatalf("%d series, want %d", len(got), span.Count)
			}
			for n, ts := range got {
				var labels []Label
				for _, l := range ts.Labels {
					labels = append(labels, Label{l.Name, l.Value})
				}
				if want := set.Labels(span.at(n)); key(labels) != key(want) {
					t.Fatalf("series %d: {%s}, want {%s}", span.at(n), text(labels), text(want))
				}
				if len(ts.Samples) != 1 || ts.Samples[0].Timestamp != now ||
					math.Float64bits(ts.Samples[0].Value) != math.Float64bits(set.Value(span.at(n), now)) {
					t.Fatalf("series %d: samples %v, want one of %v at %d", span.at(n), ts.Samples, set.Value(span.at(n), now), now)
				}
			}
		})
	}
}

func TestTemplateOfSeveralPasses(t *testing.T) {
	const now, passes = 1_790_000_000_123, 3
	span, set := Span{First: 2, Step: 4, Count: 50}, NewSet(300, "test")
	for _, p := range []Protocol{V1, V2} {
		tmpl := newTemplate(p, set, span, passes)
		got, err := decoded(p, tmpl.appendRequest(nil, now))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != span.Count*passes || tmpl.samples() != span.Count*passes {
			t.Fatalf("remote write %d: %d series, %d samples, want %d", p, len(got), tmpl.samples(), span.Count*passes)
		}
		for n, ts := range got {
			i, at := span.at(n%span.Count), now+int64(n/span.Count)
			if s := ts.Samples[0]; s.Timestamp != at || math.Float64bits(s.Value) != math.Float64bits(set.Value(i, at)) {
				t.Fatalf("remote write %d, entry %d: %v, want the value of series %d at %d", p, n, s, i, at)
			}
		}
	}
}

func TestEverySeriesHasOneSender(t *testing.T) {
	for _, spread := range []Spread{BySeries, ByTarget} {
		for _, c := range []struct{ series, senders int }{{10_000, 1}, {10_000, 5}, {10_000, 16}, {17, 16}, {16, 16}} {
			seen := make([]int, c.series)
			for n := range c.senders {
				first, step, count := spread.share(c.series, c.senders, n)
				if count < c.series/c.senders || count > c.series/c.senders+1 {
					t.Errorf("%s, %d series: sender %d of %d has %d", spread, c.series, n, c.senders, count)
				}
				for k := range count {
					seen[first+k*step]++
				}
			}
			for i, n := range seen {
				if n != 1 {
					t.Fatalf("%s, %d senders: series %d of %d has %d senders", spread, c.senders, i, c.series, n)
				}
			}
		}
	}
}

func TestBadConfig(t *testing.T) {
	good := Config{Protocol: V2, Set: NewSet(10, "test"), SamplesPerRequest: 5, Senders: 2}
	for name, spoil := range map[string]func(c *Config){
		"no protocol":          func(c *Config) { c.Protocol = 0 },
		"no samples":           func(c *Config) { c.SamplesPerRequest = 0 },
		"a sender without one": func(c *Config) { c.Senders = 11 },
		"unknown spread":       func(c *Config) { c.Spread = "rows" },
	} {
		bad := good
		spoil(&bad)
		if _, err := NewGenerator(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	g, err := NewGenerator(good)
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
}

// TestRunsDoNotRepeat runs one generator twice, faster than the clock gives new milliseconds.
func TestRunsDoNotRepeat(t *testing.T) {
	st := &store{protocol: V2, series: map[string]*prompb.TimeSeries{}}
	server := httptest.NewServer(st)
	defer server.Close()
	g, err := NewGenerator(Config{
		URL: server.URL + "/write", Protocol: V2, Set: NewSet(20, "test"), SamplesPerRequest: 100, Senders: 2, Fill: true, RetryFor: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	sent := int64(0)
	for range 2 {
		report := g.Run(t.Context(), 100*time.Millisecond)
		if report.Acknowledged == 0 || report.SamplesAcknowledged != int64(100*report.Acknowledged) {
			t.Errorf("%d requests with %d samples, want some of 100", report.Acknowledged, report.SamplesAcknowledged)
		}
		sent += report.SamplesAcknowledged
	}
	for k, ts := range st.series {
		seen := map[int64]bool{}
		for _, s := range ts.Samples {
			if seen[s.Timestamp] {
				t.Fatalf("%s: two samples at %d", k, s.Timestamp)
			}
			seen[s.Timestamp] = true
			sent--
		}
	}
	if sent != 0 {
		t.Errorf("%d samples are missing", sent)
	}
}

// store is remote write and remote read over a map, with faults.
type store struct {
	protocol Protocol
	// answer says what the nth write is answered; 0 means that it is stored and 204.
	answer func(n int) int
	// spoil changes what a read finds; nil changes nothing.
	spoil func(all map[string]*prompb.TimeSeries)

	mu     sync.Mutex
	writes int
	series map[string]*prompb.TimeSeries
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.URL.Path == "/read" {
		s.read(w, raw)
		return
	}
	s.writes++
	if s.answer != nil {
		if status := s.answer(s.writes); status != 0 {
			http.Error(w, "as the test wishes", status)
			return
		}
	}
	series, err := decoded(s.protocol, raw)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, ts := range series {
		k := fmt.Sprint(ts.Labels)
		if s.series[k] == nil {
			s.series[k] = &prompb.TimeSeries{Labels: ts.Labels}
		}
		s.series[k].Samples = append(s.series[k].Samples, ts.Samples...)
	}
	w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", fmt.Sprint(len(series)))
	w.WriteHeader(http.StatusNoContent)
}

func (s *store) read(w http.ResponseWriter, raw []byte) {
	var req prompb.ReadRequest
	if err := req.Unmarshal(raw); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.spoil != nil {
		s.spoil(s.series)
		s.spoil = nil
	}
	q, result := req.Queries[0], &prompb.QueryResult{}
	for _, ts := range s.series {
		matching := 0
		for _, m := range q.Matchers {
			for _, l := range ts.Labels {
				if l.Name == m.Name && l.Value == m.Value {
					matching++
				}
			}
		}
		if matching != len(q.Matchers) {
			continue
		}
		out := &prompb.TimeSeries{Labels: ts.Labels}
		for _, sample := range ts.Samples {
			if sample.Timestamp >= q.StartTimestampMs && sample.Timestamp <= q.EndTimestampMs {
				out.Samples = append(out.Samples, sample)
			}
		}
		if len(out.Samples) > 0 {
			result.Timeseries = append(result.Timeseries, out)
		}
	}
	res := prompb.ReadResponse{Results: []*prompb.QueryResult{result}}
	out, err := res.Marshal()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(snappy.Encode(nil, out))
}

func TestRunAndVerify(t *testing.T) {
	for _, tt := range []struct {
		name     string
		hopeless bool                                    // no use in retrying for long
		fill     bool                                    // several samples of a series in a request
		give     func(n int) int                         // answers to writes
		spoil    func(all map[string]*prompb.TimeSeries) // done to the store before it is read
		wantOK   bool
		want     func(r *Report, v *Verification) bool // further than that
	}{
		{name: "all stored", wantOK: true, want: func(r *Report, v *Verification) bool {
			return r.Rejected+r.Abandoned == 0 && v.Found == r.SamplesAcknowledged && r.WrongCounts == 0
		}},
		{name: "several passes in a request", fill: true, wantOK: true, want: func(r *Report, v *Verification) bool {
			return r.Rejected+r.Abandoned == 0 && v.Found == r.SamplesAcknowledged && r.SamplesAcknowledged > int64(150*r.Acknowledged)
		}},
		{
			name: "retried until stored", give: func(n int) int { return map[bool]int{true: 503}[n%3 == 1] }, wantOK: true,
			want: func(r *Report, v *Verification) bool {
				return r.Abandoned == 0 && r.Retries() > 0 && v.Found == r.SamplesAcknowledged
			},
		},
		{
			name: "rejected", give: func(n int) int { return map[bool]int{true: 400}[n == 2] }, wantOK: true,
			want: func(r *Report, v *Verification) bool {
				return r.Rejected == 1 && strings.Contains(r.FirstRejection, "as the test wishes") && v.Found == r.SamplesAcknowledged
			},
		},
		{
			name: "never answered well", give: func(int) int { return 500 }, hopeless: true, wantOK: true,
			want: func(r *Report, v *Verification) bool {
				return r.Acknowledged == 0 && r.Abandoned > 0 && v.Acknowledged == 0
			},
		},
		{
			name: "a sample lost", spoil: func(all map[string]*prompb.TimeSeries) {
				for _, ts := range all {
					ts.Samples = ts.Samples[1:]
					return
				}
			},
			want: func(_ *Report, v *Verification) bool { return v.Missing == 1 && v.Different+v.Foreign+v.Repeated == 0 },
		},
		{
			name: "a bit changed", spoil: func(all map[string]*prompb.TimeSeries) {
				for _, ts := range all {
					ts.Samples[0].Value = math.Nextafter(ts.Samples[0].Value, math.Inf(1))
					return
				}
			},
			want: func(_ *Report, v *Verification) bool { return v.Different == 1 && v.Missing+v.Foreign+v.Repeated == 0 },
		},
		{
			name: "a sample twice", spoil: func(all map[string]*prompb.TimeSeries) {
				for _, ts := range all {
					ts.Samples = append(ts.Samples, ts.Samples[0])
					return
				}
			},
			want: func(_ *Report, v *Verification) bool { return v.Repeated == 1 && v.Missing+v.Foreign+v.Different == 0 },
		},
		{
			name: "a sample nobody sent", spoil: func(all map[string]*prompb.TimeSeries) {
				for _, ts := range all {
					between := (ts.Samples[0].Timestamp + ts.Samples[1].Timestamp) / 2
					ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: between})
					return
				}
			},
			want: func(_ *Report, v *Verification) bool { return v.Foreign == 1 && v.Missing+v.Different+v.Repeated == 0 },
		},
	} {
		for _, p := range []Protocol{V1, V2} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, p), func(t *testing.T) {
				t.Parallel()
				st := &store{protocol: p, answer: tt.give, spoil: tt.spoil, series: map[string]*prompb.TimeSeries{}}
				server := httptest.NewServer(st)
				defer server.Close()
				cfg := Config{
					URL: server.URL + "/write", Protocol: p, Set: NewSet(200, "test"), SamplesPerRequest: 30, Senders: 3,
					Duration: 400 * time.Millisecond, Rate: 10_000, RetryFor: 20 * time.Second,
				}
				if tt.fill {
					cfg.SamplesPerRequest, cfg.Fill = 210, true
				}
				if tt.hopeless {
					cfg.RetryFor = 200 * time.Millisecond
				}
				report, err := Run(context.Background(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "ledger.json")
				if err := report.Ledger.Save(path); err != nil {
					t.Fatal(err)
				}
				ledger, err := ReadLedger(path)
				if err != nil {
					t.Fatal(err)
				}
				v, err := ledger.Verify(context.Background(), server.Client(), server.URL+"/read", 150*time.Millisecond)
				if err != nil {
					t.Fatal(err)
				}
				if v.OK() != tt.wantOK || !tt.want(report, v) || v.Acknowledged != report.SamplesAcknowledged {
					report.Ledger, report.Latencies = nil, nil
					t.Errorf("report %+v, verification %+v", *report, *v)
				}
			})
		}
	}
}

func TestRateIsKept(t *testing.T) {
	st := &store{protocol: V2, series: map[string]*prompb.TimeSeries{}}
	server := httptest.NewServer(st)
	defer server.Close()
	report, err := Run(context.Background(), Config{
		URL: server.URL + "/write", Protocol: V2, Set: NewSet(400, "test"), SamplesPerRequest: 50, Senders: 2,
		Duration: time.Second, Rate: 2000, RetryFor: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := report.SamplesAcknowledged; got < 1000 || got > 2200 {
		t.Errorf("%d samples in a second, want about 2000", got)
	}
}

func BenchmarkRequest(b *testing.B) {
	for _, p := range []Protocol{V1, V2} {
		b.Run(fmt.Sprint(p), func(b *testing.B) {
			tmpl := newTemplate(p, NewSet(10_000, "test"), Span{Step: 5, Count: 2000}, 1)
			var raw, body []byte
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				raw = tmpl.appendRequest(raw[:0], 1_790_000_000_000+int64(i))
				body = snappy.Encode(body[:cap(body)], raw)
			}
			b.ReportMetric(float64(len(body))/2000, "body-B/sample")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
		})
	}
}
