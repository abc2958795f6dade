// SPDX-License-Identifier: Apache-2.0

// Package statement decides which statements of Timestream's SQL a caller may have run: those that only read, and only tables
// that callers may name. A statement that the dialect of this project can read is judged by its tree. The service knows more
// SQL than that; a statement beyond it is judged by its tokens, and refused where they leave a doubt. Whether a statement makes
// sense is left to the service, running it to the query service.
package statement

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// MaxBytes is how long a statement may be (API Reference, Query, QueryString).
const MaxBytes = 256 << 10

// Error is why a statement may not be run. Its text is for the caller.
type Error struct {
	// Denied says that it reads something that callers may not name; otherwise it is not of a sort that may be run.
	Denied bool
	Text   string
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Guard judges statements. It is safe for concurrent use.
type Guard struct {
	database, table string
	allowed         timestream.TableList
}

// NewGuard returns a guard that lets statements read the default table, database and table, and those that are allowed
// besides.
func NewGuard(database, table string, allowed timestream.TableList) *Guard {
	return &Guard{database: database, table: table, allowed: allowed}
}

// Check returns the text to run for a statement, which is the statement without the semicolon after it. Every error is an
// *Error.
func (g *Guard) Check(text string) (string, error) {
	if len(text) > MaxBytes {
		return "", &Error{Text: fmt.Sprintf("the statement has %d bytes, Timestream takes %d", len(text), MaxBytes)}
	}
	tokens, err := scan(text)
	if err != nil {
		return "", err
	}
	if text, tokens, err = single(text, tokens); err != nil {
		return "", err
	}
	if err := onlyReads(tokens); err != nil {
		return "", err
	}
	tree, err := tssql.Parse(text)
	if err != nil {
		if first := tokens[0]; !first.is("SELECT") && !first.is("WITH") {
			return "", &Error{Text: err.Error()} // nothing of it is known
		}
		tables, err := tablesByTokens(text, tokens)
		if err != nil {
			return "", err
		}
		return text, g.check(tables)
	}
	switch s := tree.(type) {
	case *tssql.Show:
		return text, g.checkShow(s)
	case *tssql.Describe:
		return text, g.check([]table{{s.Table.Database, s.Table.Name}})
	}
	return text, g.check(tablesOf(tree))
}

// single cuts off a semicolon at the end and refuses any other.
func single(text string, tokens []token) (string, []token, error) {
	for i, t := range tokens {
		if !t.is(";") {
			continue
		}
		if tokens[i+1].kind != end {
			return "", nil, &Error{Text: "more than one statement: one at a time is run"}
		}
		return text[:t.offset], append(tokens[:i:i], token{offset: t.offset}), nil
	}
	return text, tokens, nil
}

// onlyReads looks at the words of a statement.
func onlyReads(tokens []token) error {
	first := tokens[0]
	if !first.is("SELECT") && !first.is("WITH") && !first.is("SHOW") && !first.is("DESCRIBE") {
		return &Error{Text: "only statements that begin with SELECT, WITH, SHOW or DESCRIBE are run"}
	}
	for _, t := range tokens {
		switch {
		case t.is("UNLOAD"):
			return &Error{Text: `UNLOAD writes to S3 and is not run; as a name it has to be in double quotes`}
		case t.is("INSERT"), t.is("INTO"), t.is("DELETE"), t.is("DROP"), t.is("CREATE"), t.is("ALTER"), t.is("PREPARE"), t.is("EXECUTE"), t.is("DEALLOCATE"):
			// Reserved, so never a name without quotes (Timestream Developer Guide, ts-limits, "Reserved keywords").
			return &Error{Text: t.text + " is not run: only statements that read are"}
		}
	}
	return nil
}

// table is a table that a statement reads. One without a database is a common table expression, or unknown to the service,
// which has no default database.
type table struct{ database, name string }

// check tells whether all of the tables may be read.
func (g *Guard) check(tables []table) error {
	for _, t := range tables {
		if t.database == "" || t.database == g.database && t.name == g.table || g.allowed.Allows(t.database, t.name) {
			continue
		}
		return denied(fmt.Sprintf("table %.300q.%.300q: statements may not read it", t.database, t.name))
	}
	return nil
}

func denied(what string) error {
	return &Error{Denied: true, Text: fmt.Sprintf("%s; --%s of the query service moves that", what, timestream.AllowedTablesFlag)}
}

// checkShow judges what lists names: all that it can list must be allowed.
func (g *Guard) checkShow(s *tssql.Show) error {
	switch s.What {
	case tssql.ShowMeasures:
		return g.check([]table{{s.From.Database, s.From.Name}})
	case tssql.ShowTables:
		if s.From.Database != "" && g.allowed.AllowsDatabase(s.From.Database) || g.allowed.AllowsAll() {
			return nil
		}
		return denied("SHOW TABLES: not all that it lists may be read")
	}
	if g.allowed.AllowsAll() {
		return nil
	}
	return denied("SHOW DATABASES: not all that it lists may be read")
}

// tablesOf returns every table that a tree names, wherever it stands: new sorts of nodes are looked into too.
func tablesOf(tree tssql.Statement) []table {
	var out []table
	tableType := reflect.TypeFor[tssql.Table]()
	// A list instead of recursion: a chain of OR is as deep as it is long.
	for todo := []reflect.Value{reflect.ValueOf(tree)}; len(todo) > 0; {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				todo = append(todo, v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				todo = append(todo, v.Index(i))
			}
		case reflect.Struct:
			if v.Type() == tableType {
				out = append(out, table{v.FieldByName("Database").String(), v.FieldByName("Name").String()})
				continue
			}
			for i := range v.NumField() {
				todo = append(todo, v.Field(i))
			}
		}
	}
	return out
}

