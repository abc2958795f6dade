// SPDX-License-Identifier: Apache-2.0

// Package plan turns a selection of series in Prometheus' terms into Timestream SQL: one statement for each way in which
// samples are stored. The statements never find less than Prometheus' matchers do; they may find more where SQL or
// the service's regular expressions cannot say the same. Running them, reading their rows and matching once more are
// left to others, and so is knowing the table.
package plan

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/result"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/catalogue"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Facts is what is known of the table.
type Facts struct {
	Table   tssql.Table
	Columns *catalogue.Columns
	// Measures may be nil. It must be as fresh as the result has to be when NeedsMeasures says so; otherwise it only
	// makes the statements narrower, and any age will do.
	Measures *catalogue.Measures
}

// Options moves a plan away from the usual when a statement failed.
type Options struct {
	// Unsorted leaves out the order of the rows.
	Unsorted bool
	// Bin is the longest stretch of time whose samples of one series come in one row. 0 means DefaultBin.
	Bin time.Duration
	// NoRegexp leaves regular expressions to Prometheus' matchers.
	NoRegexp bool
	// AllColumns projects every label column of the table.
	AllColumns bool
}

// DefaultBin is the Bin to begin with: at 15 s between samples a row of it takes 45 KB, at one second 650 KB. A row may
// take 1 MB (Timestream API Reference, Query).
const DefaultBin = 2 * time.Hour

// MinBin is the shortest Bin: at one sample a millisecond a row of it takes 90 KB.
const MinBin = time.Second

// Kind is a way in which samples are stored.
type Kind uint8

// The kinds of statement.
const (
	// Plain reads single-measure records.
	Plain Kind = iota
	// Extension reads the sample extension.
	Extension
	// Starts reads start timestamps of float samples.
	Starts
	// Exemplars reads exemplars, Metadata metadata.
	Exemplars
	Metadata
	// Listing finds out what series there are.
	Listing
)

// String returns the kind's name in metrics.
func (k Kind) String() string {
	return [...]string{"plain", "extension", "starts", "exemplars", "metadata", "listing"}[k]
}

// Role is what a column of a result holds.
type Role uint8

// The roles of columns.
const (
	// Dimension is the dimension Output.Name, a label or packed labels.
	Dimension Role = iota
	// Measure is the measure name.
	Measure
	// Rest is true when the row has a dimension that was not asked for, which must not be.
	Rest
	// Samples is a time series of doubles.
	Samples
	// Time is the time of a single sample.
	Time
	// Value is the double of a single sample, or NULL.
	Value
	// Bits are the IEEE 754 bits of a single sample as a bigint, or NULL.
	Bits
	// Histogram is the text of a native histogram or its beginning, or NULL.
	Histogram
	// Histogram2 and Histogram3 are what the text goes on with, in rows of their own; or NULL.
	Histogram2
	Histogram3
	// Start is a start timestamp in milliseconds as a bigint, or NULL.
	Start
	// ExemplarLabels are the labels of an exemplar.
	ExemplarLabels
	// Any is not NULL when some record has the dimension Output.Name, or when there is any record if that is empty.
	Any
	// MetricType, Help and Unit are metadata, or NULL.
	MetricType
	Help
	Unit
)

// Output is one column of a result.
type Output struct {
	Role Role
	Name string
}

// Statement is one statement and how to read its result.
type Statement struct {
	Kind  Kind
	Query *tssql.Query
	// Text is Query as SQL.
	Text string
	// Outputs are the columns of the result, in order.
	Outputs []Output
	// Measure is the measure name of all rows when no column holds it.
	Measure string
	// Bin is the longest stretch of time in one row; 0 when a row holds one sample.
	Bin time.Duration
	// Sorted says that the rows come sorted: those with packed labels first, in any order, and then the others by their labels as
	// labels.Compare has them, and by time.
	Sorted bool
}

