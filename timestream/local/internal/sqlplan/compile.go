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

// maxQueries bounds the SELECTs and the items of FROM of one statement, maxJoins the joins: DuckDB orders joins in a time that grows
// with more than their number. The service bounds neither but by the size of the statement.
const (
	maxQueries = 1024
	maxJoins   = 64
)

// maxArgs is Trino's bound on the arguments of one call.
const maxArgs = 127

// compiler is the state of one Compile.
type compiler struct {
	catalog Catalog
	now     int64 // nanoseconds
	plan    *Plan
	maxSQL  int
	// top is the statement, if it is a query, and cut what is known of it if each row is about one series. places are where
	// conditions of slices may come in.
	top    *tssql.Query
	cut    *sliced
	places []string
	// queries numbers the SELECTs and the items of FROM, so that every generated name exists once in the DuckDB text.
	queries int
	joins   int
	// preparing is set while parameters have no values, which are then collected.
	preparing  bool
	parameters []*Parameter
	// given are the values of parameters that have one.
	given map[string]time.Time
	// params numbers the parameters of lambdas in the DuckDB text.
	params int
}

// number returns a number for a SELECT or an item of FROM.
func (co *compiler) number(at tssql.Pos) string {
	if co.queries++; co.queries > maxQueries {
		fail(at, "the statement has more than %d queries and tables", maxQueries)
	}
	return strconv.Itoa(co.queries)
}

// param returns a name for a parameter of a lambda.
func (co *compiler) param() string {
	co.params++
	return "p" + strconv.Itoa(co.params)
}

// bail carries an error out of the depths; compile catches it.
type bail struct{ err error }

func invalid(message string) error { return &qtypes.ValidationException{Message: &message} }

// fail gives up with a message at a place in the statement.
func fail(at tssql.Pos, format string, args ...any) {
	panic(bail{invalid(fmt.Sprintf("line %d:%d: %s", at.Line, at.Col, fmt.Sprintf(format, args...)))})
}

// compile compiles a statement; the columns are those of a SELECT.
func (co *compiler) compile(text string, c Catalog, now time.Time) (columns []outColumn, err error) {
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
			columns, err = nil, b.err
		}
	}()
	co.catalog, co.now, co.plan, co.maxSQL = c, now.UnixNano(), &Plan{}, sqlFloor+sqlFactor*len(text)
	switch s := statement.(type) {
	case *tssql.Query:
		columns = co.topQuery(s)
	case *tssql.Unload:
		if co.preparing {
			fail(s.Pos, "UNLOAD cannot be prepared")
		}
		co.unload(s)
	case *tssql.Describe:
		co.describe(s)
	case *tssql.Show:
		co.show(s)
	default:
		return nil, fmt.Errorf("sqlplan: unexpected statement %T", statement)
	}
	return columns, nil
}

// place is where entry i of a query's select list stands, or the query where that cannot be told.
func place(q *tssql.Query, i int) tssql.Pos {
	s, ok := q.Body.(*tssql.Select)
	if !ok || i >= len(s.Items) {
		return q.Pos
	}
	for _, item := range s.Items[:i+1] {
		if item.Expr == nil {
			return q.Pos
		}
	}
	return s.Items[i].Expr.Position()
}

// topQuery compiles the statement's query.
func (co *compiler) topQuery(s *tssql.Query) []outColumn {
	co.plan.Metered = true
	co.plan.Action = ActionSelectValues
	co.top = s
	out := co.query(s, nil, nil)
	co.plan.SQL = co.plain(out.sql)
	co.cuts(out.sql)
	for i, column := range out.columns {
		if column.typ.binary() {
			// What the service answers is not known; its API has no such type.
			fail(place(s, i), "A result cannot have the type %s", column.typ)
		}
		co.plan.Columns = append(co.plan.Columns, OutputColumn{Name: column.name, Type: column.typ})
	}
	if len(co.plan.Tables) > 0 {
		co.plan.Action = ActionSelect
	}
	return out.columns
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
