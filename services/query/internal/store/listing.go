// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/result"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/budget"
	"github.com/tributary-project/tributary/services/query/internal/plan"
	"github.com/tributary-project/tributary/services/query/internal/rows"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

var (
	_ series.Lister         = (*Store)(nil)
	_ series.ExemplarReader = (*Store)(nil)
	_ series.MetadataReader = (*Store)(nil)
)

// listing is one listing on its way.
type listing struct {
	store *Store
	table tssql.Table
	scope series.Scope
	meter *budget.Meter
	info  series.Info
}

// list runs a listing; an empty range has nothing in it. What is counted for its result is held until the caller
// releases it; after an error nothing is.
func (s *Store) list(ctx context.Context, scope series.Scope, f func(*listing) error) (series.Info, error) {
	l := &listing{store: s, table: s.table(scope.Database, scope.Table), scope: scope, meter: s.budget.Meter()}
	if scope.EndMs < scope.StartMs || scope.EndMs < 0 || scope.StartMs > timestream.MaxTimeMs {
		return l.info, nil
	}
	if err := f(l); err != nil {
		l.meter.Release()
		return l.info, s.explain(ctx, l.table, err)
	}
	l.info.Free = l.meter.Release
	return l.info, nil
}

// planned is Store.planned; what an attempt took that turned out to be wrong is given back before the next.
func (l *listing) planned(ctx context.Context, ms []*labels.Matcher, attempt func(f plan.Facts, o plan.Options, holds func(context.Context) error) error) error {
	return l.store.planned(ctx, l.table, ms, func(f plan.Facts, o plan.Options, holds func(context.Context) error) error {
		before := l.meter.Held()
		err := attempt(f, o, holds)
		if err != nil {
			l.meter.Return(l.meter.Held() - before)
		}
		return err
	})
}

// selections returns the scope as selections.
func (l *listing) selections() []series.Selection {
	sets := l.scope.Selectors
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	out := make([]series.Selection, len(sets))
	for i, ms := range sets {
		out[i] = series.Selection{Database: l.table.Database, Table: l.table.Name, Matchers: ms, StartMs: l.scope.StartMs, EndMs: l.scope.EndMs}
	}
	return out
}

// wanted is how many the service is asked for: one more than the limit tells that there are more.
func (l *listing) wanted() int {
	if l.scope.Limit <= 0 {
		return 0
	}
	return l.scope.Limit + 1
}

// truncated is the warning that Prometheus gives too.
const truncated = "results truncated due to limit"

// cut leaves as many as are wanted.
func cut[T any](l *listing, all []T) []T {
	if n := l.scope.Limit; n > 0 && len(all) > n {
		l.info.Warnings = append(l.info.Warnings, truncated)
		all = all[:n]
	}
	return all
}

// taker takes the rows of one statement.
type taker func(result.Row) error

// all runs statements at the same time; what each finds goes to its taker.
func (l *listing) all(ctx context.Context, statements []plan.Statement, take func(int) taker) error {
	g, ctx := errgroup.WithContext(ctx)
	took := make([]result.Stats, len(statements))
	for i, st := range statements {
		take := take(i)
		g.Go(func() (err error) {
			took[i], err = l.store.run.Rows(ctx, st.Kind.String(), st.Text, st.Kinds(), take)
			return err
		})
	}
	err := g.Wait()
	for _, p := range took {
		l.info.Stats.Queries++
		l.info.Stats.Pages += p.Pages
		l.info.Stats.MeteredBytes += p.MeteredBytes
	}
	return err
}

// Series implements series.Lister.
func (s *Store) Series(ctx context.Context, scope series.Scope) (out []labels.Labels, info series.Info, err error) {
	info, err = s.list(ctx, scope, func(l *listing) error {
		found, err := l.series(ctx)
		out = cut(l, found)
		return err
	})
	return out, info, err
}

