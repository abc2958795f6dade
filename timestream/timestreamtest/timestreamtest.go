// SPDX-License-Identifier: Apache-2.0

// Package timestreamtest is an acceptance suite for anything that serves Timestream's API: the same assertions run
// against timestream-local and, by whoever has an account, against the service. It holds only what captures or documents
// say of the service; guesses are tested where they are made.
package timestreamtest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// WriteAPI is the part of the write API that the suite uses; *timestreamwrite.Client satisfies it.
type WriteAPI interface {
	CreateDatabase(context.Context, *timestreamwrite.CreateDatabaseInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.CreateDatabaseOutput, error)
	DeleteDatabase(context.Context, *timestreamwrite.DeleteDatabaseInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.DeleteDatabaseOutput, error)
	CreateTable(context.Context, *timestreamwrite.CreateTableInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.CreateTableOutput, error)
	DescribeTable(context.Context, *timestreamwrite.DescribeTableInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.DescribeTableOutput, error)
	UpdateTable(context.Context, *timestreamwrite.UpdateTableInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.UpdateTableOutput, error)
	DeleteTable(context.Context, *timestreamwrite.DeleteTableInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.DeleteTableOutput, error)
	WriteRecords(context.Context, *timestreamwrite.WriteRecordsInput, ...func(*timestreamwrite.Options)) (*timestreamwrite.WriteRecordsOutput, error)
}

// QueryAPI is the part of the query API that the suite uses; *timestreamquery.Client satisfies it.
type QueryAPI interface {
	Query(context.Context, *timestreamquery.QueryInput, ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error)
}

// Backend is what the suite runs against.
type Backend struct {
	Write WriteAPI
	Query QueryAPI
	// Database is the name of a database to create for one test; no other test uses it, and it is deleted at the end.
	Database string
	// Settle is how long a write may take to become visible: 0 for a backend that is consistent at once.
	Settle time.Duration
	// Pace is how long to wait between changes of databases and tables (the service allows one a second).
	Pace time.Duration
}

const tableName = "Acceptance.Table_1"

