// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
)

func config() Config {
	return Config{Fixed: Fixed(), Packed: regexp.MustCompile("^(?:label_.+|annotation_.+)$"), MaxLabelColumns: 20}
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_700_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// tables answers the statements of a catalogue from columns and measures.
type tables struct {
	mu         sync.Mutex
	columns    [][]string // DESCRIBE
	measures   [][]string // SHOW MEASURES: name, type
	deny       []string   // prefixes of statements
	fail       string     // an error class for everything
	failStatus int
}

func (d *tables) answer(statement string) ([]string, [][]string, ingesttest.Reply) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != "" {
		return nil, nil, ingesttest.Reply{Class: d.fail, Status: d.failStatus, Message: "x-amz-security-token:SECRET"}
	}
	for _, p := range d.deny {
		if strings.HasPrefix(statement, p) {
			return nil, nil, ingesttest.Reply{Class: "AccessDeniedException", Status: 403, Message: "User: arn:aws:iam::1:user/u is not authorized"}
		}
	}
	switch {
	case strings.HasPrefix(statement, "DESCRIBE "):
		return []string{"Column", "Type", "Timestream attribute type"}, d.columns, ingesttest.Reply{}
	case strings.HasPrefix(statement, "SHOW MEASURES "):
		return []string{"measure_name", "data_type"}, d.measures, ingesttest.Reply{}
	case strings.HasPrefix(statement, "SELECT *\n"):
		var names []string
		for _, c := range d.columns {
			names = append(names, c[0])
		}
		return names, nil, ingesttest.Reply{}
	case strings.HasPrefix(statement, "SELECT DISTINCT \"measure_name\"\n"):
		var rows [][]string
		for _, m := range d.measures {
			rows = append(rows, m[:1])
		}
		return []string{"measure_name"}, rows, ingesttest.Reply{}
	}
	return nil, nil, ingesttest.Reply{Class: "ValidationException", Status: 400, Message: "statement " + statement}
}