// Kinds are the kinds of the columns of the result.
func (s *Statement) Kinds() []result.Kind {
	kinds := make([]result.Kind, len(s.Outputs))
	for i, o := range s.Outputs {
		if o.Role == Samples {
			kinds[i] = result.Doubles
		}
	}
	return kinds
}

// maxNames is how many metric names are listed in one statement.
const maxNames = 2000

// minNarrow is how many label columns have to be dropped to be worth the watch over them: see builder.project.
const minNarrow = 16

// ErrTooLong says that the projection alone does not fit a statement.
var ErrTooLong = errors.New("the statement is longer than Timestream takes (256 KiB)")

// Build returns the statements of a selection; none when nothing can match.
func Build(f Facts, sel series.Selection, o Options) ([]Statement, error) {
	b, ok := newBuilder(f, sel, o)
	if !ok {
		return nil, nil
	}
	return b.build(b.plain, b.extension)
}

// BuildStarts returns the statement that finds the start timestamps of the float samples of a selection; none when there are
// none. Its range begins earlier, with what is in force at the first sample.
func BuildStarts(f Facts, sel series.Selection, o Options) ([]Statement, error) {
	sel.StartMs = max(sel.StartMs, 0) - promschema.StartAgeMs
	b, ok := newBuilder(f, sel, o)
	if !ok {
		return nil, nil
	}
	return b.build(b.starts)
}

// BuildExemplars returns the statement that finds the exemplars of a selection; none when there are none.
func BuildExemplars(f Facts, sel series.Selection, o Options) ([]Statement, error) {
	b, ok := newBuilder(f, sel, o)
	if !ok {
		return nil, nil
	}
	return b.build(b.exemplars)
}

// newBuilder reads a selection; false when nothing can match.
func newBuilder(f Facts, sel series.Selection, o Options) (*builder, bool) {
	wide := o.Bin == 0
	if wide {
		o.Bin = DefaultBin
	}
	sel.StartMs = max(sel.StartMs, 0)
	sel.EndMs = min(sel.EndMs, timestream.MaxTimeMs)
	if sel.StartMs > sel.EndMs {
		return nil, false
	}
	b := &builder{facts: f, sel: sel, options: o, names: nameMatchers(sel.Matchers), exact: true, wide: wide}
	if b.names.finite && len(b.names.list) == 0 {
		return nil, false
	}
	b.packed = packedText(f.Columns.Dimension)
	for _, m := range sel.Matchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		c, ok := b.labelCondition(m)
		if !ok {
			return nil, false
		}
		if c != nil {
			b.labels = append(b.labels, c)
		}
	}
	return b, true
}

// build drafts statements and prints them.
func (b *builder) build(drafts ...func() (*draft, bool)) ([]Statement, error) {
	var out []*draft
	for _, f := range drafts {
		if d, ok := f(); ok {
			out = append(out, d)
		}
	}
	statements, _, err := b.print(out)
	return statements, err
}

type builder struct {
	facts   Facts
	sel     series.Selection
	options Options
	names   names
	packed  tssql.Expr
	labels  []*condition
	// exact says that the conditions let no other row pass, as long as it has no packed labels.
	exact         bool
	labelMatchers int
	// wide says that no row has been too large yet.
	wide bool
}

// valueColumn is the column of single-measure DOUBLE records. It exists once such a record was written.
const valueColumn = timestream.ColumnMeasureValue + "::double"

