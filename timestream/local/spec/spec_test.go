// SPDX-License-Identifier: Apache-2.0

package spec_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/local/spec"
	"github.com/tributary-project/tributary/timestream/local/wire"
	"github.com/tributary-project/tributary/timestream/tssql"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the README's tables of SQL")

func load(t *testing.T) []spec.Function {
	t.Helper()
	functions, err := spec.Load(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	return functions
}

func loadStatements(t *testing.T) []spec.Function {
	t.Helper()
	statements, err := spec.LoadStatements(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	return statements
}

// TestCases runs every case of every file over HTTP.
func TestCases(t *testing.T) {
	s := serve(t)
	for _, f := range append(load(t), loadStatements(t)...) {
		for i, c := range f.Cases {
			t.Run(fmt.Sprintf("%s/%s/%d", f.Category, f.Name, i+1), func(t *testing.T) {
				s.need(t, c.Given)
				if problem := s.run(t, c); problem != "" {
					t.Errorf("%s\n%s", c.SQL, problem)
				}
			})
		}
	}
}

// server is timestream-local over HTTP with the SDK's clients.
type server struct {
	write   *timestreamwrite.Client
	query   *timestreamquery.Client
	tables  map[string]spec.Table
	written map[string]bool
}

const database = "sampleDB"

func serve(t *testing.T) *server {
	t.Helper()
	tables, err := spec.LoadTables(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	cfg := local.DefaultConfig()
	cfg.Dir, cfg.DefaultDatabase, cfg.DefaultTable, cfg.Now = t.TempDir(), database, "empty", spec.Now
	cfg.S3Dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(cfg.S3Dir, "exports"), 0o750); err != nil {
		t.Fatal(err)
	}
	db, err := local.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(wire.New(db, wire.Options{}))
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	client := aws.Config{
		Region: "us-east-1", BaseEndpoint: &srv.URL, HTTPClient: &http.Client{Transport: transport},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "any", SecretAccessKey: "any"}, nil
		}),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
	return &server{timestreamwrite.NewFromConfig(client), timestreamquery.NewFromConfig(client), tables, map[string]bool{}}
}

// need writes the fixtures of a case that are not there yet.
func (s *server) need(t *testing.T, names []string) {
	t.Helper()
	for _, name := range names {
		table, ok := s.tables[name]
		switch {
		case !ok:
			t.Fatalf("there is no fixture %s", name)
		case s.written[name]:
			continue
		}
		s.written[name] = true
		_, err := s.write.CreateTable(t.Context(), &timestreamwrite.CreateTableInput{
			DatabaseName: aws.String(database), TableName: &name,
			MagneticStoreWriteProperties: &wtypes.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true)},
		})
		if err != nil {
			t.Fatal(err)
		}
		for chunk := range slices.Chunk(recordsOf(t, table), 100) {
			_, err := s.write.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: &name, Records: chunk})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func recordsOf(t *testing.T, table spec.Table) []wtypes.Record {
	t.Helper()
	var out []wtypes.Record
	for _, cells := range table.Records {
		r := wtypes.Record{MeasureName: &table.Measure, MeasureValueType: wtypes.MeasureValueTypeMulti, TimeUnit: wtypes.TimeUnitNanoseconds}
		for i, cell := range cells {
			switch n := i - len(table.Dimensions); {
			case cell.Tag == "!!null":
			case n < 0:
				r.Dimensions = append(r.Dimensions, wtypes.Dimension{Name: &table.Dimensions[i], Value: aws.String(cell.Value)})
			case n == 0:
				at, err := time.Parse("2006-01-02 15:04:05", cell.Value)
				if err != nil {
					t.Fatal(err)
				}
				r.Time = aws.String(strconv.FormatInt(at.UnixNano(), 10))
			default:
				name, kind, _ := strings.Cut(table.Measures[n-1], " ")
				if single, ok := strings.CutPrefix(name, "measure_value::"); ok {
					r.MeasureValue, r.MeasureValueType = aws.String(cell.Value), wtypes.MeasureValueType(strings.ToUpper(single))
					continue
				}
				r.MeasureValues = append(r.MeasureValues, wtypes.MeasureValue{Name: &name, Value: aws.String(cell.Value), Type: wtypes.MeasureValueType(strings.ToUpper(kind))})
			}
		}
		out = append(out, r)
	}
	return out
}

