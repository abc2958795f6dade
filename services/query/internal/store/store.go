// SPDX-License-Identifier: Apache-2.0

// Package store finds series in Timestream: it puts together what is known of the table, the plan, the pages and the
// rows, and runs a selection again when one of them turns out to have been wrong. Protocols are left to others.
//
// A result is exact as of the moment at which the selection began, and is given out while it is read. What a statement takes
// for granted, the table's columns, may come from memory; but a statement sees the table as it was when its first page came,
// so the columns are read once more after the first rows are there and before any of them is given out, and if a column has
// appeared the selection runs again with it. Otherwise series that differ only in a label that is new to the table would be
// merged into one.
package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/result"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/budget"
	"github.com/tributary-project/tributary/services/query/internal/catalogue"
	"github.com/tributary-project/tributary/services/query/internal/pages"
	"github.com/tributary-project/tributary/services/query/internal/plan"
	"github.com/tributary-project/tributary/services/query/internal/rows"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Config is what bounds a store and where it reads.
type Config struct {
	// Database and Table are read where a selection names none.
	Database, Table string
	// MaxBytes bounds what all results together hold in memory.
	MaxBytes int64
	// CatalogueMaxAge is how old the columns may be that a result rests on; 0 means that they are read while it begins.
	CatalogueMaxAge time.Duration
	// CatalogueRefresh is how old the list of measure names may be where it only makes statements narrower and tells
	// whether the layout is newer.
	CatalogueRefresh time.Duration
	// Slices is in how many statements at once a long range is read, each of at least SliceMin.
	Slices   int
	SliceMin time.Duration
}

// Flags that move the limits, for error texts.
const (
	maxSamplesFlag = "storage.remote.read-sample-limit"
	maxBytesFlag   = budget.Flag
)

// runner runs one statement; see pages.Runner.
type runner interface {
	Run(ctx context.Context, kind, statement string, page func(*timestreamquery.QueryOutput) error) (pages.Stats, error)
	Rows(ctx context.Context, kind, statement string, kinds []result.Kind, row func(result.Row) error) (result.Stats, error)
}

// Store is a series.Selector over Timestream.
type Store struct {
	cfg       Config
	run       runner
	catalogue *catalogue.Catalogue
	budget    *budget.Budget
	now       func() time.Time
	logger    *slog.Logger

	decoder  *promschema.HistogramDecoder
	unsorted unsorted

	replans     *prometheus.CounterVec
	undecodable prometheus.Counter
	incomplete  prometheus.Counter
	unreadable  prometheus.Counter
}

var _ series.Selector = (*Store)(nil)

// New returns a store that runs its statements by run.
func New(cfg Config, run runner, now func() time.Time, logger *slog.Logger, reg prometheus.Registerer) *Store {
	f := promauto.With(reg)
	s := &Store{
		cfg: cfg, run: run, catalogue: catalogue.New(run, now, logger), budget: budget.New(cfg.MaxBytes), now: now, logger: logger,
		decoder:     promschema.NewHistogramDecoder(),
		replans:     f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_replans_total", Help: "Selections run again, by reason: row_too_large (shorter rows), columns (the table gained one), no_column, bad_regexp, rest (a metric gained a label), unsorted (the service does not sort as labels are)."}, []string{"reason"}),
		undecodable: f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_damaged_series_total", Help: "Stored label sets left out because they could not be decoded."}),
	}
	histograms := f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_damaged_histograms_total", Help: "Stored histograms left out, by reason: incomplete (a record of several is missing), unreadable."}, []string{"reason"})
	s.incomplete, s.unreadable = histograms.WithLabelValues("incomplete"), histograms.WithLabelValues("unreadable")
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "tributary_query_result_bytes", Help: "Approximate memory of results that are being put together or sent; --" + maxBytesFlag + " bounds it."}, func() float64 { return float64(s.budget.Held()) })
	return s
}

// Bounds on running a selection again.
const (
	maxColumnChanges = 5
	maxMissing       = 2
)

// table returns the table that is meant.
func (s *Store) table(database, name string) tssql.Table {
	return tssql.Table{Database: cmp.Or(database, s.cfg.Database), Name: cmp.Or(name, s.cfg.Table)}
}