// plain drafts the statement over plain records; false when none can match.
func (b *builder) plain() (*draft, bool) {
	if !b.facts.Columns.Value(valueColumn) {
		return nil, false
	}
	measures, known := b.names.plainMeasures(b.facts.Measures)
	if known && len(measures) == 0 {
		return nil, false
	}
	d := b.draft(Plain)
	d.conditions = append(d.conditions, b.names.plainNameCondition(measures, known, b.options.NoRegexp))
	d.conditions = append(d.conditions, b.timeConditions()...)
	for _, c := range b.labels {
		d.conditions = append(d.conditions, &condition{forms: c.forms})
	}
	d.conditions = append(d.conditions, fixed(&tssql.IsNull{X: column(valueColumn), Not: true}))

	if known && len(measures) == 1 {
		d.Measure = measures[0]
	} else {
		d.group(Output{Role: Measure}, column(timestream.ColumnMeasureName), "")
	}
	p := b.project(d, measures, known)
	d.Bin = b.options.Bin
	at, value := column(timestream.ColumnTime), column(valueColumn)
	if l := b.sel.LastPerStep; l != nil && l.StepMs >= minStepMs {
		at, value = d.last(l)
		if b.wide {
			d.Bin = max(d.Bin, pointsPerRow*time.Duration(l.StepMs)*time.Millisecond)
		}
	}
	var bin tssql.Expr
	if b.sel.EndMs-b.sel.StartMs >= d.Bin.Milliseconds() {
		bin = &tssql.Call{Name: "bin", Args: []tssql.Expr{at, interval(d.Bin)}}
		d.outer.GroupBy = append(d.outer.GroupBy, bin)
	}
	d.addOuter(Output{Role: Samples}, &tssql.Call{Name: "CREATE_TIME_SERIES", Args: []tssql.Expr{at, value}}, promschema.Prefix+"samples")
	if d.Measure == "" {
		p.metric = &tssql.Call{Name: "replace", Args: []tssql.Expr{column(timestream.ColumnMeasureName), text("--"), text(":")}}
	}
	b.order(d, p, bin)
	return d, true
}

// extension drafts the statement over extension records; false when none can match.
func (b *builder) extension() (*draft, bool) {
	cols := b.facts.Columns
	var values []Output
	var families []promschema.Family
	for _, c := range []struct {
		role   Role
		name   string
		family promschema.Family
	}{
		{Value, promschema.ValueAttribute, promschema.SampleFamily},
		{Bits, promschema.BitsAttribute, promschema.SampleFamily},
		{Histogram, promschema.HistogramAttribute, promschema.SampleFamily},
		{Histogram2, promschema.HistogramAttribute2, promschema.SampleFamily2},
		{Histogram3, promschema.HistogramAttribute3, promschema.SampleFamily3},
	} {
		if cols.Value(c.name) {
			values = append(values, Output{c.role, c.name})
			families = append(families, c.family)
		}
	}
	from := b.sel.StartMs
	if b.facts.Columns.Value(promschema.HistogramAttribute) {
		from = max(from-b.sel.HistogramLeadMs, 0)
	}
	d, p, ok := b.records(Extension, slices.Compact(families), from)
	if !ok {
		return nil, false
	}
	var stored tssql.Expr
	for _, o := range values {
		d.add(Output{Role: o.Role}, column(o.Name), "")
		stored = or(stored, &tssql.IsNull{X: column(o.Name), Not: true})
	}
	if b.sel.Starts && cols.Value(promschema.StartAttribute) && cols.Value(promschema.HistogramAttribute) {
		d.add(Output{Role: Start}, column(promschema.StartAttribute), "")
	}
	d.conditions = append(d.conditions, fixed(stored))
	b.order(d, p, column(timestream.ColumnTime))
	return d, true
}

// starts drafts the statement over start timestamps.
func (b *builder) starts() (*draft, bool) {
	if !b.facts.Columns.Value(promschema.StartAttribute) {
		return nil, false
	}
	d, p, ok := b.records(Starts, []promschema.Family{promschema.StartFamily}, b.sel.StartMs)
	if !ok {
		return nil, false
	}
	d.add(Output{Role: Start}, column(promschema.StartAttribute), "")
	d.conditions = append(d.conditions, fixed(&tssql.IsNull{X: column(promschema.StartAttribute), Not: true}))
	b.order(d, p, column(timestream.ColumnTime))
	return d, true
}

