// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/e2e/internal/load"
	"github.com/tributary-project/tributary/e2e/internal/proc"
	"github.com/tributary-project/tributary/e2e/internal/remoteread"
	"github.com/tributary-project/tributary/e2e/internal/standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNames asks the name server as a gRPC client does: by Go's resolver.
func TestNames(t *testing.T) {
	s, err := serveNames([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.address)
	}}
	got, err := resolver.LookupHost(t.Context(), "ingest.test.")
	slices.Sort(got)
	if err != nil || !slices.Equal(got, []string{"127.0.0.1", "127.0.0.2"}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestBadNames(t *testing.T) {
	good := append([]byte{1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0}, 0, 1, 0, 1)
	if answer := answerName(good, []net.IP{net.IPv4(127, 0, 0, 9)}); len(answer) != len(good)+16 || answer[len(answer)-1] != 9 {
		t.Errorf("answer %v", answer)
	}
	for n := range good {
		if answer := answerName(good[:n], nil); answer != nil {
			t.Errorf("%d bytes of a query: %v", n, answer)
		}
	}
}

func TestSummarise(t *testing.T) {
	const length = 10 * time.Minute
	var steady, growing []reading
	for at := time.Duration(0); at < length; at += 5 * time.Second {
		steady = append(steady, reading{at, 1000 + float64(at/time.Second%3)})
		growing = append(growing, reading{at, 1000 + 3600*at.Hours()})
	}
	if r := summarise("a", steady, length); r.growth() > flat || math.Abs(r.slope) > 10 || r.start != 1000 {
		t.Errorf("steady: %+v", r)
	}
	r := summarise("b", growing, length)
	if math.Abs(r.slope-3600) > 1 {
		t.Errorf("slope %v, want 3600", r.slope)
	}
	if want := (1000 + 540) / (1000 + 180.0); math.Abs(r.growth()-want) > 0.01 {
		t.Errorf("growth %v, want %v", r.growth(), want)
	}
	if r := summarise("c", []reading{{0, 5}, {length + time.Second, 7}}, length); r.fifths != [5]float64{5, 5, 5, 5, 7} {
		t.Errorf("few readings: %+v", r)
	}
}

func TestReadMetrics(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# HELP a b c\n# TYPE a counter\na{l=\"x y\"} 1\na{l=\"z\"} 2.5\nb 1e+06\n")
	}))
	defer server.Close()
	got, err := readMetrics(t.Context(), server.URL)
	http.DefaultClient.CloseIdleConnections()
	if err != nil || got["a"] != 3.5 || got["b"] != 1e6 || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	s := system{metrics: []string{server.URL}}
	if spent, err := s.spending(t.Context()); err == nil {
		t.Errorf("%+v without ingest's metrics", spent)
	}
}

// TestOrder looks for the best order of records of ten targets that came mixed, for which one is known.
func TestOrder(t *testing.T) {
	text := func(s string) *string { return &s }
	var records []standin.Record
	for i := range 1000 {
		records = append(records, standin.Record{
			MeasureName: text(fmt.Sprintf("metric_%02d", i/10)), MeasureValue: text("1"), Time: text("1790000000000"),
			Dimensions: []standin.Dimension{{Name: "instance", Value: fmt.Sprintf("10.0.0.%d", i%10)}, {Name: "pod", Value: fmt.Sprintf("some-longer-name-%d", i%10)}},
		})
	}
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	w := watched{}
	for call := range slices.Chunk(records, maxRecords) {
		w.see(&standin.Call{Records: call}, nil)
	}
	o, err := w.best(len(records))
	if err != nil {
		t.Fatal(err)
	}
	// Each target in one call: its dimensions and the time once, names of metrics and values for each.
	want := float64(10*(8+len("instance")+len("10.0.0.1")+len("pod")+len("some-longer-name-1"))+1000*(len("metric_00")+8)) / 1000
	if o.best > want+1e-9 || o.best < want/2 {
		t.Errorf("%v bytes by %s, want %v", o.best, o.how, want)
	}
	// As sent the time alone is common, but for chance.
	if alone := float64(w.metered)/1000 - 8*99/100.0; math.Abs(o.sent-alone) > 1 {
		t.Errorf("as sent %v bytes, want %v", o.sent, alone)
	}
	if _, err := w.best(len(records) + 1); err == nil {
		t.Error("a request that is not there has an order")
	}
}