// run runs a case and tells what is wrong with its answer.
func (s *server) run(t *testing.T, c spec.Case) string {
	t.Helper()
	var columns []string
	rows := []string{}
	in := &timestreamquery.QueryInput{QueryString: &c.SQL}
	for {
		out, err := s.query.Query(t.Context(), in)
		if err != nil {
			return errorProblem(err, c.Error)
		}
		columns = nil
		for _, i := range out.ColumnInfo {
			columns = append(columns, aws.ToString(i.Name)+" "+typeText(i.Type))
		}
		for _, r := range out.Rows {
			rows = append(rows, rowText(r))
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if c.Error != "" {
		return fmt.Sprintf("answered %s, want the error %s", rows, c.Error)
	}
	if !slices.Equal(columns, c.Columns) {
		return fmt.Sprintf("got the columns %q\nwant             %q", columns, c.Columns)
	}
	if c.Matches != "" {
		if len(rows) != 1 || !regexp.MustCompile(c.Matches).MatchString(strings.Trim(rows[0], `["]`)) {
			return fmt.Sprintf("got %s, want %s", rows, c.Matches)
		}
		return ""
	}
	want := []string{}
	for _, r := range c.Rows {
		cells := make([]string, len(r))
		for i := range r {
			cells[i] = nodeText(&r[i])
		}
		want = append(want, "["+strings.Join(cells, ", ")+"]")
	}
	if !slices.Equal(rows, want) {
		return fmt.Sprintf("got  %s\nwant %s", strings.Join(rows, "\n     "), strings.Join(want, "\n     "))
	}
	return ""
}

// errorProblem compares an error. What is wrong with a statement has a place in it and is a ValidationException, what goes wrong
// while it runs is a QueryExecutionException (Timestream API reference, Query).
func errorProblem(err error, want string) string {
	var invalid *qtypes.ValidationException
	var failed *qtypes.QueryExecutionException
	var message string
	switch {
	case errors.As(err, &invalid):
		message = invalid.ErrorMessage()
	case errors.As(err, &failed):
		message = failed.ErrorMessage()
		if strings.HasPrefix(message, "line ") {
			return "a QueryExecutionException has no place in the statement: " + message
		}
	default:
		return err.Error()
	}
	if start, ok := strings.CutSuffix(want, "..."); ok && strings.HasPrefix(message, start) && start != "" || message == want {
		return ""
	}
	return fmt.Sprintf("got the error  %s\nwant           %s", message, want)
}

// typeText spells a type as DESCRIBE does.
func typeText(t *qtypes.Type) string {
	switch {
	case t.TimeSeriesMeasureValueColumnInfo != nil:
		return "timeseries(" + typeText(t.TimeSeriesMeasureValueColumnInfo.Type) + ")"
	case t.ArrayColumnInfo != nil:
		return "array(" + typeText(t.ArrayColumnInfo.Type) + ")"
	case t.RowColumnInfo != nil:
		fields := make([]string, len(t.RowColumnInfo))
		for i, f := range t.RowColumnInfo {
			fields[i] = strings.TrimPrefix(aws.ToString(f.Name)+" "+typeText(f.Type), " ")
		}
		return "row(" + strings.Join(fields, ", ") + ")"
	}
	return strings.ToLower(strings.ReplaceAll(string(t.ScalarType), "_", " "))
}

// The texts of answers and of expectations are the same where the values are.

func rowText(r qtypes.Row) string {
	cells := make([]string, len(r.Data))
	for i, d := range r.Data {
		cells[i] = datumText(d)
	}
	return "[" + strings.Join(cells, ", ") + "]"
}

func datumText(d qtypes.Datum) string {
	switch {
	case d.ScalarValue != nil:
		return strconv.Quote(*d.ScalarValue)
	case aws.ToBool(d.NullValue):
		return "null"
	case d.RowValue != nil:
		return rowText(*d.RowValue)
	case d.TimeSeriesValue != nil:
		points := make([]string, len(d.TimeSeriesValue))
		for i, p := range d.TimeSeriesValue {
			points[i] = "[" + strconv.Quote(aws.ToString(p.Time)) + ", " + datumText(*p.Value) + "]"
		}
		return "[" + strings.Join(points, ", ") + "]"
	}
	return rowText(qtypes.Row{Data: d.ArrayValue})
}

func nodeText(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		cells := make([]string, len(n.Content))
		for i, e := range n.Content {
			cells[i] = nodeText(e)
		}
		return "[" + strings.Join(cells, ", ") + "]"
	case n.Tag == "!!null":
		return "null"
	}
	return strconv.Quote(n.Value)
}

// guide lists the functions of the Timestream Developer Guide by category, each under every name it has there.
func guide() map[string]string {
	return map[string]string{
		"time-series": `create_time_series unnest interpolate_linear interpolate_spline_cubic interpolate_locf interpolate_fill derivative_linear
			non_negative_derivative_linear integral_trapezoidal correlate_pearson correlate_spearman filter reduce`,
		"date-time": `current_date current_time current_timestamp now current_timezone localtime localtimestamp date last_day_of_month
			from_iso8601_timestamp from_iso8601_date to_iso8601 from_milliseconds from_nanoseconds from_unixtime to_milliseconds to_nanoseconds
			to_unixtime date_trunc date_add date_diff parse_duration bin ago date_format date_parse format_datetime parse_datetime extract day
			day_of_month day_of_week dow day_of_year doy hour millisecond minute month nanosecond quarter second week week_of_year year
			year_of_week yow`,
		"regex": `regexp_like regexp_extract regexp_extract_all regexp_replace regexp_split`,
		"string": `chr codepoint concat hamming_distance length levenshtein_distance lower lpad ltrim replace reverse rpad rtrim split split_part
			strpos strrpos position substr trim upper`,
		"math": `abs cbrt ceiling ceil degrees e exp floor from_base ln log2 log10 mod pi pow power radians rand random round sign sqrt to_base
			truncate acos asin atan atan2 cos cosh sin tan tanh infinity is_finite is_infinite is_nan nan`,
		"bitwise": `bit_count bitwise_and bitwise_not bitwise_or bitwise_xor`,
		"array": `array_distinct array_intersect array_union array_except array_join array_max array_min array_position array_remove array_sort
			arrays_overlap cardinality concat element_at repeat reverse sequence shuffle slice zip`,
		"aggregate": `arbitrary array_agg avg bool_and every bool_or count count_if geometric_mean max min max_by min_by sum bitwise_and_agg
			bitwise_or_agg approx_distinct approx_percentile corr covar_pop covar_samp regr_intercept regr_slope skewness stddev stddev_samp
			stddev_pop variance var_samp var_pop`,
		"window":      `cume_dist dense_rank ntile percent_rank rank row_number first_value last_value nth_value lead lag`,
		"conditional": `case coalesce if nullif try`,
		"conversion":  `cast try_cast`,
		"comparison":  `greatest least`,
	}
}

// TestEveryFunctionHasAFile compares the files with the guide's list, and what the compiler serves with the files.
func TestEveryFunctionHasAFile(t *testing.T) {
	have := map[string]bool{}
	named := map[string]bool{}
	for _, f := range load(t) {
		have[f.Category+"/"+f.Name] = true
		named[f.Name] = true
	}
	documented := map[string]bool{}
	for category, names := range guide() {
		for name := range strings.FieldsSeq(names) {
			documented[category+"/"+name] = true
			if !have[category+"/"+name] {
				t.Errorf("%s of the guide has no file in functions/%s", name, category)
			}
		}
	}
	for name := range have {
		if !documented[name] && !strings.HasPrefix(name, "undocumented/") {
			t.Errorf("%s is not in the guide", name)
		}
	}
	for _, name := range served(t) {
		if !named[name] {
			t.Errorf("%s is served and has no file", name)
		}
	}
}

// TestOnlyKnownFiles finds what Load does not read.
func TestOnlyKnownFiles(t *testing.T) {
	found, err := filepath.Glob("functions/*/*")
	if err != nil {
		t.Fatal(err)
	}
	if read := len(load(t)); read != len(found) {
		t.Errorf("%d files, of which %d are in a directory of a category", len(found), read)
	}
}

// served finds the functions that the compiler knows: it compares names with literals, so each occurs in its source.
func served(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../internal/sqlplan/*.go")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)
	var out []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			s, err := strconv.Unquote(literal.Value)
			if err != nil || !name.MatchString(s) || slices.Contains(out, s) {
				return true
			}
			statement := "SELECT " + s + "()"
			if _, err := tssql.Parse(statement); err != nil {
				return true
			}
			if _, err := sqlplan.Compile(statement, nothing{}, spec.Now()); err == nil || !strings.Contains(err.Error(), "not registered") {
				out = append(out, s)
			}
			return true
		})
	}
	if len(out) < 100 {
		t.Fatalf("found only %d functions: %s", len(out), out)
	}
	return out
}

// nothing is a catalog without databases.
type nothing struct{}

func (nothing) Relation(string, string) (*sqlplan.Relation, error) { return nil, sqlplan.ErrNoDatabase }
func (nothing) Databases() []string                                { return nil }
func (nothing) Tables(string) ([]string, error)                    { return nil, sqlplan.ErrNoDatabase }
func (nothing) Measures(string, string) ([]sqlplan.Measure, error) { return nil, sqlplan.ErrNoDatabase }

// TestREADME holds the README's table equal to the files; with -update it writes it.
func TestREADME(t *testing.T) {
	const file = "../README.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	now := string(text)
	for name, table := range map[string]string{"functions": spec.Markdown(load(t)), "statements": spec.StatementsMarkdown(loadStatements(t))} {
		begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
		before, rest, found := strings.Cut(now, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("%s has no %q and %q", file, begin, end)
		}
		now = before + begin + table + end + after
	}
	if now == string(text) {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the files: go generate ./timestream/local/spec", file)
	}
	if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
}
