// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/catalogue"
)

// names is what a selection says of the metric name.
type names struct {
	// matchers are those on __name__ that do not hold for every name.
	matchers []*labels.Matcher
	// finite says that only the metric names in list can match.
	finite bool
	list   []string
}

// nameMatchers reads the matchers on __name__. Every series has a name, so the empty one never matches.
func nameMatchers(ms []*labels.Matcher) names {
	var n names
	for _, m := range ms {
		if m.Name != model.MetricNameLabel {
			continue
		}
		switch _, v := valuePredicate(nil, m, false); v {
		case always:
			continue
		case never:
			return names{finite: true}
		}
		n.matchers = append(n.matchers, m)
		var list []string
		switch m.Type {
		case labels.MatchEqual:
			list = []string{m.Value}
		case labels.MatchRegexp:
			list = m.SetMatches()
		}
		if len(list) > 0 && (!n.finite || len(list) < len(n.list)) {
			n.finite, n.list = true, list
		}
	}
	if n.finite {
		n.list = slices.DeleteFunc(slices.Sorted(slices.Values(n.list)), func(s string) bool { return s == "" || !n.match(s) })
		n.list = slices.Compact(n.list)
	}
	return n
}

func (n names) match(name string) bool {
	for _, m := range n.matchers {
		if !m.Matches(name) {
			return false
		}
	}
	return true
}

// NeedsMeasures tells whether a list of all measure names makes a better plan: the metric name is given by a pattern.
func NeedsMeasures(ms []*labels.Matcher) bool {
	n := nameMatchers(ms)
	return !n.finite && len(n.matchers) > 0
}

// plainMeasures returns the measure names of plain records that may hold the selected metrics, sorted; false when they
// cannot be told.
func (n names) plainMeasures(known *catalogue.Measures) ([]string, bool) {
	var out []string
	switch {
	case n.finite:
		for _, metric := range n.list {
			if m, ok := promschema.MeasureName(metric); ok {
				out = append(out, m)
			}
		}
		slices.Sort(out)
	case len(n.matchers) > 0 && known != nil && known.Complete():
		for _, m := range known.All() {
			metric := promschema.MetricName(m.Name)
			if canonical, ok := promschema.MeasureName(metric); m.Double && ok && canonical == m.Name && n.match(metric) {
				out = append(out, m.Name)
			}
		}
	default:
		return nil, false
	}
	return out, true
}

// extensionMeasures returns the measure names of extension records of these families that may hold the selected metrics,
// sorted.
func (n names) extensionMeasures(families []promschema.Family, known *catalogue.Measures) []string {
	var out []string
	for _, f := range families {
		if n.finite {
			for _, metric := range n.list {
				out = append(out, f.Measure(metric))
			}
			continue
		}
		for i := range promschema.SampleBuckets {
			m := f.Bucket(i)
			if known != nil && known.Complete() && len(n.matchers) > 0 {
				if _, ok := known.Get(m); !ok {
					continue
				}
			}
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// notOurs is the condition that a row is no extension record.
func notOurs() tssql.Expr {
	return &tssql.Like{X: column(timestream.ColumnMeasureName), Not: true, Pattern: text(likeEscape(promschema.Prefix) + "%"), Escape: text(`\`)}
}

// exact tells whether the conditions on metric names let no other names pass.
func (n names) exact(noRegexp bool) bool {
	for _, m := range n.matchers {
		if _, v := valuePredicate(column(promschema.NameDimension), m, noRegexp); v != exact {
			return false
		}
	}
	return true
}

// plainNameCondition returns the condition on the measure name of plain records.
func (n names) plainNameCondition(measures []string, known, noRegexp bool) *condition {
	pattern := notOurs()
	metric := &tssql.Call{Name: "replace", Args: []tssql.Expr{column(timestream.ColumnMeasureName), text("--"), text(":")}}
	for _, m := range n.matchers {
		if e, v := valuePredicate(metric, m, noRegexp); v == exact {
			pattern = and(pattern, e)
		}
	}
	if !known || len(measures) > maxNames {
		return &condition{forms: []tssql.Expr{pattern, notOurs()}}
	}
	return &condition{forms: []tssql.Expr{oneOf(column(timestream.ColumnMeasureName), measures, false), pattern, notOurs()}}
}

// metricConditions returns the conditions on the metric name of extension records.
func (n names) metricConditions(noRegexp bool) []*condition {
	x := column(promschema.NameDimension)
	if n.finite {
		return []*condition{{forms: []tssql.Expr{oneOf(x, n.list, false), nil}}}
	}
	var out []*condition
	for _, m := range n.matchers {
		if e, v := valuePredicate(x, m, noRegexp); v == exact {
			out = append(out, &condition{forms: []tssql.Expr{e, nil}})
		}
	}
	return out
}
