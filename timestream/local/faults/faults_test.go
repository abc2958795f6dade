// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"flag"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var (
	_ flag.Value   = (*Injector)(nil)
	_ http.Handler = (*Injector)(nil)
)

// write and read are calls without a table.
var write, read = Call{Operation: "WriteRecords"}, Call{Operation: "Query"}

// ruleText is a plan and what it is shown as, or what is wrong with it.
type ruleText struct{ give, want, bad string }

// check reads the plan, and what it is shown as.
func (c ruleText) check(t *testing.T) {
	t.Helper()
	var i Injector
	err := i.Set(c.give)
	if c.bad != "" {
		if err == nil || !strings.Contains(err.Error(), c.bad) {
			t.Errorf("%q: got %v, want %q", c.give, err, c.bad)
		}
		return
	}
	if err != nil || i.String() != c.want {
		t.Errorf("%q: got %q, %v, want %q", c.give, i.String(), err, c.want)
		return
	}
	var again Injector
	if err := again.Set(i.String()); err != nil || again.String() != i.String() {
		t.Errorf("%q: %q reads as %q, %v", c.give, i.String(), again.String(), err)
	}
}

func TestPlans(t *testing.T) {
	for _, c := range []ruleText{
		{give: "", want: ""},
		{give: " , ", want: ""},
		{give: "seed=7", want: ""}, // nothing fails
		{give: "throttle=0,latency=0s", want: ""},
		{give: "throttle=0.05,error=0.05,latency=20ms..80ms,lost-answer=0.02,reject=0.01,seed=7", want: "throttle=0.05,error=0.05,reject=0.01,lost-answer=0.02,latency=20ms..80ms,seed=7"},
		{give: "invalid-endpoint=1x, unavailable=1,cut=0.5,validation=0.25,late=1,latency=1s,seed=0", want: "cut=0.5,unavailable=1,invalid-endpoint=1x,validation=0.25,late=1,latency=1s,seed=0"},
		{give: "write.throttle=1,query.error=2x,query.latency=1ms,seed=1", want: "write.throttle=1,query.error=2x,query.latency=1ms,seed=1"},
		{give: "throttle=1,query.throttle=0.5,seed=1", want: "write.throttle=1,query.throttle=0.5,seed=1"},
		{give: "throttle=1,throttle=0.5,seed=1", want: "throttle=0.5,seed=1"},
		{give: "write.reject=0.5,seed=1", want: "reject=0.5,seed=1"},
		{give: "# a bad day\nthrottle=1,seed=1 # half of it; cut=1\n\t#error=1\nerror=1x,seed=2,# once", want: "throttle=1,seed=1; error=1x,seed=2"},
		{give: `error=1,text="no # \" # more",seed=1 # "`, want: `error=1,text="no # \" # more",seed=1`},
		{give: "error=1,text=a#b,seed=1", want: `error=1,text="a#b",seed=1`},
		{give: "query.reject=0.5", bad: "reject is about writes"},
		{give: "throttle", bad: `"throttle": want kind=value`},
		{give: "thrott=1", bad: `unknown kind "thrott"`},
		{give: "read.throttle=1", bad: `unknown operation "read"`},
		{give: "throttle=1.5", bad: "probability"}, {give: "throttle=-0.1", bad: "probability"}, {give: "throttle=NaN", bad: "probability"}, {give: "throttle=", bad: "probability"},
		{give: "throttle=0x", bad: "number of calls"}, {give: "throttle=x", bad: "number of calls"},
		{give: "latency=20", bad: "duration"}, {give: "latency=80ms..20ms", bad: "shorter one first"}, {give: "latency=-1s", bad: "shorter one first"},
		{give: "error=1,seed=-1", bad: "number from 0"},
	} {
		c.check(t)
	}
}

func FuzzSet(f *testing.F) {
	f.Add("throttle=0")
	f.Add("throttle=0.05,error=3x,latency=20ms..80ms,write.lost-answer=0.02,reject=0.01,seed=7")
	f.Add("seed=7;id=a,table=d.*|e.f,*.throttle=0..80%..0,over=2m,after=1s,for=30s,calls=9;write.rate=5..50/s,burst=3,over=1m\nquery.empty-page=1")
	f.Add(`error=1,text="a, b; \" c",latency=p50:20ms/p99:400ms/1s,latency-after=1%:pareto:1ms/1.5`)
	f.Add("error=1,text=\"# \" # a\n#b;cut=1")
	f.Add("reject-share=0.1,reason=window,hide=30s,Describe*.latency=normal:1s/100ms,CreateTable.ConflictException=3x")
	f.Fuzz(func(t *testing.T, text string) {
		var i, again Injector
		if i.Set(text) != nil {
			return
		}
		if err := again.Set(i.String()); err != nil || again.String() != i.String() {
			t.Errorf("%q: %q reads as %q, %v", text, i.String(), again.String(), err)
		}
	})
}