// Select implements series.Selector. Every error is a *series.Error or the end of ctx.
func (s *Store) Select(ctx context.Context, sel series.Selection) (series.Set, error) {
	t := s.table(sel.Database, sel.Table)
	if sel.EndMs < sel.StartMs || sel.EndMs < 0 || sel.StartMs > timestream.MaxTimeMs {
		return nothing{}, nil
	}
	set, err := s.sel(ctx, t, sel)
	if err != nil {
		return nil, s.explain(ctx, t, err)
	}
	return set, nil
}

// sel runs the selection until what it took for granted holds.
func (s *Store) sel(ctx context.Context, t tssql.Table, sel series.Selection) (*set, error) {
	var out *set
	var stats series.Stats
	err := s.planned(ctx, t, sel.Matchers, func(f plan.Facts, o plan.Options, holds func(context.Context) error) error {
		set, err := s.begin(ctx, f, sel, o, holds)
		if err != nil {
			set.Close()
			for _, src := range set.sources {
				src.account(&stats)
			}
			return err
		}
		set.stats = stats
		out = set
		return nil
	})
	return out, err
}

// columnsError says that a table has other columns than were taken for granted.
type columnsError struct{ columns *catalogue.Columns }

// Error implements error.
func (*columnsError) Error() string { return "the columns of the table have changed" }

// planned calls attempt with what is known of the table, and again when that turns out to be wrong. holds tells whether the
// columns are still those of the facts; attempt must ask after its statements have begun, and return its error.
func (s *Store) planned(ctx context.Context, t tssql.Table, ms []*labels.Matcher, attempt func(f plan.Facts, o plan.Options, holds func(context.Context) error) error) error {
	began := s.now()
	measures, err := s.measures(ctx, t, plan.NeedsMeasures(ms), began)
	if err != nil {
		return err
	}
	columns, err := s.catalogue.Columns(ctx, t, time.Time{})
	if err != nil {
		return err
	}
	var (
		o                plan.Options
		changed, missing int
	)
	for {
		o.Unsorted = s.unsorted.has(t, s.now())
		holds := func(ctx context.Context) error {
			fresh, err := s.catalogue.Columns(ctx, t, s.now().Add(-s.cfg.CatalogueMaxAge))
			if err == nil && !fresh.Equal(columns) {
				err = &columnsError{fresh}
			}
			return err
		}
		err := attempt(plan.Facts{Table: t, Columns: columns, Measures: measures}, o, holds)
		var class pages.Class
		if e := (*pages.Error)(nil); errors.As(err, &e) {
			class = e.Class
		}
		var gained *columnsError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &gained):
			if changed++; changed > maxColumnChanges {
				return &series.Error{Kind: series.Unavailable, Text: fmt.Sprintf("the columns of table %s.%s changed %d times while it was read", t.Database, t.Name, changed)}
			}
			columns = gained.columns
			s.again("columns")
		case errors.Is(err, rows.ErrRest) && !o.AllColumns:
			o.AllColumns = true
			s.again("rest")
		case errors.Is(err, rows.ErrUnsorted) && !o.Unsorted:
			s.unsorted.add(t, s.now())
			s.again("unsorted")
		case class == pages.BadRegexp && !o.NoRegexp:
			s.logger.Warn("Timestream refused a regular expression; it is left to Prometheus' matchers", "matchers", fmt.Sprint(ms), "err", err)
			o.NoRegexp = true
			s.again("bad_regexp")
		case class == pages.NoColumn && missing < maxMissing:
			// The table was made anew, or the service does not show a column everywhere yet.
			missing++
			if columns, err = s.catalogue.Columns(ctx, t, s.now()); err != nil {
				return err
			}
			s.again("no_column")
		default:
			return err
		}
	}
}

// again notes that statements run again.
func (s *Store) again(reason string, more ...any) {
	s.replans.WithLabelValues(reason).Inc()
	s.logger.Debug("statements run again", append([]any{"reason", reason}, more...)...)
}

