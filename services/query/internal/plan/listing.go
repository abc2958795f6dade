// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// BuildSeries returns statements that find the label sets of a selection, a row each, as dimensions; none when nothing can
// match. limit is how many are wanted at most, 0 for all: where the service can tell which are the first, it returns no more.
func BuildSeries(f Facts, sel series.Selection, o Options, limit int) ([]Statement, error) {
	b, ok := newBuilder(f, sel, o)
	if !ok {
		return nil, nil
	}
	out := b.listing(limit, func(d *draft, measures []string, known bool, metric tssql.Expr) {
		p := b.project(d, measures, known)
		p.metric = metric
		b.order(d, p, nil)
	})
	statements, _, err := b.print(out)
	return statements, err
}

// BuildValues returns statements that find the values of one label over a selection: rows of one value, a Dimension of the
// label's name, or the Measure for the metric name, in order, or rows of packed labels. ok is false when the values can only be
// told from the series: BuildSeries finds those.
func BuildValues(f Facts, name string, sel series.Selection, o Options, limit int) (statements []Statement, ok bool, err error) {
	b, possible := newBuilder(f, sel, o)
	if !possible {
		return nil, true, nil
	}
	if !b.exact || !b.names.exact(o.NoRegexp) || b.packed != nil && b.labelMatchers > 0 {
		return nil, false, nil
	}
	isName := name == model.MetricNameLabel
	isColumn := promschema.CanBeColumn(name) && f.Columns.Dimension(name)
	var drafts []*draft
	if isName || isColumn {
		drafts = b.listing(limit, func(d *draft, _ []string, _ bool, metric tssql.Expr) {
			x := metric
			switch {
			case !isName:
				x = column(name)
				d.forget()
				d.group(Output{Role: Dimension, Name: name}, x, "")
				d.conditions = append(d.conditions, fixed(&tssql.IsNull{X: x, Not: true}))
			case metric == nil:
				x = column(timestream.ColumnMeasureName)
				d.group(Output{Role: Measure}, x, "")
			}
			d.Query.OrderBy, d.Sorted = []tssql.OrderItem{{Expr: x}}, true
		})
	}
	if b.packed != nil && !isName {
		drafts = append(drafts, b.listing(0, func(d *draft, _ []string, _ bool, _ tssql.Expr) {
			d.forget()
			b.groupPacked(d)
			d.conditions = append(d.conditions, fixed(b.packedHas(promschema.PackedName(name))))
		})...)
	}
	statements, weakened, err := b.print(drafts)
	return statements, !weakened, err
}

// BuildNames returns statements that find the label names of a selection: rows of one value for each dimension, Any of its
// name, or rows of packed labels. ok is false when they can only be told from the series. packedOnly leaves out the first.
func BuildNames(f Facts, sel series.Selection, o Options, packedOnly bool) (statements []Statement, ok bool, err error) {
	b, possible := newBuilder(f, sel, o)
	if !possible {
		return nil, true, nil
	}
	if !b.exact || !b.names.exact(o.NoRegexp) || b.packed != nil && b.labelMatchers > 0 {
		return nil, false, nil
	}
	var drafts []*draft
	if !packedOnly {
		drafts = b.listing(0, func(d *draft, _ []string, _ bool, _ tssql.Expr) {
			d.forget()
			// The largest value tells that there is one, and needs no sample to be looked at.
			some := func(name string) tssql.Expr { return &tssql.Call{Name: "max", Args: []tssql.Expr{column(name)}} }
			d.add(Output{Role: Any}, some(timestream.ColumnMeasureName), "")
			for _, name := range f.Columns.Dimensions() {
				if promschema.CanBeColumn(name) {
					d.add(Output{Role: Any, Name: name}, some(name), "")
				}
			}
		})
	}
	if b.packed != nil {
		drafts = append(drafts, b.listing(0, func(d *draft, _ []string, _ bool, _ tssql.Expr) {
			d.forget()
			b.groupPacked(d)
			d.conditions = append(d.conditions, fixed(&tssql.IsNull{X: column(promschema.PackedDimension(0)), Not: true}))
		})...)
	}
	statements, weakened, err := b.print(drafts)
	return statements, !weakened, err
}

// BuildMetadata returns the statement that finds the metadata of a metric, or of all when it is empty; none when there is
// none. A row is an entry and the time when it was last stored.
func BuildMetadata(f Facts, metric string, startMs, endMs int64) ([]Statement, error) {
	if !f.Columns.Value(promschema.TypeAttribute) || !f.Columns.Dimension(promschema.NameDimension) {
		return nil, nil
	}
	sel := series.Selection{StartMs: startMs, EndMs: endMs}
	if metric != "" {
		sel.Matchers = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, metric)}
	}
	b, ok := newBuilder(f, sel, Options{})
	if !ok {
		return nil, nil
	}
	d := b.draft(Metadata)
	d.conditions = append(d.conditions, fixed(oneOf(column(timestream.ColumnMeasureName), b.names.extensionMeasures([]promschema.Family{promschema.MetadataFamily}, f.Measures), false)))
	d.conditions = append(d.conditions, b.timeConditions()...)
	d.conditions = append(d.conditions, b.names.metricConditions(false)...)
	d.group(Output{Role: Dimension, Name: promschema.NameDimension}, column(promschema.NameDimension), "")
	for _, o := range []Output{{MetricType, promschema.TypeAttribute}, {Help, promschema.HelpAttribute}, {Unit, promschema.UnitAttribute}} {
		if f.Columns.Value(o.Name) {
			d.group(Output{Role: o.Role}, column(o.Name), "")
		}
	}
	d.add(Output{Role: Time}, &tssql.Call{Name: "max", Args: []tssql.Expr{column(timestream.ColumnTime)}}, promschema.Prefix+"time")
	statements, _, err := b.print([]*draft{d})
	return statements, err
}

