// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
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

	"github.com/tributary-project/tributary/timestream/local"
)

// clock is what the tests' databases take for now.
var clock = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// open opens a database in a fresh directory; change may adapt its configuration.
func open(t testing.TB, change ...func(*local.Config)) *local.DB {
	t.Helper()
	cfg := local.DefaultConfig()
	cfg.Dir = t.TempDir()
	cfg.DefaultDatabase, cfg.DefaultTable = database, table
	cfg.Now = func() time.Time { return clock }
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	for _, f := range change {
		f(&cfg)
	}
	db, err := local.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// rec makes a record at an offset from clock. dims are name, value, name, value, …
func rec(measure, value string, offset time.Duration, dims ...string) wtypes.Record {
	r := wtypes.Record{
		MeasureName: aws.String(measure), MeasureValue: aws.String(value),
		Time: aws.String(strconv.FormatInt(clock.Add(offset).UnixMilli(), 10)),
	}
	for i := 0; i < len(dims); i += 2 {
		r.Dimensions = append(r.Dimensions, wtypes.Dimension{Name: aws.String(dims[i]), Value: aws.String(dims[i+1])})
	}
	return r
}

func typed(r wtypes.Record, typ wtypes.MeasureValueType) wtypes.Record {
	r.MeasureValueType = typ
	return r
}

func versioned(r wtypes.Record, v int64) wtypes.Record {
	r.Version = aws.Int64(v)
	return r
}

// multi makes a multi-measure record; values are name, value, type, …
func multi(measure string, offset time.Duration, dim string, values ...string) wtypes.Record {
	r := rec(measure, "", offset, "host", dim)
	r.MeasureValue, r.MeasureValueType = nil, wtypes.MeasureValueTypeMulti
	for i := 0; i < len(values); i += 3 {
		r.MeasureValues = append(r.MeasureValues, wtypes.MeasureValue{
			Name: aws.String(values[i]), Value: aws.String(values[i+1]), Type: wtypes.MeasureValueType(values[i+2])})
	}
	return r
}

func write(db *local.DB, recs ...wtypes.Record) (*wtypes.RecordsIngested, error) {
	return writeCommon(db, nil, recs...)
}

func writeCommon(db *local.DB, common *wtypes.Record, recs ...wtypes.Record) (*wtypes.RecordsIngested, error) {
	out, err := db.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{
		DatabaseName: aws.String(database), TableName: aws.String(table), CommonAttributes: common, Records: recs,
	})
	if err != nil {
		return nil, err
	}
	return out.RecordsIngested, nil
}

func mustWrite(t testing.TB, db *local.DB, recs ...wtypes.Record) {
	t.Helper()
	if _, err := write(db, recs...); err != nil {
		t.Fatal(describe(err))
	}
}

// describe makes an error readable, its rejected records included.
func describe(err error) string {
	var rejected *wtypes.RejectedRecordsException
	if !errors.As(err, &rejected) {
		return fmt.Sprint(err)
	}
	var b strings.Builder
	for _, r := range rejected.RejectedRecords {
		fmt.Fprintf(&b, "[%d] %s", r.RecordIndex, *r.Reason)
		if r.ExistingVersion != nil {
			fmt.Fprintf(&b, " (existing %d)", *r.ExistingVersion)
		}
	}
	return b.String()
}

// rows runs a statement and returns its rows as texts, NULL for null.
func rows(t testing.TB, db *local.DB, sql string) [][]string {
	t.Helper()
	out := [][]string{}
	in := &timestreamquery.QueryInput{QueryString: &sql}
	for {
		p, err := db.Query(context.Background(), in)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		for _, r := range p.Rows {
			var row []string
			for _, d := range r.Data {
				row = append(row, datum(d))
			}
			out = append(out, row)
		}
		if p.NextToken == nil {
			return out
		}
		in.NextToken = p.NextToken
	}
}

func datum(d qtypes.Datum) string {
	switch {
	case d.ScalarValue != nil:
		return *d.ScalarValue
	case d.TimeSeriesValue != nil:
		var b strings.Builder
		for _, p := range d.TimeSeriesValue {
			fmt.Fprintf(&b, "%s=%s ", *p.Time, datum(*p.Value))
		}
		return b.String()
	case d.RowValue != nil:
		return data(d.RowValue.Data)
	case d.ArrayValue != nil:
		return data(d.ArrayValue)
	}
	return "NULL"
}