// begin runs the statements of a selection at the same time and waits until each has something, or has ended. The set is there
// to be closed even when there is an error.
func (s *Store) begin(ctx context.Context, f plan.Facts, sel series.Selection, o plan.Options, holds func(context.Context) error) (*set, error) {
	inner, cancel := context.WithCancelCause(ctx)
	out := &set{store: s, cancel: cancel, running: new(sync.WaitGroup), maxSamples: sel.MaxSamples}
	out.explain = func(err error) error { return s.explain(ctx, f.Table, err) }
	if sel.Kept {
		out.meter = s.budget.Meter()
	}
	// When columns have changed in the middle of a result it is too late to begin again.
	still := func(ctx context.Context) error {
		if err := holds(ctx); err != nil {
			return &series.Error{Kind: series.Unavailable, Text: "table " + f.Table.Database + "." + f.Table.Name + " was changed while it was read; try again", Err: err}
		}
		return nil
	}
	var samples, starts []*source
	for _, part := range s.slices(sel) {
		more, err := s.sources(f, part, o, plan.Build)
		if err != nil {
			return out, err
		}
		samples = append(samples, more...)
	}
	if sel.Starts && len(samples) > 0 {
		more, err := s.sources(f, sel, o, plan.BuildStarts)
		if err != nil {
			return out, err
		}
		starts = more
	}
	out.sources = append(append(out.sources, samples...), starts...)
	for _, src := range out.sources {
		src.holds, src.cancel = still, cancel
		out.running.Go(func() { src.run(inner) })
	}
	for _, src := range out.sources {
		<-src.ready
		if src.early != nil { // or what another failed with, which ended this one
			return out, src.early
		}
	}
	// That nothing can match was taken for granted too.
	if err := holds(inner); err != nil {
		return out, err
	}
	out.merger = rows.NewMerger(streams(samples), streams(starts))
	return out, nil
}

// sources makes the sources of a selection.
func (s *Store) sources(f plan.Facts, sel series.Selection, o plan.Options, build func(plan.Facts, series.Selection, plan.Options) ([]plan.Statement, error)) ([]*source, error) {
	statements, err := build(f, sel, o)
	if err != nil {
		return nil, err
	}
	out := make([]*source, len(statements))
	for i, st := range statements {
		out[i] = &source{
			store: s, statement: st, selection: sel, meter: s.budget.Meter(), ready: make(chan struct{}), pieces: make(chan *rows.Piece, piecesAhead),
			again: func(bin time.Duration) (plan.Statement, error) {
				o := o
				o.Bin = bin
				shorter, err := build(f, sel, o)
				for _, x := range shorter {
					if x.Kind == st.Kind {
						return x, err
					}
				}
				return plan.Statement{}, err
			},
		}
	}
	return out, nil
}

// streams returns what sources hand out.
func streams(sources []*source) []rows.Source {
	var out []rows.Source
	for _, s := range sources {
		if len(s.held) > 0 {
			out = append(out, &s.held)
		}
		out = append(out, s)
	}
	return out
}

// slices cuts a long selection into several of about equal length: the pages of one statement come one after the other.
func (s *Store) slices(sel series.Selection) []series.Selection {
	start, end := max(sel.StartMs, 0), min(sel.EndMs, s.now().UnixMilli())
	n := int64(1)
	if s.cfg.SliceMin > 0 && end > start {
		n = max(min(int64(s.cfg.Slices), (end-start)/s.cfg.SliceMin.Milliseconds()), 1)
	}
	width := (end-start)/n + 1
	if l := sel.LastPerStep; l != nil {
		width = (width + l.StepMs - 1) / l.StepMs * l.StepMs
	}
	if n == 1 || width > end-start {
		return []series.Selection{sel}
	}
	var out []series.Selection
	for from := start; from <= end; from += width {
		part := sel
		if from > start {
			part.StartMs, part.HistogramLeadMs = from, 0
		}
		if from+width <= end {
			part.EndMs = from + width - 1
		}
		out = append(out, part)
	}
	return out
}

