// SPDX-License-Identifier: Apache-2.0

// Package randql makes random PromQL expressions for series that the caller describes. They are valid as far as their types go;
// what they are evaluated to may well be an error. How results are compared is left to the callers, who are told whether
// the order in which a storage returns series shows in them.
package randql

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schema is what expressions are about.
type Schema struct {
	// Gauges, Counters, Histograms (native) and Buckets (names of classic ones, with _bucket) are metric names. Values of the
	// gauges differ from each other at any time.
	Gauges, Counters, Histograms, Buckets []string
	// Labels are values by name of a label, hostile ones too. Patterns are regular expressions for any label.
	Labels   map[string][]string
	Patterns []string
	// Start and End bound the time of the samples.
	Start, End time.Time
}

// Expr is an expression.
type Expr struct {
	Text string
	// Inexact tells that floats of several series are added: how they are rounded depends on their order.
	Inexact bool
	// EitherZero tells that the least or the greatest of several series is taken: of 0 and -0 it is the one that comes first.
	EitherZero bool
	// Ordered tells that the order of a vector means something.
	Ordered bool
}

// Generator makes expressions.
type Generator struct {
	r      *rand.Rand
	schema Schema
	labels []string
}

// New returns a generator whose choices are those of r.
func New(r *rand.Rand, s Schema) *Generator {
	g := &Generator{r: r, schema: s}
	for name := range s.Labels {
		g.labels = append(g.labels, name)
	}
	// The order of a map would make the same seed give other expressions.
	slices.Sort(g.labels)
	return g
}

func (g *Generator) pick(of ...string) string { return of[g.r.IntN(len(of))] }

func (g *Generator) one(in int) bool { return g.r.IntN(in) == 0 }

// Next returns an expression.
func (g *Generator) Next() Expr {
	e := g.next()
	e.EitherZero = strings.Contains(e.Text, "min") || strings.Contains(e.Text, "max") || strings.Contains(e.Text, "quantile")
	return e
}

func (g *Generator) next() Expr {
	switch g.r.IntN(12) {
	case 0:
		return Expr{Text: g.pick("sort", "sort_desc") + "(" + g.selector(g.schema.Gauges, true) + ")", Ordered: true}
	case 1:
		// Where values are the same, which series are returned depends on their order; gauges differ.
		return Expr{Text: fmt.Sprintf("%s%s(%d, %s)", g.pick("topk", "bottomk"), g.grouping(), 1+g.r.IntN(4), g.selector(g.schema.Gauges, true))}
	case 2, 3:
		e := g.vector(1)
		if g.one(3) {
			e = g.histogram(1)
		}
		return Expr{Text: fmt.Sprintf("%s%s(%s)", g.pick("sum", "avg", "stddev", "stdvar"), g.grouping(), e), Inexact: true}
	case 4:
		return Expr{Text: fmt.Sprintf("histogram_quantile(%s, sum by (le, job) (rate(%s[%s])))", g.pick("0.5", "0.9", "0.99", "-1", "NaN"), g.selector(g.schema.Buckets, false), g.duration()), Inexact: true}
	case 5:
		return Expr{Text: g.scalar(2)}
	case 6:
		return Expr{Text: g.histogram(2)}
	default:
		return Expr{Text: g.vector(3)}
	}
}

// selector returns a vector selector.
func (g *Generator) selector(names []string, modified bool) string {
	name := names[g.r.IntN(len(names))]
	var matchers []string
	switch {
	case g.one(8):
		matchers = append(matchers, "__name__=~"+strconv.Quote(name[:len(name)-2]+".*"))
		name = ""
	case g.one(10):
		matchers = append(matchers, strconv.Quote(name))
		name = ""
	}
	for range max(0, g.r.IntN(5)-2) {
		matchers = append(matchers, g.matcher())
	}
	out := name
	if len(matchers) > 0 {
		out += "{" + strings.Join(matchers, ", ") + "}"
	}
	if modified {
		out += g.modifiers()
	}
	return out
}

