// SPDX-License-Identifier: Apache-2.0

// Package catalogue knows which columns and measure names a Timestream table has, and decides within the table's limits
// which labels become columns and which metrics get a measure name of their own. What a series becomes with that is
// promschema's business.
//
// What it says is a matter of cost, never of correctness: a wrong answer makes Timestream refuse records, which makes the
// caller report it here, refresh, and encode anew. So it works from whatever it can read, and from nothing.
package catalogue

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tableinfo"
)

// Fixed are the labels that get a column before all others: what most people select by.
func Fixed() []string {
	return []string{"job", "instance", "le", "quantile", "namespace", "pod", "container", "node", "service", "cluster"}
}

const (
	// maxLabelColumns leaves room for the dimensions of the layout: the metric name of extension records, the
	// placeholder of a series without labels, and the packed labels.
	maxLabelColumns = timestream.MaxDimensionsPerTable - 2 - promschema.PackedDimensions
	// maxPlainMeasures leaves room for the families of extension measures.
	maxPlainMeasures = timestream.MaxMeasureNamesPerTable - promschema.Families*promschema.SampleBuckets
)

// MaxLabelColumns is the largest value that Config.MaxLabelColumns may have.
const MaxLabelColumns = maxLabelColumns

// Config says how columns are given out.
type Config struct {
	// Fixed labels get columns first, even past MaxLabelColumns as long as the table has room.
	Fixed []string
	// Packed matches labels, anchored, that get no column unless the table has one of that name already.
	Packed *regexp.Regexp
	// MaxLabelColumns bounds the label columns of a table.
	MaxLabelColumns int
}

// Table is the catalogue of one table. It implements promschema.Columns and is safe for concurrent use.
type Table struct {
	// Database and Name identify the table.
	Database, Name string

	cfg    Config
	query  Querier
	logger *slog.Logger
	now    func() time.Time

	generation atomic.Uint64
	warned     atomic.Bool

	loading   chan struct{} // holds one token: the right to load
	lastTried atomic.Int64  // Unix nanoseconds, 0 before the first attempt

	mu         sync.Mutex
	loaded     bool
	degraded   bool
	err        error           // of the last load
	dimensions map[string]bool // label columns; false: given out here, not seen in the table yet
	measures   map[string]measure
	attributes map[string]bool // columns of multi-measure records
	plain      int             // measure names that are not of the layout
	dimsFull   bool            // the table refused a new column
	namesFull  bool            // the table refused a new measure name
}

// measure is what is known of a measure name.
type measure uint8

const (
	claimed measure = iota + 1 // given out here, not seen in the table yet
	double                     // bound to DOUBLE, or seen without its type
	other                      // bound to another type
)

// New returns an empty catalogue of a table. It reads nothing before EnsureLoaded or Refresh; query may be nil, it then
// never reads anything.
func New(database, name string, cfg Config, query Querier, logger *slog.Logger, now func() time.Time) *Table {
	return &Table{
		Database: database, Name: name,
		cfg: cfg, query: query, logger: logger.With("database", database, "table", name), now: now,
		loading:    make(chan struct{}, 1),
		dimensions: map[string]bool{}, measures: map[string]measure{}, attributes: map[string]bool{},
	}
}

var _ promschema.Columns = (*Table)(nil)

// Generation changes whenever an earlier answer of Dimension or Measure may have become wrong or needlessly dear: series
// encoded before have to be encoded again.
func (t *Table) Generation() uint64 { return t.generation.Load() }

// Dimension implements promschema.Columns: it gives out columns.
func (t *Table) Dimension(label string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	live, known := t.dimensions[label]
	switch {
	case t.attributes[label]:
		return false // a column is a dimension or an attribute, not both
	case known:
		return live || !t.dimsFull
	case t.dimsFull:
		return false
	case slices.Contains(t.cfg.Fixed, label):
		known = len(t.dimensions) < maxLabelColumns
	case t.cfg.Packed != nil && t.cfg.Packed.MatchString(label):
		return false
	default:
		known = len(t.dimensions) < t.cfg.MaxLabelColumns
	}
	if known {
		t.dimensions[label] = false
	}
	return known
}

// Measure implements promschema.Columns: it gives out measure names.
func (t *Table) Measure(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.measures[name] {
	case double:
		return true
	case other:
		return false
	case claimed:
		return !t.namesFull
	}
	if t.namesFull || t.plain >= maxPlainMeasures {
		return false
	}
	t.measures[name] = claimed
	t.plain++
	return true
}

// Seen returns a view that gives out nothing new: only what the table is known to have. What is encoded with it cannot hit
// the table's limits on names, except by the layout's own.
func (t *Table) Seen() promschema.Columns { return seen{t} }

type seen struct{ t *Table }

func (s seen) Dimension(label string) bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.t.dimensions[label] && !s.t.attributes[label]
}

func (s seen) Measure(name string) bool {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.t.measures[name] == double
}

// DenyMeasure says that the table has bound this measure name to another type than DOUBLE: its samples go to the sample
// extension from now on.
func (t *Table) DenyMeasure(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.measures[name] == other {
		return
	}
	if t.measures[name] == 0 {
		t.plain++
	}
	t.measures[name] = other
	t.generation.Add(1)
}