// listing drafts statements over plain records and over the sample extension that return no samples. shape projects one and
// sorts it; metric is the expression of the metric name when rows differ in it. Where the first rows are all that is wanted, those
// with packed labels, which the service cannot sort, are read apart.
func (b *builder) listing(limit int, shape func(d *draft, measures []string, known bool, metric tssql.Expr)) []*draft {
	var out []*draft
	for _, begin := range []func() (*draft, []string, bool, tssql.Expr, bool){b.listPlain, b.listExtension} {
		for _, packed := range []bool{false, true} {
			d, measures, known, metric, ok := begin()
			if !ok || packed && (b.packed == nil || limit == 0) {
				continue
			}
			shape(d, measures, known, metric)
			if b.packed != nil && limit > 0 {
				d.conditions = append(d.conditions, fixed(&tssql.IsNull{X: column(promschema.PackedDimension(0)), Not: packed}))
			}
			if limit > 0 && !packed && d.Sorted && b.exact && b.names.exact(b.options.NoRegexp) {
				n := int64(limit)
				d.Query.Limit = &n
			}
			out = append(out, d)
		}
	}
	return out
}

func (b *builder) listPlain() (*draft, []string, bool, tssql.Expr, bool) {
	if !b.facts.Columns.Value(valueColumn) {
		return nil, nil, false, nil, false
	}
	measures, known := b.names.plainMeasures(b.facts.Measures)
	if known && len(measures) == 0 {
		return nil, nil, false, nil, false
	}
	d := b.draft(Listing)
	d.conditions = append(d.conditions, b.names.plainNameCondition(measures, known, b.options.NoRegexp))
	d.conditions = append(d.conditions, b.timeConditions()...)
	for _, c := range b.labels {
		d.conditions = append(d.conditions, &condition{forms: c.forms})
	}
	d.conditions = append(d.conditions, fixed(&tssql.IsNull{X: column(valueColumn), Not: true}))
	var metric tssql.Expr
	if known && len(measures) == 1 {
		d.Measure = measures[0]
	} else {
		d.group(Output{Role: Measure}, column(timestream.ColumnMeasureName), "")
		metric = &tssql.Call{Name: "replace", Args: []tssql.Expr{column(timestream.ColumnMeasureName), text("--"), text(":")}}
	}
	return d, measures, known, metric, true
}

func (b *builder) listExtension() (*draft, []string, bool, tssql.Expr, bool) {
	measures := b.names.extensionMeasures([]promschema.Family{promschema.SampleFamily}, b.facts.Measures)
	if !b.facts.Columns.Dimension(promschema.NameDimension) || len(measures) == 0 {
		return nil, nil, false, nil, false
	}
	d := b.draft(Listing)
	d.Measure = measures[0]
	d.conditions = append(d.conditions, fixed(oneOf(column(timestream.ColumnMeasureName), measures, false)))
	d.conditions = append(d.conditions, b.timeConditions()...)
	d.conditions = append(d.conditions, b.names.metricConditions(b.options.NoRegexp)...)
	for _, c := range b.labels {
		d.conditions = append(d.conditions, &condition{forms: c.forms})
	}
	d.group(Output{Role: Dimension, Name: promschema.NameDimension}, column(promschema.NameDimension), "")
	return d, measures, true, column(promschema.NameDimension), true
}

// forget drops what is projected.
func (d *draft) forget() { d.Outputs, d.sel.Items, d.sel.GroupBy = nil, nil, nil }

// groupPacked makes the rows those of different packed labels.
func (b *builder) groupPacked(d *draft) {
	for i := range promschema.PackedDimensions {
		if name := promschema.PackedDimension(i); b.facts.Columns.Dimension(name) {
			d.group(Output{Role: Dimension, Name: name}, column(name), "")
		}
	}
}

// print prints drafts, and tells whether one had to be weakened, so that it returns rows that are not wanted. Such a one has no limit.
func (b *builder) print(drafts []*draft) (out []Statement, weakened bool, err error) {
	for _, d := range drafts {
		if err := d.fit(timestream.MaxQueryBytes); err != nil {
			return nil, false, err
		}
		if d.weakened && d.Query.Limit != nil {
			d.Query.Limit = nil
			if err := d.fit(timestream.MaxQueryBytes); err != nil {
				return nil, false, err
			}
		}
		weakened = weakened || d.weakened
		out = append(out, d.Statement)
	}
	return out, weakened, nil
}
