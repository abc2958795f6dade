// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"
)

// now is what the tests take for the present: 2022-06-17 10:25:20.123456789.
var now = time.Unix(0, 1655461520123456789)

// catalog is a Catalog of fixed content.
type catalog map[string]map[string]*Relation

func (c catalog) Relation(database, table string) (*Relation, error) {
	tables, ok := c[database]
	if !ok {
		return nil, fmt.Errorf("asked for %s: %w", database, ErrNoDatabase)
	}
	r, ok := tables[table]
	if !ok {
		return nil, ErrNoTable
	}
	return r, nil
}

func (c catalog) Databases() []string {
	var out []string
	for name := range c {
		out = append(out, name)
	}
	return out
}

func (c catalog) Tables(database string) ([]string, error) {
	if c[database] == nil {
		return nil, ErrNoDatabase
	}
	var out []string
	for name := range c[database] {
		out = append(out, name)
	}
	return out, nil
}

func (c catalog) Measures(database, table string) ([]Measure, error) {
	if _, err := c.Relation(database, table); err != nil {
		return nil, err
	}
	return []Measure{{"up", "double", []string{"job", "instance"}}, {"events", "multi", []string{"job"}}}, nil
}

func testCatalog() catalog {
	col := func(name string, t Scalar, attribute, sql string) Column {
		return Column{Name: name, Type: ScalarOf(t), Attribute: attribute, SQL: sql}
	}
	return catalog{
		"db": {
			"m": {Database: "db", Table: "m", SQL: "m", Columns: []Column{
				col("job", Varchar, "DIMENSION", "d1"),
				col("In stance", Varchar, "DIMENSION", "d2"),
				col("measure_name", Varchar, "MEASURE_NAME", "m"),
				col("time", Timestamp, "TIMESTAMP", "t"),
				col("measure_value::double", Double, "MEASURE_VALUE", "v"),
				col("measure_value::bigint", Bigint, "MEASURE_VALUE", "CASE WHEN b > -100 THEN b END"),
				col("ok", Boolean, "MULTI", "a1"),
				col("note", Varchar, "MULTI", "a2"),
			}},
			"my-table": {Database: "db", Table: "my-table", SQL: "(SELECT * FROM m WHERE FALSE)", Columns: []Column{
				col("measure_name", Varchar, "MEASURE_NAME", "m"), col("time", Timestamp, "TIMESTAMP", "t"),
			}},
		},
		"other.db": {},
	}
}

// tableM is the content of db.m.
const tableM = `CREATE TABLE m (d1 VARCHAR, d2 VARCHAR, m VARCHAR, t BIGINT, v DOUBLE, b BIGINT, a1 BOOLEAN, a2 VARCHAR);
INSERT INTO m VALUES
 ('node', 'a:9100', 'up', 1655461500000000000, 1, NULL, NULL, NULL),
 ('node', 'a:9100', 'up', 1655461485000000000, 0.5, NULL, NULL, NULL),
 ('node', 'b:9100', 'up', 1655461500000000000, 1e7, NULL, NULL, NULL),
 ('api', NULL, 'requests', 1655461500123456789, NULL, 42, NULL, NULL),
 (NULL, 'c', 'events', 1655461440000000000, NULL, NULL, true, 'it''s 100%')`

type engine struct {
	conn    *duck.Conn
	catalog Catalog
}

