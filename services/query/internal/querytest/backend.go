// SPDX-License-Identifier: Apache-2.0

// Package querytest is a Timestream for the tests of the query service: tables in memory, the statements that the
// service sends, pages, and faults on demand, as an SDK-shaped client and over HTTP. It evaluates SQL by a small
// interpreter of its own, so that a plan is judged by what it finds and not by how it looks. What Timestream does
// otherwise is left to timestream-local and its acceptance suite.
package querytest

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/series"
)

// Record is one stored record.
type Record struct {
	Measure    string
	Dimensions []promschema.Dimension
	TimeNs     int64
	// Values by column: `measure_value::double` for a plain record, attributes otherwise. float64, int64 or string.
	Values map[string]any
}

type tableData struct {
	records    []Record
	dimensions []string // in the order of first use
	values     []string
	types      map[string]string
}

// Backend is the store. The zero value is empty and without faults.
type Backend struct {
	mu     sync.Mutex
	tables map[tssql.Table]*tableData
	open   map[string]*result
	nextID int

	// PageRows is the number of rows in a page; 0 means 1000.
	PageRows int
	// EmptyPages is how many pages without rows precede the first one with rows.
	EmptyPages int
	// MaxRowBytes is the size of a row at which a query is aborted; 0 means 1 MB.
	MaxRowBytes int
	// Before is called with each new statement, before it is run and without locks; its error is the answer.
	Before func(statement string) error
	// BeforePage is called before each further page of a statement.
	BeforePage func(statement string) error

	statements []string
	cancelled  []string
}

type result struct {
	statement string
	info      []types.ColumnInfo
	rows      []types.Row
	empty     int
	metered   int64
	// tooLarge says that the row after the last is larger than a page.
	tooLarge bool
}

// CreateTable makes an empty table.
func (b *Backend) CreateTable(database, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.table(database, name)
}

func (b *Backend) table(database, name string) *tableData {
	if b.tables == nil {
		b.tables = map[tssql.Table]*tableData{}
	}
	key := tssql.Table{Database: database, Name: name}
	t, ok := b.tables[key]
	if !ok {
		t = &tableData{types: map[string]string{}}
		b.tables[key] = t
	}
	return t
}

// DropTable removes a table.
func (b *Backend) DropTable(database, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tables, tssql.Table{Database: database, Name: name})
}

// Write stores records, making the table if need be.
func (b *Backend) Write(database, name string, records ...Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.table(database, name)
	for _, r := range records {
		t.records = append(t.records, r)
		for _, d := range r.Dimensions {
			if !slices.Contains(t.dimensions, d.Name) {
				t.dimensions = append(t.dimensions, d.Name)
			}
		}
		for _, column := range sortedKeys(r.Values) {
			if t.types[column] == "" {
				t.values = append(t.values, column)
				t.types[column] = typeOf(r.Values[column])
			}
		}
	}
}