func (d *tables) set(f func(*tables)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

func column(name, role string) []string { return []string{name, "varchar", role} }

func someTable() *tables {
	return &tables{
		columns: [][]string{
			column("job", "DIMENSION"), column("label_live", "DIMENSION"), column("__tributary_labels_1", "DIMENSION"), column("__name__", "DIMENSION"),
			column("measure_name", "MEASURE_NAME"), column("time", "TIMESTAMP"),
			{"measure_value::double", "double", "MEASURE_VALUE"}, {"attr", "double", "MULTI"}, {"__tributary_v", "double", "MULTI"},
		},
		measures: [][]string{{"up", "double"}, {"events", "multi"}, {"count", "bigint"}, {"__tributary_1_s_00", "multi"}},
	}
}

func newTable(t *testing.T, d *tables, cfg Config) (*Table, *ingesttest.Endpoint, *clock, *bytes.Buffer) {
	t.Helper()
	e := ingesttest.NewEndpoint(t)
	e.OnQuery(d.answer)
	c := newClock()
	var log bytes.Buffer
	return New("db", "table", cfg, e.Querier(), slog.New(slog.NewTextHandler(&log, nil)), c.now), e, c, &log
}

// granted checks who gets a column.
func granted(t *testing.T, c interface{ Dimension(string) bool }, want map[string]bool) {
	t.Helper()
	for l, w := range want {
		if got := c.Dimension(l); got != w {
			t.Errorf("column for %q: got %v, want %v", l, got, w)
		}
	}
}

func measures(t *testing.T, c interface{ Measure(string) bool }, want map[string]bool) {
	t.Helper()
	for m, w := range want {
		if got := c.Measure(m); got != w {
			t.Errorf("measure name %q: got %v, want %v", m, got, w)
		}
	}
}

func TestLoaded(t *testing.T) {
	tab, e, _, log := newTable(t, someTable(), config())
	tab.EnsureLoaded(context.Background(), 10*time.Second)
	if s := tab.State(); !s.Loaded || s.Degraded || s.Err != nil {
		t.Fatalf("state %+v", s)
	}
	if got, want := e.Queries(), []string{`DESCRIBE "db"."table"`, `SHOW MEASURES FROM "db"."table"`}; !slices.Equal(got, want) {
		t.Errorf("statements %q", got)
	}
	granted(t, tab, map[string]bool{"job": true, "label_live": true, "label_new": false, "annotation_x": false, "attr": false, "__tributary_v": false, "instance": true, "new": true})
	measures(t, tab, map[string]bool{"up": true, "events": false, "count": false, "new_metric": true})
	granted(t, tab.Seen(), map[string]bool{"job": true, "instance": false, "other": false, "attr": false})
	measures(t, tab.Seen(), map[string]bool{"up": true, "new_metric": false, "events": false})
	if log.Len() > 0 {
		t.Errorf("log: %s", log)
	}
	tab.EnsureLoaded(context.Background(), time.Second) // tried already
	if n := len(e.Queries()); n != 2 {
		t.Errorf("%d statements", n)
	}
}

func TestColumnBudget(t *testing.T) {
	cfg := config()
	cfg.MaxLabelColumns, cfg.Fixed = 3, append(Fixed(), "mine")
	tab := New("d", "t", cfg, nil, slog.New(slog.DiscardHandler), time.Now)
	granted(t, tab, map[string]bool{"label_x": false})
	for i, want := range []bool{true, true, true, false, false} {
		granted(t, tab, map[string]bool{fmt.Sprint("l", i): want})
	}
	// Given out once, given out for good; the fixed ones have room beyond.
	granted(t, tab, map[string]bool{"l0": true, "job": true, "instance": true, "mine": true, "l9": false})
	if tab.Generation() != 0 {
		t.Error("giving out columns changes no earlier answer")
	}

	// Fixed labels stop where the table would have no room for the layout's own dimensions.
	d := &tables{}
	for i := range 121 {
		d.columns = append(d.columns, column(fmt.Sprint("c", i), "DIMENSION"))
	}
	tab, _, _, _ = newTable(t, d, config())
	tab.EnsureLoaded(context.Background(), 10*time.Second)
	if !tab.Dimension("job") || tab.Dimension("instance") {
		t.Error("want room for exactly one more column")
	}
}

func TestMeasureBudget(t *testing.T) {
	tab := New("d", "t", config(), nil, slog.New(slog.DiscardHandler), time.Now)
	for i := range maxPlainMeasures {
		if !tab.Measure(fmt.Sprint("m", i)) {
			t.Fatalf("name %d is denied", i)
		}
	}
	measures(t, tab, map[string]bool{"one_more": false, "m0": true})
}

// The policy of the connector's users allows Select only.
func TestDeniedCatalogueIsReadFromTheData(t *testing.T) {
	d := someTable()
	d.deny = []string{"DESCRIBE", "SHOW"}
	tab, e, c, log := newTable(t, d, config())
	for range 3 {
		tab.Refresh(context.Background(), 0)
		c.pass(time.Hour)
	}
	if s := tab.State(); !s.Loaded || !s.Degraded || s.Err != nil {
		t.Fatalf("state %+v", s)
	}
	granted(t, tab, map[string]bool{"job": true, "label_live": true, "attr": false, "label_new": false})
	granted(t, tab.Seen(), map[string]bool{"job": true, "label_live": true, "measure_value::double": false})
	measures(t, tab, map[string]bool{"up": true, "new": true})
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one: %s", n, log)
	}
	// Neither select reads more than it must: Timestream charges for what it scans.
	if q := e.Queries(); !strings.Contains(q[1], `"time" < from_milliseconds(0)`) || !strings.Contains(q[3], `"time" > ago(24h)`) {
		t.Errorf("statements %q", q)
	}
	// What a refusal taught is not forgotten over names that come without their types.
	tab.DenyMeasure("events")
	tab.Refresh(context.Background(), 0)
	measures(t, tab, map[string]bool{"events": false})
}

func TestQueryEndpointAway(t *testing.T) {
	d := &tables{fail: "InternalServerException", failStatus: 500}
	tab, e, c, log := newTable(t, d, config())
	for range 3 {
		tab.EnsureLoaded(context.Background(), 10*time.Second)
	}
	if n := len(e.Queries()); n != 1 {
		t.Errorf("%d statements: the first request alone waits for a catalogue", n)
	}
	if s := tab.State(); s.Loaded || s.Err == nil {
		t.Errorf("state %+v", s)
	}
	granted(t, tab, map[string]bool{"job": true, "anything": true, "label_x": false})
	measures(t, tab, map[string]bool{"events": true})
	tab.Refresh(context.Background(), time.Minute) // too early
	if n := len(e.Queries()); n != 1 {
		t.Errorf("%d statements", n)
	}
	c.pass(time.Minute)
	tab.Refresh(context.Background(), time.Minute)
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one: %s", n, log)
	}
	// It comes back, and contradicts what was assumed: series have to be encoded again.
	before := tab.Generation()
	d.set(func(d *tables) { d.fail, d.columns, d.measures = "", someTable().columns, someTable().measures })
	c.pass(time.Minute)
	tab.Refresh(context.Background(), time.Minute)
	measures(t, tab, map[string]bool{"events": false, "up": true})
	if tab.Generation() == before {
		t.Error("the generation stands although an answer became wrong")
	}
	before = tab.Generation()
	c.pass(time.Minute)
	tab.Refresh(context.Background(), time.Minute)
	if tab.Generation() != before {
		t.Error("the generation changed although nothing did")
	}
}