// measures returns the measure names: as of now when a pattern has to be resolved, else as last known, which is good
// enough to make statements narrower and to refuse a newer layout.
func (s *Store) measures(ctx context.Context, t tssql.Table, resolve bool, began time.Time) (*catalogue.Measures, error) {
	after := began.Add(-s.cfg.CatalogueRefresh)
	if resolve {
		after = began.Add(-s.cfg.CatalogueMaxAge)
	}
	m, err := s.catalogue.Measures(ctx, t, after)
	if err != nil && !resolve && (pages.IsClass(err, pages.Throttled) || pages.IsClass(err, pages.Away)) {
		if known := s.catalogue.KnownMeasures(t); known != nil {
			m, err = known, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return m, m.Newer()
}

// damaged counts what had to be left out and words it for the caller.
func (s *Store) damaged(d rows.Damage) (warnings []string) {
	for _, d := range []struct {
		counter prometheus.Counter
		n       int
		text    string
		example error
	}{
		{s.undecodable, d.Labels, "stored label sets were left out because they cannot be decoded", d.Example},
		{s.unreadable, d.Histograms, "stored histograms were left out because they cannot be decoded", d.Example},
		{s.incomplete, d.Incomplete, "stored histograms were left out because a record of theirs is missing", d.Example},
	} {
		if d.n > 0 {
			d.counter.Add(float64(d.n))
			warnings = append(warnings, fmt.Sprintf("%d %s; the first damage found: %v", d.n, d.text, d.example))
		}
	}
	return warnings
}

// unsorted remembers the tables whose rows the service did not sort as labels are: what is read of them in the next minutes is sorted
// here. Values that hold a NUL or nothing at all can be the reason.
type unsorted struct {
	mu     sync.Mutex
	tables map[tssql.Table]time.Time
}

// unsortedFor is how long a table is remembered, maxUnsorted how many are.
const (
	unsortedFor = 10 * time.Minute
	maxUnsorted = 100
)

func (u *unsorted) has(t tssql.Table, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.tables[t]
	return ok && now.Sub(at) < unsortedFor
}

func (u *unsorted) add(t tssql.Table, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tables == nil || len(u.tables) >= maxUnsorted {
		u.tables = map[tssql.Table]time.Time{}
	}
	u.tables[t] = now
}

// explain turns any error into one for the caller. The end of the context stays what it is.
func (s *Store) explain(ctx context.Context, t tssql.Table, err error) error {
	var known *series.Error
	if errors.As(err, &known) || ctx.Err() != nil {
		return err
	}
	name := t.Database + "." + t.Name
	if errors.Is(err, rows.ErrUnsorted) {
		s.unsorted.add(t, s.now())
		return &series.Error{Kind: series.Unavailable, Text: "Timestream does not sort the rows of table " + name + " as labels are; for some minutes they are sorted here. Try again", Err: err}
	}
	if errors.Is(err, promschema.ErrNewerLayout) {
		return &series.Error{Kind: series.Unsupported, Text: "table " + name + " cannot be read", Err: err}
	}
	var e *pages.Error
	if !errors.As(err, &e) {
		return &series.Error{Kind: series.Internal, Text: "read of table " + name + " failed", Err: err}
	}
	configured := t.Database == s.cfg.Database && t.Name == s.cfg.Table
	switch e.Class {
	case pages.Throttled:
		return &series.Error{Kind: series.Unavailable, Text: "Timestream throttles the query service (tried again as often as --max-retries says)", Err: err}
	case pages.Away, pages.Failed:
		return &series.Error{Kind: series.Unavailable, Text: "Timestream did not answer the query on table " + name, Err: err}
	case pages.Denied:
		// The service's text names the principal: that is for the log, not for callers.
		s.logger.Warn("Timestream denies access", "database", t.Database, "table", t.Name, "err", err)
		return &series.Error{Kind: series.Unavailable, Text: "Timestream does not allow the query service to read table " + name + " (needed: timestream:Select on it and timestream:DescribeEndpoints); the log of the query service says more"}
	case pages.Credentials:
		return &series.Error{Kind: series.Unavailable, Text: "the AWS credentials of the query service do not work", Err: err}
	case pages.NoTable:
		if configured {
			return &series.Error{Kind: series.Unavailable, Text: "table " + name + " does not exist: create it, or name another by --default-database, --default-table and --region", Err: err}
		}
		return &series.Error{Kind: series.NotFound, Text: "table " + name + " does not exist", Err: err}
	case pages.NoColumn:
		return &series.Error{Kind: series.Unavailable, Text: "the columns of table " + name + " are changing", Err: err}
	case pages.RowTooLarge:
		return &series.Error{Kind: series.TooLarge, Text: "one second of one series is larger than a result row of Timestream may be (1 MB)", Err: err}
	case pages.TooMuch:
		return &series.Error{Kind: series.TooLarge, Text: "Timestream's own limit on query work (MaxQueryTCU of the account settings) was met; ask for a shorter range or fewer series", Err: err}
	}
	return &series.Error{Kind: series.Internal, Text: "Timestream refuses a statement of ours; this is a bug, please report it", Err: err}
}
