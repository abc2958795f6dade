// SPDX-License-Identifier: Apache-2.0

// Package store finds series in Timestream: it puts together what is known of the table, the plan, the pages and the
// rows, and runs a selection again when one of them turns out to have been wrong. Protocols are left to others.
//
// A result is exact as of the moment at which the selection began. What a statement takes for granted, the table's
// columns, may come from memory; but before a result is given out the columns are read once more, after the last
// row, and if a column has appeared the selection runs again with it. Otherwise series that differ only in a label that is
// new to the table would be merged into one.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/errgroup"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"

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
	// MaxSamples bounds the samples of one selection; 0 means no bound.
	MaxSamples int64
	// MaxBytes bounds what all results together hold in memory.
	MaxBytes int64
	// CatalogueMaxAge is how old the columns may be that a result rests on; 0 means that they are read after the result.
	CatalogueMaxAge time.Duration
	// CatalogueRefresh is how old the list of measure names may be where it only makes statements narrower and tells
	// whether the layout is newer.
	CatalogueRefresh time.Duration
}

// Flags that move the limits, for error texts.
const (
	maxSamplesFlag = "storage.remote.read-sample-limit"
	maxBytesFlag   = "query.max-result-bytes"
)

// runner runs one statement; see pages.Runner.
type runner interface {
	Run(ctx context.Context, kind, statement string, page func(*timestreamquery.QueryOutput) error) (pages.Stats, error)
}

// Store is a series.Selector over Timestream.
type Store struct {
	cfg       Config
	run       runner
	catalogue *catalogue.Catalogue
	budget    *budget
	now       func() time.Time
	logger    *slog.Logger

	decoder *promschema.HistogramDecoder

	replans    *prometheus.CounterVec
	damaged    prometheus.Counter
	incomplete prometheus.Counter
	unreadable prometheus.Counter
}

var _ series.Selector = (*Store)(nil)

// New returns a store that runs its statements by run.
func New(cfg Config, run runner, now func() time.Time, logger *slog.Logger, reg prometheus.Registerer) *Store {
	f := promauto.With(reg)
	s := &Store{
		cfg: cfg, run: run, catalogue: catalogue.New(run, now, logger), budget: &budget{limit: cfg.MaxBytes}, now: now, logger: logger,
		decoder: promschema.NewHistogramDecoder(),
		replans: f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_replans_total", Help: "Selections run again, by reason: row_too_large (shorter rows), columns (the table gained one), no_column, bad_regexp, rest (a metric gained a label)."}, []string{"reason"}),
		damaged: f.NewCounter(prometheus.CounterOpts{Name: "tributary_query_damaged_series_total", Help: "Stored label sets left out because they could not be decoded."}),
	}
	histograms := f.NewCounterVec(prometheus.CounterOpts{Name: "tributary_query_damaged_histograms_total", Help: "Stored histograms left out, by reason: incomplete (a record of several is missing), unreadable."}, []string{"reason"})
	s.incomplete, s.unreadable = histograms.WithLabelValues("incomplete"), histograms.WithLabelValues("unreadable")
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "tributary_query_result_bytes", Help: "Approximate memory of results that are being put together or sent; --" + maxBytesFlag + " bounds it."}, func() float64 { return float64(s.budget.held.Load()) })
	return s
}

// Bounds on running a selection again. Rows can be shortened as often as plan.Halve allows.
const (
	maxColumnChanges = 5
	maxMissing       = 2
)

// Select implements series.Selector. Every error is a *series.Error or the end of ctx.
func (s *Store) Select(ctx context.Context, sel series.Selection) (series.Set, error) {
	t := tssql.Table{Database: sel.Database, Name: sel.Table}
	if t.Database == "" {
		t.Database = s.cfg.Database
	}
	if t.Name == "" {
		t.Name = s.cfg.Table
	}
	if sel.EndMs < sel.StartMs || sel.EndMs < 0 || sel.StartMs > timestream.MaxTimeMs {
		return &set{}, nil
	}
	m := &meter{budget: s.budget, maxSamples: s.cfg.MaxSamples}
	out, err := s.sel(ctx, t, sel, m)
	if err != nil {
		m.release()
		return nil, s.explain(ctx, t, err)
	}
	out.meter = m
	return out, nil
}