func (g *Generator) matcher() string {
	name := g.labels[g.r.IntN(len(g.labels))]
	values := g.schema.Labels[name]
	value := values[g.r.IntN(len(values))]
	if g.one(8) {
		value = ""
	}
	if g.one(12) {
		name = "no such label"
	}
	quoted := strconv.Quote(name)
	switch g.r.IntN(6) {
	case 0:
		return quoted + "!=" + strconv.Quote(value)
	case 1:
		return quoted + "=~" + strconv.Quote(g.schema.Patterns[g.r.IntN(len(g.schema.Patterns))])
	case 2:
		return quoted + "!~" + strconv.Quote(g.schema.Patterns[g.r.IntN(len(g.schema.Patterns))])
	default:
		return quoted + "=" + strconv.Quote(value)
	}
}

func (g *Generator) modifiers() string {
	var out string
	if g.one(6) {
		out += " offset " + g.pick("", "-") + g.duration()
	}
	switch g.r.IntN(14) {
	case 0:
		out += " @ start()"
	case 1:
		out += " @ end()"
	case 2:
		out += fmt.Sprintf(" @ %.3f", float64(g.schema.Start.UnixMilli()+g.r.Int64N(g.schema.End.Sub(g.schema.Start).Milliseconds()))/1000)
	}
	return out
}

func (g *Generator) duration() string {
	return g.pick("30s", "1m", "90s", "2m", "5m", "7m", "10m", "31m", "1h", "1500ms", "29999ms", "1m1ms")
}

// ranged returns a range vector of these metrics, a selector or a subquery.
func (g *Generator) ranged(names []string, depth int) string {
	if depth > 0 && g.one(5) {
		return fmt.Sprintf("(%s)[%s:%s]%s", g.vector(depth-1), g.duration(), g.pick("", "30s", "1m", "47s"), g.modifiers())
	}
	return g.selector(names, false) + "[" + g.duration() + "]" + g.modifiers()
}

func (g *Generator) floats() []string {
	switch g.r.IntN(4) {
	case 0:
		return g.schema.Counters
	case 1:
		return g.schema.Buckets
	default:
		return g.schema.Gauges
	}
}

// any returns metrics of some kind, histograms too.
func (g *Generator) any() []string {
	if g.one(4) {
		return g.schema.Histograms
	}
	return g.floats()
}

// grouping returns nothing, by (…) or without (…).
func (g *Generator) grouping() string {
	switch g.r.IntN(4) {
	case 0:
		return ""
	case 1:
		return " without (" + g.labelList() + ") "
	default:
		return " by (" + g.labelList() + ") "
	}
}

func (g *Generator) labelList() string {
	var out []string
	for range max(0, g.r.IntN(5)-2) {
		out = append(out, strconv.Quote(g.labels[g.r.IntN(len(g.labels))]))
	}
	return strings.Join(out, ", ")
}