// A scan of the data that failed is told from a statement that costs nothing: it is not tried again as soon.
func TestFailedScanIsKnownAsOne(t *testing.T) {
	d := someTable()
	d.deny = []string{"SHOW", "SELECT DISTINCT"}
	tab, _, _, _ := newTable(t, d, config())
	tab.Refresh(context.Background(), 0)
	if s := tab.State(); s.Loaded || !s.Degraded || s.Err == nil {
		t.Errorf("state %+v", s)
	}
	// The columns were read before it.
	granted(t, tab.Seen(), map[string]bool{"job": true, "instance": false})
	granted(t, tab, map[string]bool{"attr": false})
}

// AWS words a wrong signature with the request that was signed, session token included.
func TestSignatureIsNotLogged(t *testing.T) {
	tab, _, _, log := newTable(t, &tables{fail: "InvalidSignatureException", failStatus: 403}, config())
	tab.EnsureLoaded(context.Background(), 10*time.Second)
	if text := log.String(); strings.Contains(text, "SECRET") || !strings.Contains(text, "InvalidSignatureException") {
		t.Errorf("got %q", text)
	}
}

func TestLabelThatBecameAnAttribute(t *testing.T) {
	d := &tables{}
	tab, _, _, _ := newTable(t, d, config())
	tab.Refresh(context.Background(), 0)
	granted(t, tab, map[string]bool{"attr": true})
	d.set(func(d *tables) { d.columns = someTable().columns })
	tab.Refresh(context.Background(), 0)
	granted(t, tab, map[string]bool{"attr": false})
	if tab.Generation() == 0 {
		t.Error("the generation stands")
	}
}

func TestMissingTableIsEmpty(t *testing.T) {
	e := ingesttest.NewEndpoint(t) // says that the table does not exist
	tab := New("d", "t", config(), e.Querier(), slog.New(slog.DiscardHandler), time.Now)
	tab.EnsureLoaded(context.Background(), 10*time.Second)
	if s := tab.State(); !s.Loaded || s.Err != nil {
		t.Errorf("state %+v", s)
	}
}

func TestNewerLayoutIsAnError(t *testing.T) {
	d := someTable()
	d.measures = append(d.measures, []string{"__tributary_2_s_00", "multi"})
	tab, _, _, _ := newTable(t, d, config())
	tab.EnsureLoaded(context.Background(), 10*time.Second)
	if s := tab.State(); s.Err == nil || !strings.Contains(s.Err.Error(), "newer layout") {
		t.Errorf("state %+v", s)
	}
}

func TestFull(t *testing.T) {
	d := someTable()
	tab, _, _, _ := newTable(t, d, config())
	tab.Refresh(context.Background(), 0)
	granted(t, tab, map[string]bool{"given": true})
	measures(t, tab, map[string]bool{"given": true})
	tab.Full()
	tab.Full()
	if tab.Generation() != 1 {
		t.Errorf("generation %d, want 1", tab.Generation())
	}
	granted(t, tab, map[string]bool{"given": false, "new": false, "instance": false, "job": true})
	measures(t, tab, map[string]bool{"given": false, "new": false, "up": true})
	// A refresh that shows room makes room.
	tab.Refresh(context.Background(), 0)
	granted(t, tab, map[string]bool{"given": true, "new": true})
	measures(t, tab, map[string]bool{"given": true, "new": true})
}

func TestDenyMeasure(t *testing.T) {
	tab := New("d", "t", config(), nil, slog.New(slog.DiscardHandler), time.Now)
	measures(t, tab, map[string]bool{"m": true})
	tab.DenyMeasure("m")
	tab.DenyMeasure("m")
	tab.DenyMeasure("never_seen")
	measures(t, tab, map[string]bool{"m": false, "never_seen": false})
	if tab.Generation() != 2 {
		t.Errorf("generation %d, want 2", tab.Generation())
	}
}

// A hanging endpoint holds the first request up for its patience, and no longer.
func TestPatience(t *testing.T) {
	e := ingesttest.NewEndpoint(t)
	e.OnQuery(func(string) ([]string, [][]string, ingesttest.Reply) { return nil, nil, ingesttest.Reply{Hang: true} })
	tab := New("d", "t", config(), e.Querier(), slog.New(slog.DiscardHandler), time.Now)
	tab.EnsureLoaded(context.Background(), 50*time.Millisecond)
	if s := tab.State(); s.Loaded || s.Err == nil {
		t.Errorf("state %+v", s)
	}
}