func newEngine(t testing.TB, setup string) *engine {
	t.Helper()
	db, err := duck.Open("", map[string]string{"threads": "2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Register(sqlfunc.All()...); err != nil {
		t.Fatal(err)
	}
	conn, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := conn.Exec(setup); err != nil {
		t.Fatal(err)
	}
	return &engine{conn, testCatalog()}
}

// query compiles and runs a statement. Both ways of rendering a row must agree.
func (e *engine) query(text string) (*Plan, []qtypes.Row, error) {
	plan, err := Compile(text, e.catalog, now)
	if err != nil {
		return nil, nil, err
	}
	if plan.SQL == "" {
		rows := make([]qtypes.Row, len(plan.Static))
		for i := range plan.Static {
			if err := json.Unmarshal(plan.AppendStatic(nil, i), &rows[i]); err != nil {
				return nil, nil, err
			}
			if !reflect.DeepEqual(rows[i].Data, plan.Static[i]) {
				return plan, nil, fmt.Errorf("AppendStatic changes %s", rowText(rows[i]))
			}
		}
		return plan, rows, nil
	}
	rows, err := e.conn.Query(context.Background(), plan.SQL)
	if err != nil {
		return plan, nil, fmt.Errorf("%w\n%s", err, plan.SQL)
	}
	defer rows.Close()
	var out []qtypes.Row
	for rows.Next() {
		for i := range rows.Size() {
			text, err := plan.AppendRow(nil, rows.Columns(), i)
			if err != nil {
				return plan, nil, err
			}
			var row qtypes.Row
			if err := json.Unmarshal(text, &row); err != nil {
				return plan, nil, err
			}
			values := make([]any, len(rows.Columns()))
			for k := range values {
				values[k] = rows.Columns()[k].Value(i)
			}
			again, err := plainRow(plan, values)
			if err != nil {
				return plan, nil, err
			}
			if !reflect.DeepEqual(row, again) {
				return plan, nil, fmt.Errorf("AppendRow and plainRow differ: %s and %s", rowText(row), rowText(again))
			}
			out = append(out, row)
		}
	}
	if err := rows.Err(); err != nil {
		return plan, nil, fmt.Errorf("%w\n%s", err, plan.SQL)
	}
	return plan, out, nil
}

func datumText(d qtypes.Datum) string {
	switch {
	case d.ScalarValue != nil:
		return *d.ScalarValue
	case d.NullValue != nil && *d.NullValue:
		return "NULL"
	case d.TimeSeriesValue != nil:
		var out []string
		for _, p := range d.TimeSeriesValue {
			out = append(out, *p.Time+"="+datumText(*p.Value))
		}
		return "{" + strings.Join(out, ", ") + "}"
	case d.RowValue != nil:
		return "(" + rowText(*d.RowValue) + ")"
	}
	var out []string
	for _, e := range d.ArrayValue {
		out = append(out, datumText(e))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func rowText(r qtypes.Row) string {
	var out []string
	for _, d := range r.Data {
		out = append(out, datumText(d))
	}
	return strings.Join(out, " | ")
}

func typesOf(p *Plan) string {
	var out []string
	for _, c := range p.Columns {
		out = append(out, c.Type.String())
	}
	return strings.Join(out, " | ")
}

func namesOf(p *Plan) string {
	var out []string
	for _, c := range p.Columns {
		out = append(out, c.Name)
	}
	return strings.Join(out, " | ")
}

func texts(rows []qtypes.Row) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, r := range rows {
			if !yield(rowText(r)) {
				return
			}
		}
	}
}

func TestQueries(t *testing.T) {
	e := newEngine(t, tableM)
	for _, tt := range []struct {
		name, give, wantNames, wantTypes string
		want                             []string
	}{
		{"names and types", "SELECT 1, 'two', now(), job, upper(job), count(*) n FROM db.m WHERE job = 'api' GROUP BY job", "_col0 | _col1 | _col2 | job | _col4 | n",
			"integer | varchar | timestamp | varchar | varchar | bigint", []string{"1 | two | 2022-06-17 10:25:20.123456789 | api | API | 1"}},
		{"star", "SELECT * FROM db.m WHERE note IS NOT NULL", "job | In stance | measure_name | time | measure_value::double | measure_value::bigint | ok | note",
			"varchar | varchar | varchar | timestamp | double | bigint | boolean | varchar",
			[]string{"NULL | c | events | 2022-06-17 10:24:00.000000000 | NULL | NULL | true | it's 100%"}},
		{"an alias and its star", `SELECT x.*, x."In stance" FROM (SELECT job, "In stance" FROM db.m m WHERE m.ok) AS x`, "job | In stance | In stance",
			"varchar | varchar | varchar", []string{"NULL | c | c"}},
		{"bare count", "SELECT count() FROM db.m", "_col0", "bigint", []string{"5"}},
		{"counts", "SELECT count(*), count(job), count(DISTINCT job), count(measure_value::bigint), count_if(ok), approx_distinct(job) FROM db.m", "_col0 | _col1 | _col2 | _col3 | _col4 | _col5",
			"bigint | bigint | bigint | bigint | bigint | bigint", []string{"5 | 4 | 2 | 1 | 1 | 2"}},
		{"aggregates", "SELECT sum(measure_value::double), sum(measure_value::bigint), avg(measure_value::bigint), min(time), max(job), min_by(measure_value::double, time), max_by(job, measure_value::double), arbitrary(note), sum(1), bool_and(ok) FROM db.m",
			"_col0 | _col1 | _col2 | _col3 | _col4 | _col5 | _col6 | _col7 | _col8 | _col9",
			"double | bigint | double | timestamp | varchar | double | varchar | varchar | bigint | boolean",
			[]string{"1.00000015E7 | 42 | 42.0 | 2022-06-17 10:24:00.000000000 | node | NULL | node | it's 100% | 5 | true"}},
		{"no rows to aggregate", "SELECT count(*), sum(measure_value::double), max(time), create_time_series(time, 1) FROM db.m WHERE FALSE", "_col0 | _col1 | _col2 | _col3",
			"bigint | double | timestamp | timeseries(row(timestamp, integer))", []string{"0 | NULL | NULL | NULL"}},
		{"grouping", `SELECT job, "In stance", count(*) + 1 AS n FROM db.m WHERE measure_name = 'up' GROUP BY job, "In stance" HAVING count(*) > 0 ORDER BY n DESC, 2`,
			"job | In stance | n", "varchar | varchar | bigint", []string{"node | a:9100 | 3", "node | b:9100 | 2"}},
		{"grouping by place and expression", "SELECT bin(time, 30s), upper(job), BIN(m.time, 30s) + 1s, max(measure_value::double) FROM db.m WHERE job = 'node' GROUP BY 1, upper(m.job) ORDER BY 1",
			"_col0 | _col1 | _col2 | _col3", "timestamp | varchar | timestamp | double",
			[]string{"2022-06-17 10:24:30.000000000 | NODE | 2022-06-17 10:24:31.000000000 | 0.5", "2022-06-17 10:25:00.000000000 | NODE | 2022-06-17 10:25:01.000000000 | 1.0E7"}},
		{"grouping by a literal", "SELECT 'x', count(*) FROM db.m GROUP BY 1", "_col0 | _col1", "varchar | bigint", []string{"x | 5"}},
		{"a group by itself", "SELECT job FROM db.m GROUP BY job ORDER BY job", "job", "varchar", []string{"api", "node", "NULL"}},
		{"having alone", "SELECT 1 FROM db.m HAVING count(*) > 100", "_col0", "integer", nil},
		{"having alone, true", "SELECT 1 FROM db.m HAVING TRUE", "_col0", "integer", []string{"1"}},
		{"order by an aggregate", "SELECT job FROM db.m GROUP BY job ORDER BY count(*) DESC, job", "job", "varchar", []string{"node", "api", "NULL"}},
		{"order by what is not selected", "SELECT measure_value::double FROM db.m WHERE job = 'node' ORDER BY time, measure_value::double DESC", "measure_value::double", "double", []string{"0.5", "1.0E7", "1.0"}},
		{"order hides columns", "SELECT - measure_value::double AS time FROM db.m WHERE job = 'node' ORDER BY time", "time", "double", []string{"-1.0E7", "-1.0", "-0.5"}},
		{"order by an expression over an alias", "SELECT measure_value::double AS x FROM db.m WHERE job = 'node' ORDER BY 0 - x", "x", "double", []string{"1.0E7", "1.0", "0.5"}},
		{"order by a constant", "SELECT 1 FROM db.m ORDER BY 'x', 1 LIMIT 1", "_col0", "integer", []string{"1"}},
		{"nulls last", "SELECT DISTINCT job FROM db.m ORDER BY job", "job", "varchar", []string{"api", "node", "NULL"}},
		{"nulls last, descending", "SELECT DISTINCT job FROM db.m ORDER BY 1 DESC", "job", "varchar", []string{"node", "api", "NULL"}},
		{"nulls first", "SELECT DISTINCT job FROM db.m ORDER BY job NULLS FIRST LIMIT 1", "job", "varchar", []string{"NULL"}},
		{"distinct with order by an expression", "SELECT DISTINCT upper(job) FROM db.m ORDER BY upper(job)", "_col0", "varchar", []string{"API", "NODE", "NULL"}},
		{"limit 0", "SELECT job FROM db.m LIMIT 0", "job", "varchar", nil},
		{"time between texts", "SELECT job FROM db.m WHERE time BETWEEN '2022-06-17 10:25:00.1' AND '2022-06-18'", "job", "varchar", []string{"api"}},
		{"time between computed ends", "SELECT count(*) FROM db.m WHERE time >= ago(21s) AND time < from_milliseconds(1655461500124)", "_col0", "bigint", []string{"3"}},
		{"absent label", `SELECT measure_name FROM db.m WHERE ("In stance" IS NULL OR "In stance" <> 'a:9100') AND (job IS NULL OR job = '' OR job = 'api') ORDER BY 1`, "measure_name", "varchar", []string{"events", "requests"}},
		{"not equal skips NULL", "SELECT count(*) FROM db.m WHERE job <> 'node'", "_col0", "bigint", []string{"1"}},
		{"a time series", `SELECT "In stance", CREATE_TIME_SERIES(time, measure_value::double) AS s FROM db.m WHERE measure_name = 'up' AND measure_value::double IS NOT NULL GROUP BY "In stance", bin(time, 2h) ORDER BY 1`,
			"In stance | s", "varchar | timeseries(row(timestamp, double))",
			[]string{"a:9100 | {2022-06-17 10:24:45.000000000=0.5, 2022-06-17 10:25:00.000000000=1.0}", "b:9100 | {2022-06-17 10:25:00.000000000=1.0E7}"}},
		{"a time series of text", "SELECT create_time_series(time, measure_name) FROM db.m WHERE job = 'api'", "_col0", "timeseries(row(timestamp, varchar))", []string{"{2022-06-17 10:25:00.123456789=requests}"}},
		{"a time series from below", "SELECT s FROM (SELECT create_time_series(time, measure_value::bigint) s FROM db.m WHERE job = 'api')", "s", "timeseries(row(timestamp, bigint))", []string{"{2022-06-17 10:25:00.123456789=42}"}},
		{"a choice of time series", "SELECT if(count(*) > 9, create_time_series(time, TRUE)) FROM db.m", "_col0", "timeseries(row(timestamp, boolean))", []string{"NULL"}},
		{"an array", "SELECT array_agg(job) FROM (SELECT job FROM db.m ORDER BY job LIMIT 2)", "_col0", "array(varchar)", []string{"[api, node]"}},
		{"with", "WITH a AS (SELECT job j, count(*) n FROM db.m GROUP BY job), b AS (SELECT j, n * 2 n FROM a) SELECT b.j, max(n) FROM b GROUP BY j ORDER BY 2 DESC LIMIT 1", "j | _col1", "varchar | bigint", []string{"node | 6"}},
		{"a quoted table", `SELECT count(*) FROM "db"."my-table"`, "_col0", "bigint", []string{"0"}},
		{"an empty table", `SELECT * FROM db."my-table"`, "measure_name | time", "varchar | timestamp", nil},
		{"the last sample per step", "SELECT bin(time, 1m), max_by(measure_value::double, time) FROM db.m WHERE job = 'node' GROUP BY 1 ORDER BY 1", "_col0 | _col1", "timestamp | double",
			[]string{"2022-06-17 10:24:00.000000000 | 0.5", "2022-06-17 10:25:00.000000000 | 1.0"}},
		{"a case over groups", "SELECT CASE WHEN job IS NULL THEN 0 ELSE count(*) END c FROM db.m GROUP BY job ORDER BY c", "c", "bigint", []string{"0", "1", "3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, rows, err := e.query(tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if got := namesOf(plan); got != tt.wantNames {
				t.Errorf("names %s, want %s", got, tt.wantNames)
			}
			if got := typesOf(plan); got != tt.wantTypes {
				t.Errorf("types %s, want %s", got, tt.wantTypes)
			}
			got := slices.Collect(texts(rows))
			if tt.name == "the last sample per step" && len(got) == 2 {
				// Two series have a sample at the last instant; either is right.
				got[1] = strings.Replace(got[1], "1.0E7", "1.0", 1)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q\nwant %q\n%s", got, tt.want, plan.SQL)
			}
		})
	}
}

