// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// Prepared is a statement with parameters, described (API reference, PrepareQuery). It cannot be run: parameters have no values.
type Prepared struct {
	// Action and Tables are those of a Plan.
	Action  string
	Tables  []Table
	Columns []PreparedColumn
	// Parameters are in the order of their first appearance.
	Parameters []*Parameter
}

// PreparedColumn is one column of a result. Origin is the table whose own column it is, empty for what is computed.
type PreparedColumn struct {
	OutputColumn
	Origin  Table
	Aliased bool
}

// Parameter is @name. Its type is that of what it is first compared or computed with, unknown where nothing tells.
type Parameter struct {
	Name string
	Type Type
}

// Prepare compiles a statement whose parameters have no values. It is Compile otherwise.
func Prepare(text string, c Catalog, now time.Time) (*Prepared, error) {
	co := compiler{preparing: true}
	columns, err := co.compile(text, c, now)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Action: co.plan.Action, Tables: co.plan.Tables, Parameters: co.parameters}
	for i, c := range co.plan.Columns {
		column := PreparedColumn{OutputColumn: c}
		if columns != nil {
			column.Origin, column.Aliased = columns[i].origin, columns[i].aliased
		}
		p.Columns = append(p.Columns, column)
	}
	return p, nil
}

// parameter binds one.
func (co *compiler) parameter(e *tssql.Parameter) bound {
	if t, ok := co.given[e.Name]; ok {
		return constant(Timestamp, t.UnixNano())
	}
	if !co.preparing {
		if len(co.given) > 0 {
			fail(e.Pos, "Parameter '@%s' has no value; '@%s' has one", e.Name, strings.Join(slices.Sorted(maps.Keys(co.given)), "', '@"))
		}
		fail(e.Pos, "Parameter '@%s' has no value", e.Name)
	}
	unknown := ScalarOf(Unknown)
	for _, p := range co.parameters {
		if p.Name == e.Name {
			return bound{sql: "NULL", typ: unknown, parameter: p}
		}
	}
	p := &Parameter{Name: e.Name, Type: unknown}
	co.parameters = append(co.parameters, p)
	return bound{sql: "NULL", typ: unknown, parameter: p}
}

// learn notes what a parameter becomes, once.
func (x bound) learn(t Type) {
	if x.parameter != nil && x.parameter.Type.isScalar(Unknown) {
		x.parameter.Type = t
	}
}

// origin is the table whose own column an entry of a select list is.
func (b *binder) origin(it *item) Table {
	c := it.column
	if e, ok := it.expr.(*tssql.Column); c == nil && ok {
		for i := range b.columns {
			if x := &b.columns[i]; x.name == e.Name && (e.Qualifier == "" || x.qualifier == e.Qualifier) {
				c = x
				break
			}
		}
	}
	if c == nil || c.read == 0 {
		return Table{}
	}
	return b.co.plan.Reads[c.read-1].Table
}
