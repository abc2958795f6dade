// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// at is the clock of a test.
type at struct{ now time.Time }

// on returns an injector with a plan and the clock.
func on(t *testing.T, plan string) (*Injector, *at) {
	t.Helper()
	clock := &at{time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	i := &Injector{Now: func() time.Time { return clock.now }}
	if err := i.Set(plan); err != nil {
		t.Fatal(err)
	}
	return i, clock
}

// call is a call of an operation on tables.
func call(operation string, tables ...string) Call {
	return Call{Operation: operation, Tables: func() []string { return tables }}
}

func TestRules(t *testing.T) {
	for _, c := range []ruleText{
		{give: "id=slow,table=sales.*|hr.people,write.throttle=80%,for=30s,after=1m,calls=100,seed=1", want: "id=slow,table=sales.*|hr.people,write.throttle=0.8,after=1m0s,for=30s,calls=100,seed=1"},
		{give: "throttle=0..0.8..0,over=4m,seed=1", want: "throttle=0..0.8..0,over=4m0s,seed=1"},
		{give: "write.rate=50..500/s,over=5m,burst=100,seed=1", want: "write.rate=50..500,over=5m0s,burst=100,seed=1"},
		{give: "ThrottlingException=1,ResourceNotFoundException=0.5,seed=1", want: "throttle=1,not-found=0.5,seed=1"},
		{give: `error=1,text="no, not; \"now\"",seed=1`, want: `error=1,text="no, not; \"now\"",seed=1`},
		{give: "reject-share=25%,reason=window,seed=1", want: "reject-share=0.25,reason=window,seed=1"},
		{give: "CreateTable.conflict=1x,Describe*.latency=1s,*.throttle=0.1,seed=1", want: "*.throttle=0.1,CreateTable.conflict=1x,Describe*.latency=1s,seed=1"},
		{give: "*.error=1,write.error=0,seed=1", want: "write.error=0,*.error=1,seed=1"},
		{give: "WriteRecords.cut=1,Query.cut=1,seed=1", want: "cut=1,seed=1"},
		{give: "latency=p50:20ms/p99:400ms,seed=1", want: "latency=p50:20ms/p99:400ms,seed=1"},
		{give: "latency=normal:20ms/5ms,seed=1", want: "latency=normal:20ms/5ms,seed=1"},
		{give: "latency=pareto:20ms/1.5/5s,latency-after=1%:5s,seed=1", want: "latency=pareto:20ms/1.5/5s,latency-after=0.01:5s,seed=1"},
		{give: "hide=30s,empty-page=1,truncate=1x,stuck=0.1,stuck-after=0.1,cut-after=0.1,seed=1", want: "stuck=0.1,hide=30s,empty-page=1,cut-after=0.1,truncate=1x,stuck-after=0.1,seed=1"},
		{give: "seed=7; throttle=1\n error=1;; cut=1,seed=3 ; late=1", want: "throttle=1,seed=7; error=1,seed=8; cut=1,seed=3; late=1,seed=9"},
		{give: "execution=1,seed=1", want: "execution=1,seed=1"},

		{give: "CreateTabel.error=1", bad: `unknown operation "CreateTabel"`},
		{give: "Drop*.error=1", bad: `unknown operation "Drop*"`},
		{give: "write.empty-page=1", bad: "empty-page is about queries"},
		{give: "*.reject=1", bad: "reject is about writes"},
		{give: "throttle=0..1", bad: "over=2m"},
		{give: "throttle=1,over=1m", bad: "over is about values that change"},
		{give: "throttle=1,burst=3", bad: "burst is about rate"},
		{give: "throttle=1,reason=window", bad: "reason is about reject"},
		{give: "cut=1,text=x", bad: "text is about errors"},
		{give: `error=1,text="x`, bad: "does not end with its quote"},
		{give: "for=30s", bad: "says nothing that fails"}, {give: "id=x", bad: "says nothing that fails"},
		{give: "error=1,for=0s", bad: "want a duration such as 30s"}, {give: "error=1,after=-1s", bad: "want a duration"},
		{give: "error=1,calls=0", bad: "want a number from 1"},
		{give: "error=1,id=a b", bad: "an id is"}, {give: "error=1,table=a/b", bad: "want database.table"},
		{give: "id=a,error=1;id=a,cut=1", bad: `there is a rule "a" already`},
		{give: "write.rate=-1", bad: "want calls a second"}, {give: "write.rate=1e10", bad: "want calls a second"},
		{give: "hide=25h", bad: "want a duration up to 24h0m0s"}, {give: "reject-share=3x", bad: "want a share of the records"},
		{give: "latency=p50:20ms", bad: "want a duration such as 20ms"}, {give: "latency=p50:20ms/p99:10ms", bad: "not below it"},
		{give: "latency=pareto:20ms", bad: "want a duration such as 20ms"}, {give: "latency=pareto:20ms/0", bad: "want a tail index"},
		{give: "latency=20ms/5s", bad: "want a duration such as 20ms"}, {give: "latency=1h", bad: "longer than 10m0s"}, {give: "latency=2:1s", bad: "want a duration such as 20ms"},
		{give: strings.Repeat("cut=1;", maxRules+1), bad: "at most 100"},
	} {
		c.check(t)
	}
}

// Every kind and every class can be said, and the help names them.
func TestNames(t *testing.T) {
	for k := range kinds {
		if k.String() == "" || !strings.Contains(Syntax, k.String()) {
			t.Errorf("kind %d, %q, is not in the help", k, k)
		}
		if got, ok := kindOf(k.String()); !ok || got != k {
			t.Errorf("%q is %v", k, got)
		}
		if !slices.Contains(printed[:], k) {
			t.Errorf("%s is never printed", k)
		}
	}
}

// A ramp goes from one value to the next in the time of the rule, and stays at the last.
func TestRamp(t *testing.T) {
	i, clock := on(t, "write.throttle=0..0.8..0.2,over=2m,after=10s,seed=11")
	start := clock.now
	for _, c := range []struct {
		at   time.Duration
		want float64
	}{{0, 0}, {9 * time.Second, 0}, {10 * time.Second, 0}, {40 * time.Second, 0.4}, {70 * time.Second, 0.8}, {100 * time.Second, 0.5}, {130 * time.Second, 0.2}, {time.Hour, 0.2}} {
		clock.now = start.Add(c.at)
		const n = 5000
		hits := 0
		for range n {
			if i.Decide(write).Replaced {
				hits++
			}
		}
		if got := float64(hits) / n; math.Abs(got-c.want) > 0.03 || c.want == 0 && hits > 0 {
			t.Errorf("after %v: %v throttled, want %v", c.at, got, c.want)
		}
	}
}

// A rate admits its burst and then so many calls a second, for each table and operation apart.
func TestRate(t *testing.T) {
	i, clock := on(t, "rate=10,burst=5")
	admitted := func(c Call, n int) int {
		out := 0
		for range n {
			switch d := i.Decide(c); {
			case !d.Replaced:
				out++
			case d.Instead != Rate:
				t.Fatalf("got %+v", d)
			}
		}
		return out
	}
	a, b := call("WriteRecords", "d.a"), call("WriteRecords", "d.b")
	for _, c := range []struct {
		name string
		wait time.Duration
		call Call
		want int
	}{
		{"the burst", 0, a, 5}, {"no more", 0, a, 0}, {"another table", 0, b, 5}, {"another operation", 0, call("Query", "d.a"), 5},
		{"a tenth of a second", 100 * time.Millisecond, a, 1}, {"half a second", 500 * time.Millisecond, a, 5}, {"a minute", time.Minute, a, 5},
		{"both, of which one has none left", 0, call("WriteRecords", "d.b", "d.a"), 0},
		{"an operation without a table", 0, call("Query"), 5}, {"once more", 0, call("Query"), 0},
	} {
		clock.now = clock.now.Add(c.wait)
		if got := admitted(c.call, 20); got != c.want {
			t.Errorf("%s: %d calls pass, want %d", c.name, got, c.want)
		}
	}

	// While the service scales, more and more of a steady load passes.
	i, clock = on(t, "write.rate=10..100,over=10s,burst=2")
	var passed []int
	for range 10 {
		n := 0
		for range 100 { // 100 a second
			clock.now = clock.now.Add(10 * time.Millisecond)
			if !i.Decide(a).Replaced {
				n++
			}
		}
		passed = append(passed, n)
	}
	if !slices.IsSorted(passed) || passed[0] > 30 || passed[9] < 75 {
		t.Errorf("passed in each second: %v", passed)
	}
	// The tables of a plan are not without bound.
	for n := range 2 * maxBuckets {
		i.Decide(call("WriteRecords", fmt.Sprint("d.", n)))
	}
	if n := len(i.rules()[0].buckets); n > maxBuckets+1 {
		t.Errorf("%d tables have a rate", n)
	}
}

// A rule begins after its time and ends with its time or its calls.
func TestWhen(t *testing.T) {
	i, clock := on(t, "throttle=1,after=5s,for=10s")
	start := clock.now
	for s, want := range map[time.Duration]bool{0: false, 4999 * time.Millisecond: false, 5 * time.Second: true, 14999 * time.Millisecond: true, 15 * time.Second: false} {
		clock.now = start.Add(s)
		if got := i.Decide(write).Replaced; got != want {
			t.Errorf("after %v: %v", s, got)
		}
		if got := i.String() != ""; got != (s < 15*time.Second) {
			t.Errorf("after %v it says %q", s, i)
		}
	}
	i, _ = on(t, "write.error=0.5,calls=10,seed=1")
	for range 20 {
		i.Decide(read) // not its calls
	}
	for range 10 {
		i.Decide(write)
	}
	if got := i.Rules()[0]; !got.Ended || got.Calls != 10 || got.Hits["write"]["error"] == 0 || i.String() != "" {
		t.Errorf("after ten calls: %+v, %q", got, i)
	}
	for range 100 {
		if i.Decide(write).Replaced {
			t.Fatal("a fault after its calls")
		}
	}
}

// What a rule says of an operation by name goes before what it says by a pattern, and a rule on a table leaves others alone.
func TestScopes(t *testing.T) {
	i, _ := on(t, "*.error=1,DescribeTable.error=0,Describe*.cut=1")
	for operation, want := range map[string]string{"WriteRecords": "error", "CreateTable": "error", "DescribeTable": "cut", "DescribeEndpoints": "cut", "Query": "error"} {
		if d := i.Decide(call(operation)); !d.Replaced || d.Instead.String() != want {
			t.Errorf("%s: got %v, want %s", operation, d.Instead, want)
		}
	}
	i, _ = on(t, "table=sales.*|hr.people,throttle=1")
	for table, want := range map[string]bool{"sales.orders": true, "sales.a.b": true, "hr.people": true, "hr.people2": false, "sales": false, "other.sales.x": false, "": false} {
		if got := i.Decide(call("WriteRecords", table)).Replaced; got != want {
			t.Errorf("%q: %v", table, got)
		}
	}
	if !i.Decide(call("Query", "other.x", "hr.people")).Replaced {
		t.Error("a query of two tables, of which one is meant, passes")
	}
	if i.Decide(write).Replaced || i.Decide(call("Query")).Replaced {
		t.Error("a call without a table fails")
	}
	asked := false
	i, _ = on(t, "write.cut=1")
	i.Decide(Call{Operation: "WriteRecords", Tables: func() []string { asked = true; return nil }})
	if asked {
		t.Error("tables are looked up for a rule that asks for none")
	}
}

// Rules are tried in their order: delays add up, the first fault in the place of the call wins, and what changes a call adds.
func TestOrder(t *testing.T) {
	i, _ := on(t, `latency=10ms; error=1x,text=first; throttle=2x; cut=1x,latency=5ms; write.late=1; write.hide=1s,lost-answer=1,seed=1; write.hide=3s,reject=1,reason=window`)
	for n, want := range []string{"error 10ms first", "throttle 10ms ", "throttle 10ms ", "cut 15ms "} {
		if d := i.Decide(write); !d.Replaced || fmt.Sprint(d.Instead, " ", d.Delay, " ", d.Text) != want {
			t.Errorf("call %d: got %v %v %q, want %s", n, d.Instead, d.Delay, d.Text, want)
		}
	}
	d := i.Decide(write)
	if d.Replaced || d.Delay != 15*time.Millisecond || !d.Late || !d.Lost || d.Hide != 3*time.Second || !d.Reject || d.Reason != ReasonWindow {
		t.Errorf("got %+v", d)
	}
	if d := i.Decide(read); d.Late || d.Hide != 0 || d.Reject {
		t.Errorf("a query: %+v", d)
	}
}

// Each distribution has the percentiles that it is said to have.
func TestDelays(t *testing.T) {
	const n = 20_000
	for _, c := range []struct {
		text string
		// want are the delays at shares of the calls.
		want map[float64]time.Duration
		most time.Duration
	}{
		{"20ms", map[float64]time.Duration{0: 20 * time.Millisecond, 1: 20 * time.Millisecond}, 0},
		{"20ms..40ms", map[float64]time.Duration{0: 20 * time.Millisecond, 0.5: 30 * time.Millisecond, 1: 40 * time.Millisecond}, 40 * time.Millisecond},
		{"p50:20ms/p99:400ms", map[float64]time.Duration{0.5: 20 * time.Millisecond, 0.99: 400 * time.Millisecond}, 0},
		{"p50:20ms/p99:400ms/100ms", map[float64]time.Duration{0.5: 20 * time.Millisecond, 0.99: 100 * time.Millisecond, 1: 100 * time.Millisecond}, 100 * time.Millisecond},
		{"normal:20ms/5ms", map[float64]time.Duration{0.5: 20 * time.Millisecond, 0.841345: 25 * time.Millisecond, 0.0228: 10 * time.Millisecond}, 0},
		{"normal:1ms/10ms", map[float64]time.Duration{0: 0, 0.4: 0}, 0},
		{"pareto:20ms/1", map[float64]time.Duration{0: 20 * time.Millisecond, 0.5: 40 * time.Millisecond, 0.99: 2 * time.Second}, 0},
		{"pareto:20ms/0.5/1s", map[float64]time.Duration{0: 20 * time.Millisecond, 0.5: 80 * time.Millisecond, 0.99: time.Second}, time.Second},
		{"pareto:1m/0.1", map[float64]time.Duration{0.99: maxDelay}, maxDelay},
		{"10%:1s", map[float64]time.Duration{0.89: 0, 0.92: time.Second}, 0},
	} {
		i, _ := on(t, "latency="+c.text+",seed=5")
		delays := make([]time.Duration, n)
		for k := range delays {
			delays[k] = i.Decide(write).Delay
		}
		slices.Sort(delays)
		for share, want := range c.want {
			got := delays[min(int(share*n), n-1)]
			if math.Abs(float64(got-want)) > 0.12*float64(want)+1e5 {
				t.Errorf("%s: at %v got %v, want %v", c.text, share, got, want)
			}
		}
		if last := delays[n-1]; c.most > 0 && last > c.most {
			t.Errorf("%s: got %v", c.text, last)
		}
	}
}

// New kinds have draws of their own: with one seed, those of a plan without them stay what they were.
func TestSeed(t *testing.T) {
	a, _ := on(t, "throttle=0.3,late=0.5,seed=9")
	b, _ := on(t, "throttle=0.3,late=0.5,conflict=0,reject-share=0.5,truncate=0.5,seed=9")
	again, _ := on(t, "throttle=0.3,late=0.5,reject-share=0.5,truncate=0.5,seed=9")
	truncated := 0
	for range 1000 {
		x, y, z := a.Decide(write), b.Decide(write), again.Decide(write)
		if x.Replaced != y.Replaced || x.Late != y.Late {
			t.Fatalf("%+v and %+v", x, y)
		}
		if y != z {
			t.Fatalf("%+v and %+v", y, z)
		}
		if y.Truncate {
			truncated++
		}
	}
	if truncated < 300 || truncated > 400 {
		t.Errorf("%d truncated", truncated)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"a*", "abc", true}, {"*c", "abc", true}, {"a*c", "abc", true}, {"a*d", "abc", false},
		{"a**c", "ac", true}, {"*b*", "abc", true}, {"a*b*c", "aXbYbZc", true}, {"abc", "abcd", false}, {"*.x", "db.x", true}, {"d*.t", "db.t2", false},
	} {
		if got := match(c.pattern, c.text); got != c.want {
			t.Errorf("%q, %q: %v", c.pattern, c.text, got)
		}
	}
}