func data(list []qtypes.Datum) string {
	var out []string
	for _, d := range list {
		out = append(out, datum(d))
	}
	return fmt.Sprint(out)
}

const (
	from     = `FROM "` + database + `"."` + table + `"`
	conflict = "A record already exists with the same time, dimensions, measure name, and record version. A higher record version must be specified in order to update the measure value. Specifying record version is supported by the latest SDKs."
)

// TestOutcomes writes records one request after another and checks each answer: "" for success, the reasons of
// rejected records, or the error's text.
func TestOutcomes(t *testing.T) {
	type request []wtypes.Record
	long := strings.Repeat("x", 1985) // with a name of 60 and 3 bytes: 2048
	name60 := strings.Repeat("n", 60)
	tests := []struct {
		name string
		give []request
		want []string
	}{
		{"new, then the same again", []request{{rec("up", "1", 0, "h", "a")}, {rec("up", "1.0", 0, "h", "a")}}, []string{"", ""}},
		{"another value", []request{{rec("up", "1", 0, "h", "a")}, {rec("up", "2", 0, "h", "a")}}, []string{"", "[0] " + conflict}},
		{"another value, not the newest", []request{{rec("up", "1", 0, "h", "a")}, {rec("up", "3", time.Second, "h", "a")}, {rec("up", "2", 0, "h", "a"), rec("up", "1", 0, "h", "a")}}, []string{"", "", "[0] " + conflict}},
		{"only the bad one is rejected", []request{{rec("up", "1", 0, "h", "a")}, {rec("up", "1", time.Second, "h", "a"), rec("up", "2", 0, "h", "a"), rec("up", "1", 0, "h", "b")}}, []string{"", "[1] " + conflict}},
		{"two in one request", []request{{rec("up", "1", 0, "h", "a"), rec("up", "2", 0, "h", "a"), rec("up", "1", 0, "h", "a")}}, []string{"[1] " + conflict}},
		{"two late ones in one request", []request{{rec("up", "9", time.Second, "h", "a")}, {rec("up", "1", 0, "h", "a"), rec("up", "2", 0, "h", "a"), rec("up", "1", 0, "h", "a")}}, []string{"", "[1] " + conflict}},
		{"lower version", []request{{versioned(rec("up", "1", 0, "h", "a"), 200)}, {versioned(rec("up", "2", 0, "h", "a"), 2)}},
			[]string{"", "[0] The record version 2 is lower than the existing version 200. A higher version is required to update the measure value. (existing 200)"}},
		{"lower version of the same value", []request{{versioned(rec("up", "1", 0, "h", "a"), 3)}, {versioned(rec("up", "1", 0, "h", "a"), 2)}},
			[]string{"", "[0] The record version 2 is lower than the existing version 3. A higher version is required to update the measure value. (existing 3)"}},
		{"higher version", []request{{rec("up", "1", 0, "h", "a")}, {versioned(rec("up", "2", 0, "h", "a"), 2)}, {rec("up", "1", 0, "h", "a")}},
			[]string{"", "", "[0] The record version 1 is lower than the existing version 2. A higher version is required to update the measure value. (existing 2)"}},
		{"higher version of the same value", []request{{rec("up", "1", 0, "h", "a")}, {versioned(rec("up", "1", 0, "h", "a"), 5)}, {versioned(rec("up", "2", 0, "h", "a"), 4)}},
			[]string{"", "", "[0] The record version 4 is lower than the existing version 5. A higher version is required to update the measure value. (existing 5)"}},
		{"zero and minus zero differ", []request{{rec("up", "0", 0, "h", "a")}, {rec("up", "-0", 0, "h", "a")}}, []string{"", "[0] " + conflict}},
		{"order of dimensions", []request{{rec("up", "1", 0, "a", "1", "b", "2")}, {rec("up", "2", 0, "b", "2", "a", "1")}}, []string{"", "[0] " + conflict}},
		{"names and values do not run together", []request{{rec("up", "1", 0, "ab", "c")}, {rec("up", "2", 0, "a", "bc")}}, []string{"", ""}},
		{"a text again, another text", []request{{typed(rec("s", "x", 0, "h", "a"), "VARCHAR")}, {typed(rec("s", "x", 0, "h", "a"), "VARCHAR")}, {typed(rec("s", "y", 0, "h", "a"), "VARCHAR")}}, []string{"", "", "[0] " + conflict}},
		{"multi again, another, one attribute less", []request{
			{multi("m", 0, "a", "v", "1", "DOUBLE", "s", "x", "VARCHAR")}, {multi("m", 0, "a", "s", "x", "VARCHAR", "v", "1.0", "DOUBLE")},
			{multi("m", 0, "a", "v", "2", "DOUBLE", "s", "x", "VARCHAR")}, {multi("m", 0, "a", "v", "1", "DOUBLE")}},
			[]string{"", "", "[0] " + conflict, "[0] " + conflict}},
		{"late multi", []request{{multi("m", 0, "a", "v", "1", "DOUBLE", "s", "x", "VARCHAR", "b", "true", "BOOLEAN", "n", "7", "BIGINT", "w", "5", "TIMESTAMP")}, {multi("m", time.Second, "a", "v", "1", "DOUBLE")},
			{multi("m", 0, "a", "n", "7", "BIGINT", "w", "5", "TIMESTAMP", "v", "1", "DOUBLE", "s", "x", "VARCHAR", "b", "TRUE", "BOOLEAN")}, {multi("m", 0, "a", "v", "1", "DOUBLE", "s", "y", "VARCHAR")}},
			[]string{"", "", "", "[0] " + conflict}},

		{"another type", []request{{rec("up", "1", 0, "h", "a")}, {typed(rec("up", "1", time.Second, "h", "a"), "BIGINT"), typed(rec("up", "1", time.Second, "h", "b"), "BIGINT")}},
			[]string{"", "[0] The measure name 'up' already has the type DOUBLE in the table.[1] The measure name 'up' already has the type DOUBLE in the table."}},
		{"attribute with another type", []request{{multi("m", 0, "a", "v", "1", "DOUBLE")}, {multi("m", time.Second, "a", "v", "1", "BIGINT")}},
			[]string{"", "[0] The attribute 'v' already has the type DOUBLE in the table."}},
		{"attribute named like a dimension", []request{{rec("up", "1", 0, "v", "a")}, {multi("m", 0, "a", "v", "1", "DOUBLE")}},
			[]string{"", "[0] The attribute 'v' has the name of a dimension of the table."}},
		{"dimension named like an attribute", []request{{multi("m", 0, "a", "v", "1", "DOUBLE")}, {rec("up", "1", 0, "v", "a")}},
			[]string{"", "[0] The dimension 'v' has the name of a multi-measure attribute of the table."}},

		{"too far in the future", []request{{rec("up", "1", 15*time.Minute, "h", "a")}, {rec("up", "1", 15*time.Minute-time.Millisecond, "h", "a")}},
			[]string{"[0] The record timestamp is outside the time range [1827-01-09T05:35:00.000Z, 2026-11-21T12:15:00.000Z) of the data ingestion window.", ""}},
		{"pair of 2048 bytes, of 2049", []request{{rec("up", "1", 0, name60, long+"abc")}, {rec("up", "1", 0, name60, long+"abcd")}},
			[]string{"", "[0] The dimension '" + name60 + "' exceeds the limit of 2048 bytes for a dimension name and value pair."}},
		{"dimensions of 2049 bytes in sum", []request{{rec("up", "1", 0, name60, long, "abc", "1")}},
			[]string{"[0] The dimension names and values of the record sum to 2049 bytes, which exceeds the limit of 2048."}},
		{"empty dimension value", []request{{rec("up", "1", 0, "h", "")}}, []string{"[0] The value of dimension 'h' is empty."}},
		{"text of 2048 bytes", []request{{typed(rec("s", strings.Repeat("x", 2048), 0, "h", "a"), "VARCHAR")}}, []string{""}},
		{"text of 2048 characters but more bytes", []request{{typed(rec("s", strings.Repeat("ä", 1025), 0, "h", "a"), "VARCHAR")}}, []string{"[0] A measure value of the record exceeds the limit of 2048 bytes."}},
		{"values of 2049 bytes in sum", []request{{multi("m", 0, "a", "s", strings.Repeat("x", 2041), "VARCHAR", "v", "1", "DOUBLE")}},
			[]string{"[0] The measure values of the record sum to 2049 bytes, which exceeds the limit of 2048."}},

		{"no dimension", []request{{rec("up", "1", 0)}}, []string{"ValidationException: At least one dimension is required for a record."}},
		{"one dimension twice", []request{{rec("up", "1", 0, "h", "a", "h", "b")}}, []string{"ValidationException: Dimensions must have unique names: 'h' appears more than once."}},
		{"no measure name", []request{{{MeasureValue: aws.String("1"), Time: aws.String("1"), Dimensions: rec("", "", 0, "h", "a").Dimensions}}}, []string{"ValidationException: A measure name is required for a record."}},
		{"a TIMESTAMP alone", []request{{typed(rec("up", "1", 0, "h", "a"), "TIMESTAMP")}}, []string{"ValidationException: TIMESTAMP is an invalid measure value type."}},
		{"version 0", []request{{versioned(rec("up", "1", 0, "h", "a"), 0)}}, []string{"ValidationException: The record version 0 is invalid: it must be at least 1."}},
		{"values on a single-measure record", []request{{func() wtypes.Record {
			r := rec("up", "1", 0, "h", "a")
			r.MeasureValues = []wtypes.MeasureValue{{Name: aws.String("v"), Value: aws.String("1"), Type: "DOUBLE"}}
			return r
		}()}}, []string{"ValidationException: MeasureValues are allowed only in a record of type MULTI."}},
		{"multi without values", []request{{multi("m", 0, "a")}}, []string{"ValidationException: A record of type MULTI requires MeasureValues."}},
		{"an attribute twice", []request{{multi("m", 0, "a", "v", "1", "DOUBLE", "v", "1", "DOUBLE")}}, []string{"ValidationException: MeasureValues must have unique names: 'v' appears more than once."}},
		{"unknown enumeration", []request{{typed(rec("up", "1", 0, "h", "a"), "FLOAT")}},
			[]string{"ValidationException: 1 validation error detected: Value 'FLOAT' at 'records.1.member.measureValueType' failed to satisfy constraint: Member must satisfy enum value set: [BIGINT, BOOLEAN, TIMESTAMP, VARCHAR, DOUBLE, MULTI]"}},
		{"unknown dimension type", []request{{rec("up", "1", 0, "h", "a"), func() wtypes.Record {
			r := rec("up", "1", 0, "h", "a")
			r.Dimensions[0].DimensionValueType = "X"
			return r
		}()}}, []string{"ValidationException: 1 validation error detected: Value 'X' at 'records.2.member.dimensions.1.member.dimensionValueType' failed to satisfy constraint: Member must satisfy enum value set: [VARCHAR]"}},
		{"no records", []request{{}}, []string{"ValidationException: 1 validation error detected: Value '[]' at 'records' failed to satisfy constraint: Member must have length greater than or equal to 1"}},
		{"101 records", []request{make(request, 101)}, []string{"ValidationException: 1 validation error detected: Value '...' at 'records' failed to satisfy constraint: Member must have length less than or equal to 100"}},
		{"text of 2049 characters", []request{{typed(rec("s", strings.Repeat("x", 2049), 0, "h", "a"), "VARCHAR")}},
			[]string{"ValidationException: 1 validation error detected: Value '...' at 'records.1.member.measureValue' failed to satisfy constraint: Member must have length less than or equal to 2048"}},
		{"a validation error sinks the whole request", []request{{rec("up", "1", 0, "h", "a"), rec("up", "NaN", 0, "h", "b")}}, []string{"ValidationException: Invalid value NaN for double measure value type."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			for i, req := range tt.give {
				got := ""
				if _, err := write(db, req...); err != nil {
					got = describe(err)
				}
				if got != tt.want[i] {
					t.Errorf("request %d\n got %s\nwant %s", i+1, got, tt.want[i])
				}
			}
		})
	}
}

