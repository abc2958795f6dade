// SPDX-License-Identifier: Apache-2.0

package statement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/tssql"
)

// guard lets statements read "metrics"."samples", all of "open", and "team"."a.b".
func guard(t testing.TB, allowed ...string) *Guard {
	t.Helper()
	var l timestream.TableList
	if err := l.Set(strings.Join(append(allowed, "open.*", "team/a.b"), ",")); err != nil {
		t.Fatal(err)
	}
	return NewGuard("metrics", "samples", l)
}

func TestCheckLetsReadsPass(t *testing.T) {
	g := guard(t)
	for _, give := range []string{
		`SELECT 1`,
		`select * from "metrics"."samples"`,
		`SELECT * FROM metrics.samples`,
		`SELECT * FROM metrics . /* here */ samples -- and no more`,
		"-- first\n  SELECT\t1\r\nFROM metrics.samples\r\n",
		`SELECT * FROM "team"."a.b" JOIN open.x ON true, open."y z"`,
		`WITH secret AS (SELECT * FROM metrics.samples) SELECT * FROM secret`,
		`WITH a AS (SELECT 1), b(x, y) AS (SELECT 2, 3 FROM a) SELECT * FROM a, b ORDER BY 1 LIMIT 5`,
		`SELECT 'UNLOAD; FROM secret.t', "unload", ';' FROM metrics.samples`,
		`SELECT 1 AS "it's; ""FROM"" secret.t" FROM metrics.samples`,
		`SELECT x.a, x.b FROM metrics.samples x WHERE x.a IN (SELECT y.b FROM open.t y) GROUP BY x.a, x.b ORDER BY x.a, x.b`,
		`SELECT avg(measure_value::double) FROM metrics.samples WHERE time > ago(5m) AND measure_name = 'up' LIMIT 10`,
		`SELECT t.x FROM metrics.samples, UNNEST(a.x) AS t(x, y) CROSS JOIN open.u`,
		`SELECT 1 UNION ALL SELECT 2 FROM metrics.samples`,
		`SELECT -1e-9, .5, 1., 1 - 1 FROM metrics.samples`,
		`SHOW TABLES FROM open`,
		`SHOW TABLES FROM "open" LIKE 'x%'`,
		`SHOW MEASURES FROM metrics.samples`,
		`DESCRIBE metrics.samples`,
		`describe "metrics"."samples"`,
		// Beyond the dialect of this project.
		`SELECT * FROM metrics.samples TABLESAMPLE BERNOULLI (50)`,
		`SELECT GROUPING(a) FROM metrics.samples GROUP BY GROUPING SETS ((x.a, x.b), (x.c))`,
		`SELECT x.a FROM metrics.samples x GROUP BY CUBE (x.a, y.b), z.c`,
	} {
		for _, tail := range []string{"", ";", " ; -- the end", "\n;\n"} {
			got, err := g.Check(give + tail)
			if strings.HasSuffix(give, "no more") && tail == ";" {
				continue // the comment goes on
			}
			if err != nil {
				t.Errorf("%s%s: %v", give, tail, err)
			} else if strings.TrimSpace(got) != strings.TrimSpace(give) && !strings.Contains(give, "--") {
				t.Errorf("%q%q: would run %q", give, tail, got)
			}
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	g := guard(t)
	denied, other := true, false
	for _, tt := range []struct {
		give   string
		denied bool
		want   string
	}{
		{``, other, "begin with SELECT"},
		{`-- SELECT 1`, other, "begin with SELECT"},
		{`;`, other, "begin with SELECT"},
		{`(SELECT 1)`, other, "begin with SELECT"},
		{`UNLOAD (SELECT 1) TO 's3://b' WITH (format='CSV')`, other, "begin with SELECT"},
		{`INSERT INTO metrics.samples SELECT 1`, other, "begin with SELECT"},
		{`EXPLAIN SELECT 1`, other, "begin with SELECT"},
		{`DESC metrics.samples`, other, "begin with SELECT"},
		{`"SELECT" 1`, other, "begin with SELECT"},
		{`SELECTED 1`, other, "begin with SELECT"},
		{`SELECT 1; SELECT 2`, other, "more than one"},
		{`SELECT 1;;`, other, "more than one"},
		{`SELECT 1; /* x */ DROP TABLE metrics.samples`, other, "more than one"},
		{`WITH x AS (SELECT 1) UNLOAD (SELECT * FROM x) TO 's3://b'`, other, "UNLOAD"},
		{`SELECT 1 FROM (unload/**/(SELECT 1))`, other, "UNLOAD"},
		{`WITH x AS (SELECT 1) INSERT INTO metrics.samples SELECT * FROM x`, other, "INSERT"},
		{`SELECT * INTO open.t FROM metrics.samples`, other, "INTO"},

		{`SELECT * FROM secret.t`, denied, `table "secret"."t"`},
		{`SELECT * FROM secret.t`, denied, `--allowed-tables`},
		{`SELECT*FROM"secret"."t"`, denied, ""},
		{`SELECT * FROM "secret" . "t"`, denied, ""},
		{`SELECT * FROM secret/**/./**/t`, denied, ""},
		{"SELECT * FROM secret -- x\n . -- y\n t", denied, ""},
		{`SELECT * FROM metrics.samples, secret.t`, denied, ""},
		{`SELECT * FROM metrics.samples AS a , /* , */ secret.t b`, denied, ""},
		{`SELECT * FROM metrics.samples a JOIN secret.t b ON a.x = b.x`, denied, ""},
		{`SELECT * FROM metrics.samples a LEFT OUTER JOIN (secret.t b CROSS JOIN open.x) ON true`, denied, ""},
		{`SELECT * FROM (SELECT * FROM (SELECT * FROM secret.t))`, denied, ""},
		{`SELECT * FROM ((secret.t))`, denied, ""},
		{`SELECT (SELECT max(x) FROM secret.t)`, denied, ""},
		{`SELECT 1 WHERE EXISTS (SELECT 1 FROM secret.t)`, denied, ""},
		{`SELECT 1 FROM metrics.samples WHERE a IN (SELECT b FROM secret.t)`, denied, ""},
		{`SELECT 1 FROM metrics.samples UNION SELECT 2 FROM secret.t`, denied, ""},
		{`SELECT 1 INTERSECT (SELECT 2 FROM secret.t)`, denied, ""},
		{`WITH a AS (SELECT * FROM secret.t) SELECT 1`, denied, ""},
		{`WITH t AS (SELECT 1), secret AS (SELECT 2) SELECT * FROM secret.t`, denied, ""},
		{`WITH samples AS (SELECT 1) SELECT * FROM secret.samples`, denied, ""},
		{`SELECT * FROM "metrics.samples"."t"`, denied, ""},
		{`SELECT * FROM "metrics"".""samples"."t"`, denied, `"metrics\".\"samples"`},
		{`SELECT * FROM metrics."samples "`, denied, ""},
		{`SELECT * FROM Metrics.samples`, denied, ""},
		{`SELECT * FROM metrics."Samples"`, denied, ""},
		{`SELECT * FROM team."a.bc"`, denied, ""},
		{`SELECT * FROM information_schema.tables`, denied, ""},
		{`SELECT CASE WHEN true THEN (SELECT 1 FROM secret.t) END`, denied, ""},
		{`SELECT sum(x) OVER (ORDER BY (SELECT 1 FROM secret.t)) FROM metrics.samples`, denied, ""},
		{`DESCRIBE secret.t`, denied, ""},
		{`SHOW MEASURES FROM secret.t`, denied, ""},
		{`SHOW TABLES FROM secret`, denied, ""},
		{`SHOW TABLES FROM metrics`, denied, "not all that it lists"}, // one table of it is allowed, not all
		{`SHOW TABLES`, denied, ""},
		{`SHOW DATABASES`, denied, ""},
		{`SHOW DATABASES LIKE 'open'`, denied, ""},

		// Beyond the dialect of this project, so judged by tokens.
		{`SELECT * FROM metrics.samples TABLESAMPLE BERNOULLI (50), secret.t`, denied, ""},
		{`SELECT 1 UNION TABLE secret.t`, denied, ""},
		{`WITH x AS (TABLE secret.t) SELECT * FROM x`, denied, ""},
		{`SELECT * FROM TABLE (secret.t)`, denied, ""},
		{`SELECT * FROM metrics.samples, LATERAL (SELECT * FROM secret.t)`, denied, ""},
		{`SELECT * FROM metrics.samples, LATERAL secret.t`, denied, ""},
		{`SELECT * FROM ONLY secret.t`, denied, ""},
		{`SELECT * FROM metrics.samples limit, secret.t TABLESAMPLE SYSTEM (1)`, denied, ""},
		{`SELECT * FROM UNNEST(ARRAY[1]) WITH ORDINALITY AS u(a, b), secret.t TABLESAMPLE SYSTEM (1)`, denied, ""},
		{`SELECT * FROM metrics.samples a JOIN open.b ON listagg(x) WITHIN GROUP (ORDER BY x) = '', secret.t`, denied, ""},
		{`SELECT * FROM metrics.samples GROUP BY GROUPING SETS ((a)) HAVING 1 IN (SELECT 1 FROM secret.t)`, denied, ""},
		{`SELECT * FROM (open.a TABLESAMPLE SYSTEM (1) CROSS JOIN secret.t)`, denied, ""},
		{`SELECT * FROM open.a TABLESAMPLE SYSTEM (1) NATURAL JOIN secret.t`, denied, ""},
		{`SELECT * FROM metrics.samples.t`, other, "its database and its name"},
		{`SELECT * FROM open.secret.t`, other, "its database and its name"},
		{`SELECT * FROM open.`, other, "a name is missing"},
		{`SELECT 1) FROM secret.t`, other, ") without ("},
		{`SHOW COLUMNS FROM secret.t`, other, "line 1:"},
		{`SHOW STATS FOR (SELECT * FROM secret.t)`, other, "line 1:"},
		{`SHOW CREATE TABLE secret.t`, other, "CREATE"},
		{`DESCRIBE secret.t.x`, other, "line 1:"},
		{`DESCRIBE INPUT x`, other, "line 1:"},

		// What could be read in two ways.
		{"SELECT 1 -- x\rFROM secret.t", other, "line 1:14: a carriage return"},
		{"SELECT 1\rFROM secret.t", other, "'\\r'"},
		{"SELECT 1 /* /* */ ' */ FROM secret.t -- '", other, "comment within a comment"},
		{`SELECT 1 /* FROM secret.t`, other, "does not end"},
		{`SELECT 'x FROM secret.t`, other, "not closed"},
		{`SELECT "x FROM secret.t`, other, "not closed"},
		{`SELECT 'x\' FROM secret.t --'`, denied, ""}, // a backslash is an ordinary character
		{`SELECT 1.FROM secret.t`, other, "right after a number"},
		{`SELECT 1FROM secret.t`, other, "right after a number"},
		{`SELECT 1e5FROM secret.t`, other, "right after a number"},
		{`SELECT 5mFROM secret.t`, other, "right after a number"},
		{`SELECT * FROM secret.1t`, other, "right after a number"},
		{"SELECT * FROM `secret`.`t`", other, "'`'"},
		{`SELECT * FROM U&"s\0065cret".t`, other, "'&'"},
		{"SELECT * FROM secret\u200b.t", other, "double quotes"},
		{"SELECT * FROM secret\u00a0.t", other, "double quotes"},
		{`SELECT * FROM sécret.t`, other, "double quotes"},
		{"SELECT * FROM\u2028secret.t", other, "double quotes"},
		{"SELECT * \u212aROM secret.t", other, "double quotes"}, // folds to K
		{"\ufeffSELECT 1", other, "double quotes"},
		{"SELECT * FROM secret\x00.t", other, `'\x00'`},
		{"SELECT 1 FROM \"\"", other, "without characters"},
		{`SELECT @x`, other, "'@'"},
		{`SELECT {fn x}`, other, "'{'"},
		{strings.Repeat(" ", MaxBytes) + "SELECT 1", other, "262144"},
	} {
		_, err := g.Check(tt.give)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v, want a refusal", tt.give, err)
			continue
		}
		if e.Denied != tt.denied || !strings.Contains(e.Text, tt.want) {
			t.Errorf("%q: got denied %v, %q; want %v, %q", tt.give, e.Denied, e.Text, tt.denied, tt.want)
		}
	}
}

func TestCheckWithEverythingAllowed(t *testing.T) {
	g := guard(t, "*.*")
	for _, give := range []string{`SHOW DATABASES`, `SHOW TABLES`, `SHOW TABLES FROM x`, `SELECT * FROM secret.t, other.t`, `DESCRIBE secret.t`, `SELECT EXTRACT(day FROM a.b) FROM x.y TABLESAMPLE SYSTEM (1)`} {
		if _, err := g.Check(give); err != nil {
			t.Errorf("%s: %v", give, err)
		}
	}
}

// TestTokensFindWhatTheTreeHas: the second way to judge finds no less than the first.
func TestTokensFindWhatTheTreeHas(t *testing.T) {
	n := 0
	for _, give := range corpus() {
		if compare(t, give) {
			n++
		}
	}
	if n < 30 {
		t.Errorf("only %d statements could be compared", n)
	}
}

// corpus is statements that the dialect knows, in pieces and whole.
func corpus() []string {
	tables := []string{`a.b`, `"a"."b" AS x`, `(c.d y)`, `(SELECT 1 FROM e.f) z`, `cte`, `UNNEST(ARRAY[1, 2]) AS u (v)`, `(a.b CROSS JOIN c.d)`, `(VALUES (1, 2), (3, 4)) w (i, j)`}
	var out []string
	for _, l := range tables {
		for _, r := range tables {
			out = append(out,
				fmt.Sprintf(`SELECT 1 FROM %s, %s`, l, r),
				fmt.Sprintf(`SELECT x.a, x.b FROM %s CROSS JOIN %s WHERE x.a IN (SELECT g FROM g.h) GROUP BY x.a, x.b ORDER BY x.a, x.b LIMIT 3`, l, r),
				fmt.Sprintf(`WITH cte AS (SELECT 1 FROM %s) SELECT extract(day FROM x.t), (SELECT 1 FROM i.j, k.l) FROM %s JOIN m.n ON f(x.a, x.b) = 1 AND EXISTS (SELECT 1 FROM o.p), q.r UNION SELECT 1 FROM s.t`, l, r))
		}
	}
	return out
}

// compare tells whether the dialect knows the statement; if so, the tokens must have all of its tables.
func compare(t *testing.T, text string) bool {
	t.Helper()
	tokens, err := scan(text)
	if err != nil {
		return false
	}
	text, tokens, err = single(text, tokens)
	if err != nil || onlyReads(tokens) != nil || tokens[0].is("SHOW") || tokens[0].is("DESCRIBE") {
		return false
	}
	tree, err := tssql.Parse(text)
	if err != nil {
		return false
	}
	found, err := tablesByTokens(text, tokens)
	if err != nil {
		return false // refused, which is no less
	}
	for _, want := range tablesOf(tree) {
		if want.database != "" && !slices.Contains(found, want) {
			t.Errorf("%q: the tokens do not show %v, only %v", text, want, found)
		}
	}
	return true
}

func FuzzCheck(f *testing.F) {
	for _, give := range corpus()[:40] {
		f.Add(give)
	}
	for _, give := range []string{
		"SELECT 1 /* x */ FROM a.b -- y\n;", `WITH a AS (SELECT 1) SELECT * FROM a, (b.c JOIN d.e ON true)`, `SELECT 'it''s', "a""b", 5m, 1e-9, ARRAY[1][1] FROM x.y WHERE a IS DISTINCT FROM b`,
		`SELECT sum(x) OVER (PARTITION BY a ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM a.b t (c, d) GROUP BY 1 HAVING x > ALL (SELECT 1 FROM u.v)`, "SHOW TABLES FROM x", "DESCRIBE a.b",
		`SELECT CASE WHEN x THEN 1 ELSE (SELECT 2 FROM f.g) END FROM a.b LEFT JOIN c.d USING (x, y), e.f, UNNEST(z) WITH ORDINALITY AS q (r, s), h.i`,
	} {
		f.Add(give)
	}
	g := NewGuard("metrics", "samples", timestream.TableList{})
	f.Fuzz(func(t *testing.T, text string) {
		compare(t, text)
		got, err := g.Check(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Text == "" {
				t.Fatalf("got %v", err)
			}
			return
		}
		if !strings.HasPrefix(text, got) {
			t.Errorf("%q became %q", text, got)
		}
		if again, err := g.Check(got); err != nil || again != got {
			t.Errorf("%q passes, what is to be run of it does not: %q, %v", text, again, err)
		}
		// No statement that passes has a two-part name right after FROM, other than the one table.
		tokens, err := scan(got)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+3 < len(tokens); i++ {
			if tokens[i].is("JOIN") && tokens[i+1].isName() && tokens[i+2].is(".") && tokens[i+3].isName() && (tokens[i+1].spelling() != "metrics" || tokens[i+3].spelling() != "samples") {
				t.Errorf("%q reads another table", got)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	g := guard(b)
	text := `WITH a AS (SELECT time, job FROM metrics.samples WHERE measure_name = 'up' AND time > ago(5m)) SELECT a.job, count(*) FROM a JOIN open.x ON a.job = x.job GROUP BY a.job`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Check(text); err != nil {
			b.Fatal(err)
		}
	}
}
