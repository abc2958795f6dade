// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"time"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// minStepMs is the shortest step whose last samples are chosen by the service: samples are seldom more than a minute apart, and
// choosing among few costs more than reading them.
const minStepMs = 60_000

// pointsPerRow is how many points a row of one per step has; such rows take about 45 KB.
const pointsPerRow = 480

// last makes the statement read the last sample of each step, and returns its time and its value.
func (d *draft) last(l *series.LastPerStep) (at, value tssql.Expr) {
	outer := &tssql.Select{From: &tssql.Subquery{Query: &tssql.Query{Body: d.sel}, Alias: promschema.Prefix + "steps"}}
	for _, it := range d.sel.Items {
		name := it.Alias
		if c, ok := it.Expr.(*tssql.Column); ok && name == "" {
			name = c.Name
		}
		outer.Items = append(outer.Items, tssql.Item{Expr: column(name)})
		outer.GroupBy = append(outer.GroupBy, column(name))
	}
	t := column(timestream.ColumnTime)
	// bin counts from 1970, and a window begins after the millisecond of the step before. Adding is safer than subtracting: a
	// negative time is an error (Timestream Developer Guide, date-time-functions).
	shift := (-(l.AlignMs + 1)) % l.StepMs
	if shift < 0 {
		shift += l.StepMs
	}
	window := t
	if shift > 0 {
		window = binary("+", t, &tssql.Interval{Count: shift, Unit: "ms"})
	}
	d.sel.GroupBy = append(d.sel.GroupBy, &tssql.Call{Name: "bin", Args: []tssql.Expr{window, interval(time.Duration(l.StepMs) * time.Millisecond)}})
	const atAlias, valueAlias = promschema.Prefix + "time", promschema.Prefix + "last"
	d.sel.Items = append(d.sel.Items,
		tssql.Item{Expr: &tssql.Call{Name: "max", Args: []tssql.Expr{t}}, Alias: atAlias},
		tssql.Item{Expr: &tssql.Call{Name: "max_by", Args: []tssql.Expr{column(valueColumn), t}}, Alias: valueAlias})
	d.outer, d.Query.Body = outer, outer
	return column(atAlias), column(valueAlias)
}