func TestObservedLimitsAllowMore(t *testing.T) {
	db := open(t, func(c *local.Config) { c.Limits = local.LimitsObserved })
	mustWrite(t, db, rec("up", "1", 0, strings.Repeat("n", 60), strings.Repeat("x", 1988), "abc", "1"),
		multi("m", 0, "a", "s", strings.Repeat("x", 2048), "VARCHAR", "t2", strings.Repeat("y", 2048), "VARCHAR"))
}

func TestNames(t *testing.T) {
	db := open(t)
	tests := []struct {
		dimension, measure string
		ok                 bool
	}{
		{"runtime", "process_start_time", true},
		{"地区", "123", true},
		{"__name__", "a-b.c d", true},
		{strings.Repeat("n", 60), strings.Repeat("m", 256), true},
		{strings.Repeat("n", 61), "up", false},
		{"h", strings.Repeat("m", 257), false},
		{"time", "up", false},
		{"h", "time", false},
		{"ts_x", "up", false},
		{"h", "ts_x", false},
		{"measure_value", "up", false},
		{"measure_value_x", "up", false},
		{"h", "measure_values", false},
		{"measure_name", "up", false},
		{"a:b", "up", false},
		{"h", "a:b", false},
		{`a"b`, "up", false},
		{"a\nb", "up", false},
	}
	for _, tt := range tests {
		_, err := write(db, rec(tt.measure, "1", 0, tt.dimension, "x"))
		var invalid *wtypes.ValidationException
		if tt.ok && err != nil || !tt.ok && !errors.As(err, &invalid) {
			t.Errorf("dimension %q, measure %q: got %v", tt.dimension, tt.measure, err)
		}
	}
}