func typeOf(v any) string {
	switch v.(type) {
	case float64:
		return "double"
	case int64:
		return "bigint"
	}
	return "varchar"
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// Budget says which labels become columns: those of the list, or all when it is nil.
type Budget []string

// Dimension implements promschema.Columns.
func (c Budget) Dimension(label string) bool { return c == nil || slices.Contains(c, label) }

// Measure implements promschema.Columns.
func (Budget) Measure(string) bool { return true }

// extensionOnly stores every sample as an extension.
type extensionOnly struct{ Budget }

func (extensionOnly) Measure(string) bool { return false }

// ExtensionOnly is Budget for a metric that has no plain records.
func ExtensionOnly(b Budget) promschema.Columns { return extensionOnly{b} }

// Records returns the records of floats of a series as ingest writes them.
func Records(ls labels.Labels, samples []series.Sample, cols promschema.Columns) ([]Record, error) {
	var list []labels.Label
	ls.Range(func(l labels.Label) { list = append(list, l) })
	id, err := promschema.EncodeSeries(list, cols, promschema.ObservedLimits())
	if err != nil {
		return nil, err
	}
	var out []Record
	for _, s := range samples {
		if _, plain := promschema.AppendPlain(nil, s.V); plain && id.Measure != "" {
			out = append(out, Record{Measure: id.Measure, Dimensions: id.Dimensions, TimeNs: s.T * 1e6, Values: map[string]any{"measure_value::double": s.V}})
			continue
		}
		measure, dims, err := id.Extension()
		if err != nil {
			return nil, err
		}
		values, err := columns(promschema.ExtensionValue(s.V))
		if err != nil {
			return nil, err
		}
		out = append(out, Record{Measure: measure, Dimensions: dims, TimeNs: s.T * 1e6, Values: values})
	}
	return out, nil
}

// HistogramRecords returns the records of histograms of a series as ingest writes them.
func HistogramRecords(e *promschema.HistogramEncoder, ls labels.Labels, histograms []series.Histogram, cols promschema.Columns) ([]Record, error) {
	var out []Record
	for _, h := range histograms {
		values, err := e.Values(h.H, 0)
		if err != nil {
			return nil, err
		}
		for i, v := range values {
			r, err := ExtensionRecord(ls, promschema.Family(i), h.T*1e6, v, cols)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// ExtensionRecord returns a record of a series in a family of extensions.
func ExtensionRecord(ls labels.Labels, f promschema.Family, timeNs int64, v promschema.Value, cols promschema.Columns) (Record, error) {
	var list []labels.Label
	ls.Range(func(l labels.Label) { list = append(list, l) })
	id, err := promschema.EncodeSeries(list, cols, promschema.ObservedLimits())
	if err != nil {
		return Record{}, err
	}
	_, dims, err := id.Extension()
	if err != nil {
		return Record{}, err
	}
	values, err := columns(v)
	return Record{Measure: f.Measure(id.Metric), Dimensions: dims, TimeNs: timeNs, Values: values}, err
}

// columns returns attributes as a table holds them.
func columns(v promschema.Value) (map[string]any, error) {
	values := map[string]any{}
	for _, a := range v.Attributes {
		var err error
		switch a.Type {
		case promschema.Double:
			values[a.Name], err = strconv.ParseFloat(a.Value, 64)
		case promschema.BigInt:
			values[a.Name], err = strconv.ParseInt(a.Value, 10, 64)
		default:
			values[a.Name] = a.Value
		}
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

// Statements returns every statement begun so far, and forgets them.
func (b *Backend) Statements() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.statements
	b.statements = nil
	return out
}

// Cancelled returns the ids of the queries that were cancelled.
func (b *Backend) Cancelled() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.cancelled)
}

// Validation returns a ValidationException.
func Validation(format string, args ...any) error {
	return &types.ValidationException{Message: aws.String(fmt.Sprintf(format, args...))}
}

// Query implements the SDK's method.
func (b *Backend) Query(ctx context.Context, in *timestreamquery.QueryInput, _ ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	statement := aws.ToString(in.QueryString)
	if in.NextToken != nil {
		if b.BeforePage != nil {
			if err := b.BeforePage(statement); err != nil {
				return nil, err
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		r := b.open[*in.NextToken]
		if r == nil || r.statement != statement {
			return nil, Validation("Invalid pagination token")
		}
		return b.page(*in.NextToken, r)
	}
	b.mu.Lock()
	b.statements = append(b.statements, statement)
	b.mu.Unlock()
	if b.Before != nil {
		if err := b.Before(statement); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.run(statement)
	if err != nil {
		return nil, err
	}
	r.statement, r.empty = statement, b.EmptyPages
	b.nextID++
	id := "QUERY" + strconv.Itoa(b.nextID)
	if b.open == nil {
		b.open = map[string]*result{}
	}
	b.open[id] = r
	return b.page(id, r)
}

// page cuts the next page off a result. The token is the id of the query: the same page is not asked for twice here.
func (b *Backend) page(id string, r *result) (*timestreamquery.QueryOutput, error) {
	out := &timestreamquery.QueryOutput{QueryId: aws.String(id), ColumnInfo: r.info, QueryStatus: &types.QueryStatus{CumulativeBytesMetered: r.metered, ProgressPercentage: 100}}
	n := b.PageRows
	if n == 0 {
		n = 1000
	}
	if r.empty > 0 {
		r.empty, n = r.empty-1, 0
	}
	n = min(n, len(r.rows))
	out.Rows, r.rows = r.rows[:n], r.rows[n:]
	switch {
	case len(r.rows) > 0 || r.empty > 0 || r.tooLarge && n > 0:
		out.NextToken = aws.String(id)
	case r.tooLarge:
		delete(b.open, id)
		return nil, rowTooLarge()
	default:
		delete(b.open, id)
	}
	return out, nil
}

// CancelQuery implements the SDK's method.
func (b *Backend) CancelQuery(_ context.Context, in *timestreamquery.CancelQueryInput, _ ...func(*timestreamquery.Options)) (*timestreamquery.CancelQueryOutput, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancelled = append(b.cancelled, aws.ToString(in.QueryId))
	delete(b.open, aws.ToString(in.QueryId))
	return &timestreamquery.CancelQueryOutput{}, nil
}

func (b *Backend) run(statement string) (*result, error) {
	if len(statement) > 256<<10 {
		return nil, Validation("1 validation error detected: Value at 'queryString' failed to satisfy constraint: Member must have length less than or equal to 262144")
	}
	s, err := tssql.Parse(statement)
	if err != nil {
		return nil, Validation("%s", err)
	}
	switch s := s.(type) {
	case *tssql.Describe:
		t, err := b.lookup(s.Table)
		if err != nil {
			return nil, err
		}
		return describe(t), nil
	case *tssql.Show:
		t, err := b.lookup(s.From)
		if err != nil {
			return nil, err
		}
		return show(t), nil
	case *tssql.Query:
		return b.selectRows(s)
	}
	return nil, Validation("The query syntax is invalid at line 1:1")
}

func (b *Backend) lookup(t tssql.Table) (*tableData, error) {
	known := false
	for k := range b.tables {
		known = known || k.Database == t.Database
	}
	if !known {
		return nil, Validation("Requested database '%s' not found for identifier '%s.%s' at line 1:1", t.Database, t.Database, t.Name)
	}
	data, ok := b.tables[tssql.Table{Database: t.Database, Name: t.Name}]
	if !ok {
		return nil, Validation("The table '%s' does not exist in database '%s' at line 1:1", t.Name, t.Database)
	}
	return data, nil
}

func datum(v any) types.Datum {
	switch v := v.(type) {
	case nil:
		return types.Datum{NullValue: aws.Bool(true)}
	case string:
		return types.Datum{ScalarValue: aws.String(v)}
	case bool:
		return types.Datum{ScalarValue: aws.String(strconv.FormatBool(v))}
	case int64:
		return types.Datum{ScalarValue: aws.String(strconv.FormatInt(v, 10))}
	case float64:
		return types.Datum{ScalarValue: aws.String(javaDouble(v))}
	case instant:
		return types.Datum{ScalarValue: aws.String(v.String())}
	case types.Datum:
		return v
	}
	panic(fmt.Sprintf("querytest: no datum for %T", v))
}

// javaDouble writes a double as Java's Double.toString does.
func javaDouble(v float64) string {
	if a := max(v, -v); v == 0 || a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	s := strings.Replace(strconv.FormatFloat(v, 'E', -1, 64), "E+0", "E", 1)
	s = strings.Replace(strings.Replace(s, "E-0", "E-", 1), "E+", "E", 1)
	if m, e, _ := strings.Cut(s, "E"); !strings.Contains(m, ".") {
		s = m + ".0E" + e
	}
	return s
}

func varchar(name string) types.ColumnInfo { return scalarInfo(name, "varchar") }

func scalarInfo(name, typ string) types.ColumnInfo {
	return types.ColumnInfo{Name: aws.String(name), Type: &types.Type{ScalarType: types.ScalarType(strings.ToUpper(typ))}}
}

func row(values ...any) types.Row {
	r := types.Row{Data: make([]types.Datum, len(values))}
	for i, v := range values {
		r.Data[i] = datum(v)
	}
	return r
}

func describe(t *tableData) *result {
	r := &result{info: []types.ColumnInfo{varchar("Column"), varchar("Type"), varchar("Timestream attribute type")}}
	for _, d := range t.dimensions {
		r.rows = append(r.rows, row(d, "varchar", "DIMENSION"))
	}
	r.rows = append(r.rows, row("measure_name", "varchar", "MEASURE_NAME"), row("time", "timestamp", "TIMESTAMP"))
	for _, v := range t.values {
		kind := "MULTI"
		if strings.HasPrefix(v, "measure_value::") {
			kind = "MEASURE_VALUE"
		}
		r.rows = append(r.rows, row(v, t.types[v], kind))
	}
	return r
}

func show(t *tableData) *result {
	r := &result{info: []types.ColumnInfo{varchar("measure_name"), varchar("data_type"), {Name: aws.String("dimensions"), Type: &types.Type{ArrayColumnInfo: &types.ColumnInfo{Type: &types.Type{RowColumnInfo: []types.ColumnInfo{varchar("dimension_name"), varchar("data_type")}}}}}}}
	kinds := map[string]string{}
	dims := map[string]map[string]bool{}
	for _, rec := range t.records {
		if dims[rec.Measure] == nil {
			dims[rec.Measure] = map[string]bool{}
			kinds[rec.Measure] = "multi"
		}
		for column := range rec.Values {
			if typ, ok := strings.CutPrefix(column, "measure_value::"); ok {
				kinds[rec.Measure] = typ
			}
		}
		for _, d := range rec.Dimensions {
			dims[rec.Measure][d.Name] = true
		}
	}
	for _, m := range sortedKeys(kinds) {
		array := types.Datum{}
		for _, d := range sortedKeys(dims[m]) {
			cells := row(d, "varchar")
			array.ArrayValue = append(array.ArrayValue, types.Datum{RowValue: &cells})
		}
		r.rows = append(r.rows, row(m, kinds[m], array))
	}
	return r
}