// vector returns an expression of a vector in which no floats of several series are added.
func (g *Generator) vector(depth int) string {
	if depth == 0 {
		return g.selector(g.any(), true)
	}
	depth--
	switch g.r.IntN(15) {
	case 0:
		return g.selector(g.any(), true)
	case 1, 2:
		return fmt.Sprintf("%s(%s)", g.pick("rate", "increase", "irate", "resets", "changes", "delta", "idelta", "deriv", "rate", "increase"), g.ranged(append(g.schema.Counters[:len(g.schema.Counters):len(g.schema.Counters)], g.schema.Histograms...), depth))
	case 3, 4:
		return fmt.Sprintf("%s(%s)", g.pick("sum_over_time", "avg_over_time", "min_over_time", "max_over_time", "count_over_time", "last_over_time", "present_over_time", "stddev_over_time", "stdvar_over_time", "mad_over_time", "absent_over_time", "first_over_time", "ts_of_max_over_time", "ts_of_last_over_time"), g.ranged(g.any(), depth))
	case 5:
		return fmt.Sprintf("quantile_over_time(%s, %s)", g.pick("0.5", "0", "1", "-1", "0.99"), g.ranged(g.floats(), depth))
	case 6:
		return fmt.Sprintf("%s(%s)", g.pick("abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "round", "timestamp", "absent", "minute", "hour", "day_of_week", "month", "deg", "sin"), g.vector(depth))
	case 7:
		return fmt.Sprintf("%s%s(%s)", g.pick("count", "min", "max", "group"), g.grouping(), g.vector(depth))
	case 8:
		return fmt.Sprintf("quantile%s(%s, %s)", g.grouping(), g.pick("0.5", "0.25", "1", "2"), g.selector(g.floats(), true))
	case 9:
		return fmt.Sprintf("(%s) %s %s", g.vector(depth), g.pick("+", "-", "*", "/", "%", "^", "== bool", "> bool", "==", "!=", ">", "<=", "atan2"), g.scalar(0))
	case 10:
		// The same selector on both sides matches one to one.
		a := g.selector(g.floats(), false)
		return fmt.Sprintf("%s%s %s %s", a, g.modifiers(), g.pick("+", "-", "*", "/", "==", "> bool", "and", "or", "unless"), a+g.modifiers())
	case 11:
		names := g.floats()
		return fmt.Sprintf("%s %s %s(%s) %s %s%s", g.selector(names, true), g.pick("+", "-", "/", ">"), g.pick("on", "ignoring"), g.labelList(), g.pick("group_left", "", "group_left"), g.pick("count", "max", "min"), g.grouping()+"("+g.selector(names, true)+")")
	case 12:
		return fmt.Sprintf("(%s) %s %s (%s)", g.vector(depth), g.pick("and", "or", "unless"), g.pick("", "on("+g.labelList()+")", "ignoring("+g.labelList()+")"), g.vector(depth))
	case 13:
		return fmt.Sprintf(`label_replace(%s, "copy", %s, %s, %s)`, g.vector(depth), strconv.Quote(g.pick("$1", "x", "${1}y", "")), strconv.Quote(g.labels[g.r.IntN(len(g.labels))]), strconv.Quote(g.pick("(.*)", "(.).*", ".+", "")))
	default:
		return fmt.Sprintf("predict_linear(%s, %s)", g.ranged(g.floats(), 0), g.pick("60", "3600", "-5"))
	}
}

// histogram returns an expression about native or classic histograms.
func (g *Generator) histogram(depth int) string {
	h := g.selector(g.schema.Histograms, true)
	if depth > 0 && !g.one(4) {
		h = fmt.Sprintf("%s(%s)", g.pick("rate", "increase", "irate", "delta", "last_over_time", "sum_over_time", "avg_over_time"), g.ranged(g.schema.Histograms, 0))
	}
	switch g.r.IntN(8) {
	case 0:
		return fmt.Sprintf("histogram_quantile(%s, %s)", g.pick("0.5", "0.9", "0", "1", "2"), h)
	case 1:
		return fmt.Sprintf("histogram_fraction(%s, %s, %s)", g.pick("-Inf", "0", "-1"), g.pick("+Inf", "1", "0.5"), h)
	case 2:
		return fmt.Sprintf("%s(%s)", g.pick("histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar"), h)
	case 3:
		return fmt.Sprintf("histogram_quantile(%s, rate(%s[%s]))", g.pick("0.5", "0.9", "0", "1", "NaN"), g.selector(g.schema.Buckets, false), g.duration())
	case 4:
		return fmt.Sprintf("%s %s %s", h, g.pick("*", "/"), g.pick("2", "0.5", "-1", "3"))
	case 5:
		return fmt.Sprintf("%s == %s", h, h)
	default:
		return h
	}
}

// scalar returns an expression of a scalar.
func (g *Generator) scalar(depth int) string {
	if depth == 0 {
		return g.pick("0", "1", "2.5", "-1", "NaN", "Inf", "1e3", "0.1", "time()", "pi()")
	}
	switch g.r.IntN(3) {
	case 0:
		return fmt.Sprintf("scalar(%s(%s))", g.pick("max", "min", "count"), g.vector(depth-1))
	case 1:
		return fmt.Sprintf("(%s) %s (%s)", g.scalar(depth-1), g.pick("+", "-", "*", "/", "^", "> bool"), g.scalar(depth-1))
	default:
		return fmt.Sprintf("scalar(vector(%s))", g.scalar(depth-1))
	}
}