func TestPlanTellsWhatItNeeds(t *testing.T) {
	for _, tt := range []struct {
		give, action string
		metered      bool
		tables       []Table
	}{
		{"SELECT 1", ActionSelectValues, true, nil},
		{"WITH a AS (SELECT * FROM db.m) SELECT count(*) FROM (SELECT * FROM a)", ActionSelect, true, []Table{{"db", "m"}}},
		{"DESCRIBE db.m", ActionDescribeTable, false, []Table{{"db", "m"}}},
		{"SHOW MEASURES FROM db.m", ActionListMeasures, false, []Table{{"db", "m"}}},
		{"SHOW TABLES FROM db", ActionListTables, false, []Table{{"db", ""}}},
		{"SHOW DATABASES", ActionListDatabases, false, nil},
	} {
		p, err := Compile(tt.give, testCatalog(), now)
		if err != nil {
			t.Fatal(err)
		}
		if p.Action != tt.action || p.Metered != tt.metered || !slices.Equal(p.Tables, tt.tables) {
			t.Errorf("%s: got %s %v %v", tt.give, p.Action, p.Metered, p.Tables)
		}
	}
}

func TestMetadata(t *testing.T) {
	e := newEngine(t, "SELECT 1")
	for _, tt := range []struct {
		give, names string
		want        []string
	}{
		{"describe db.m", "Column | Type | Timestream attribute type", []string{
			"job | varchar | DIMENSION", "In stance | varchar | DIMENSION", "measure_name | varchar | MEASURE_NAME", "time | timestamp | TIMESTAMP",
			"measure_value::double | double | MEASURE_VALUE", "measure_value::bigint | bigint | MEASURE_VALUE", "ok | boolean | MULTI", "note | varchar | MULTI"}},
		{"SHOW DATABASES", "Database", []string{"db", "other.db"}},
		{"SHOW DATABASES LIKE 'o%.d_'", "Database", []string{"other.db"}},
		{"SHOW TABLES FROM db", "Table", []string{"m", "my-table"}},
		{"SHOW TABLES", "Table", []string{"m", "my-table"}},
		{"SHOW TABLES FROM db LIKE 'my!-%' ESCAPE '-'", "Table", nil},
		{"SHOW MEASURES FROM db.m LIKE '%e%'", "measure_name | data_type | dimensions", []string{"events | multi | [(job | varchar)]"}},
		{"SHOW MEASURES FROM db.m", "measure_name | data_type | dimensions", []string{"events | multi | [(job | varchar)]", "up | double | [(job | varchar), (instance | varchar)]"}},
	} {
		p, rows, err := e.query(tt.give)
		if err != nil {
			t.Errorf("%s: %v", tt.give, err)
			continue
		}
		if got := slices.Collect(texts(rows)); namesOf(p) != tt.names || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %s %q", tt.give, namesOf(p), got)
		}
	}
	p, err := Compile("SHOW MEASURES FROM db.m", e.catalog, now)
	if err != nil {
		t.Fatal(err)
	}
	dimensions := p.ColumnInfo()[2]
	row := dimensions.Type.ArrayColumnInfo.Type.RowColumnInfo
	if *dimensions.Name != "dimensions" || dimensions.Type.ArrayColumnInfo.Name != nil || *row[0].Name != "dimension_name" || row[1].Type.ScalarType != Varchar {
		t.Errorf("got %+v", dimensions)
	}
}

