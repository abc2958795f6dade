// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// describe answers DESCRIBE db.table: one row per column in `SELECT *` order.
func (co *compiler) describe(s *tssql.Describe) {
	co.plan.Action = ActionDescribeTable
	co.needDatabase(s.Table)
	r, err := co.catalog.Relation(s.Table.Database, s.Table.Name)
	checkName(err, s.Table, s.Pos)
	co.uses(Table{s.Table.Database, s.Table.Name})
	co.varchars("Column", "Type", "Timestream attribute type")
	for _, c := range r.Columns {
		co.plan.Static = append(co.plan.Static, []qtypes.Datum{text(c.Name), text(c.Type.String()), text(c.Attribute)})
	}
}

func (co *compiler) needDatabase(t tssql.Table) {
	if t.Database == "" {
		fail(t.Pos, "Schema must be specified when session schema is not set")
	}
}

// varchars sets the result's columns.
func (co *compiler) varchars(names ...string) {
	co.plan.Static = [][]qtypes.Datum{}
	for _, n := range names {
		co.plan.Columns = append(co.plan.Columns, OutputColumn{n, ScalarOf(Varchar)})
	}
}

// show answers the SHOW statements (Timestream Developer Guide, supported-sql-constructs.SHOW). The order of rows is
// not documented; here it is that of the names.
func (co *compiler) show(s *tssql.Show) {
	keep := matcher(s)
	switch s.What {
	case tssql.ShowDatabases:
		co.plan.Action = ActionListDatabases
		co.varchars("Database")
		co.names(slices.Clone(co.catalog.Databases()), keep)
	case tssql.ShowTables:
		co.plan.Action = ActionListTables
		co.varchars("Table")
		databases := []string{s.From.Database}
		if s.From.Database == "" {
			// What the service lists without FROM is not documented; every table is.
			databases = slices.Clone(co.catalog.Databases())
			slices.Sort(databases)
		} else {
			co.uses(Table{Database: s.From.Database})
		}
		for _, d := range databases {
			tables, err := co.catalog.Tables(d)
			if s.From.Database == "" && errors.Is(err, ErrNoDatabase) {
				continue // dropped meanwhile
			}
			checkName(err, s.From, s.Pos)
			co.names(slices.Clone(tables), keep)
		}
	case tssql.ShowMeasures:
		co.plan.Action = ActionListMeasures
		co.needDatabase(s.From)
		measures, err := co.catalog.Measures(s.From.Database, s.From.Name)
		checkName(err, s.From, s.Pos)
		co.uses(Table{s.From.Database, s.From.Name})
		co.varchars("measure_name", "data_type")
		co.plan.Columns = append(co.plan.Columns, OutputColumn{"dimensions", Type{Array: &Type{Row: []Field{
			{Name: "dimension_name", Type: ScalarOf(Varchar)}, {Name: "data_type", Type: ScalarOf(Varchar)},
		}}}})
		measures = slices.Clone(measures)
		slices.SortStableFunc(measures, func(a, b Measure) int { return strings.Compare(a.Name, b.Name) })
		for _, m := range measures {
			if !keep(m.Name) {
				continue
			}
			dimensions := make([]qtypes.Datum, len(m.Dimensions))
			for i, d := range m.Dimensions {
				dimensions[i] = qtypes.Datum{RowValue: &qtypes.Row{Data: []qtypes.Datum{text(d), text("varchar")}}}
			}
			co.plan.Static = append(co.plan.Static, []qtypes.Datum{text(m.Name), text(m.DataType), {ArrayValue: dimensions}})
		}
	default:
		panic(bail{fmt.Errorf("sqlplan: unexpected SHOW %s", s.What)})
	}
}

func (co *compiler) names(list []string, keep func(string) bool) {
	slices.Sort(list)
	for _, n := range list {
		if keep(n) {
			co.plan.Static = append(co.plan.Static, []qtypes.Datum{text(n)})
		}
	}
}

// matcher returns the statement's LIKE as a predicate.
func matcher(s *tssql.Show) func(string) bool {
	if s.Like == nil {
		return func(string) bool { return true }
	}
	escape := rune(-1)
	if s.Escape != nil {
		r := []rune(*s.Escape)
		if len(r) != 1 {
			fail(s.Pos, "Escape string must be a single character")
		}
		escape = r[0]
	}
	pattern := likePattern(s.Pos, *s.Like, escape)
	return func(name string) bool { return matchLike(pattern, []rune(name)) }
}

// Wildcards of a LIKE pattern.
const (
	anyText rune = -1 - iota
	anyRune
)

// likePattern returns the pattern's characters with its wildcards told apart from literal ones; runs of % are one.
func likePattern(at tssql.Pos, s string, escape rune) []rune {
	var out []rune
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; c {
		case escape:
			i++
			if i == len(runes) || (runes[i] != '%' && runes[i] != '_' && runes[i] != escape) {
				fail(at, "Escape character must be followed by '%%', '_' or the escape character itself")
			}
			out = append(out, runes[i])
		case '%':
			if len(out) == 0 || out[len(out)-1] != anyText {
				out = append(out, anyText)
			}
		case '_':
			out = append(out, anyRune)
		default:
			out = append(out, c)
		}
	}
	return out
}

// matchLike matches with at most one pending %, which takes time in proportion to the product of the lengths.
func matchLike(pattern, s []rune) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && (pattern[p] == anyRune || pattern[p] == s[i]):
			p++
			i++
		case p < len(pattern) && pattern[p] == anyText:
			star, mark = p, i
			p++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == anyText {
		p++
	}
	return p == len(pattern)
}