// find runs the statements of every selection of the scope. The rows of each go to a finder of its own, which begin makes.
func find[F any](ctx context.Context, l *listing, build func(plan.Facts, series.Selection, plan.Options) ([]plan.Statement, error), begin func(plan.Statement, series.Selection) (F, taker, *rows.Damage)) ([]F, error) {
	var all []F
	var damage rows.Damage
	for _, sel := range l.selections() {
		err := l.planned(ctx, sel.Matchers, func(f plan.Facts, o plan.Options, holds func(context.Context) error) error {
			statements, err := build(f, sel, o)
			if err != nil {
				return err
			}
			found := make([]F, len(statements))
			damages := make([]*rows.Damage, len(statements))
			if err := l.all(ctx, statements, func(i int) (take taker) {
				found[i], take, damages[i] = begin(statements[i], sel)
				return take
			}); err != nil {
				return err
			}
			if err := holds(ctx); err != nil {
				return err
			}
			for _, d := range damages {
				damage.Add(*d)
			}
			all = append(all, found...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	l.info.Warnings = append(l.info.Warnings, l.store.damaged(damage)...)
	return all, nil
}

// series returns the label sets of the scope, and at least one more than the limit if there are more.
func (l *listing) series(ctx context.Context) ([]labels.Labels, error) {
	found, err := find(ctx, l, func(f plan.Facts, sel series.Selection, o plan.Options) ([]plan.Statement, error) {
		return plan.BuildSeries(f, sel, o, l.wanted())
	}, func(st plan.Statement, sel series.Selection) (*rows.LabelSets, taker, *rows.Damage) {
		x := &rows.LabelSets{Statement: st, Matchers: sel.Matchers, Meter: l.meter}
		return x, x.Row, &x.Damage
	})
	return rows.MergeLabelSets(found...), err
}

// LabelValues implements series.Lister. Without selectors, the names of metrics that have plain records come from the list that the
// table keeps, which costs nothing; some of them may have no sample in the range any more.
func (s *Store) LabelValues(ctx context.Context, name string, scope series.Scope) (out []string, info series.Info, err error) {
	info, err = s.list(ctx, scope, func(l *listing) error {
		found := &rows.Texts{Name: name, Meter: l.meter}
		if name == model.MetricNameLabel && len(scope.Selectors) == 0 {
			err := l.names(ctx, found)
			out = cut(l, slices.Sorted(maps.Keys(found.Found)))
			return err
		}
		for _, sel := range l.selections() {
			ok, err := l.texts(ctx, sel, found, func(f plan.Facts, o plan.Options) ([]plan.Statement, bool, error) {
				return plan.BuildValues(f, name, sel, o, l.wanted())
			})
			if err == nil && !ok {
				err = l.fromSeries(ctx, sel, func(ls labels.Labels) error { return found.Add(ls.Get(name)) })
			}
			if err != nil {
				return err
			}
		}
		out = cut(l, slices.Sorted(maps.Keys(found.Found)))
		return nil
	})
	return out, info, err
}

// names finds all metric names.
func (l *listing) names(ctx context.Context, found *rows.Texts) error {
	measures, err := l.store.measures(ctx, l.table, true, l.store.now())
	if err != nil {
		return err
	}
	extended := false
	for _, m := range measures.All() {
		switch kind, _ := promschema.ClassifyMeasure(m.Name); { //nolint:errcheck // measures has refused newer layouts
		case kind == promschema.PlainMeasure && m.Double:
			metric := promschema.MetricName(m.Name)
			if canonical, ok := promschema.MeasureName(metric); ok && canonical == m.Name {
				if err := found.Add(metric); err != nil {
					return err
				}
			}
		case kind == promschema.SampleExtension:
			extended = true
		}
	}
	if !extended && measures.Complete() {
		return nil
	}
	sel := series.Selection{StartMs: l.scope.StartMs, EndMs: l.scope.EndMs}
	_, err = l.texts(ctx, sel, found, func(f plan.Facts, o plan.Options) ([]plan.Statement, bool, error) {
		if measures.Complete() {
			// The plain ones are known.
			f.Columns = f.Columns.Without(timestream.ColumnMeasureValue + "::double")
		}
		return plan.BuildValues(f, model.MetricNameLabel, sel, o, l.wanted())
	})
	return err
}

// LabelNames implements series.Lister. Without selectors, they are the columns of the table, which cost nothing, and the names
// of packed labels; some may be of no series in the range any more.
func (s *Store) LabelNames(ctx context.Context, scope series.Scope) (out []string, info series.Info, err error) {
	info, err = s.list(ctx, scope, func(l *listing) error {
		found := &rows.Texts{Meter: l.meter}
		all := len(scope.Selectors) == 0
		if all {
			if err := l.columns(ctx, found); err != nil {
				return err
			}
		}
		for _, sel := range l.selections() {
			ok, err := l.texts(ctx, sel, found, func(f plan.Facts, o plan.Options) ([]plan.Statement, bool, error) {
				return plan.BuildNames(f, sel, o, all)
			})
			if err == nil && !ok {
				err = l.fromSeries(ctx, sel, func(ls labels.Labels) error {
					var err error
					ls.Range(func(x labels.Label) {
						if err == nil {
							err = found.Add(x.Name)
						}
					})
					return err
				})
			}
			if err != nil {
				return err
			}
		}
		out = cut(l, slices.Sorted(maps.Keys(found.Found)))
		return nil
	})
	return out, info, err
}

// columns adds the labels that are columns.
func (l *listing) columns(ctx context.Context, found *rows.Texts) error {
	columns, err := l.store.catalogue.Columns(ctx, l.table, l.store.now().Add(-l.store.cfg.CatalogueMaxAge))
	if err != nil {
		return err
	}
	if columns.Empty() {
		return nil
	}
	if err := found.Add(model.MetricNameLabel); err != nil {
		return err
	}
	for _, name := range columns.Dimensions() {
		if promschema.CanBeColumn(name) {
			if err := found.Add(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// texts runs the statements of build into found; false when there are none that can tell.
func (l *listing) texts(ctx context.Context, sel series.Selection, found *rows.Texts, build func(plan.Facts, plan.Options) ([]plan.Statement, bool, error)) (possible bool, err error) {
	var damage rows.Damage
	err = l.planned(ctx, sel.Matchers, func(f plan.Facts, o plan.Options, holds func(context.Context) error) error {
		statements, ok, err := build(f, o)
		if possible = ok; err != nil || !ok {
			return err
		}
		own := l.store.budget.Meter() // what is found is counted once more in found
		defer own.Release()
		parts := make([]*rows.Texts, len(statements))
		if err := l.all(ctx, statements, func(i int) taker {
			parts[i] = &rows.Texts{Statement: statements[i], Name: found.Name, Meter: own}
			return parts[i].Row
		}); err != nil {
			return err
		}
		if err := holds(ctx); err != nil {
			return err
		}
		for _, p := range parts {
			damage.Add(p.Damage)
			for x := range p.Found {
				if err := found.Add(x); err != nil {
					return err
				}
			}
		}
		return nil
	})
	l.info.Warnings = append(l.info.Warnings, l.store.damaged(damage)...)
	return possible, err
}

// fromSeries calls f with every label set of a selection.
func (l *listing) fromSeries(ctx context.Context, sel series.Selection, f func(labels.Labels) error) error {
	meter := l.store.budget.Meter()
	defer meter.Release()
	one := &listing{store: l.store, table: l.table, meter: meter, scope: series.Scope{Selectors: [][]*labels.Matcher{sel.Matchers}, StartMs: sel.StartMs, EndMs: sel.EndMs}}
	found, err := one.series(ctx)
	l.info.Stats.Queries += one.info.Stats.Queries
	l.info.Stats.Pages += one.info.Stats.Pages
	l.info.Stats.MeteredBytes += one.info.Stats.MeteredBytes
	l.info.Warnings = append(l.info.Warnings, one.info.Warnings...)
	for _, ls := range found {
		if err := f(ls); err != nil {
			return err
		}
	}
	return err
}

// Exemplars implements series.ExemplarReader.
func (s *Store) Exemplars(ctx context.Context, scope series.Scope) (out []series.Exemplars, info series.Info, err error) {
	info, err = s.list(ctx, scope, func(l *listing) error {
		found, err := find(ctx, l, plan.BuildExemplars, func(st plan.Statement, sel series.Selection) (*rows.Exemplars, taker, *rows.Damage) {
			x := &rows.Exemplars{LabelSets: rows.LabelSets{Statement: st, Matchers: sel.Matchers, Meter: l.meter}, StartMs: sel.StartMs, EndMs: sel.EndMs}
			return x, x.Row, &x.Damage
		})
		if err != nil {
			return err
		}
		out = cut(l, rows.MergeExemplars(found...))
		return nil
	})
	return out, info, err
}

// Metadata implements series.MetadataReader.
func (s *Store) Metadata(ctx context.Context, scope series.Scope, metric string) (out []series.MetricMetadata, info series.Info, err error) {
	info, err = s.list(ctx, scope, func(l *listing) error {
		return l.planned(ctx, nil, func(f plan.Facts, _ plan.Options, _ func(context.Context) error) error {
			// Metadata needs columns that a table may only just have gained.
			fresh, err := s.catalogue.Columns(ctx, l.table, s.now().Add(-s.cfg.CatalogueMaxAge))
			if err != nil {
				return err
			}
			f.Columns = fresh
			statements, err := plan.BuildMetadata(f, metric, scope.StartMs, scope.EndMs)
			if err != nil || len(statements) == 0 {
				return err
			}
			found := &rows.Metadata{Statement: statements[0], Meter: l.meter}
			if err := l.all(ctx, statements, func(int) taker { return found.Row }); err != nil {
				return fmt.Errorf("metadata: %w", err)
			}
			l.info.Warnings = append(l.info.Warnings, s.damaged(found.Damage)...)
			out = cut(l, found.Result())
			return nil
		})
	})
	return out, info, err
}