// Run runs the suite. newBackend is called once for each test. except names tests that the backend is known to fail, with
// the reason: such a test has to fail, so that the entry goes when its reason does.
func Run(t *testing.T, newBackend func(*testing.T) Backend, except map[string]string) {
	for _, tt := range []struct {
		name string
		run  func(*suite) error
	}{
		{"TableDefaults", (*suite).tableDefaults},
		{"EmptyTable", (*suite).emptyTable},
		{"WriteAndRead", (*suite).writeAndRead},
		{"CommonAttributes", (*suite).commonAttributes},
		{"MultiMeasure", (*suite).multiMeasure},
		{"Versions", (*suite).versions},
		{"PartialSuccess", (*suite).partialSuccess},
		{"Window", (*suite).window},
		{"ValidationErrors", (*suite).validationErrors},
		{"QueryErrors", (*suite).queryErrors},
		{"Pages", (*suite).pages},
		{"TimeSeries", (*suite).timeSeries},
		{"Absent", (*suite).absent},
		{"Statements", (*suite).statements},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &suite{ctx: t.Context(), Backend: newBackend(t), now: time.Now().UTC().Truncate(time.Millisecond)}
			defer s.clean()
			err := s.setUp()
			if err == nil {
				err = tt.run(s)
			}
			switch reason, known := except[tt.name]; {
			case known && err == nil:
				t.Errorf("passes, but is listed as failing: %s", reason)
			case known:
				t.Logf("fails as listed (%s): %v", reason, err)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

type suite struct {
	Backend
	ctx context.Context
	now time.Time
}

func (s *suite) setUp() error {
	if _, err := s.Write.CreateDatabase(s.ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: &s.Database}); err != nil {
		return err
	}
	time.Sleep(s.Pace)
	_, err := s.Write.CreateTable(s.ctx, &timestreamwrite.CreateTableInput{DatabaseName: &s.Database, TableName: aws.String(tableName)})
	time.Sleep(s.Pace)
	return err
}

// clean deletes what setUp made. Its failures are those of a test that failed before.
func (s *suite) clean() {
	ctx := context.WithoutCancel(s.ctx)
	_, _ = s.Write.DeleteTable(ctx, &timestreamwrite.DeleteTableInput{DatabaseName: &s.Database, TableName: aws.String(tableName)})
	time.Sleep(s.Pace)
	_, _ = s.Write.DeleteDatabase(ctx, &timestreamwrite.DeleteDatabaseInput{DatabaseName: &s.Database})
	time.Sleep(s.Pace)
}

func (s *suite) from() string { return `FROM "` + s.Database + `"."` + tableName + `"` }

func (s *suite) record(measure, value string, ago time.Duration, dims ...string) wtypes.Record {
	r := wtypes.Record{MeasureName: &measure, MeasureValue: &value, Time: aws.String(strconv.FormatInt(s.now.Add(-ago).UnixMilli(), 10))}
	for i := 0; i < len(dims); i += 2 {
		r.Dimensions = append(r.Dimensions, wtypes.Dimension{Name: &dims[i], Value: &dims[i+1]})
	}
	return r
}

func (s *suite) write(common *wtypes.Record, recs ...wtypes.Record) error {
	_, err := s.Write.WriteRecords(s.ctx, &timestreamwrite.WriteRecordsInput{DatabaseName: &s.Database, TableName: aws.String(tableName), CommonAttributes: common, Records: recs})
	return err
}

// result is a whole result as texts, NULL for null.
type result struct {
	names, types []string
	rows         [][]string
	pages        []int
}

func (s *suite) query(sql string, maxRows *int32) (*result, error) {
	in := &timestreamquery.QueryInput{QueryString: &sql, MaxRows: maxRows}
	out := &result{rows: [][]string{}}
	for {
		p, err := s.Query.Query(s.ctx, in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", sql, err)
		}
		out.pages = append(out.pages, len(p.Rows))
		out.names, out.types = nil, nil
		for _, c := range p.ColumnInfo {
			out.names = append(out.names, aws.ToString(c.Name))
			out.types = append(out.types, string(c.Type.ScalarType))
		}
		for _, r := range p.Rows {
			var row []string
			for _, d := range r.Data {
				row = append(row, text(d))
			}
			out.rows = append(out.rows, row)
		}
		if p.NextToken == nil {
			return out, nil
		}
		in.NextToken = p.NextToken
	}
}

func text(d qtypes.Datum) string {
	switch {
	case d.ScalarValue != nil:
		return *d.ScalarValue
	case d.TimeSeriesValue != nil:
		var points []string
		for _, p := range d.TimeSeriesValue {
			points = append(points, aws.ToString(p.Time)+" "+text(*p.Value))
		}
		return strings.Join(points, ", ")
	case d.NullValue != nil && *d.NullValue:
		return "NULL"
	}
	return fmt.Sprintf("%+v", d)
}

// expect waits until a statement answers with rows, at most for Settle.
func (s *suite) expect(sql string, want ...[]string) error {
	if want == nil {
		want = [][]string{}
	}
	for deadline := time.Now().Add(s.Settle); ; time.Sleep(time.Second) {
		got, err := s.query(sql, nil)
		if err == nil && reflect.DeepEqual(got.rows, want) {
			return nil
		}
		if time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			return err
		}
		return fmt.Errorf("%s:\n got %q\nwant %q", sql, got.rows, want)
	}
}

func (s *suite) at(ago time.Duration) string {
	return s.now.Add(-ago).Format("2006-01-02 15:04:05.000000000")
}

// wantError checks class and text of an error.
func wantError[E error](err error, part string) error {
	var e E
	if !errors.As(err, &e) || !strings.Contains(err.Error(), part) {
		return errors.Join(fmt.Errorf("want a %T with %q", e, part), err)
	}
	return nil
}

func (s *suite) tableDefaults() error {
	out, err := s.Write.DescribeTable(s.ctx, &timestreamwrite.DescribeTableInput{DatabaseName: &s.Database, TableName: aws.String(tableName)})
	if err != nil {
		return err
	}
	t := out.Table
	if *t.RetentionProperties.MemoryStoreRetentionPeriodInHours != 6 || *t.RetentionProperties.MagneticStoreRetentionPeriodInDays != 73000 ||
		*t.MagneticStoreWriteProperties.EnableMagneticStoreWrites || t.TableStatus != wtypes.TableStatusActive {
		return fmt.Errorf("got %+v", t)
	}
	_, err = s.Write.CreateTable(s.ctx, &timestreamwrite.CreateTableInput{DatabaseName: &s.Database, TableName: aws.String(tableName)})
	return wantError[*wtypes.ConflictException](err, "")
}

func (s *suite) emptyTable() error {
	return errors.Join(
		s.expect("SELECT measure_name, time "+s.from()),
		s.expect(`DESCRIBE "`+s.Database+`"."`+tableName+`"`, []string{"measure_name", "varchar", "MEASURE_NAME"}, []string{"time", "timestamp", "TIMESTAMP"}),
		s.expect("SELECT count(*) "+s.from(), []string{"0"}),
	)
}

func (s *suite) writeAndRead() error {
	double := s.record("double", "35.1", time.Minute, "host", "a", "az", "1")
	bigint := s.record("bigint", "-9223372036854775808", time.Minute, "host", "a")
	bigint.MeasureValueType = wtypes.MeasureValueTypeBigint
	varchar := s.record("varchar", "O'Brien \"x\" \\", time.Minute, "host", "地区")
	varchar.MeasureValueType = wtypes.MeasureValueTypeVarchar
	boolean := s.record("boolean", "true", time.Minute, "host", "a")
	boolean.MeasureValueType = wtypes.MeasureValueTypeBoolean
	if err := s.write(nil, double, bigint, varchar, boolean); err != nil {
		return err
	}
	at := s.at(time.Minute)
	return s.expect("SELECT host, az, measure_name, time, measure_value::double, measure_value::bigint, measure_value::varchar, measure_value::boolean "+s.from()+" ORDER BY measure_name",
		[]string{"a", "NULL", "bigint", at, "NULL", "-9223372036854775808", "NULL", "NULL"},
		[]string{"a", "NULL", "boolean", at, "NULL", "NULL", "NULL", "true"},
		[]string{"a", "1", "double", at, "35.1", "NULL", "NULL", "NULL"},
		[]string{"地区", "NULL", "varchar", at, "NULL", "NULL", "O'Brien \"x\" \\", "NULL"})
}

func (s *suite) commonAttributes() error {
	full := s.record("cpu", "5", time.Minute, "az", "1")
	common := full
	if err := s.write(&common, wtypes.Record{Dimensions: []wtypes.Dimension{{Name: aws.String("host"), Value: aws.String("a")}}},
		wtypes.Record{Dimensions: []wtypes.Dimension{{Name: aws.String("host"), Value: aws.String("b")}}}); err != nil {
		return err
	}
	return errors.Join(
		s.expect("SELECT az, host, measure_name, measure_value::double "+s.from()+" ORDER BY host", []string{"1", "a", "cpu", "5.0"}, []string{"1", "b", "cpu", "5.0"}),
		wantError[*wtypes.ValidationException](s.write(&common, s.record("cpu", "5", time.Minute, "az", "2")), ""),
	)
}

func (s *suite) multiMeasure() error {
	r := s.record("metrics", "", time.Minute, "host", "a")
	r.MeasureValue, r.MeasureValueType = nil, wtypes.MeasureValueTypeMulti
	r.MeasureValues = []wtypes.MeasureValue{
		{Name: aws.String("d"), Value: aws.String("1.5"), Type: wtypes.MeasureValueTypeDouble},
		{Name: aws.String("n"), Value: aws.String("7"), Type: wtypes.MeasureValueTypeBigint},
		{Name: aws.String("s"), Value: aws.String("text"), Type: wtypes.MeasureValueTypeVarchar},
		{Name: aws.String("b"), Value: aws.String("false"), Type: wtypes.MeasureValueTypeBoolean},
	}
	if err := s.write(nil, r); err != nil {
		return err
	}
	r.MeasureValues, r.Time = r.MeasureValues[:1], aws.String(strconv.FormatInt(s.now.UnixMilli(), 10))
	if err := s.write(nil, r); err != nil {
		return err
	}
	return s.expect("SELECT measure_name, d, n, s, b "+s.from()+" ORDER BY time", []string{"metrics", "1.5", "7", "text", "false"}, []string{"metrics", "1.5", "NULL", "NULL", "NULL"})
}

func (s *suite) versions() error {
	first := s.record("up", "1", time.Minute, "host", "a")
	other := s.record("up", "2", time.Minute, "host", "a")
	higher, lower := other, first
	higher.Version, lower.Version = aws.Int64(200), aws.Int64(2)
	if err := errors.Join(s.write(nil, first), s.write(nil, first)); err != nil {
		return err
	}
	rejection := func(err error, reason string, existing *int64) error {
		var rejected *wtypes.RejectedRecordsException
		if !errors.As(err, &rejected) || len(rejected.RejectedRecords) != 1 {
			return errors.Join(errors.New("want one rejected record"), err)
		}
		if got := rejected.ErrorMessage(); got != "One or more records have been rejected. See RejectedRecords for details." {
			return fmt.Errorf("got message %q", got)
		}
		r := rejected.RejectedRecords[0]
		if *r.Reason != reason || !reflect.DeepEqual(r.ExistingVersion, existing) {
			return fmt.Errorf("got %q, existing version %v", *r.Reason, aws.ToInt64(r.ExistingVersion))
		}
		return nil
	}
	return errors.Join(
		rejection(s.write(nil, other), "A record already exists with the same time, dimensions, measure name, and record version. A higher record version must be specified in order to update the measure value. Specifying record version is supported by the latest SDKs.", nil),
		s.write(nil, higher),
		rejection(s.write(nil, lower), "The record version 2 is lower than the existing version 200. A higher version is required to update the measure value.", aws.Int64(200)),
		s.expect("SELECT measure_value::double "+s.from(), []string{"2.0"}),
	)
}

func (s *suite) partialSuccess() error {
	three := func(middle string) []wtypes.Record {
		return []wtypes.Record{s.record("up", "1", time.Minute, "host", "a"), s.record("up", middle, time.Minute, "host", "b"), s.record("up", "1", time.Minute, "host", "c")}
	}
	if err := s.write(nil, three("1")[1]); err != nil {
		return err
	}
	var rejected *wtypes.RejectedRecordsException
	if err := s.write(nil, three("2")...); !errors.As(err, &rejected) || len(rejected.RejectedRecords) != 1 || rejected.RejectedRecords[0].RecordIndex != 1 {
		return errors.Join(errors.New("want the second record rejected"), err)
	}
	return s.expect("SELECT host, measure_value::double "+s.from()+" ORDER BY host", []string{"a", "1.0"}, []string{"b", "1.0"}, []string{"c", "1.0"})
}

func (s *suite) window() error {
	old, future := s.record("up", "1", 24*time.Hour, "host", "a"), s.record("up", "1", -time.Hour, "host", "a")
	for _, r := range []wtypes.Record{old, future} {
		var rejected *wtypes.RejectedRecordsException
		err := s.write(nil, r)
		if !errors.As(err, &rejected) || len(rejected.RejectedRecords) != 1 {
			return errors.Join(errors.New("want one rejected record"), err)
		}
		reason := *rejected.RejectedRecords[0].Reason
		if !strings.HasPrefix(reason, "The record timestamp is outside the time range [") || !strings.HasSuffix(reason, ") of the memory store.") {
			return fmt.Errorf("got %q", reason)
		}
	}
	return nil
}

func (s *suite) validationErrors() error {
	valid := s.record("up", "1", time.Minute, "host", "a")
	change := func(f func(*wtypes.Record)) []wtypes.Record {
		r := valid
		r.Dimensions = append([]wtypes.Dimension(nil), valid.Dimensions...)
		f(&r)
		return []wtypes.Record{valid, r}
	}
	var errs []error
	for _, tt := range []struct {
		give []wtypes.Record
		want string
	}{
		{change(func(r *wtypes.Record) { r.Dimensions = nil }), "At least one dimension is required for a record."},
		{change(func(r *wtypes.Record) { r.Time = aws.String("yesterday") }), "Invalid time for record."},
		{change(func(r *wtypes.Record) {
			r.MeasureValue, r.MeasureValueType = aws.String("None"), wtypes.MeasureValueTypeBigint
		}), "Invalid value None for bigint measure value type."},
		{change(func(r *wtypes.Record) { r.MeasureValueType = wtypes.MeasureValueTypeTimestamp }), "TIMESTAMP is an invalid measure value type."},
		{change(func(r *wtypes.Record) { r.Dimensions[0].DimensionValueType = "X" }), "1 validation error detected: Value 'X' at 'records.2.member.dimensions.1.member.dimensionValueType' failed to satisfy constraint: Member must satisfy enum value set: [VARCHAR]"},
		{make([]wtypes.Record, 101), "Member must have length less than or equal to 100"},
	} {
		errs = append(errs, wantError[*wtypes.ValidationException](s.write(nil, tt.give...), tt.want))
	}
	errs = append(errs, s.expect("SELECT count(*) "+s.from(), []string{"0"}))
	_, err := s.Write.WriteRecords(s.ctx, &timestreamwrite.WriteRecordsInput{DatabaseName: &s.Database, TableName: aws.String("nosuch"), Records: []wtypes.Record{valid}})
	errs = append(errs, wantError[*wtypes.ResourceNotFoundException](err, ""))
	return errors.Join(errs...)
}

func (s *suite) queryErrors() error {
	var errs []error
	for sql, want := range map[string]string{
		"SELECT nosuch " + s.from():                      "Column 'nosuch' does not exist",
		`SELECT 1 FROM "` + s.Database + `".nosuch`:      "The table 'nosuch' does not exist in database '" + s.Database + "'",
		"SELECT 1 FROM nosuch_database.t":                "Requested database 'nosuch_database' not found",
		"SELECT FROM":                                    "The query syntax is invalid at line 1:",
		"SELECT time " + s.from() + " WHERE 1h AND true": "line 1:",
	} {
		_, err := s.query(sql, nil)
		errs = append(errs, wantError[*qtypes.ValidationException](err, want))
	}
	_, err := s.Query.Query(s.ctx, &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1"), NextToken: aws.String("nonsense")})
	errs = append(errs, wantError[*qtypes.ValidationException](err, ""))
	return errors.Join(errs...)
}

func (s *suite) pages() error {
	var recs []wtypes.Record
	for i := range 100 {
		recs = append(recs, s.record("up", strconv.Itoa(i), time.Duration(100-i)*time.Second, "host", "a"))
	}
	if err := s.write(nil, recs...); err != nil {
		return err
	}
	sql := "SELECT measure_value::double " + s.from() + " ORDER BY time"
	if err := s.expect("SELECT count(*) "+s.from(), []string{"100"}); err != nil {
		return err
	}
	out, err := s.query(sql, aws.Int32(30))
	if err != nil {
		return err
	}
	if len(out.rows) != 100 || out.pages[0] != 0 {
		return fmt.Errorf("got %d rows on pages %v", len(out.rows), out.pages)
	}
	for i, r := range out.rows {
		if want := strconv.Itoa(i) + ".0"; r[0] != want {
			return fmt.Errorf("row %d: got %s", i, r[0])
		}
	}
	return nil
}

func (s *suite) timeSeries() error {
	if err := s.write(nil, s.record("up", "1", 3*time.Minute, "host", "a"), s.record("up", "2", 2*time.Minute, "host", "a"), s.record("up", "3", time.Minute, "host", "b")); err != nil {
		return err
	}
	return s.expect("SELECT host, CREATE_TIME_SERIES(time, measure_value::double) AS points "+s.from()+" WHERE measure_name = 'up' GROUP BY host ORDER BY host",
		[]string{"a", s.at(3*time.Minute) + " 1.0, " + s.at(2*time.Minute) + " 2.0"}, []string{"b", s.at(time.Minute) + " 3.0"})
}

// absent asks for rows that lack a dimension: NULL, by three-valued logic.
func (s *suite) absent() error {
	if err := s.write(nil, s.record("up", "1", time.Minute, "host", "a", "job", "x"), s.record("up", "1", time.Minute, "host", "b")); err != nil {
		return err
	}
	sql := func(where string) string { return "SELECT host " + s.from() + " WHERE " + where + " ORDER BY host" }
	return errors.Join(
		s.expect(sql(`"job" = 'x'`), []string{"a"}),
		s.expect(sql(`"job" <> 'x'`)),
		s.expect(sql(`("job" IS NULL OR "job" <> 'x')`), []string{"b"}),
		s.expect(sql(`NOT regexp_like("job", 'y')`), []string{"a"}),
		s.expect(sql(`"job" IN ('x', 'y') AND time BETWEEN ago(1h) AND now()`), []string{"a"}),
	)
}

func (s *suite) statements() error {
	if err := s.write(nil, s.record("up", "1", time.Minute, "host", "a"), s.record("up", "3", 2*time.Minute, "host", "a"), s.record("load", "0.5", time.Minute, "host", "b")); err != nil {
		return err
	}
	if err := s.expect("SELECT measure_name, count(*), avg(measure_value::double), max(measure_value::double) "+s.from()+" GROUP BY measure_name ORDER BY 1 DESC LIMIT 1",
		[]string{"up", "2", "2.0", "3.0"}); err != nil {
		return err
	}
	out, err := s.query("SELECT 1, 'two', true, 1.5e0", nil)
	if err != nil {
		return err
	}
	if want := []string{"_col0", "_col1", "_col2", "_col3"}; !reflect.DeepEqual(out.names, want) {
		return fmt.Errorf("got columns %v", out.names)
	}
	if want := []string{"INTEGER", "VARCHAR", "BOOLEAN", "DOUBLE"}; !reflect.DeepEqual(out.types, want) {
		return fmt.Errorf("got types %v", out.types)
	}
	return errors.Join(
		s.expect(`SHOW TABLES FROM "`+s.Database+`"`, []string{tableName}),
		s.expect(`DESCRIBE "`+s.Database+`"."`+tableName+`"`, []string{"host", "varchar", "DIMENSION"}, []string{"measure_name", "varchar", "MEASURE_NAME"},
			[]string{"time", "timestamp", "TIMESTAMP"}, []string{"measure_value::double", "double", "MEASURE_VALUE"}),
	)
}