// level is what is known of one level of parentheses.
type level struct {
	// from says that the level is in a FROM clause, where a comma leads to a further table.
	from bool
	// table says that a table may come next.
	table bool
}

// tablesByTokens returns every two-part name where a table may stand: after FROM, JOIN and TABLE, and after commas between FROM and
// a word that ends its clause, which has to be one that is reserved and so never an alias (LIMIT is not). It errs on the side
// of too many: EXTRACT(… FROM x.y) counts. A name of three parts where a table may stand is an error.
func tablesByTokens(text string, tokens []token) ([]table, error) {
	var out []table
	levels := []level{{}}
	for i := 0; i < len(tokens); i++ {
		t, now := tokens[i], &levels[len(levels)-1]
		switch {
		case t.is("("):
			// Tables may stand in parentheses; a query begins by a word that says so.
			inside := level{from: now.table, table: now.table}
			now.table = false
			levels = append(levels, inside)
			continue
		case t.is(")"):
			if levels = levels[:len(levels)-1]; len(levels) == 0 {
				return nil, (&scanner{src: text}).errorf(t.offset, ") without (")
			}
			levels[len(levels)-1].table = false
			continue
		case t.is("SELECT"), t.is("WHERE"), t.is("HAVING"), t.is("UNION"), t.is("INTERSECT"), t.is("EXCEPT"), t.is("VALUES"),
			(t.is("GROUP") || t.is("ORDER")) && tokens[i+1].is("BY"): // not WITHIN GROUP
			*now = level{}
			continue
		case t.is("FROM"), t.is("JOIN"):
			*now = level{from: true, table: true}
			continue
		case t.is("TABLE"):
			now.table = true
			continue
		case t.is(","):
			now.table = now.from
			continue
		}
		// A name that another one with a dot follows is a word of a grammar that is not known here.
		if !now.table || t.isName() && tokens[i+1].isName() && tokens[i+2].is(".") {
			continue
		}
		now.table = false
		if !t.isName() {
			continue
		}
		parts := []string{t.spelling()}
		for tokens[i+1].is(".") {
			if !tokens[i+2].isName() {
				return nil, (&scanner{src: text}).errorf(tokens[i+2].offset, "a name is missing")
			}
			i += 2
			parts = append(parts, tokens[i].spelling())
		}
		switch len(parts) {
		case 1:
		case 2:
			out = append(out, table{parts[0], parts[1]})
		default:
			return nil, (&scanner{src: text}).errorf(t.offset, "%.300s: a table is named by its database and its name", strings.Join(parts, "."))
		}
	}
	return out, nil
}