// TestPredicatesStayPlain holds the forms that DuckDB can push into a scan and prune row groups by.
func TestPredicatesStayPlain(t *testing.T) {
	for _, tt := range []struct{ give, want string }{
		{"time >= from_milliseconds(1655461520123)", "(t >= CAST(1655461520123000000 AS BIGINT))"},
		{"time < ago(1h) + 15m", "(t < CAST(1655458820123456789 AS BIGINT))"},
		{"time BETWEEN from_milliseconds(1) AND '1970-01-02'", "(t BETWEEN CAST(1000000 AS BIGINT) AND CAST(86400000000000 AS BIGINT))"},
		{"time > bin(now(), 1d)", "(t > CAST(1655424000000000000 AS BIGINT))"},
		{"time > DATE '1970-01-02'", "(t > CAST(86400000000000 AS BIGINT))"},
		{"measure_name = 'up'", "(m = 'up')"},
		{"job IN ('a', 'b')", "(d1 IN ('a', 'b'))"},
		{"job IS NULL OR job <> 'x' OR job = ''", "((d1 IS NULL) OR (d1 <> 'x') OR (d1 = ''))"},
		{"measure_value::double > 5", "(v > CAST('5' AS DOUBLE))"},
	} {
		p, err := Compile("SELECT 1 FROM db.m WHERE "+tt.give, testCatalog(), now)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(p.SQL, " WHERE "+tt.want) {
			t.Errorf("%s:\ngot  %s\nwant … WHERE %s", tt.give, p.SQL, tt.want)
		}
	}
}

// TestNamesOfUsersStayOut holds that names reach DuckDB neither as identifiers nor as text.
func TestNamesOfUsersStayOut(t *testing.T) {
	p, err := Compile(`SELECT job AS "evil""); DROP TABLE m; --", count(*) AS x FROM db.m AS "evil" GROUP BY 1 ORDER BY x`, testCatalog(), now)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(p.SQL, "evil") || strings.Contains(p.SQL, "job") {
		t.Error(p.SQL)
	}
	e := newEngine(t, tableM)
	_, rows, err := e.query(`SELECT count(*) FROM db.m WHERE job = 'x''; DROP TABLE m; --' OR note = 'it''s 100%'`)
	if err != nil || rowText(rows[0]) != "1" {
		t.Errorf("got %v, %v", slices.Collect(texts(rows)), err)
	}
}

func TestLongPredicatesRun(t *testing.T) {
	e := newEngine(t, tableM)
	_, rows, err := e.query("SELECT count(*) FROM db.m WHERE job = 'api'" + strings.Repeat(" OR job = 'x' AND measure_name <> 'y'", 5000))
	if err != nil || rowText(rows[0]) != "1" {
		t.Errorf("got %v, %v", slices.Collect(texts(rows)), err)
	}
}