// exemplars drafts the statement over exemplars. They are sorted when they are all here.
func (b *builder) exemplars() (*draft, bool) {
	cols := b.facts.Columns
	if !cols.Value(promschema.ExemplarAttribute) {
		return nil, false
	}
	d, _, ok := b.records(Exemplars, []promschema.Family{promschema.ExemplarFamily}, b.sel.StartMs)
	if !ok {
		return nil, false
	}
	for _, o := range []Output{{Value, promschema.ValueAttribute}, {Bits, promschema.BitsAttribute}} {
		if cols.Value(o.Name) {
			d.add(Output{Role: o.Role}, column(o.Name), "")
		}
	}
	d.add(Output{Role: ExemplarLabels}, column(promschema.ExemplarAttribute), "")
	d.conditions = append(d.conditions, fixed(&tssql.IsNull{X: column(promschema.ExemplarAttribute), Not: true}))
	return d, true
}

// records drafts a statement whose rows are extension records of these families from fromMs on, without their attributes; false
// when none can match.
func (b *builder) records(k Kind, families []promschema.Family, fromMs int64) (*draft, projection, bool) {
	measures := b.names.extensionMeasures(families, b.facts.Measures)
	if !b.facts.Columns.Dimension(promschema.NameDimension) || len(measures) == 0 {
		return nil, projection{}, false
	}
	d := b.draft(k)
	d.Measure = measures[0]
	d.conditions = append(d.conditions, fixed(oneOf(column(timestream.ColumnMeasureName), measures, false)))
	d.conditions = append(d.conditions, b.timeConditionsFrom(fromMs)...)
	d.conditions = append(d.conditions, b.names.metricConditions(b.options.NoRegexp)...)
	for _, c := range b.labels {
		d.conditions = append(d.conditions, &condition{forms: c.forms})
	}
	d.add(Output{Role: Dimension, Name: promschema.NameDimension}, column(promschema.NameDimension), "")
	p := b.project(d, measures, true)
	p.metric = column(promschema.NameDimension)
	d.sel.GroupBy = nil // each row is a record
	d.add(Output{Role: Time}, column(timestream.ColumnTime), "")
	return d, p, true
}

// timeConditions bounds the time, functions around it would keep the service from skipping partitions (Timestream
// Developer Guide, queries-bp). The upper bound is the next millisecond, excluded: times may have nanoseconds.
func (b *builder) timeConditions() []*condition { return b.timeConditionsFrom(b.sel.StartMs) }

func (b *builder) timeConditionsFrom(startMs int64) []*condition {
	ms := func(n int64) tssql.Expr {
		return &tssql.Call{Name: "from_milliseconds", Args: []tssql.Expr{&tssql.Int{Value: n}}}
	}
	out := []*condition{fixed(binary(">=", column(timestream.ColumnTime), ms(startMs)))}
	if b.sel.EndMs < timestream.MaxTimeMs { // the millisecond after that is no timestamp, and nothing lies beyond
		out = append(out, fixed(binary("<", column(timestream.ColumnTime), ms(b.sel.EndMs+1))))
	}
	return out
}

// project adds the dimensions that hold labels. When the measures are known to have few of the table's many, only those
// are projected, and one column tells whether a row has any of the others, so that a list that is out of date cannot
// merge series that differ in one of them.
func (b *builder) project(d *draft, measures []string, known bool) projection {
	var all []string
	for _, name := range b.facts.Columns.Dimensions() {
		if holdsLabels(name) {
			all = append(all, name)
		}
	}
	dims, rest := all, []string(nil)
	if known && !b.options.AllColumns {
		if used, ok := b.dimensionsOf(measures); ok {
			dims, rest = nil, nil
			for _, name := range all {
				if used[name] {
					dims = append(dims, name)
				} else {
					rest = append(rest, name)
				}
			}
			if len(rest) < minNarrow {
				dims, rest = all, nil
			}
		}
	}
	for _, name := range dims {
		d.group(Output{Role: Dimension, Name: name}, column(name), "")
	}
	if len(rest) > 0 {
		args := make([]tssql.Expr, len(rest))
		for i, name := range rest {
			args[i] = column(name)
		}
		d.group(Output{Role: Rest}, &tssql.IsNull{X: &tssql.Call{Name: "coalesce", Args: args}, Not: true}, restAlias)
	}
	return projection{dims: dims, rest: len(rest) > 0}
}