func TestValues(t *testing.T) {
	tests := []struct {
		typ, give string
		want      string // "" for refused
	}{
		{"DOUBLE", "1", "1.0"}, {"DOUBLE", "1e-05", "1.0E-5"}, {"DOUBLE", "+1.5", "1.5"}, {"DOUBLE", " 1 ", "1.0"}, {"DOUBLE", "1d", "1.0"}, {"DOUBLE", "0x1p3", "8.0"},
		{"DOUBLE", "5e-324", "4.9E-324"}, {"DOUBLE", strconv.FormatFloat(math.MaxFloat64, 'f', -1, 64), "1.7976931348623157E308"},
		{"DOUBLE", "NaN", ""}, {"DOUBLE", "nan", ""}, {"DOUBLE", "Infinity", ""}, {"DOUBLE", "-inf", ""}, {"DOUBLE", "1e400", ""}, {"DOUBLE", "x", ""}, {"DOUBLE", "1_0", ""}, {"DOUBLE", "0x_1p3", ""}, {"DOUBLE", "NaNd", ""},
		{"BIGINT", "-9223372036854775808", "-9223372036854775808"}, {"BIGINT", "+7", "7"}, {"BIGINT", "9223372036854775808", ""}, {"BIGINT", "1.0", ""}, {"BIGINT", "None", ""},
		{"BOOLEAN", "TRUE", "true"}, {"BOOLEAN", "False", "false"}, {"BOOLEAN", "1", ""},
		{"VARCHAR", "O'Brien \"quoted\" \\ \n\t\u0001 äß\U0001f600", "O'Brien \"quoted\" \\ \n\t\u0001 äß\U0001f600"},
	}
	db := open(t)
	for i, tt := range tests {
		name := "m" + strconv.Itoa(i)
		_, err := write(db, typed(rec(name, tt.give, 0, "h", "a"), wtypes.MeasureValueType(tt.typ)))
		if tt.want == "" {
			want := fmt.Sprintf("ValidationException: Invalid value %s for %s measure value type.", tt.give, strings.ToLower(tt.typ))
			if err == nil || err.Error() != want {
				t.Errorf("%s %q: got %v, want %s", tt.typ, tt.give, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %q: %v", tt.typ, tt.give, err)
			continue
		}
		got := rows(t, db, fmt.Sprintf(`SELECT measure_value::%s %s WHERE measure_name = '%s'`, strings.ToLower(tt.typ), from, name))
		if !reflect.DeepEqual(got, [][]string{{tt.want}}) {
			t.Errorf("%s %q: got %q, want %q", tt.typ, tt.give, got, tt.want)
		}
	}
}

func TestTimes(t *testing.T) {
	tests := []struct {
		unit wtypes.TimeUnit
		give string
		want string // "" for refused
	}{
		{"", "1795262400123", "2026-11-21 12:00:00.123000000"},
		{"SECONDS", "1795262400", "2026-11-21 12:00:00.000000000"},
		{"MICROSECONDS", "1795262400123456", "2026-11-21 12:00:00.123456000"},
		{"NANOSECONDS", "1795262400123456789", "2026-11-21 12:00:00.123456789"},
		{"MILLISECONDS", "3", "1970-01-01 00:00:00.003000000"},
		{"", "-1", ""}, {"", "1.5", ""}, {"", "x", ""}, {"SECONDS", "9223372037", ""}, {"NANOSECONDS", "9223372036854775808", ""}, {"", "99999999999999999999", ""},
	}
	db := open(t)
	for i, tt := range tests {
		r := rec("m"+strconv.Itoa(i), "1", 0, "h", "a")
		r.Time, r.TimeUnit = aws.String(tt.give), tt.unit
		_, err := write(db, r)
		if tt.want == "" {
			if err == nil || err.Error() != "ValidationException: Invalid time for record." {
				t.Errorf("%s %s: got %v", tt.give, tt.unit, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s: %s", tt.give, tt.unit, describe(err))
			continue
		}
		if got := rows(t, db, fmt.Sprintf(`SELECT time %s WHERE measure_name = 'm%d'`, from, i)); !reflect.DeepEqual(got, [][]string{{tt.want}}) {
			t.Errorf("%s %s: got %q, want %s", tt.give, tt.unit, got, tt.want)
		}
	}
}

func TestMemoryStoreWindow(t *testing.T) {
	db := open(t, func(c *local.Config) { c.DefaultDatabase, c.DefaultTable = "", "" })
	ctx := context.Background()
	if _, err := db.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: aws.String(database)}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String(table),
		RetentionProperties: &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(12), MagneticStoreRetentionPeriodInDays: aws.Int64(5)}}); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, db, rec("up", "1", -12*time.Hour-25*time.Minute, "h", "a"))
	late := rec("up", "1", -12*time.Hour-25*time.Minute-time.Millisecond, "h", "b")
	_, err := write(db, late)
	if got, want := describe(err), "[0] The record timestamp is outside the time range [2026-11-20T23:35:00.000Z, 2026-11-21T12:15:00.000Z) of the memory store."; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if _, err := db.UpdateTable(ctx, &timestreamwrite.UpdateTableInput{DatabaseName: aws.String(database), TableName: aws.String(table),
		MagneticStoreWriteProperties: &wtypes.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true)}}); err != nil {
		t.Fatal(err)
	}
	got, err := write(db, late, rec("up", "1", 0, "h", "b"))
	if err != nil {
		t.Fatal(describe(err))
	}
	if want := (wtypes.RecordsIngested{Total: 2, MemoryStore: 1, MagneticStore: 1}); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	// The magnetic store does not report conflicts: the record counts as taken and the first value stays.
	changed := rec("up", "2", -12*time.Hour-25*time.Minute-time.Millisecond, "h", "b")
	if _, err := write(db, changed); err != nil {
		t.Error(describe(err))
	}
	if got := rows(t, db, `SELECT measure_value::double `+from+` WHERE h = 'b' ORDER BY time`); !reflect.DeepEqual(got, [][]string{{"1.0"}, {"1.0"}}) {
		t.Errorf("got %v", got)
	}
	_, err = write(db, rec("up", "1", -(5*24+12)*time.Hour-25*time.Minute-time.Millisecond, "h", "a"))
	if got, want := describe(err), "[0] The record timestamp is outside the time range [2026-11-15T23:35:00.000Z, 2026-11-21T12:15:00.000Z) of the data ingestion window."; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestCommonAttributes hoists every subset of members that AWS's own writers hoist.
