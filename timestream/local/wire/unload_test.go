// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// manifest is the file of that name.
type manifest struct {
	Files []struct {
		URL  string `json:"url"`
		Meta struct {
			Bytes int64 `json:"content_length_in_bytes"`
			Rows  int64 `json:"row_count"`
		} `json:"file_metadata"`
	} `json:"result_files"`
	Query struct {
		Bytes   int64  `json:"total_content_length_in_bytes"`
		Rows    int64  `json:"total_row_count"`
		Format  string `json:"result_format"`
		Version string `json:"result_version"`
	} `json:"query_metadata"`
	Author map[string]string `json:"author"`
}

// path is where an object is.
func (l *loading) path(url string) string {
	l.t.Helper()
	path, ok := strings.CutPrefix(url, "s3://")
	if !ok {
		l.t.Fatalf("no URL: %s", url)
	}
	return filepath.Join(l.dir, path)
}

func (l *loading) json(url string, to any) {
	l.t.Helper()
	b, err := os.ReadFile(l.path(url))
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// unload runs a statement, checks what is the same for all, and returns its manifest and the contents of its files by what their paths have after
// the statement's place, without the names that are made up.
func (l *loading) unload(sql string) (m manifest, files map[string]string) {
	l.t.Helper()
	row := l.rows(sql)
	if len(row) != 1 {
		l.t.Fatalf("%s: %d rows", sql, len(row))
	}
	cells := strings.Split(row[0], "|")
	l.json(cells[2], &m)
	if cells[0] != fmt.Sprint(m.Query.Rows) || m.Query.Version != "Amazon Timestream version 1.0.0" || m.Author["name"] != "Amazon Timestream" || m.Author["manifest_file_version"] != "1.0" {
		l.t.Errorf("got %q and %+v", cells, m)
	}
	place, _, _ := strings.Cut(cells[2], "AE")
	name := strings.TrimSuffix(strings.TrimPrefix(cells[2], place), "_manifest.json")
	if !regexp.MustCompile(`^AE[A-Z2-7]+_[0-9]+$`).MatchString(name) || cells[1] != place+name+"_metadata.json" {
		l.t.Errorf("got %q", cells)
	}
	files = map[string]string{}
	var bytes, rows int64
	for _, f := range m.Files {
		b, err := os.ReadFile(l.path(f.URL))
		if err != nil {
			l.t.Fatal(err)
		}
		if int64(len(b)) != f.Meta.Bytes {
			l.t.Errorf("%s has %d bytes, the manifest says %d", f.URL, len(b), f.Meta.Bytes)
		}
		bytes, rows = bytes+f.Meta.Bytes, rows+f.Meta.Rows
		if strings.HasSuffix(f.URL, ".gz") {
			z, err := gzip.NewReader(strings.NewReader(string(b)))
			if err == nil {
				b, err = io.ReadAll(z)
			}
			if err != nil {
				l.t.Fatal(err)
			}
		}
		short := regexp.MustCompile(name+"_[A-Z2-7]{16}").ReplaceAllString(strings.TrimPrefix(f.URL, place), "*")
		files[short] += string(b)
	}
	if bytes != m.Query.Bytes || rows != m.Query.Rows {
		l.t.Errorf("the manifest's sums are %+v, its files have %d bytes and %d rows", m.Query, bytes, rows)
	}
	return m, files
}

func (l *loading) wantFiles(sql string, want map[string]string) {
	l.t.Helper()
	_, got := l.unload(sql)
	a, _ := json.MarshalIndent(got, "", " ")
	b, _ := json.MarshalIndent(want, "", " ")
	if string(a) != string(b) {
		l.t.Errorf("%s\ngot  %s\nwant %s", sql, a, b)
	}
}

// objects are the keys in csv-out.
func (l *loading) objects() []string {
	l.t.Helper()
	var keys []string
	root := filepath.Join(l.dir, "csv-out")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			keys = append(keys, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return keys
}

const everyType = `SELECT * FROM (VALUES (1, 'plain', CAST(2.5 AS double), true, TIMESTAMP '2024-02-03 04:05:06.789', DATE '2024-02-03', 3d, ARRAY[1, 2], 'a'),
	(2, 'co,mma', nan(), false, TIMESTAMP '1970-01-01 00:00:00', DATE '1970-01-01', 1s, ARRAY[3, NULL], 'b'),
	(3, 'qu"ote \ back', 1e10, NULL, NULL, NULL, NULL, NULL, 'a'), (4, '', -0.5e0, true, NULL, NULL, NULL, ARRAY[5], NULL)) AS t (i, s, d, b, t, day, v, list, part)`

// TestUnloadCSV: the files of UNLOAD as CSV.
func TestUnloadCSV(t *testing.T) {
	l := newLoading(t)
	l.wantFiles("UNLOAD ("+everyType+" ORDER BY i) TO 's3://csv-out/plain' WITH (compression='NONE', include_header='true')", map[string]string{
		"results/*.csv": "i,s,d,b,t,day,v,list,part\n" +
			"1,plain,2.5,true,2024-02-03 04:05:06.789000000,2024-02-03,3 00:00:00.000000000,\"[1,2]\",a\n" +
			"2,\"co,mma\",NaN,false,1970-01-01 00:00:00.000000000,1970-01-01,0 00:00:01.000000000,\"[3,null]\",b\n" +
			"3,\"qu\\\"ote \\\\ back\",1.0E10,,,,,,a\n" +
			"4,\"\",-0.5,true,,,,[5],\n",
	})
	l.wantFiles("UNLOAD (SELECT i, s, part FROM ("+everyType+") ORDER BY i) TO 's3://csv-out' WITH (format='csv', partitioned_by = ARRAY['part'], compression='gzip', field_delimiter='|', escaped_by='\"', max_file_size='24.5MB')", map[string]string{
		"results/part=a/*.gz": "1|plain\n3|\"qu\"\"ote \\ back\"\n", "results/part=b/*.gz": "2|co,mma\n", "results/part=__HIVE_DEFAULT_PARTITION__/*.gz": "4|\"\"\n",
	})
	l.wantFiles("unload(SELECT i, s, b, part FROM ("+everyType+") WHERE i < 3) to 's3://csv-out/a/b/' with (partitioned_by = ARRAY['b', 'part'], compression='NONE', field_delimiter='\\t')", map[string]string{
		"results/b=true/part=a/*.csv": "1\tplain\n", "results/b=false/part=b/*.csv": "2\tco,mma\n",
	})
	l.wantFiles("UNLOAD (SELECT 1 WHERE false) TO 's3://csv-out/none'", map[string]string{})
	l.wantFiles("UNLOAD (SELECT CREATE_TIME_SERIES(t, v) AS s, row(1, 'x') AS r FROM (VALUES (from_milliseconds(2), 2e0), (from_milliseconds(1), nan())) AS t (t, v)) TO 's3://csv-out/nested' WITH (compression='NONE')", map[string]string{
		"results/*.csv": `"[{\"time\":\"1970-01-01 00:00:00.001000000\",\"value\":\"NaN\"},{\"time\":\"1970-01-01 00:00:00.002000000\",\"value\":2.0}]","{\"field0\":1,\"field1\":\"x\"}"` + "\n",
	})

	// The metadata has the columns of the query, those that choose folders too.
	row := l.rows("UNLOAD (SELECT 1 AS n, 'x' AS p) TO 's3://csv-out/m/' WITH (partitioned_by = ARRAY['p'])")
	var meta map[string]any
	l.json(strings.Split(row[0], "|")[1], &meta)
	b, _ := json.Marshal(meta)
	if want := `{"Author":{"MetadataFileVersion":"1.0","Name":"Amazon Timestream"},"ColumnInfo":[{"Name":"n","Type":{"ScalarType":"INTEGER"}},{"Name":"p","Type":{"ScalarType":"VARCHAR"}}]}`; string(b) != want {
		t.Errorf("got %s", b)
	}
}

// TestUnloadParquet: what another program reads of the files of UNLOAD as Parquet.
func TestUnloadParquet(t *testing.T) {
	l := newLoading(t)
	for _, compression := range []string{"GZIP", "NONE"} {
		m, files := l.unload("UNLOAD (" + everyType + " ORDER BY i) TO 's3://csv-out/" + strings.ToLower(compression) + "' WITH (format='PARQUET', compression='" + compression + "', partitioned_by=ARRAY['part'])")
		if len(files) != 3 || m.Query.Format != "PARQUET" || files["results/part=b/*.parquet"] == "" {
			t.Errorf("got %v, %+v", slices.Collect(maps.Keys(files)), m.Query)
		}
		want := []string{
			"1|plain|2.5|true|2024-02-03 04:05:06.789|2024-02-03|3 00:00:00.000000000|[1, 2]", "2|co,mma|nan|false|1970-01-01 00:00:00|1970-01-01|0 00:00:01.000000000|[3, NULL]",
			`3|qu"ote \ back|10000000000.0|NULL|NULL|NULL|NULL|NULL`, "4||-0.5|true|NULL|NULL|NULL|[5]",
		}
		if got := readParquet(t, m.at(l.dir)); !slices.Equal(got, want) {
			t.Errorf("%s: got %q\nwant %q", compression, got, want)
		}
	}
	m, _ := l.unload("UNLOAD (SELECT CREATE_TIME_SERIES(t, v) AS s, row(1, 'x') AS r FROM (VALUES (from_milliseconds(2), 2e0), (from_milliseconds(1), 1e0)) AS t (t, v)) TO 's3://csv-out/nested' WITH (format='PARQUET')")
	want := []string{"[{'time': '1970-01-01 00:00:00.001', 'value': 1.0}, {'time': '1970-01-01 00:00:00.002', 'value': 2.0}]|{'field0': 1, 'field1': x}"}
	if got := readParquet(t, m.at(l.dir)); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// TestUnloadFileSize: files are about as large as they may be, in both formats, and hold all rows between them.
func TestUnloadFileSize(t *testing.T) {
	l := newLoading(t)
	for _, format := range []string{"CSV", "PARQUET"} {
		m, _ := l.unload("UNLOAD (SELECT n, concat(cast(n AS varchar), '" + strings.Repeat("-", 100) + "') AS s FROM (SELECT 1) AS x (one) CROSS JOIN UNNEST(sequence(1, 9000)) AS a (i) CROSS JOIN UNNEST(sequence(i * 100, i * 100 + 39)) AS b (n)) " +
			"TO 's3://csv-out/" + format + "' WITH (format='" + format + "', compression='NONE', max_file_size='16MB')")
		if len(m.Files) != 3 || m.Query.Rows != 360_000 {
			t.Errorf("%s: %d files, %d rows", format, len(m.Files), m.Query.Rows)
		}
		full := 0
		for _, f := range m.Files {
			if f.Meta.Bytes > 20<<20 {
				t.Errorf("%s: a file has %d bytes", format, f.Meta.Bytes)
			}
			if f.Meta.Bytes >= 16<<20 {
				full++
			}
		}
		if full != 2 {
			t.Errorf("%s: %d files have their size", format, full)
		}
	}
}

// at gives the files' places in a directory of buckets.
func (m manifest) at(dir string) manifest {
	m.Files = slices.Clone(m.Files)
	for i := range m.Files {
		m.Files[i].URL = filepath.Join(dir, strings.TrimPrefix(m.Files[i].URL, "s3://"))
	}
	return m
}

// readParquet is what DuckDB reads of all files, by the first column.
func readParquet(t *testing.T, m manifest) []string {
	t.Helper()
	db, err := duck.Open(filepath.Join(t.TempDir(), "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := db.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names := make([]string, len(m.Files))
	for i := range names {
		names[i] = "'" + m.Files[i].URL + "'"
	}
	res, err := c.Query(t.Context(), "SELECT COLUMNS(*)::VARCHAR FROM read_parquet(["+strings.Join(names, ", ")+"], hive_partitioning = false) ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	var out []string
	for res.Next() {
		for i := range res.Size() {
			var cells []string
			for k := range res.Columns() {
				if c := &res.Columns()[k]; c.IsNull(i) {
					cells = append(cells, "NULL")
				} else {
					cells = append(cells, c.String(i))
				}
			}
			out = append(out, strings.Join(cells, "|"))
		}
	}
	if err := res.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestUnloadAnswer: columns, types, insights and what is metered of the statement's answer.
func TestUnloadAnswer(t *testing.T) {
	l := newLoading(t)
	if _, err := l.write.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("loads"), TableName: aws.String("trips"),
		Records: []wtypes.Record{record("a", "1", "host", "x"), record("b", "2", "host", "x")}}); err != nil {
		t.Fatal(err)
	}
	out, err := l.query.Query(t.Context(), &timestreamquery.QueryInput{
		QueryString:   aws.String("UNLOAD (SELECT measure_value::double, measure_name FROM loads.trips) TO 's3://csv-out/x' WITH (partitioned_by = ARRAY['measure_name'])"),
		QueryInsights: &qtypes.QueryInsights{Mode: qtypes.QueryInsightsModeEnabledWithRateControl},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range out.ColumnInfo {
		names = append(names, *c.Name+" "+string(c.Type.ScalarType))
	}
	if want := []string{"rows BIGINT", "metadataFile VARCHAR", "manifestFile VARCHAR"}; !slices.Equal(names, want) || len(out.Rows) != 1 || out.NextToken != nil {
		t.Errorf("got %v and %d rows", names, len(out.Rows))
	}
	if s := out.QueryStatus; s.ProgressPercentage != 100 || s.CumulativeBytesMetered != 10_000_000 || s.CumulativeBytesScanned == 0 {
		t.Errorf("got %+v", s)
	}
	if i := out.QueryInsightsResponse; *i.UnloadPartitionCount != 2 || *i.UnloadWrittenRows != 2 || *i.UnloadWrittenBytes == 0 || *i.OutputRows != 1 || *i.QueryTableCount != 1 {
		t.Errorf("got %+v", i)
	}
	// With pages of one row there is an empty one first, as for any statement; the export is done once.
	before := len(l.objects())
	one := &timestreamquery.QueryInput{QueryString: aws.String("UNLOAD (SELECT 1) TO 's3://csv-out/y'"), MaxRows: aws.Int32(1)}
	pages, rows := timestreamquery.NewQueryPaginator(l.query, one), 0
	for pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rows += len(p.Rows)
	}
	if after := len(l.objects()); rows != 1 || after != before+3 {
		t.Errorf("%d rows, %d objects, %d before", rows, after, before)
	}
}

// TestUnloadErrors: what is refused, with its class and text, leaves nothing behind.
func TestUnloadErrors(t *testing.T) {
	l := newLoading(t)
	const validation, execution = serviceSpace + "ValidationException", serviceSpace + "QueryExecutionException"
	query := func(sql string) string {
		b, _ := json.Marshal(map[string]string{"QueryString": sql})
		return string(b)
	}
	with := func(options string) string {
		return query("UNLOAD (SELECT 1 AS a, 'x' AS b) TO 's3://csv-out/p' WITH (" + options + ")")
	}
	values := make([]string, 101)
	for i := range values {
		values[i] = fmt.Sprintf("(%d, 'p%d')", i, i)
	}
	many := "SELECT * FROM (VALUES " + strings.Join(values, ", ") + ") AS t (i, p)"
	converse(t, l.srv.URL, []exchange{
		{"syntax", "Query", query("UNLOAD SELECT 1"), validation, "The query syntax is invalid at line 1:8"},
		{"place", "Query", query("UNLOAD (SELECT 1) TO '/tmp/x'"), validation, "line 1:22: The place '/tmp/x' is not of the form s3://bucket/folder"},
		{"no bucket", "Query", query("UNLOAD (SELECT 1) TO 's3://nothing/x'"), validation, "Unable to access S3: no such bucket: nothing: there is no directory of this name in " + l.dir + " (--s3-dir)"},
		{"a way out", "Query", query("UNLOAD (SELECT 1) TO 's3://csv-out/../../x'"), validation, `Unable to access S3: the key cannot be a path: "../../x" holds ".." between slashes`},
		{"a column", "Query", query("UNLOAD (SELECT a FROM loads.trips) TO 's3://csv-out/p'"), validation, "line 1:16: Column 'a' does not exist"},
		{"an option", "Query", with("header='true'"), validation, "line 1:60: The option 'header' is unknown"},
		{"twice", "Query", with("format='CSV', FORMAT='CSV'"), validation, "line 1:74: The option 'FORMAT' appears more than once"},
		{"format", "Query", with("format='ORC'"), validation, "line 1:60: The option 'format' is 'ORC': it has to be CSV or PARQUET"},
		{"compression", "Query", with("compression='SNAPPY'"), validation, "line 1:60: The option 'compression' is 'SNAPPY': it has to be GZIP or NONE"},
		{"encryption", "Query", with("encryption='X', kms_key='y'"), validation, "line 1:60: The option 'encryption' is 'X': it has to be SSE_S3 or SSE_KMS"},
		{"a delimiter", "Query", with("field_delimiter=';;'"), validation, "line 1:60: The option 'field_delimiter' is ';;': it has to be one character of ASCII"},
		{"an escape", "Query", with("escaped_by='ü'"), validation, "line 1:60: The option 'escaped_by' is 'ü': it has to be one character of ASCII"},
		{"the same characters", "Query", with("escaped_by=','"), validation, "line 1:1: The field delimiter, the escape character and the quote character must be different"},
		{"a header", "Query", with("include_header='yes'"), validation, "line 1:60: The option 'include_header' is 'yes': it has to be true or false"},
		{"a small file", "Query", with("max_file_size='15.9MB'"), validation, "line 1:60: The option 'max_file_size' is '15.9MB': it has to be from 16MB to 78GB"},
		{"a large file", "Query", with("max_file_size='78.1GB'"), validation, "line 1:60: The option 'max_file_size' is '78.1GB': it has to be from 16MB to 78GB"},
		{"no size", "Query", with("max_file_size='20'"), validation, "line 1:60: The option 'max_file_size' is '20': it has to be from 16MB to 78GB"},
		{"a text for columns", "Query", with("partitioned_by='b'"), validation, "line 1:60: The value of the option 'partitioned_by' is of the wrong type"},
		{"no such column", "Query", with("partitioned_by=ARRAY['c']"), validation, "line 1:60: Column 'c' does not exist"},
		{"not the last", "Query", with("partitioned_by=ARRAY['a']"), validation, "line 1:60: The columns of partitioned_by have to be the last columns of the query, in the same order"},
		{"all columns", "Query", with("partitioned_by=ARRAY['a','b']"), validation, "line 1:60: All columns of the query are in partitioned_by: no column would be exported"},
		{"an array", "Query", query("UNLOAD (SELECT 1, ARRAY[1] AS b) TO 's3://csv-out/p' WITH (partitioned_by=ARRAY['b'])"), validation, "line 1:60: The column 'b' in partitioned_by is of type array(integer), which is no scalar"},
		{"a time of day", "Query", query("UNLOAD (SELECT current_time AS c) TO 's3://csv-out/p'"), validation, "line 1:9: The column 'c' has the type time, which UNLOAD does not support"},
		{"nothing known", "Query", query("UNLOAD (SELECT ARRAY[NULL] AS c) TO 's3://csv-out/p'"), validation, "line 1:9: The column 'c' has the type array(unknown), which UNLOAD does not support"},
		{"partitions", "Query", query("UNLOAD (" + many + ") TO 's3://csv-out/p' WITH (partitioned_by=ARRAY['p'])"), execution, "The query exports more than 100 partitions."},
		{"a partition's name", "Query", query("UNLOAD (SELECT 1, 'é' AS p) TO 's3://csv-out/p' WITH (partitioned_by=ARRAY['p'])"), execution,
			"The value 'é' of the column 'p' in partitioned_by cannot be part of a key: it may have characters of ASCII only, and no slash."},
		{"a failure on the way", "Query", query("UNLOAD (SELECT 1 / (100 - i) AS q, p FROM (" + many + ") WHERE i > 50 ORDER BY i) TO 's3://csv-out/p' WITH (partitioned_by=ARRAY['p'])"), execution, "Division by zero"},
		{"prepare", "PrepareQuery", query("UNLOAD (SELECT 1) TO 's3://csv-out/p'"), validation, "line 1:1: UNLOAD cannot be prepared"},
	})
	if left := l.objects(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestUnloadCancelled: a statement that takes longer than a call goes on with pages without rows; cancelled, it leaves nothing behind.
func TestUnloadCancelled(t *testing.T) {
	l := newLoadingWith(t, func(c *local.Config) { c.CallTime = time.Millisecond })
	sql := aws.String("UNLOAD (SELECT a, b, rand() AS c FROM (SELECT 1) AS x (one) CROSS JOIN UNNEST(sequence(1, 10000)) AS y (a) CROSS JOIN UNNEST(sequence(1, 10000)) AS z (b)) TO 's3://csv-out/x' WITH (compression='NONE')")
	out, err := l.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: sql})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if out.NextToken == nil || len(out.Rows) > 0 {
			t.Fatalf("got %d rows and the token %v", len(out.Rows), out.NextToken)
		}
		if out, err = l.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: sql, NextToken: out.NextToken}); err != nil {
			t.Fatal(err)
		}
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			select {
			case <-t.Context().Done():
				t.Fatal("no " + what)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	await("file", func() bool { return len(l.objects()) > 0 })
	if _, err := l.query.CancelQuery(t.Context(), &timestreamquery.CancelQueryInput{QueryId: out.QueryId}); err != nil {
		t.Fatal(err)
	}
	await("end", func() bool { return len(l.objects()) == 0 })
}

// TestUnloadNeedsItsAction: both the statement and its query need a grant, and a directory of buckets.
func TestUnloadNeedsItsAction(t *testing.T) {
	for _, tc := range []struct{ granted, want string }{
		{"Select,SelectValues", "timestream:Unload action"},
		{"Unload", "timestream:SelectValues action"},
		{"Unload,SelectValues", "--s3-dir, which is not set"},
	} {
		srv := serve(t, func(c *local.Config) { c.AllowActions = strings.Split(tc.granted, ",") }, wire.Options{})
		q := timestreamquery.NewFromConfig(awsConfig(t, srv.URL), func(o *timestreamquery.Options) {
			o.EndpointDiscovery.EnableEndpointDiscovery = aws.EndpointDiscoveryDisabled
		})
		_, err := q.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("UNLOAD (SELECT 1) TO 's3://csv-out/x'")})
		var denied *qtypes.AccessDeniedException
		var invalid *qtypes.ValidationException
		if !errors.As(err, &denied) && !errors.As(err, &invalid) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s", tc.granted, err, tc.want)
		}
	}
}