// The endpoint adds, replaces, shows and removes rules, in text and in JSON, and counts what they did.
func TestEndpoint(t *testing.T) {
	i, clock := on(t, "")
	var log bytes.Buffer
	i.LogTo(slog.New(slog.NewTextHandler(&log, nil)))
	do := func(method, path, body, accept string) (int, string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Accept", accept)
		i.ServeHTTP(w, r)
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/faults", "write.throttle=1,seed=1", 200, "write.throttle=1,seed=1"},
		{"POST", "/faults", "id=slow,latency=1ms,for=10s,seed=2", 200, "id=r1,write.throttle=1,seed=1\nid=slow,latency=1ms,for=10s,seed=2"},
		{"POST", "/faults", "", 400, "want a rule\n" + Syntax},
		{"POST", "/faults", "id=slow,cut=1", 400, `there is a rule "slow" already` + "\n" + Syntax},
		{"GET", "/faults/slow", "", 200, "id=slow,latency=1ms,for=10s,seed=2"},
		{"GET", "/faults/none", "", 404, `there is no rule "none"`},
		{"POST", "/faults/slow", "cut=1", 405, "want GET, PUT, DELETE"},
		{"PUT", "/faults/slow", "query.cut=1,seed=3", 200, "id=slow,query.cut=1,seed=3"},
		{"PUT", "/faults/slow", "cut=1;cut=1", 400, "want one rule, not 2\n" + Syntax},
		{"PUT", "/faults/slow", "id=other,cut=1", 400, `the rule's id is "other", not "slow"` + "\n" + Syntax},
		{"PUT", "/faults/new", "query.late=1,seed=3", 400, `"query.late=1": late is about writes` + "\n" + Syntax},
		{"PUT", "/faults/new", "late=1,seed=4", 200, "id=new,late=1,seed=4"},
		{"GET", "/faults", "", 200, "id=r1,write.throttle=1,seed=1\nid=slow,query.cut=1,seed=3\nid=new,late=1,seed=4"},
		{"DELETE", "/faults/r1", "", 200, "id=slow,query.cut=1,seed=3\nid=new,late=1,seed=4"},
		{"DELETE", "/faults/r1", "", 404, `there is no rule "r1"`},
		{"PUT", "/faults", `{"rules":[{"id":"a","rule":"write.throttle=1x,seed=1"},{"rule":"cut=1,calls=1,seed=2"}]}`, 200, "id=a,write.throttle=1x,seed=1\nid=r2,cut=1,calls=1,seed=2"},
		{"PUT", "/faults/b", `{"rule":"error=1,seed=5"}`, 200, "id=b,error=1,seed=5"},
		{"DELETE", "/faults/r2", "", 200, "id=a,write.throttle=1x,seed=1\nid=b,error=1,seed=5"},
		{"PUT", "/faults", `[{"rule":"error=1;cut=1"}]`, 400, "want one rule in each item of the list\n" + Syntax},
		{"PUT", "/faults", `{"rules":3}`, 400, ""},
		{"GET", "/faults", "", 200, "id=a,write.throttle=1x,seed=1\nid=b,error=1,seed=5"},
	} {
		if status, text := do(c.method, c.path, c.body, ""); status != c.status || c.want != "" && text != c.want {
			t.Errorf("%s %s %q: got %d %q, want %d %q", c.method, c.path, c.body, status, text, c.status, c.want)
		}
	}
	if n := strings.Count(log.String(), "calls fail on demand"); n != 8 || !strings.Contains(log.String(), `faults="id=slow,query.cut=1,seed=3; id=new,late=1,seed=4"`) {
		t.Errorf("%d changes in the log:\n%s", n, &log)
	}

	i.Decide(write) // throttled by a
	i.Decide(write) // an error, by b
	i.Decide(read)
	clock.now = clock.now.Add(time.Second)
	var all struct{ Rules []Status }
	if status, text := do("GET", "/faults", "", "application/json"); status != 200 || json.Unmarshal([]byte(text), &all) != nil {
		t.Fatal(status, text)
	}
	want := []Status{
		{ID: "a", Rule: "", Ended: true, Calls: 2, Hits: map[string]map[string]int{"write": {"throttle": 1}}},
		{ID: "b", Rule: "id=b,error=1,seed=5", Active: true, Calls: 2, Hits: map[string]map[string]int{"write": {"error": 1}, "query": {"error": 1}}},
	}
	if fmt.Sprint(all.Rules) != fmt.Sprint(want) {
		t.Errorf("got %+v\nwant %+v", all.Rules, want)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(i)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"timestream_local_fault_rules": 1, "timestream_local_fault_rule_calls_total a": 2, "timestream_local_fault_rule_hits_total throttle write a": 1,
		"timestream_local_fault_rule_hits_total error query b": 1,
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	if status, text := do(http.MethodDelete, "/faults", "", ""); status != 200 || text != "" || i.Active() {
		t.Errorf("at the end: %d %q", status, text)
	}
	if !strings.HasSuffix(strings.TrimSpace(log.String()), `msg="no calls fail on demand any more"`) {
		t.Errorf("the log's last line: %s", &log)
	}
}

func TestRuleThatEnds(t *testing.T) {
	i, clock := on(t, "throttle=1,for=10s")
	clock.now = clock.now.Add(4 * time.Second)
	if got := i.Rules()[0]; got.EndsIn != "6s" || !got.Active || got.Ended {
		t.Errorf("got %+v", got)
	}
	if err := i.SetRule("r1", "throttle=1,for=10s,after=1s"); err != nil {
		t.Fatal(err)
	}
	if got := i.Rules()[0]; got.EndsIn != "11s" || got.Active || got.Ended {
		t.Errorf("set anew, it begins anew: %+v", got)
	}
}