func TestCommonAttributes(t *testing.T) {
	full := rec("cpu", "5", 0, "az", "1", "host", "a")
	full.TimeUnit, full.MeasureValueType, full.Version = "MILLISECONDS", "DOUBLE", aws.Int64(7)
	type part = func(from, to *wtypes.Record)
	parts := []part{
		func(a, b *wtypes.Record) { b.MeasureName, a.MeasureName = a.MeasureName, nil },
		func(a, b *wtypes.Record) { b.MeasureValue, a.MeasureValue = a.MeasureValue, nil },
		func(a, b *wtypes.Record) { b.MeasureValueType, a.MeasureValueType = a.MeasureValueType, "" },
		func(a, b *wtypes.Record) { b.Time, a.Time = a.Time, nil },
		func(a, b *wtypes.Record) { b.TimeUnit, a.TimeUnit = a.TimeUnit, "" },
		func(a, b *wtypes.Record) { b.Version, a.Version = a.Version, nil },
		func(a, b *wtypes.Record) { b.Dimensions, a.Dimensions = a.Dimensions[:1], a.Dimensions[1:] },
		func(a, b *wtypes.Record) { b.Dimensions, a.Dimensions = append(b.Dimensions, a.Dimensions...), nil },
	}
	for mask := range 1 << len(parts) {
		own, common := full, wtypes.Record{}
		for i, move := range parts {
			if mask>>i&1 == 1 {
				move(&own, &common)
			}
		}
		if mask%16 != 0 {
			continue // a database each is slow; every part and many combinations remain
		}
		db := open(t)
		if _, err := writeCommon(db, &common, own); err != nil {
			t.Fatalf("%b: %s", mask, describe(err))
		}
		got := rows(t, db, `SELECT az, host, measure_name, time, measure_value::double `+from)
		if want := [][]string{{"1", "a", "cpu", "2026-11-21 12:00:00.000000000", "5.0"}}; !reflect.DeepEqual(got, want) {
			t.Errorf("%b: got %v, want %v", mask, got, want)
		}
	}
	db := open(t)
	if _, err := writeCommon(db, &wtypes.Record{Dimensions: full.Dimensions}, rec("cpu", "5", 0, "host", "b")); err == nil || !strings.Contains(err.Error(), "unique names") {
		t.Errorf("the same dimension in both: got %v", err)
	}
	values := wtypes.Record{MeasureValueType: "MULTI", MeasureValues: multi("m", 0, "a", "v", "1", "DOUBLE").MeasureValues}
	own := multi("m", 0, "a")
	own.MeasureValueType = ""
	if _, err := writeCommon(db, &values, own); err != nil {
		t.Errorf("hoisted values: %s", describe(err))
	}
	// The record's own member wins.
	if _, err := writeCommon(db, &wtypes.Record{MeasureName: aws.String("other")}, rec("mine", "1", 0, "host", "b")); err != nil {
		t.Error(describe(err))
	}
	if got := rows(t, db, `SELECT measure_name `+from+` WHERE host = 'b'`); !reflect.DeepEqual(got, [][]string{{"mine"}}) {
		t.Errorf("got %v", got)
	}
}

