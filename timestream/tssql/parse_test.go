// SPDX-License-Identifier: Apache-2.0

package tssql

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// stripPos zeroes every Pos under v, so that a built tree can be compared with a parsed one.
func stripPos(v reflect.Value) {
	if v.Type() == reflect.TypeFor[Pos]() {
		v.SetZero()
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			stripPos(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			stripPos(v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			stripPos(v.Index(i))
		}
	}
}

func withoutPos(s Statement) Statement {
	if s != nil {
		stripPos(reflect.ValueOf(s))
	}
	return s
}

func ptr[T any](v T) *T { return &v }

func TestParseReadsWhatWasWritten(t *testing.T) {
	col := func(name string) *Column { return &Column{Name: name} }
	one := func(e Expr) Statement { return &Query{Body: &Select{Items: []Item{{Expr: e}}}} }
	for _, tt := range []struct {
		give string
		want Statement
	}{
		{"SELECT 1", one(&Int{Value: 1})},
		{"select 1 ;", one(&Int{Value: 1})},
		{"SELECT -9223372036854775808", one(&Int{Value: -9223372036854775808})},
		{"SELECT -(5)", one(&Unary{Op: "-", X: &Int{Value: 5}})},
		{"SELECT 1.5e3", one(&Number{Text: "1.5e3"})},
		{"SELECT .5", one(&Number{Text: ".5"})},
		{"SELECT 15m", one(&Interval{Count: 15, Unit: "m"})},
		{"SELECT INTERVAL '2' day", one(&Typed{Type: "INTERVAL DAY", Text: "2"})},
		{"SELECT TIMESTAMP '2022-06-17'", one(&Typed{Type: "TIMESTAMP", Text: "2022-06-17"})},
		{"SELECT 'O''Brien\\'", one(&String{Value: `O'Brien\`})},
		{`SELECT "a""b"`, one(col(`a"b`))},
		{"SELECT measure_value::double", one(col("measure_value::double"))},
		{"SELECT Host -- a comment\n", one(col("Host"))},
		{"SELECT /* a\ncomment */ 地区", one(col("地区"))},
		{"UNLOAD(SELECT 1) to 's3://b/c' with (format='csv', partitioned_by = array ['a', 'b'])", &Unload{Query: one(&Int{Value: 1}).(*Query), Place: "s3://b/c",
			Options: []UnloadOption{{Name: "format", Value: "csv"}, {Name: "partitioned_by", List: []string{"a", "b"}}}}},
		{"UNLOAD (SELECT 1) TO ''", &Unload{Query: one(&Int{Value: 1}).(*Query)}},
		{"SELECT CURRENT_TIMESTAMP", one(&Call{Name: "CURRENT_TIMESTAMP"})},
		{"SELECT count(*)", one(&Call{Name: "count", Star: true})},
		{"SELECT count()", one(&Call{Name: "count"})},
		{"SELECT count(DISTINCT a)", one(&Call{Name: "count", Distinct: true, Args: []Expr{col("a")}})},
		{"SELECT try_cast(a AS interval day to second)", one(&Cast{X: col("a"), Type: "interval day to second", Try: true})},
		{"SELECT cast(a as varchar( 10 ))", one(&Cast{X: col("a"), Type: "varchar(10)"})},
		{"SELECT a + b * -c", one(&Binary{Op: "+", L: col("a"), R: &Binary{Op: "*", L: col("b"), R: &Unary{Op: "-", X: col("c")}}})},
		{"SELECT a - b - c", one(&Binary{Op: "-", L: &Binary{Op: "-", L: col("a"), R: col("b")}, R: col("c")})},
		{"SELECT a OR b AND NOT c = d", one(&Binary{Op: "OR", L: col("a"), R: &Binary{Op: "AND", L: col("b"),
			R: &Unary{Op: "NOT", X: &Binary{Op: "=", L: col("c"), R: col("d")}}}})},
		{"SELECT a != 1", one(&Binary{Op: "<>", L: col("a"), R: &Int{Value: 1}})},
		{"SELECT a NOT IN (1, 2)", one(&In{X: col("a"), Not: true, List: []Expr{&Int{Value: 1}, &Int{Value: 2}}})},
		{"SELECT a BETWEEN 1 AND 2 AND b", one(&Binary{Op: "AND", L: &Between{X: col("a"), Lo: &Int{Value: 1}, Hi: &Int{Value: 2}}, R: col("b")})},
		{`SELECT a LIKE 'x\%' ESCAPE '\'`, one(&Like{X: col("a"), Pattern: &String{Value: `x\%`}, Escape: &String{Value: `\`}})},
		{"SELECT a IS NOT NULL", one(&IsNull{X: col("a"), Not: true})},
		{"SELECT CASE a WHEN 1 THEN 'x' ELSE 'y' END", one(&Case{Operand: col("a"),
			Whens: []When{{Cond: &Int{Value: 1}, Then: &String{Value: "x"}}}, Else: &String{Value: "y"}})},
		{"SELECT DISTINCT a x, t.*, \"b\" AS limit FROM db.\"my-table\" t WHERE c GROUP BY 1, a HAVING d ORDER BY x DESC NULLS FIRST, 2 LIMIT 7", &Query{
			Body: &Select{
				Distinct: true,
				Items:    []Item{{Expr: col("a"), Alias: "x"}, {Star: true, Qualifier: "t"}, {Expr: col("b"), Alias: "limit"}},
				From:     &TableRef{Table: Table{Database: "db", Name: "my-table"}, Alias: "t"},
				Where:    col("c"), GroupBy: []Expr{&Int{Value: 1}, col("a")}, Having: col("d"),
			},
			OrderBy: []OrderItem{{Expr: col("x"), Desc: true, Nulls: "FIRST"}, {Expr: &Int{Value: 2}}},
			Limit:   ptr(int64(7)),
		}},
		{"SELECT 1 LIMIT ALL", one(&Int{Value: 1})},
		{"SELECT all FROM t", &Query{Body: &Select{Items: []Item{{Expr: col("all")}}, From: &TableRef{Table: Table{Name: "t"}}}}},
		{"SELECT ALL a FROM t LIMIT 3", &Query{Body: &Select{Items: []Item{{Expr: col("a")}}, From: &TableRef{Table: Table{Name: "t"}}}, Limit: ptr(int64(3))}},
		{"WITH c AS (SELECT 1) (SELECT * FROM (SELECT * FROM c) AS s)", &Query{
			With: []CTE{{Name: "c", Query: one(&Int{Value: 1}).(*Query)}},
			Body: &Select{Items: []Item{{Star: true}}, From: &Subquery{Alias: "s",
				Query: &Query{Body: &Select{Items: []Item{{Star: true}}, From: &TableRef{Table: Table{Name: "c"}}}}}},
		}},
		{"SELECT a, rank() OVER (PARTITION BY b, c ORDER BY d DESC ROWS 2 PRECEDING) FROM t", &Query{Body: &Select{
			Items: []Item{{Expr: col("a")}, {Expr: &Call{Name: "rank", Over: &Window{PartitionBy: []Expr{col("b"), col("c")},
				OrderBy: []OrderItem{{Expr: col("d"), Desc: true}},
				Frame:   &Frame{Unit: "ROWS", Start: FrameBound{Where: Preceding, N: &Int{Value: 2}}, End: FrameBound{Where: CurrentRow}}}}}},
			From: &TableRef{Table: Table{Name: "t"}}}}},
		{"SELECT sum(a) OVER (range between unbounded preceding and 1h following)", one(&Call{Name: "sum", Args: []Expr{col("a")}, Over: &Window{
			Frame: &Frame{Unit: "RANGE", Start: FrameBound{Where: Preceding}, End: FrameBound{Where: Following, N: &Interval{Count: 1, Unit: "h"}}}}})},
		{"SELECT count(*) OVER ()", one(&Call{Name: "count", Star: true, Over: &Window{}})},
		{"SELECT 1 FROM a, b x JOIN c AS y (p, q) USING (k, l) CROSS JOIN UNNEST(r, s) WITH ORDINALITY AS t(u)", &Query{Body: &Select{
			Items: []Item{{Expr: &Int{Value: 1}}},
			From: &Join{Kind: "CROSS", L: &TableRef{Table: Table{Name: "a"}}, R: &Join{Kind: "CROSS",
				L: &Join{Kind: "INNER", L: &TableRef{Table: Table{Name: "b"}, Alias: "x"},
					R: &TableRef{Table: Table{Name: "c"}, Alias: "y", Columns: []string{"p", "q"}}, Using: []string{"k", "l"}},
				R: &Unnest{Lists: []Expr{col("r"), col("s")}, Ordinality: true, Alias: "t", Columns: []string{"u"}}}}}}},
		{"SELECT 1 FROM (a LEFT OUTER JOIN b ON c = d) FULL JOIN (SELECT 2) e ON f", &Query{Body: &Select{
			Items: []Item{{Expr: &Int{Value: 1}}},
			From: &Join{Kind: "FULL", L: &Join{Kind: "LEFT", L: &TableRef{Table: Table{Name: "a"}}, R: &TableRef{Table: Table{Name: "b"}},
				On: &Binary{Op: "=", L: col("c"), R: col("d")}},
				R: &Subquery{Query: one(&Int{Value: 2}).(*Query), Alias: "e"}, On: col("f")}}}},
		{"SELECT 1 FROM (((SELECT 2) UNION (SELECT 3) LIMIT 4) AS s)", &Query{Body: &Select{
			Items: []Item{{Expr: &Int{Value: 1}}},
			From: &Subquery{Alias: "s", Query: &Query{Limit: ptr(int64(4)),
				Body: &SetOperation{Op: "UNION", L: one(&Int{Value: 2}).(*Query).Body, R: one(&Int{Value: 3}).(*Query).Body}}}}}},
		{"SELECT 1 FROM ((SELECT 2) a CROSS JOIN b)", &Query{Body: &Select{
			Items: []Item{{Expr: &Int{Value: 1}}},
			From:  &Join{Kind: "CROSS", L: &Subquery{Query: one(&Int{Value: 2}).(*Query), Alias: "a"}, R: &TableRef{Table: Table{Name: "b"}}}}}},
		{"SELECT 1 UNION ALL SELECT 2 INTERSECT DISTINCT SELECT 3 EXCEPT (SELECT 4 LIMIT 5) ORDER BY 1 LIMIT 6", &Query{
			Body: &SetOperation{Op: "EXCEPT",
				L: &SetOperation{Op: "UNION", All: true, L: one(&Int{Value: 1}).(*Query).Body,
					R: &SetOperation{Op: "INTERSECT", L: one(&Int{Value: 2}).(*Query).Body, R: one(&Int{Value: 3}).(*Query).Body}},
				R: &Query{Body: one(&Int{Value: 4}).(*Query).Body, Limit: ptr(int64(5))}},
			OrderBy: []OrderItem{{Expr: &Int{Value: 1}}}, Limit: ptr(int64(6))}},
		{"SELECT 1 EXCEPT (SELECT 2 UNION SELECT 3)", &Query{Body: &SetOperation{Op: "EXCEPT", L: one(&Int{Value: 1}).(*Query).Body,
			R: &SetOperation{Op: "UNION", L: one(&Int{Value: 2}).(*Query).Body, R: one(&Int{Value: 3}).(*Query).Body}}}},
		{"(SELECT 1 LIMIT 2) LIMIT 1", &Query{Body: &Query{Body: one(&Int{Value: 1}).(*Query).Body, Limit: ptr(int64(2))}, Limit: ptr(int64(1))}},
		{"WITH a (x, y) AS (VALUES (1, 2), ROW(3, 4)) SELECT 1", &Query{Body: one(&Int{Value: 1}).(*Query).Body, With: []CTE{{Name: "a", Columns: []string{"x", "y"},
			Query: &Query{Body: &Values{Rows: []Expr{&Row{Elems: []Expr{&Int{Value: 1}, &Int{Value: 2}}}, &Row{Elems: []Expr{&Int{Value: 3}, &Int{Value: 4}}}}}}}}}},
		{"SELECT * FROM (VALUES 1, 2) AS t(x)", &Query{Body: &Select{Items: []Item{{Star: true}}, From: &Subquery{Alias: "t", Columns: []string{"x"},
			Query: &Query{Body: &Values{Rows: []Expr{&Int{Value: 1}, &Int{Value: 2}}}}}}}},
		{"SELECT a IN (SELECT 1)", one(&In{X: col("a"), Query: one(&Int{Value: 1}).(*Query)})},
		{"SELECT a NOT IN ((SELECT 1), 2)", one(&In{X: col("a"), Not: true, List: []Expr{&Scalar{Query: one(&Int{Value: 1}).(*Query)}, &Int{Value: 2}}})},
		{"SELECT NOT EXISTS (SELECT 1)", one(&Unary{Op: "NOT", X: &Exists{Query: one(&Int{Value: 1}).(*Query)}})},
		{"SELECT a >= ALL (VALUES 1)", one(&Quantified{Op: ">=", X: col("a"), All: true, Query: &Query{Body: &Values{Rows: []Expr{&Int{Value: 1}}}}})},
		{"SELECT a = some (SELECT 1)", one(&Quantified{Op: "=", X: col("a"), Query: one(&Int{Value: 1}).(*Query)})},
		{"SELECT @a_1", one(&Parameter{Name: "a_1"})},
		{"SELECT filter(a, x -> x.value > 1)", one(&Call{Name: "filter", Args: []Expr{col("a"), &Lambda{Params: []string{"x"},
			Body: &Binary{Op: ">", L: &Column{Qualifier: "x", Name: "value"}, R: &Int{Value: 1}}}}})},
		{"SELECT reduce(a, 0, (s, x) -> s, s -> s)", one(&Call{Name: "reduce", Args: []Expr{col("a"), &Int{Value: 0},
			&Lambda{Params: []string{"s", "x"}, Body: col("s")}, &Lambda{Params: []string{"s"}, Body: col("s")}}})},
		{"SELECT ARRAY[1, 2][1], array[], a.b.c, (a).b, f(1).c", &Query{Body: &Select{Items: []Item{
			{Expr: &Subscript{X: &Array{Elems: []Expr{&Int{Value: 1}, &Int{Value: 2}}}, Index: &Int{Value: 1}}}, {Expr: &Array{}},
			{Expr: &Field{X: &Column{Qualifier: "a", Name: "b"}, Name: "c"}}, {Expr: &Field{X: col("a"), Name: "b"}},
			{Expr: &Field{X: &Call{Name: "f", Args: []Expr{&Int{Value: 1}}}, Name: "c"}}}}}},
		{"SELECT (1, 'a'), ROW(1)", &Query{Body: &Select{Items: []Item{{Expr: &Row{Elems: []Expr{&Int{Value: 1}, &String{Value: "a"}}}}, {Expr: &Row{Elems: []Expr{&Int{Value: 1}}}}}}}},
		{"SELECT extract(hour FROM a), position('x' IN a)", &Query{Body: &Select{Items: []Item{{Expr: &Extract{Field: "hour", X: col("a")}},
			{Expr: &Call{Name: "strpos", Args: []Expr{col("a"), &String{Value: "x"}}}}}}}},
		{`describe "a.b"."c"`, &Describe{Table: Table{Database: "a.b", Name: "c"}}},
		{"SHOW DATABASES", &Show{What: ShowDatabases}},
		{"SHOW TABLES LIKE 'a%'", &Show{What: ShowTables, Like: ptr("a%")}},
		{`show tables from db like 'a!_' escape '!'`, &Show{What: ShowTables, From: Table{Database: "db"}, Like: ptr("a!_"), Escape: ptr("!")}},
		{"SHOW MEASURES FROM db.t", &Show{What: ShowMeasures, From: Table{Database: "db", Name: "t"}}},
	} {
		t.Run(tt.give, func(t *testing.T) {
			got, err := Parse(tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if withoutPos(got); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %s\nwant %s", Print(got), Print(tt.want))
			}
			again, err := Parse(Print(got))
			if err != nil {
				t.Fatalf("the printed form %s: %v", Print(got), err)
			}
			if withoutPos(again); !reflect.DeepEqual(again, got) {
				t.Errorf("printed and read again: %s\nbefore: %s", Print(again), Print(got))
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ give, want string }{
		{"", "The query syntax is invalid at line 1:1"},
		{"SELEC 1", "The query syntax is invalid at line 1:1"},
		{"SELECT", "The query syntax is invalid at line 1:7"},
		{"SELECT 1 FROM", "The query syntax is invalid at line 1:14"},
		{"SELECT 'é', 'abc\n", "The query syntax is invalid at line 1:13"},
		{"SELECT a\nFROM t\nWHERE a = = 1", "The query syntax is invalid at line 3:11"},
		{"SELECT a = b = c", "The query syntax is invalid at line 1:14"},
		{"SELECT 1; SELECT 2", "The query syntax is invalid at line 1:11"},
		{"SELECT 1;;", "The query syntax is invalid at line 1:10"},
		{"SELECT group FROM t", "The query syntax is invalid at line 1:8"},
		{"SELECT a FROM fuel-reading", "The query syntax is invalid at line 1:19"},
		{"SELECT 1 day FROM t x y", "The query syntax is invalid at line 1:23"},
		{"SELECT 5x", "The query syntax is invalid at line 1:8"},
		{"SELECT /* open", "The query syntax is invalid at line 1:8"},
		{`SELECT ""`, "The query syntax is invalid at line 1:8"},
		{"SELECT `a`", "The query syntax is invalid at line 1:8"},
		{"DELETE FROM t", "The query syntax is invalid at line 1:1"},
		{"SHOW SCHEMAS", "The query syntax is invalid at line 1:6"},
		{"SHOW DATABASES LIKE x", "The query syntax is invalid at line 1:21"},
		{"SELECT a FROM t LIMIT 1.5", "The query syntax is invalid at line 1:23"},
		{"SELECT 99999999999999999999", "line 1:8: Invalid numeric literal: 99999999999999999999"},
		{"SELECT a FROM t LEFT JOIN u", "The query syntax is invalid at line 1:28"},
		{"SELECT a FROM t CROSS JOIN u ON 1=1", "The query syntax is invalid at line 1:30"},
		{"SELECT a FROM t JOIN u USING x", "The query syntax is invalid at line 1:30"},
		{"SELECT a FROM t NATURAL JOIN u", "line 1:17: NATURAL JOIN is not supported"},
		{"SELECT a FROM (t JOIN u ON a) x", "line 1:31: An alias of a join in parentheses is not supported"},
		{"SELECT a FROM t, LATERAL (SELECT 1)", "line 1:18: LATERAL is not supported"},
		{"SELECT a FROM (t", "The query syntax is invalid at line 1:17"},
		{"SELECT 1 UNION SELECT 2 ORDER", "The query syntax is invalid at line 1:30"},
		{"SELECT 1 ORDER BY 1 UNION SELECT 2", "The query syntax is invalid at line 1:21"},
		{"SELECT rank() OVER w FROM t", "The query syntax is invalid at line 1:20"},
		{"SELECT rank() OVER (ROWS 1)", "The query syntax is invalid at line 1:27"},
		{"SELECT rank() OVER (GROUPS 1 PRECEDING)", "line 1:21: GROUPS is not supported"},
		{"SELECT lag(a) IGNORE NULLS OVER ()", "line 1:15: IGNORE NULLS is not supported"},
		{"SELECT EXISTS 1", "The query syntax is invalid at line 1:15"},
		{"SELECT a[1", "The query syntax is invalid at line 1:11"},
		{"SELECT (a, b -> a", "The query syntax is invalid at line 1:18"},
		{"SELECT a IN ()", "The query syntax is invalid at line 1:14"},
		{"SELECT EXTRACT(day, a)", "The query syntax is invalid at line 1:19"},
		{"SELECT a" + strings.Repeat("[1]", 1000), "line 1:8: statement is nested too deeply"},
		{"SELECT 1 FROM " + strings.Repeat("(", 1000) + "t", "line 1:215: statement is nested too deeply"},
		{"SELECT 1 OFFSET 2", "line 1:10: OFFSET is not supported"},
		{"SELECT a FROM t GROUP BY GROUPING SETS ((a))", "line 1:26: GROUPING is not supported"},
		{"SELECT count(*) FILTER (WHERE a) FROM t", "line 1:17: FILTER is not supported"},
		{"UNLOAD SELECT 1 TO 's3://b'", "The query syntax is invalid at line 1:8"},
		{"UNLOAD (SHOW DATABASES) TO 's3://b'", "The query syntax is invalid at line 1:9"},
		{"UNLOAD (SELECT 1)", "The query syntax is invalid at line 1:18"},
		{"UNLOAD (SELECT 1) TO b", "The query syntax is invalid at line 1:22"},
		{"UNLOAD (SELECT 1) TO 's3://b' WITH ()", "The query syntax is invalid at line 1:37"},
		{"UNLOAD (SELECT 1) TO 's3://b' WITH (format = CSV)", "The query syntax is invalid at line 1:46"},
		{"UNLOAD (SELECT 1) TO 's3://b' WITH (partitioned_by = ARRAY[])", "The query syntax is invalid at line 1:60"},
		{"SELECT " + strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000), "line 1:407: statement is nested too deeply"},
		{"SELECT 1" + strings.Repeat(" + 1", 1000), "line 1:8: statement is nested too deeply"},
		{"SELECT " + strings.Repeat("- ", 1000) + "a", "line 1:806: statement is nested too deeply"},
	} {
		t.Run(tt.give[:min(len(tt.give), 60)], func(t *testing.T) {
			s, err := Parse(tt.give)
			var typed *Error
			if !errors.As(err, &typed) || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if s != nil {
				t.Error("a statement came with the error")
			}
		})
	}
}

func TestParseTakesLongChainsOfOr(t *testing.T) {
	text := "SELECT a = 1" + strings.Repeat(" OR a = 1", 20000)
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := Print(s); strings.Count(got, " OR ") != 20000 {
		t.Errorf("%d operators printed", strings.Count(got, " OR "))
	}
}

func TestParsePositions(t *testing.T) {
	s, err := Parse("SELECT a,\n  upper(b) + 1 FROM db.t WHERE x IS NULL")
	if err != nil {
		t.Fatal(err)
	}
	sel := s.(*Query).Body.(*Select)
	sum := sel.Items[1].Expr.(*Binary)
	for _, tt := range []struct {
		what string
		give Node
		want Pos
	}{
		{"a column", sel.Items[0].Expr, Pos{1, 8}},
		{"an operator", sum, Pos{2, 12}},
		{"a call", sum.L, Pos{2, 3}},
		{"an argument", sum.L.(*Call).Args[0], Pos{2, 9}},
		{"a table", sel.From, Pos{2, 21}},
		{"a predicate", sel.Where, Pos{2, 34}},
	} {
		if got := tt.give.Position(); got != tt.want {
			t.Errorf("%s is at %v, want %v", tt.what, got, tt.want)
		}
	}
}

// TestPrintedTreesAreReadBack holds trees that a planner can build and no text leads to directly.
func TestPrintedTreesAreReadBack(t *testing.T) {
	a := &Column{Name: "a"}
	for _, e := range []Expr{
		&Unary{Op: "-", X: &Unary{Op: "-", X: &Int{Value: -1}}},
		&Unary{Op: "-", X: &Number{Text: "1.5"}},
		&Binary{Op: "-", L: &Int{Value: -1}, R: &Int{Value: -2}},
		&Binary{Op: "=", L: &Binary{Op: "=", L: a, R: a}, R: &IsNull{X: &Unary{Op: "NOT", X: a}}},
		&Unary{Op: "NOT", X: &Binary{Op: "AND", L: a, R: &Binary{Op: "AND", L: a, R: a}}},
		&Between{X: &Binary{Op: "OR", L: a, R: a}, Lo: &Between{X: a, Lo: a, Hi: a}, Hi: a},
		&Call{Name: "try_cast", Args: []Expr{a}},
		&Call{Name: "select", Args: []Expr{a}},
		&Call{Name: "localtime"},
		&Interval{Count: -5, Unit: "ms"},
		&String{Value: "'; DROP TABLE x; --\n\x00\""},
		&Column{Qualifier: `q"`, Name: "; --"},
	} {
		want := Statement(&Query{Body: &Select{Items: []Item{{Expr: e, Alias: `x"y`}}}})
		got, err := Parse(Print(want))
		if err != nil {
			t.Errorf("%s: %v", Print(want), err)
			continue
		}
		if withoutPos(got); !reflect.DeepEqual(got, want) {
			t.Errorf("got %s, want %s", Print(got), Print(want))
		}
	}
}

// FuzzParse holds that no text breaks the parser, and that what it accepts survives printing.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"SELECT a, measure_value::double FROM db.t WHERE time BETWEEN ago(1h) AND now() AND b IN ('x', 'y''z') ORDER BY 1 DESC NULLS LAST LIMIT 5",
		"SELECT count(*) FROM d.t GROUP BY ()",
		"SELECT INTERVAL '3-11' YEAR TO MONTH, INTERVAL -'2' DAY, INTERVAL +'1' HOUR",
		"WITH c AS (SELECT count(*) n FROM d.t GROUP BY bin(time, 5m)) SELECT CASE WHEN n > -1.5e3 THEN NULL END FROM c",
		"UNLOAD(WITH a AS (SELECT 1) SELECT * FROM a ORDER BY 1) TO 's3://b/c' WITH (partitioned_by = ARRAY['x', 'y'], format='CSV', \"odd\" = 'it''s')",
		"SHOW TABLES FROM db LIKE 'a' ESCAPE 'b'", "DESCRIBE a.b", "SELECT - -a, -(1), cast(a AS array(double)), INTERVAL '1' DAY",
		`SELECT "try_cast"(1), current_timestamp, NOT NOT a = b, x.* FROM (SELECT DISTINCT * FROM t) x`,
		"WITH a (x) AS (VALUES 1) (SELECT 1 UNION ALL SELECT x FROM a) EXCEPT SELECT 2 ORDER BY 1",
		"SELECT sum(a) OVER (PARTITION BY b ORDER BY c RANGE BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) FROM t x (a) LEFT JOIN ((u)) USING (k), UNNEST(l, m) v",
		"SELECT reduce(ARRAY[1], (1, 2).x, (s, x) -> s[1] + x.v, s -> s), a.b.c, EXTRACT(day FROM d), e > ANY (SELECT 1), EXISTS (SELECT 1), (SELECT 1)",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		printed := Print(s)
		again, err := Parse(printed)
		if err != nil {
			t.Fatalf("%q printed as %q: %v", text, printed, err)
		}
		if withoutPos(s); !reflect.DeepEqual(withoutPos(again), s) {
			t.Fatalf("%q printed as %q, read as %q", text, printed, Print(again))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := `SELECT "job", "instance", CREATE_TIME_SERIES(time, measure_value::double) FROM "db"."t" WHERE measure_name = 'up' AND ` +
		`time >= from_milliseconds(1700000000000) AND time < from_milliseconds(1700000600000) AND ("job" IS NULL OR "job" <> 'x') GROUP BY "job", "instance", bin(time, 2h)`
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