// restAlias is the name of the column that tells of dimensions that were not asked for.
const restAlias = promschema.Prefix + "rest"

// projection is what of a series a statement projects.
type projection struct {
	dims []string // sorted
	rest bool
	// metric is the metric name; nil when all rows have the same.
	metric tssql.Expr
}

// holdsLabels tells whether a dimension is a label or packed labels.
func holdsLabels(name string) bool {
	if name == promschema.NameDimension {
		return false
	}
	for i := range promschema.PackedDimensions {
		if name == promschema.PackedDimension(i) {
			return true
		}
	}
	return !promschema.IsLayoutDimension(name)
}

// dimensionsOf returns the dimensions seen with any of the measures; false when those of one are not known.
func (b *builder) dimensionsOf(measures []string) (map[string]bool, bool) {
	if b.facts.Measures == nil {
		return nil, false
	}
	used := map[string]bool{}
	found := false
	for _, name := range measures {
		m, ok := b.facts.Measures.Get(name)
		if !ok {
			continue // if it exists by now, its rows show in the column for the rest
		}
		if m.Dimensions == nil {
			return nil, false
		}
		found = true
		for _, d := range m.Dimensions {
			used[d] = true
		}
	}
	return used, found
}

// draft is a statement in the making. sel reads the table; outer is the same, or reads what sel found.
type draft struct {
	Statement
	sel, outer *tssql.Select
	conditions []*condition
	// weakened says that fit had to let more rows pass than the selection.
	weakened bool
}

func (b *builder) draft(k Kind) *draft {
	sel := &tssql.Select{From: &tssql.TableRef{Table: b.facts.Table}}
	return &draft{Statement: Statement{Kind: k, Query: &tssql.Query{Body: sel}}, sel: sel, outer: sel}
}

func (d *draft) add(o Output, e tssql.Expr, alias string) {
	d.Outputs = append(d.Outputs, o)
	d.sel.Items = append(d.sel.Items, tssql.Item{Expr: e, Alias: alias})
}

func (d *draft) addOuter(o Output, e tssql.Expr, alias string) {
	d.Outputs = append(d.Outputs, o)
	d.outer.Items = append(d.outer.Items, tssql.Item{Expr: e, Alias: alias})
}

func (d *draft) group(o Output, e tssql.Expr, alias string) {
	d.add(o, e, alias)
	d.sel.GroupBy = append(d.sel.GroupBy, e)
}

// fit prints the statement, with the longest conditions weakened until it is at most limit bytes.
func (d *draft) fit(limit int) error {
	for {
		d.sel.Where = nil
		for _, c := range d.conditions {
			d.sel.Where = and(d.sel.Where, c.now())
		}
		d.Text = tssql.Print(d.Query)
		if len(d.Text) <= limit {
			return nil
		}
		longest, most := (*condition)(nil), math.MinInt
		for _, c := range d.conditions {
			if c.at+1 == len(c.forms) {
				continue
			}
			if n := len(tssql.PrintExpr(c.now())); n > most {
				longest, most = c, n
			}
		}
		switch {
		case longest != nil:
			longest.at++
			d.weakened = true
		case len(d.Query.OrderBy) > 0:
			d.Query.OrderBy, d.Sorted = nil, false
		default:
			return ErrTooLong
		}
	}
}

// interval returns a duration of whole milliseconds as a literal.
func interval(d time.Duration) tssql.Expr {
	for _, u := range []struct {
		unit string
		d    time.Duration
	}{{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if d%u.d == 0 {
			return &tssql.Interval{Count: int64(d / u.d), Unit: u.unit}
		}
	}
	return &tssql.Interval{Count: d.Milliseconds(), Unit: "ms"}
}

// Halve returns the next shorter Bin; false when there is none.
func Halve(d time.Duration) (time.Duration, bool) {
	if d <= MinBin {
		return d, false
	}
	return max((d / 2).Truncate(time.Second), MinBin), true
}
