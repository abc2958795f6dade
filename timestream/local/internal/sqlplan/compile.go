// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// The DuckDB text of one expression is at most sqlFloor bytes plus sqlFactor bytes for each of the statement's. Some
// translations repeat an operand (a divisor is compared with zero first), so nesting them multiplies the text.
const (
	sqlFloor  = 64 << 10
	sqlFactor = 16
)

// maxQueryDepth bounds how deep queries stand in each other's FROM, common table expressions included. DuckDB's optimizer
// takes twice as long for each level that aggregates: a tenth of a second for 16, a minute for 25.
const maxQueryDepth = 16

// maxColumns bounds a select list, maxKeys the keys of GROUP BY and of ORDER BY: both the work here and DuckDB's grow with
// their product. The service bounds columns by 100 KB of metadata (Timestream Developer Guide, ts-limits).
const (
	maxColumns = 4096
	maxKeys    = 1024
)

// maxArgs is Trino's bound on the arguments of one call.
const maxArgs = 127

// compiler is the state of one Compile.
type compiler struct {
	catalog Catalog
	now     int64 // nanoseconds
	plan    *Plan
	maxSQL  int
	// queries numbers the SELECTs, so that every generated name exists once in the DuckDB text.
	queries int
}

// bail carries an error out of the depths; compile catches it.
type bail struct{ err error }

func invalid(message string) error { return &qtypes.ValidationException{Message: &message} }

// fail gives up with a message at a place in the statement.
func fail(at tssql.Pos, format string, args ...any) {
	panic(bail{invalid(fmt.Sprintf("line %d:%d: %s", at.Line, at.Col, fmt.Sprintf(format, args...)))})
}

func compile(text string, c Catalog, now time.Time) (plan *Plan, err error) {
	if !utf8.ValidString(text) {
		return nil, invalid("The query is not valid UTF-8")
	}
	statement, err := tssql.Parse(text)
	if err != nil {
		return nil, invalid(err.Error())
	}
	defer func() {
		if r := recover(); r != nil {
			b, ok := r.(bail)
			if !ok {
				panic(r)
			}
			plan, err = nil, b.err
		}
	}()
	co := &compiler{catalog: c, now: now.UnixNano(), plan: &Plan{}, maxSQL: sqlFloor + sqlFactor*len(text)}
	switch s := statement.(type) {
	case *tssql.Query:
		co.plan.Metered = true
		co.plan.Action = ActionSelectValues
		out := co.query(s, nil)
		co.plan.SQL = out.sql
		for _, column := range out.columns {
			co.plan.Columns = append(co.plan.Columns, OutputColumn{Name: column.name, Type: column.typ})
		}
		if len(co.plan.Tables) > 0 {
			co.plan.Action = ActionSelect
		}
	case *tssql.Describe:
		co.describe(s)
	case *tssql.Show:
		co.show(s)
	default:
		return nil, fmt.Errorf("sqlplan: unexpected statement %T", statement)
	}
	return co.plan, nil
}

func (co *compiler) uses(t Table) {
	if !slices.Contains(co.plan.Tables, t) {
		co.plan.Tables = append(co.plan.Tables, t)
	}
}

// checkName turns a catalog's error into the service's text. For DESCRIBE and SHOW the service reports the position of
// the statement, for FROM that of the name.
func checkName(err error, t tssql.Table, at tssql.Pos) {
	identifier := t.Database
	if t.Name != "" {
		identifier += "." + t.Name
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrNoDatabase):
		panic(bail{invalid(fmt.Sprintf("Requested database '%s' not found for identifier '%s' at line %d:%d", t.Database, identifier, at.Line, at.Col))})
	case errors.Is(err, ErrNoTable):
		panic(bail{invalid(fmt.Sprintf("The table '%s' does not exist in database '%s' at line %d:%d", t.Name, t.Database, at.Line, at.Col))})
	default:
		panic(bail{err})
	}
}

// column is one column that a query offers to what surrounds it.
type column struct {
	qualifier string
	name      string
	bound     bound
}

// outColumn is one column of a finished query. sql is its generated name.
type outColumn struct {
	name  string
	typ   Type
	noNaN bool
	sql   string
}

// finished is a compiled query.
type finished struct {
	sql     string
	columns []outColumn
	depth   int
}

// ctes are the common table expressions in sight, the innermost last.
type ctes struct {
	outer *ctes
	name  string
	query finished
}

func (c *ctes) find(name string) (finished, bool) {
	for ; c != nil; c = c.outer {
		if c.name == name {
			return c.query, true
		}
	}
	return finished{}, false
}

// query compiles a query with its WITH entries. Each entry is compiled where it is defined and put in place where it is
// read; as a query reads from one item, that copies nothing twice.
func (co *compiler) query(q *tssql.Query, scope *ctes) finished {
	first := scope
	for i := range q.With {
		w := &q.With[i]
		for c := scope; c != first; c = c.outer {
			if c.name == w.Name {
				fail(w.Pos, "WITH query name '%s' specified more than once", w.Name)
			}
		}
		scope = &ctes{outer: scope, name: w.Name, query: co.query(w.Query, scope)}
	}
	body, ok := q.Body.(*tssql.Select)
	if !ok {
		fail(q.Pos, "This kind of query is not supported")
	}
	return co.selectQuery(q, body, scope)
}

// from compiles a FROM item: DuckDB's FROM item, the columns it offers and how deep it is.
func (co *compiler) from(item tssql.FromItem, scope *ctes) (string, []column, int) {
	switch f := item.(type) {
	case *tssql.TableRef:
		if f.Database == "" {
			q, ok := scope.find(f.Name)
			if !ok {
				fail(f.Pos, "Schema must be specified when session schema is not set")
			}
			return co.derived(f.Pos, q, first(f.Alias, f.Name))
		}
		return co.relation(f)
	case *tssql.Subquery:
		return co.derived(f.Pos, co.query(f.Query, scope), f.Alias)
	}
	fail(item.Position(), "This kind of FROM item is not supported")
	return "", nil, 0
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (co *compiler) derived(at tssql.Pos, q finished, alias string) (string, []column, int) {
	if q.depth >= maxQueryDepth {
		fail(at, "queries in FROM are nested too deeply (more than %d)", maxQueryDepth)
	}
	columns := make([]column, len(q.columns))
	for i, c := range q.columns {
		columns[i] = column{alias, c.name, bound{sql: c.sql, typ: c.typ, noNaN: c.noNaN}}
	}
	co.queries++
	return "(" + q.sql + ") AS s" + strconv.Itoa(co.queries), columns, q.depth
}

func (co *compiler) relation(f *tssql.TableRef) (string, []column, int) {
	r, err := co.catalog.Relation(f.Database, f.Name)
	checkName(err, f.Table, f.Pos)
	co.uses(Table{f.Database, f.Name})
	columns := make([]column, len(r.Columns))
	for i, c := range r.Columns {
		sql := c.SQL
		if !plainSQL(sql) {
			sql = "(" + sql + ")"
		}
		// The service stores neither NaN nor infinities, so comparisons with a stored value need no care.
		columns[i] = column{first(f.Alias, f.Name), c.Name, bound{sql: sql, typ: c.Type, noNaN: true}}
	}
	co.queries++
	return r.SQL + " AS r" + strconv.Itoa(co.queries), columns, 0
}

// plainSQL tells whether a catalog's expression is a bare name, which needs no parentheses.
func plainSQL(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}