// TestSearchKeepsRecords holds that a search only puts records elsewhere.
func TestSearchKeepsRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	s := &search{size: []int{10, 20, 30, 40, 50, 60}}
	for i := range 250 {
		s.records = append(s.records, r.Perm(len(s.size))[:1+r.IntN(4)])
		if i%50 == 0 {
			s.sent = append(s.sent, nil)
		}
		s.sent[len(s.sent)-1] = append(s.sent[len(s.sent)-1], i)
	}
	for name, calls := range map[string][][]int{"filled": s.fill(), "exchanged": s.exchange(s.sent, 0)} {
		seen := map[int]bool{}
		for _, c := range calls {
			if len(c) < 1 || len(c) > maxRecords {
				t.Errorf("%s: a call of %d records", name, len(c))
			}
			for _, i := range c {
				seen[i] = true
			}
		}
		if len(seen) != len(s.records) {
			t.Errorf("%s: %d records of %d", name, len(seen), len(s.records))
		}
		if s.cost(calls) > s.cost(s.sent) {
			t.Errorf("%s: %d, as sent %d", name, s.cost(calls), s.cost(s.sent))
		}
	}
}

// TestMarks holds that a figure on the wrong side is missed.
func TestMarks(t *testing.T) {
	results := func(good bool) *bench {
		factor := int64(1)
		if !good {
			factor = 100
		}
		row := func(samples int64, cpu time.Duration, processes ...*processCost) *result {
			return &result{
				elapsed: time.Second, samples: samples / factor, requests: int(samples / factor / 2000), counted: cpu, retries: int(factor - 1), processes: processes,
				latencies: []time.Duration{time.Duration(factor) * time.Millisecond}, machine: proc.Machine{Total: 100, Idle: time.Duration(factor) / 2},
			}
		}
		memory := func(name string, mib int64) *processCost { return &processCost{name: name, peak: mib * factor << 20} }
		one := row(40_000*factor, time.Second)
		one.retries = 0
		return &bench{
			load: load.Config{SamplesPerRequest: 2000},
			results: map[resultKey]*result{
				{yardstickScenario, load.V2}:  row(100_000*factor, time.Second),
				{countingScenario, load.V2}:   row(160_000, time.Second),
				{allScenario, load.V2}:        row(60_000, time.Second, memory("tributary", 700)),
				{oneSenderScenario, load.V2}:  row(61_000, time.Second),
				{manySenderScenario, load.V2}: row(200_000, time.Second, memory("gateway", 90), memory("ingest", 200)),
				{smallScenario, load.V2}:      row(2_000, time.Second),
				{oneIngestScenario, load.V2}:  one,
				{twoIngestScenario, load.V2}:  row(78_000, time.Second),
				{gatewayScenario, load.V2}:    row(2_000_000, 200*time.Millisecond),
			},
			reads: []*readResult{{
				readCase: readCase{name: "read", most: time.Second, memory: true, decoder: true}, done: 1, count: remoteread.Count{Samples: 1_200_000 / factor},
				times: []time.Duration{time.Duration(factor) * 900 * time.Millisecond}, cpu: map[string]time.Duration{queryRole: time.Second},
				peak: map[string]int64{queryRole: 150 * factor << 20, gatewayRole: 40 << 20},
			}},
			answers: []*asked{
				{ask: ask{name: "rate", most: time.Second, ratio: 3}, system: separateSystem, times: []time.Duration{time.Duration(factor) * 900 * time.Millisecond}},
				{ask: ask{name: "rate", most: time.Second, ratio: 3}, system: oneSystem, times: []time.Duration{time.Hour}, engine: []time.Duration{time.Duration(factor) * 290}},
				{ask: ask{name: "rate", most: time.Second, ratio: 3}, system: promSystem, times: []time.Duration{time.Hour}, engine: []time.Duration{100}},
			},
			pushed: []*pushed{{samples: 1000}, {samples: uint64(10 * factor)}},
			orders: []ordering{{sent: 105 * float64(factor), best: 100}},
			soaked: []soakResult{{process: "ingest", peak: 200 * factor << 20, fifths: [5]float64{1, 100, 100, 100, 105 * float64(factor)}}},
		}
	}
	all := 0
	for _, m := range results(true).marks() {
		all++
		if !m.met {
			t.Errorf("%s: got %s, want %s", m.what, m.got, m.want)
		}
	}
	if all != 21 {
		t.Errorf("%d marks", all)
	}
	var out strings.Builder
	bad := results(false)
	bad.out = printer{w: &out, markdown: true}
	if missed := bad.printMarks(); len(missed) != all-1 { // a goal is no mark
		t.Errorf("%d of %d missed: %s", len(missed), all, missed)
	}
	if got := strings.Count(out.String(), "| no |"); got != all || !strings.Contains(out.String(), "|---|---:|---:|---|") {
		t.Errorf("printed %s", out.String())
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	printer{w: &out}.table("Title", []string{"name", "µs", ".text"}, [][]string{{"a", "1,000", "x"}, {"longer", "2", "yy"}})
	want := "Title\nname       µs  text  \na       1,000  x     \nlonger      2  yy    \n\n"
	if out.String() != want {
		t.Errorf("got\n%s want\n%s", out.String(), want)
	}
	for give, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.4: "1,234,567"} {
		if got := thousands(give); got != want {
			t.Errorf("%v: got %s, want %s", give, got, want)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{{"--only=nothing"}, {"--protocols=3"}, {"--rounds=0"}, {"--soak=x"}} {
		var out strings.Builder
		if err := run(t.Context(), args, &out, &out); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestEngineTime(t *testing.T) {
	for give, want := range map[string]time.Duration{
		`{"data":{"stats":{"timings":{"evalTotalTime":2,"execTotalTime":0.5},"samples":{}}}}`: 500 * time.Millisecond,
		`{"execTotalTime":0.25,"x":1}`: 250 * time.Millisecond,
		`{"execTotalTime":`:            -1,
		`{}`:                           -1,
	} {
		got, ok := engineTime([]byte(strings.Repeat(" ", 5000) + give))
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%s: %s", give, got)
		}
	}
}

// TestHistory holds that a remote write server gets every sample once, each series in order and none far ahead of another.
func TestHistory(t *testing.T) {
	h := history{name: "m", group: "g", series: 60, start: time.Unix(1_790_000_000, 0), step: 15 * time.Second, points: 450}
	var mu sync.Mutex
	seen := map[string][]prompb.Sample{}
	newest, refused := int64(0), 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		write, err := remote.DecodeWriteRequest(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if refused++; refused == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		for _, s := range write.Timeseries {
			key := fmt.Sprint(s.Labels)
			seen[key] = append(seen[key], s.Samples...)
			if first := s.Samples[0].Timestamp; first < newest-time.Hour.Milliseconds() {
				t.Errorf("a sample of %d after one of %d", first, newest)
			}
			newest = max(newest, s.Samples[len(s.Samples)-1].Timestamp)
		}
	}))
	defer server.Close()
	if err := h.send(t.Context(), server.URL); err != nil {
		t.Fatal(err)
	}
	if len(seen) != h.series {
		t.Errorf("%d series", len(seen))
	}
	for i := range h.series {
		got := seen[fmt.Sprint(h.labels(i))]
		if len(got) != h.points {
			t.Fatalf("series %d has %d samples", i, len(got))
		}
		for n, x := range got {
			if want := h.start.UnixMilli() + int64(n)*15_000; x.Timestamp != want || x.Value != h.value(i, want) {
				t.Errorf("sample %d of series %d is %v", n, i, x)
			}
		}
	}
}