// sel runs the selection until what it took for granted holds.
func (s *Store) sel(ctx context.Context, t tssql.Table, sel series.Selection, m *meter) (*set, error) {
	began := s.now()
	measures, err := s.measures(ctx, t, plan.NeedsMeasures(sel.Matchers), began)
	if err != nil {
		return nil, err
	}
	columns, err := s.catalogue.Columns(ctx, t, time.Time{})
	if err != nil {
		return nil, err
	}
	var (
		o                plan.Options
		stats            series.Stats
		changed, missing int
	)
	again := func(reason string) {
		s.replans.WithLabelValues(reason).Inc()
		s.logger.Debug("selection runs again", "reason", reason, "database", t.Database, "table", t.Name, "bin", o.Bin)
		m.release()
	}
	for {
		statements, err := plan.Build(plan.Facts{Table: t, Columns: columns, Measures: measures}, sel, o)
		if err != nil {
			return nil, err
		}
		collectors, err := s.attempt(ctx, statements, sel, m, &stats)
		var class pages.Class
		if e := (*pages.Error)(nil); errors.As(err, &e) {
			class = e.Class
		}
		switch {
		case err == nil:
			fresh, err := s.catalogue.Columns(ctx, t, s.now().Add(-s.cfg.CatalogueMaxAge))
			if err != nil {
				return nil, err
			}
			if fresh.Equal(columns) {
				return s.finish(collectors, stats), nil
			}
			if changed++; changed > maxColumnChanges {
				return nil, &series.Error{Kind: series.Unavailable, Text: fmt.Sprintf("the columns of table %s.%s changed %d times while it was read", t.Database, t.Name, changed)}
			}
			columns = fresh
			again("columns")
		case errors.Is(err, rows.ErrRest) && !o.AllColumns:
			o.AllColumns = true
			again("rest")
		case class == pages.RowTooLarge:
			if o.Bin == 0 {
				o.Bin = plan.DefaultBin
			}
			shorter, ok := plan.Halve(o.Bin)
			if !ok {
				return nil, err
			}
			o.Bin = shorter
			again("row_too_large")
		case class == pages.BadRegexp && !o.NoRegexp:
			s.logger.Warn("Timestream refused a regular expression; it is left to Prometheus' matchers", "matchers", fmt.Sprint(sel.Matchers), "err", err)
			o.NoRegexp = true
			again("bad_regexp")
		case class == pages.NoColumn && missing < maxMissing:
			// The table was made anew, or the service does not show a column everywhere yet.
			missing++
			if columns, err = s.catalogue.Columns(ctx, t, s.now()); err != nil {
				return nil, err
			}
			again("no_column")
		default:
			return nil, err
		}
	}
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

// attempt runs the statements at the same time.
func (s *Store) attempt(ctx context.Context, statements []plan.Statement, sel series.Selection, m *meter, stats *series.Stats) ([]*rows.Collector, error) {
	g, ctx := errgroup.WithContext(ctx)
	collectors := make([]*rows.Collector, len(statements))
	took := make([]pages.Stats, len(statements))
	for i, st := range statements {
		c := rows.NewCollector(st, sel, s.decoder, m)
		collectors[i] = c
		g.Go(func() (err error) {
			took[i], err = s.run.Run(ctx, st.Kind.String(), st.Text, func(out *timestreamquery.QueryOutput) error { return c.Add(out.Rows) })
			if err != nil {
				return err
			}
			return c.Complete()
		})
	}
	err := g.Wait()
	for _, p := range took {
		stats.Queries++
		stats.Pages += p.Pages
		stats.MeteredBytes += p.MeteredBytes
	}
	return collectors, err
}

// finish merges what was found.
func (s *Store) finish(collectors []*rows.Collector, stats series.Stats) *set {
	out := &set{stats: stats}
	var damage rows.Damage
	for _, c := range collectors {
		damage.Add(c.Damage())
	}
	for _, d := range []struct {
		counter prometheus.Counter
		n       int
		text    string
	}{
		{s.damaged, damage.Labels, "stored label sets were left out because they cannot be decoded"},
		{s.unreadable, damage.Histograms, "stored histograms were left out because they cannot be decoded"},
		{s.incomplete, damage.Incomplete, "stored histograms were left out because a record of theirs is missing"},
	} {
		if d.n > 0 {
			d.counter.Add(float64(d.n))
			out.warnings = append(out.warnings, fmt.Sprintf("%d %s; the first damage found: %v", d.n, d.text, damage.Example))
		}
	}
	r := rows.Merge(collectors...)
	out.series, out.stats.Conflicts = r.Series, r.Conflicts
	return out
}

// explain turns any error into one for the caller. The end of the context stays what it is.
func (s *Store) explain(ctx context.Context, t tssql.Table, err error) error {
	var known *series.Error
	if errors.As(err, &known) || ctx.Err() != nil {
		return err
	}
	name := t.Database + "." + t.Name
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