func TestTableLimits(t *testing.T) {
	db := open(t)
	dims := func(from, to int) []string {
		var d []string
		for i := from; i < to; i++ {
			d = append(d, "d"+strconv.Itoa(i), "x")
		}
		return d
	}
	mustWrite(t, db, rec("up", "1", 0, dims(0, 100)...), rec("up", "1", 0, append(dims(100, 127), "host", "x")...))
	_, err := write(db, rec("up", "1", time.Second, dims(0, 1)...), rec("up", "1", 0, "d128", "x"))
	if got, want := describe(err), "ValidationException: The request would give the table more than 128 dimensions."; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := rows(t, db, "SELECT count(*) "+from); got[0][0] != "2" {
		t.Errorf("a refused request left rows: %v", got)
	}

	attrs := func(from, to int) []string {
		var v []string
		for i := from; i < to; i++ {
			v = append(v, "a"+strconv.Itoa(i), "1", "BOOLEAN")
			v[len(v)-2] = "true"
		}
		return v
	}
	for i := range 4 {
		mustWrite(t, db, multi("m", time.Duration(i)*time.Millisecond, "x", attrs(i*256, (i+1)*256)...))
	}
	_, err = write(db, multi("m", time.Second, "x", attrs(1024, 1025)...))
	if got, want := describe(err), "[0] The record would give the table more than 1024 multi-measure attributes."; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	_, err = write(db, multi("m", time.Second, "x", attrs(0, 257)...))
	if got, want := describe(err), "[0] The record has 257 measure values, which exceeds the limit of 256."; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for i := 2; i < 8192; {
		var recs []wtypes.Record
		for ; i < 8192 && len(recs) < 100; i++ {
			recs = append(recs, rec("name"+strconv.Itoa(i), "1", 0, "d0", "x"))
		}
		mustWrite(t, db, recs...)
	}
	_, err = write(db, rec("one_more", "1", 0, "d0", "x"), rec("name5", "1", time.Second, "d0", "x"))
	if got, want := describe(err), "[0] The table has the maximum of 8192 measure names."; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSeveralKindsInOneTable(t *testing.T) {
	db := open(t)
	if got, want := rows(t, db, `DESCRIBE "`+database+`"."`+table+`"`), [][]string{{"measure_name", "varchar", "MEASURE_NAME"}, {"time", "timestamp", "TIMESTAMP"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("empty table: got %v, want %v", got, want)
	}
	if got := rows(t, db, "SELECT * "+from); len(got) != 0 {
		t.Errorf("empty table: got %v", got)
	}
	mustWrite(t, db,
		rec("temp", "1.5", 0, "host", "a"),
		typed(rec("count", "7", 0, "host", "a", "job", "j"), "BIGINT"),
		typed(rec("state", "ok", 0, "host", "b"), "VARCHAR"),
		typed(rec("alive", "true", 0, "host", "b"), "BOOLEAN"),
		multi("many", 0, "c", "v", "2.5", "DOUBLE", "when", "1795262400000", "TIMESTAMP", "n", "-3", "BIGINT", "ok", "false", "BOOLEAN", "s", "text", "VARCHAR"))
	want := [][]string{
		{"host", "varchar", "DIMENSION"}, {"job", "varchar", "DIMENSION"},
		{"measure_name", "varchar", "MEASURE_NAME"}, {"time", "timestamp", "TIMESTAMP"},
		{"measure_value::double", "double", "MEASURE_VALUE"}, {"measure_value::bigint", "bigint", "MEASURE_VALUE"},
		{"measure_value::varchar", "varchar", "MEASURE_VALUE"}, {"measure_value::boolean", "boolean", "MEASURE_VALUE"},
		{"v", "double", "MULTI"}, {"when", "timestamp", "MULTI"}, {"n", "bigint", "MULTI"}, {"ok", "boolean", "MULTI"}, {"s", "varchar", "MULTI"},
	}
	if got := rows(t, db, `DESCRIBE "`+database+`"."`+table+`"`); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	const at = "2026-11-21 12:00:00.000000000"
	want = [][]string{
		{"b", "NULL", "alive", at, "NULL", "NULL", "NULL", "true", "NULL", "NULL", "NULL", "NULL", "NULL"},
		{"a", "j", "count", at, "NULL", "7", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"},
		{"c", "NULL", "many", at, "NULL", "NULL", "NULL", "NULL", "2.5", at, "-3", "false", "text"},
		{"b", "NULL", "state", at, "NULL", "NULL", "ok", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"},
		{"a", "NULL", "temp", at, "1.5", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"},
	}
	if got := rows(t, db, "SELECT * "+from+" ORDER BY measure_name"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if got := rows(t, db, `SHOW MEASURES FROM "`+database+`"."`+table+`"`); len(got) != 5 || got[1][0] != "count" || got[1][1] != "bigint" {
		t.Errorf("got %v", got)
	}
}

func TestUpsertReplacesTheWholeRecord(t *testing.T) {
	db := open(t)
	mustWrite(t, db, multi("m", 0, "a", "v", "1", "DOUBLE", "s", "x", "VARCHAR"), multi("m", time.Second, "a", "v", "2", "DOUBLE"))
	mustWrite(t, db, versioned(multi("m", 0, "a", "v", "3", "DOUBLE"), 2))              // not the newest
	mustWrite(t, db, versioned(multi("m", time.Second, "a", "s", "new", "VARCHAR"), 2)) // the newest
	// In one request, over what the same request wrote.
	mustWrite(t, db, multi("m", 2*time.Second, "a", "v", "4", "DOUBLE"), versioned(multi("m", 2*time.Second, "a", "v", "5", "DOUBLE"), 2), versioned(multi("m", 2*time.Second, "a", "v", "6", "DOUBLE"), 3))
	want := [][]string{{"3.0", "NULL"}, {"NULL", "new"}, {"6.0", "NULL"}}
	if got := rows(t, db, "SELECT v, s "+from+" ORDER BY time"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUnknownTable(t *testing.T) {
	db := open(t)
	for _, names := range [][2]string{{"nosuch", table}, {database, "nosuch"}} {
		_, err := db.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{DatabaseName: &names[0], TableName: &names[1], Records: []wtypes.Record{rec("up", "1", 0, "h", "a")}})
		var missing *wtypes.ResourceNotFoundException
		if !errors.As(err, &missing) {
			t.Errorf("%v: got %v", names, err)
		}
	}
}