// A bad plan leaves the one in force alone.
func TestSetKeepsThePlanOnError(t *testing.T) {
	var i Injector
	if err := i.Set("cut=1,seed=1"); err != nil {
		t.Fatal(err)
	}
	if err := i.Set("cut=2"); err == nil || i.String() != "cut=1,seed=1" {
		t.Errorf("got %v, %q", err, &i)
	}
}

func TestNoPlanLetsPass(t *testing.T) {
	var none *Injector
	if d := none.Decide(write); d != (Decision{}) || none.String() != "" {
		t.Errorf("got %+v", d)
	}
	if d := new(Injector).Decide(read); d != (Decision{}) {
		t.Errorf("got %+v", d)
	}
}

// One seed is one sequence, and each kind comes as often as its probability says.
func TestDecide(t *testing.T) {
	const plan = "cut=0.1,lost-answer=0.2,reject=0.3,late=0.4,latency=10ms..20ms,seed=42"
	const n = 20_000
	var a, b Injector
	if err := a.Set(plan); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(plan); err != nil {
		t.Fatal(err)
	}
	var cut, lost, lostCut, reject, late float64
	var delay time.Duration
	for range n {
		d := a.Decide(write)
		if other := b.Decide(write); d != other {
			t.Fatalf("one seed, two decisions: %+v and %+v", d, other)
		}
		if d.Delay < 10*time.Millisecond || d.Delay > 20*time.Millisecond || d.Pick < 0 || d.Pick >= 1 {
			t.Fatalf("got %+v", d)
		}
		delay += d.Delay
		if d.Replaced {
			if d.Instead != Cut || d.Reject || d.Late || d.Lost {
				t.Fatalf("got %+v", d)
			}
			cut++
		}
		count(&reject, d.Reject)
		count(&late, d.Late)
		count(&lost, d.Lost)
		count(&lostCut, d.Lost && d.LostCut)
	}
	for name, c := range map[string]struct{ got, want float64 }{
		"cut": {cut / n, 0.1}, "reject": {reject / n, 0.9 * 0.3}, "late": {late / n, 0.9 * 0.4}, "lost": {lost / n, 0.9 * 0.2}, "lost by cut": {lostCut / n, 0.9 * 0.1},
		"delay": {delay.Seconds() / n, 0.015},
	} {
		if math.Abs(c.got-c.want) > 0.05*c.want+0.005 {
			t.Errorf("%s: %v, want about %v", name, c.got, c.want)
		}
	}
}

func count(n *float64, hit bool) {
	if hit {
		*n++
	}
}

func TestNumberOfCallsAndScope(t *testing.T) {
	var i Injector
	if err := i.Set("write.throttle=2x,query.error=1x,late=1x,seed=1"); err != nil {
		t.Fatal(err)
	}
	if d := i.Decide(read); !d.Replaced || d.Instead != Error {
		t.Errorf("query: %+v", d)
	}
	if d := i.Decide(read); d.Replaced || d.Late {
		t.Errorf("second query: %+v", d)
	}
	for n := range 2 {
		if d := i.Decide(write); !d.Replaced || d.Instead != Throttle {
			t.Errorf("write %d: %+v", n, d)
		}
	}
	if d := i.Decide(write); d.Replaced || !d.Late {
		t.Errorf("third write: %+v", d)
	}
	if d := i.Decide(write); d.Replaced || d.Late || d.Lost || d.Reject || d.Delay != 0 {
		t.Errorf("fourth write: %+v", d)
	}
	if got := i.String(); got != "" {
		t.Errorf("left is %q", got)
	}
}

func TestHTTP(t *testing.T) {
	var i Injector
	do := func(method, body string) (int, string) {
		w := httptest.NewRecorder()
		i.ServeHTTP(w, httptest.NewRequest(method, "/faults", strings.NewReader(body)))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{http.MethodGet, "", 200, ""},
		{http.MethodPut, "throttle=0.5,seed=3\n", 200, "throttle=0.5,seed=3"},
		{http.MethodGet, "", 200, "throttle=0.5,seed=3"},
		{http.MethodPut, "nonsense", 400, `"nonsense": want kind=value` + "\n" + Syntax},
		{http.MethodGet, "", 200, "throttle=0.5,seed=3"},
		{http.MethodPatch, "", 405, "want GET, PUT, POST, DELETE"},
		{http.MethodDelete, "", 200, ""},
		{http.MethodGet, "", 200, ""},
	} {
		if status, text := do(c.method, c.body); status != c.status || text != c.want {
			t.Errorf("%s %q: got %d %q, want %d %q", c.method, c.body, status, text, c.status, c.want)
		}
	}
	if status, _ := do(http.MethodPut, strings.Repeat(" ", maxPlanBytes+1)); status != 400 {
		t.Errorf("a plan that is too long: got %d", status)
	}
}

func BenchmarkDecideWithoutPlan(b *testing.B) {
	var i Injector
	b.ReportAllocs()
	for b.Loop() {
		if i.Decide(write).Replaced {
			b.Fatal("a fault without a plan")
		}
	}
}