// Full says that the table took records encoded with Seen that it had refused before: it has no room for new names. None
// are given out, and those given out but never seen in the table are taken back, until the next refresh.
func (t *Table) Full() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dimsFull && t.namesFull {
		return
	}
	t.dimsFull, t.namesFull = true, true
	t.generation.Add(1)
}

// State says how a catalogue came by what it knows.
type State struct {
	// Loaded: it has been read at least once.
	Loaded bool
	// Degraded: DESCRIBE or SHOW MEASURES is denied, so it was read from the data.
	Degraded bool
	// Err is what the last attempt to read it met.
	Err error
}

// State returns the present state.
func (t *Table) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return State{t.loaded, t.degraded, t.err}
}

// EnsureLoaded reads the catalogue when nobody has tried yet, or waits while somebody does. It returns after patience at
// the latest; without a catalogue, encoding is optimistic.
func (t *Table) EnsureLoaded(ctx context.Context, patience time.Duration) {
	if t.lastTried.Load() != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t.refresh(ctx, func() bool { return t.lastTried.Load() == 0 })
}

// Refresh reads the catalogue unless it was tried within the last minAge.
func (t *Table) Refresh(ctx context.Context, minAge time.Duration) {
	due := func() bool {
		last := t.lastTried.Load()
		return last == 0 || t.now().Sub(time.Unix(0, last)) >= minAge
	}
	if due() {
		t.refresh(ctx, due)
	}
}

// refresh reads the catalogue, one at a time, if it is still due when its turn comes.
func (t *Table) refresh(ctx context.Context, due func() bool) {
	select {
	case t.loading <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-t.loading }()
	if t.query == nil || !due() {
		return
	}
	found, err := t.read(ctx)
	t.lastTried.Store(t.now().UnixNano())
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.err
	t.err = err
	changed := t.applyColumns(found)
	if err == nil {
		changed = t.applyNames(found) || changed
	}
	if changed {
		t.generation.Add(1)
	}
	if err != nil {
		t.degraded = t.degraded || found.degraded // trying again costs
		level := slog.LevelWarn
		if before != nil {
			level = slog.LevelDebug // said already
		}
		t.logger.Log(ctx, level, "cannot read the catalogue of the table; writing goes on with what is known of it", "err", loggable(err))
		return
	}
	t.loaded, t.degraded = true, found.degraded
	if found.degraded && t.warned.CompareAndSwap(false, true) {
		t.logger.Warn("the catalogue of the table cannot be read with DESCRIBE and SHOW MEASURES; columns and names are read from the data instead", "reason", found.why)
	}
}

// applyColumns takes over the columns that were read, if they were, and tells whether that contradicts what was answered
// before. The caller holds the lock.
func (t *Table) applyColumns(f found) (changed bool) {
	if f.dimensions == nil {
		return false
	}
	for name := range f.attributes {
		if _, asLabel := t.dimensions[name]; asLabel {
			delete(t.dimensions, name)
			changed = true
		}
	}
	for name := range f.dimensions {
		t.dimensions[name] = true
	}
	if t.dimsFull {
		// What it refused then is decided by the numbers again.
		t.dimsFull, changed = false, true
		if len(t.dimensions) >= maxLabelColumns {
			for name, live := range t.dimensions {
				if !live {
					delete(t.dimensions, name)
				}
			}
		}
	}
	t.attributes = f.attributes
	return changed
}

// applyNames does the same with the measure names.
func (t *Table) applyNames(f found) (changed bool) {
	for name, m := range f.measures {
		before := t.measures[name]
		if before == 0 {
			t.plain++
		}
		if m == other && before != 0 && before != other {
			changed = true
		}
		if before == other && f.degraded {
			continue // a name read without its type says less than the refusal did
		}
		t.measures[name] = m
	}
	if t.namesFull {
		t.namesFull, changed = false, true
		if t.plain >= maxPlainMeasures {
			for name, m := range t.measures {
				if m == claimed {
					delete(t.measures, name)
					t.plain--
				}
			}
		}
	}
	return changed
}

// found is what was read of a table. Maps are nil whose part was not read.
type found struct {
	dimensions map[string]bool
	attributes map[string]bool
	measures   map[string]measure // without those of the layout
	degraded   bool
	why        error
}

// columns notes the columns. Dimensions of the layout have room of their own. What may be an attribute counts as one:
// its label is packed then, which costs, whereas a record with a dimension of that name would be refused.
func (f *found) columns(c tableinfo.Columns) {
	f.dimensions, f.attributes = map[string]bool{}, map[string]bool{}
	for _, name := range c.Dimensions {
		if name != promschema.NameDimension && !promschema.IsLayoutDimension(name) {
			f.dimensions[name] = true
		}
	}
	for _, name := range slices.Concat(c.Values, c.Unclear) {
		if !strings.HasPrefix(name, timestream.ColumnMeasureValue) {
			f.attributes[name] = true
		}
	}
}

// names notes the measure names. An error says that the table is of a newer layout.
func (f *found) names(list []tableinfo.Measure) error {
	f.measures = make(map[string]measure, len(list))
	for _, m := range list {
		kind, err := promschema.ClassifyMeasure(m.Name)
		if err != nil {
			return fmt.Errorf("table refused: %w", err)
		}
		if kind != promschema.PlainMeasure {
			continue
		}
		f.measures[m.Name] = other
		if m.Double {
			f.measures[m.Name] = double
		}
	}
	return nil
}
