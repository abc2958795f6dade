// SPDX-License-Identifier: Apache-2.0

package tableinfo

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/tssql"
)

var table = tssql.Table{Database: "db", Name: `t"`}

// answer is a Run that answers with pages and notes the statement.
func answer(statement *string, pages ...*timestreamquery.QueryOutput) Run {
	return func(_ context.Context, _, s string, page func(*timestreamquery.QueryOutput) error) error {
		*statement = s
		for _, p := range pages {
			if err := page(p); err != nil {
				return err
			}
		}
		return nil
	}
}

func page(rows ...[]string) *timestreamquery.QueryOutput {
	out := &timestreamquery.QueryOutput{}
	for _, r := range rows {
		var row types.Row
		for _, v := range r {
			row.Data = append(row.Data, types.Datum{ScalarValue: aws.String(v)})
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

func header(nameTypes ...string) *timestreamquery.QueryOutput {
	out := &timestreamquery.QueryOutput{}
	for i := 0; i < len(nameTypes); i += 2 {
		out.ColumnInfo = append(out.ColumnInfo, types.ColumnInfo{Name: aws.String(nameTypes[i]), Type: &types.Type{ScalarType: types.ScalarType(nameTypes[i+1])}})
	}
	return out
}

func TestDescribe(t *testing.T) {
	var statement string
	got, err := Describe(t.Context(), answer(&statement,
		page([]string{"job", "varchar", "DIMENSION"}, []string{"measure_name", "varchar", "MEASURE_NAME"}),
		page(),
		page([]string{"time", "timestamp", "TIMESTAMP"}, []string{"measure_value::double", "double", "MEASURE_VALUE"}, []string{"attr", "varchar", "MULTI"}),
	), table)
	want := Columns{Dimensions: []string{"job"}, Values: []string{"measure_value::double", "attr"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if want := `DESCRIBE "db"."t"""`; statement != want {
		t.Errorf("statement %q, want %q", statement, want)
	}
	if _, err := Describe(t.Context(), answer(&statement, page([]string{"job", "varchar"})), table); err == nil || !strings.Contains(err.Error(), "2 columns") {
		t.Errorf("too few columns: %v", err)
	}
}

func TestProbe(t *testing.T) {
	var statement string
	got, err := Probe(t.Context(), answer(&statement,
		header("job", "VARCHAR", "number", "DOUBLE", "measure_name", "VARCHAR", "time", "TIMESTAMP", "measure_value::double", "DOUBLE",
			"measure_value::varchar", "VARCHAR", "attr", "VARCHAR", "__tributary_kind", "VARCHAR", "__tributary_bits", "BIGINT", "__name__", "VARCHAR", "__tributary_labels_1", "VARCHAR", "__tributary_h", "VARCHAR"),
		header("job", "VARCHAR"), // a second page says the same again
	), table)
	want := Columns{
		Dimensions: []string{"job", "__name__", "__tributary_labels_1"},
		Values:     []string{"number", "measure_value::double", "measure_value::varchar", "__tributary_kind", "__tributary_bits", "__tributary_h"},
		Unclear:    []string{"attr"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if !strings.Contains(statement, `"time" < from_milliseconds(0)`) || !strings.Contains(statement, "LIMIT 1") {
		t.Errorf("the statement reads records: %s", statement)
	}
}

func TestMeasures(t *testing.T) {
	p := page([]string{"up", "double"}, []string{"events", "multi"})
	p.Rows[0].Data = append(p.Rows[0].Data, types.Datum{ArrayValue: []types.Datum{{RowValue: &page([]string{"job", "varchar"}).Rows[0]}}})
	var statement string
	got, err := Measures(t.Context(), answer(&statement, p), table)
	want := []Measure{{Name: "up", Double: true, Dimensions: []string{"job"}}, {Name: "events", Dimensions: []string{}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if want := `SHOW MEASURES FROM "db"."t"""`; statement != want {
		t.Errorf("statement %q, want %q", statement, want)
	}
}

// What Timestream charges for by what it scans is bounded in time.
func TestRecentMeasures(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"", "SELECT DISTINCT \"measure_name\"\nFROM \"db\".\"t\"\"\"\nWHERE \"time\" > ago(24h)"},
		{`a_b%\`, "SELECT DISTINCT \"measure_name\"\nFROM \"db\".\"t\"\"\"\nWHERE \"time\" > ago(24h) AND \"measure_name\" LIKE 'a\\_b\\%\\\\%' ESCAPE '\\'"},
	} {
		var statement string
		got, err := RecentMeasures(t.Context(), answer(&statement, page([]string{"up"})), table, c.prefix)
		if want := []Measure{{Name: "up", Double: true}}; err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if statement != c.want {
			t.Errorf("statement %s, want %s", statement, c.want)
		}
	}
}

func TestErrorsOfTheRunAreReturned(t *testing.T) {
	failed := errors.New("failed")
	run := func(context.Context, string, string, func(*timestreamquery.QueryOutput) error) error { return failed }
	_, describe := Describe(t.Context(), run, table)
	_, probe := Probe(t.Context(), run, table)
	_, measures := Measures(t.Context(), run, table)
	_, recent := RecentMeasures(t.Context(), run, table, "")
	for i, err := range []error{describe, probe, measures, recent} {
		if !errors.Is(err, failed) {
			t.Errorf("%d: got %v", i, err)
		}
	}
}
