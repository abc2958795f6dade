// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// null is a cell that is NULL.
const null = "\x00"

func cells(row []string) func(int) (string, bool) {
	return func(i int) (string, bool) { return row[i], row[i] == null }
}

func attributes(columns ...string) (out []qtypes.MultiMeasureAttributeMapping) {
	for _, c := range columns {
		source, target, renamed := strings.Cut(c, ">")
		m := qtypes.MultiMeasureAttributeMapping{SourceColumn: &source, MeasureValueType: qtypes.ScalarMeasureValueTypeDouble}
		if renamed {
			m.TargetMultiMeasureAttributeName = &target
		}
		out = append(out, m)
	}
	return out
}

func region(c qtypes.TimestreamConfiguration) qtypes.TimestreamConfiguration {
	c.TimeColumn = aws.String("hour")
	c.DimensionMappings = []qtypes.DimensionMapping{{Name: aws.String("region"), DimensionValueType: qtypes.DimensionValueTypeVarchar}}
	return c
}

// lines is what rows became, one for each: measure, dimensions, time, value or attributes.
func lines(records []record.Record) (out []string) {
	for _, r := range records {
		s := r.MeasureName + "{"
		for _, d := range r.Dimensions {
			s += d.Name + "=" + d.Value + ","
		}
		s = strings.TrimSuffix(s, ",") + "} " + r.Time + " " + r.TimeUnit + " " + r.MeasureValueType
		if r.Has&record.MeasureValue != 0 {
			s += " " + r.MeasureValue
		}
		for _, a := range r.Attributes {
			s += " " + a.Name + "=" + a.Value + ":" + a.Type
		}
		out = append(out, s)
	}
	return out
}

const hour = "2021-12-01 00:00:00.000000000"

// The examples of the Developer Guide, scheduledqueries-mappings, shortened.
func TestGuide(t *testing.T) {
	double := func(names ...string) []Column {
		out := []Column{{"region", Varchar}, {"hour", Timestamp}}
		for _, n := range names {
			out = append(out, Column{n, Double})
		}
		return out
	}
	named := append(double("avg_1h", "min_1h"), Column{"measure_name", Varchar})
	for _, tt := range []struct {
		name    string
		give    qtypes.TimestreamConfiguration
		columns []Column
		row     []string
		want    []string
		err     string
	}{
		{
			name: "a measure name for multi-measure records",
			give: qtypes.TimestreamConfiguration{MultiMeasureMappings: &qtypes.MultiMeasureMappings{
				TargetMultiMeasureName: aws.String("dashboard-metrics"), MultiMeasureAttributeMappings: attributes("a>avgMemCached", "b")}},
			columns: double("a", "b"), row: []string{"eu", hour, "1.5", "2.0"},
			want: []string{"dashboard-metrics{region=eu} 1638316800000000000 NANOSECONDS MULTI avgMemCached=1.5:DOUBLE b=2.0:DOUBLE"},
		},
		{
			name: "a measure name from the result",
			give: qtypes.TimestreamConfiguration{MeasureNameColumn: aws.String("measure_name"), MultiMeasureMappings: &qtypes.MultiMeasureMappings{
				MultiMeasureAttributeMappings: attributes("avg_1h", "min_1h>p0_1h")}},
			columns: named, row: []string{"eu", hour, null, "2.0", "cpu_idle"},
			want: []string{"cpu_idle{region=eu} 1638316800000000000 NANOSECONDS MULTI p0_1h=2.0:DOUBLE"},
		},
		{
			name: "the column of measure names counts, not the target's name",
			give: qtypes.TimestreamConfiguration{MeasureNameColumn: aws.String("measure_name"), MultiMeasureMappings: &qtypes.MultiMeasureMappings{
				TargetMultiMeasureName: aws.String("x"), MultiMeasureAttributeMappings: attributes("avg_1h")}},
			columns: named, row: []string{"eu", hour, "1.0", null, "cpu_idle"},
			want: []string{"cpu_idle{region=eu} 1638316800000000000 NANOSECONDS MULTI avg_1h=1.0:DOUBLE"},
		},
		{
			name: "several multi-measure records, one of which has only NULLs",
			give: qtypes.TimestreamConfiguration{MixedMeasureMappings: []qtypes.MixedMeasureMapping{
				{MeasureValueType: "MULTI", TargetMeasureName: aws.String("mem"), MultiMeasureAttributeMappings: attributes("a", "b>c")},
				{MeasureValueType: "MULTI", TargetMeasureName: aws.String("disk"), MultiMeasureAttributeMappings: attributes("d")},
				{MeasureValueType: "MULTI", TargetMeasureName: aws.String("cpu"), MultiMeasureAttributeMappings: attributes("e")},
			}},
			columns: double("a", "b", "d", "e"), row: []string{"eu", hour, null, "2.0", null, "3.0"},
			want: []string{
				"mem{region=eu} 1638316800000000000 NANOSECONDS MULTI c=2.0:DOUBLE",
				"cpu{region=eu} 1638316800000000000 NANOSECONDS MULTI e=3.0:DOUBLE",
			},
		},
		{
			name: "single-measure records by the measure name of the result",
			give: qtypes.TimestreamConfiguration{MeasureNameColumn: aws.String("measure_name"), MixedMeasureMappings: []qtypes.MixedMeasureMapping{
				{MeasureName: aws.String("memory_cached"), MeasureValueType: "DOUBLE", SourceColumn: aws.String("avg_1h"), TargetMeasureName: aws.String("AvgMemCached")},
				{MeasureName: aws.String("cpu_idle"), MeasureValueType: "DOUBLE", SourceColumn: aws.String("min_1h")},
			}},
			columns: named, row: []string{"eu", hour, "1.0", "2.0", "cpu_idle"},
			want: []string{"cpu_idle{region=eu} 1638316800000000000 NANOSECONDS DOUBLE 2.0"},
		},
		{
			name: "the same, renamed",
			give: qtypes.TimestreamConfiguration{MeasureNameColumn: aws.String("measure_name"), MixedMeasureMappings: []qtypes.MixedMeasureMapping{
				{MeasureName: aws.String("memory_cached"), MeasureValueType: "DOUBLE", SourceColumn: aws.String("avg_1h"), TargetMeasureName: aws.String("AvgMemCached")},
			}},
			columns: named, row: []string{"eu", hour, "1.0", "2.0", "memory_cached"},
			want: []string{"AvgMemCached{region=eu} 1638316800000000000 NANOSECONDS DOUBLE 1.0"},
		},
		{
			name: "a measure name that no mapping has",
			give: qtypes.TimestreamConfiguration{MeasureNameColumn: aws.String("measure_name"), MixedMeasureMappings: []qtypes.MixedMeasureMapping{
				{MeasureName: aws.String("memory_cached"), MeasureValueType: "DOUBLE", SourceColumn: aws.String("avg_1h")},
			}},
			columns: named, row: []string{"eu", hour, "1.0", "2.0", "other"}, err: "no mapping is for the measure name 'other'",
		},
		{
			name: "single-measure records by columns",
			give: qtypes.TimestreamConfiguration{MixedMeasureMappings: []qtypes.MixedMeasureMapping{
				{MeasureValueType: "DOUBLE", SourceColumn: aws.String("a")},
				{MeasureValueType: "DOUBLE", SourceColumn: aws.String("b"), TargetMeasureName: aws.String("total")},
				{MeasureValueType: "DOUBLE", SourceColumn: aws.String("c"), MeasureName: aws.String("named")},
			}},
			columns: double("a", "b", "c"), row: []string{"eu", hour, "1.0", "2.0", "3.0"},
			want: []string{
				"a{region=eu} 1638316800000000000 NANOSECONDS DOUBLE 1.0",
				"total{region=eu} 1638316800000000000 NANOSECONDS DOUBLE 2.0",
				"named{region=eu} 1638316800000000000 NANOSECONDS DOUBLE 3.0",
			},
		},
		{
			name:    "all NULL",
			give:    qtypes.TimestreamConfiguration{MixedMeasureMappings: []qtypes.MixedMeasureMapping{{MeasureValueType: "DOUBLE", SourceColumn: aws.String("a")}}},
			columns: double("a"), row: []string{"eu", hour, null}, err: "all are NULL",
		},
		{
			name:    "no time",
			give:    qtypes.TimestreamConfiguration{MixedMeasureMappings: []qtypes.MixedMeasureMapping{{MeasureValueType: "DOUBLE", SourceColumn: aws.String("a")}}},
			columns: double("a"), row: []string{"eu", null, "1.0"}, err: "no time",
		},
		{
			name:    "before 1970",
			give:    qtypes.TimestreamConfiguration{MixedMeasureMappings: []qtypes.MixedMeasureMapping{{MeasureValueType: "DOUBLE", SourceColumn: aws.String("a")}}},
			columns: double("a"), row: []string{"eu", "1969-12-31 23:59:59.999999999", "1.0"}, err: "before 1970",
		},
		{
			name:    "no dimension",
			give:    qtypes.TimestreamConfiguration{MixedMeasureMappings: []qtypes.MixedMeasureMapping{{MeasureValueType: "DOUBLE", SourceColumn: aws.String("a")}}},
			columns: double("a"), row: []string{null, hour, "1.0"}, err: "no dimension",
		},
		{
			name: "no measure name",
			give: qtypes.TimestreamConfiguration{MeasureNameColumn: aws.String("measure_name"), MultiMeasureMappings: &qtypes.MultiMeasureMappings{
				MultiMeasureAttributeMappings: attributes("avg_1h")}},
			columns: named, row: []string{"eu", hour, "1.0", null, null}, err: "no measure name",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := region(tt.give)
			m, err := FromQuery(&c)
			if err != nil {
				t.Fatal(err)
			}
			r, err := m.Bind(tt.columns)
			if err != nil {
				t.Fatal(err)
			}
			first := []record.Record{{MeasureName: "first"}}
			got, err := r.Row(first, cells(tt.row))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || len(got) != 1 {
					t.Errorf("got %v, error %v, want %q and nothing else", lines(got), err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := append(lines(first), tt.want...); !reflect.DeepEqual(lines(got), want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(lines(got), "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// Every type of an attribute, with the text that WriteRecords takes.
func TestTypes(t *testing.T) {
	c := region(qtypes.TimestreamConfiguration{MultiMeasureMappings: &qtypes.MultiMeasureMappings{TargetMultiMeasureName: aws.String("m")}})
	columns := []Column{{"region", Varchar}, {"hour", Timestamp}}
	row := []string{"eu", "1970-01-01 00:00:01.000000002"}
	var want []string
	for _, x := range []struct {
		column    Type
		attribute string
		give, get string
	}{
		{Double, "DOUBLE", "1.5", "1.5"}, {Bigint, "BIGINT", "-7", "-7"}, {Integer, "BIGINT", "7", "7"}, {Boolean, "BOOLEAN", "true", "true"},
		{Varchar, "VARCHAR", "a b", "a b"}, {Timestamp, "TIMESTAMP", "2021-12-01 00:00:00.000000001", "1638316800000000001"},
	} {
		name := strings.ToLower(string(x.column))
		columns, row = append(columns, Column{name, x.column}), append(row, x.give)
		c.MultiMeasureMappings.MultiMeasureAttributeMappings = append(c.MultiMeasureMappings.MultiMeasureAttributeMappings,
			qtypes.MultiMeasureAttributeMapping{SourceColumn: &name, MeasureValueType: qtypes.ScalarMeasureValueType(x.attribute)})
		want = append(want, name+"="+x.get+":"+x.attribute)
	}
	m, err := FromQuery(&c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Bind(columns)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Row(nil, cells(row))
	if err != nil {
		t.Fatal(err)
	}
	if s := "m{region=eu} 1000000002 NANOSECONDS MULTI " + strings.Join(want, " "); len(got) != 1 || lines(got)[0] != s {
		t.Errorf("got  %v\nwant %s", lines(got), s)
	}
}

// The example of the Developer Guide, batch-load-data-model-mappings: texts, which stay as they are.
func TestDataModel(t *testing.T) {
	d := &wtypes.DataModel{
		TimeColumn: aws.String("time"), TimeUnit: wtypes.TimeUnitSeconds, MeasureNameColumn: aws.String("measure_name"),
		DimensionMappings: []wtypes.DimensionMapping{{SourceColumn: aws.String("region"), DestinationColumn: aws.String("where")}, {SourceColumn: aws.String("host")}},
		MultiMeasureMappings: &wtypes.MultiMeasureMappings{MultiMeasureAttributeMappings: []wtypes.MultiMeasureAttributeMapping{
			{SourceColumn: aws.String("memory"), TargetMultiMeasureAttributeName: aws.String("mem"), MeasureValueType: "DOUBLE"},
			{SourceColumn: aws.String("at"), MeasureValueType: "TIMESTAMP"},
		}},
	}
	m, err := FromDataModel(d)
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Bind([]Column{{Name: "time"}, {Name: "measure_name"}, {Name: "region"}, {Name: "host"}, {Name: "memory"}, {Name: "at"}, {Name: "other"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Row(nil, cells([]string{"1638316800", "cpu", "eu", null, "1e3", "1638316801", "x"}))
	if want := "cpu{where=eu} 1638316800 SECONDS MULTI mem=1e3:DOUBLE at=1638316801:TIMESTAMP"; err != nil || len(got) != 1 || lines(got)[0] != want {
		t.Errorf("got  %v, error %v\nwant %s", lines(got), err, want)
	}
	d.TimeUnit, d.MeasureNameColumn, d.MultiMeasureMappings = "", nil, nil
	d.MixedMeasureMappings = []wtypes.MixedMeasureMapping{
		{SourceColumn: aws.String("memory"), MeasureValueType: "BIGINT"},
		{TargetMeasureName: aws.String("both"), MeasureValueType: "MULTI", MultiMeasureAttributeMappings: []wtypes.MultiMeasureAttributeMapping{{SourceColumn: aws.String("memory")}}},
	}
	if m, err = FromDataModel(d); err != nil {
		t.Fatal(err)
	}
	if r, err = m.Bind([]Column{{Name: "time"}, {Name: "region"}, {Name: "host"}, {Name: "memory"}}); err != nil {
		t.Fatal(err)
	}
	got, err = r.Row(nil, cells([]string{"5", "eu", "a", "7"}))
	want := []string{"memory{where=eu,host=a} 5 MILLISECONDS BIGINT 7", "both{where=eu,host=a} 5 MILLISECONDS MULTI memory=7:DOUBLE"}
	if err != nil || !reflect.DeepEqual(lines(got), want) {
		t.Errorf("got %v, error %v, want %v", lines(got), err, want)
	}
}

func TestModelErrors(t *testing.T) {
	multi := func(attributes ...qtypes.MultiMeasureAttributeMapping) *qtypes.MultiMeasureMappings {
		return &qtypes.MultiMeasureMappings{TargetMultiMeasureName: aws.String("m"), MultiMeasureAttributeMappings: attributes}
	}
	mixed := func(m ...qtypes.MixedMeasureMapping) qtypes.TimestreamConfiguration {
		return region(qtypes.TimestreamConfiguration{MixedMeasureMappings: m})
	}
	named := func(m ...qtypes.MixedMeasureMapping) qtypes.TimestreamConfiguration {
		c := mixed(m...)
		c.MeasureNameColumn = aws.String("measure_name")
		return c
	}
	dimension := func(name ...string) qtypes.TimestreamConfiguration {
		c := region(qtypes.TimestreamConfiguration{MultiMeasureMappings: multi(attributes("a")...)})
		c.DimensionMappings = nil
		for _, n := range name {
			c.DimensionMappings = append(c.DimensionMappings, qtypes.DimensionMapping{Name: &n})
		}
		return c
	}
	a := aws.String("a")
	for _, tt := range []struct {
		name string
		give qtypes.TimestreamConfiguration
		want string
	}{
		{"neither", region(qtypes.TimestreamConfiguration{}), "either MultiMeasureMappings or MixedMeasureMappings is required"},
		{"both", region(qtypes.TimestreamConfiguration{MultiMeasureMappings: multi(attributes("a")...), MixedMeasureMappings: []qtypes.MixedMeasureMapping{{}}}), "only one of"},
		{"no time column", qtypes.TimestreamConfiguration{}, "TimeColumn"},
		{"no dimension", dimension(), "at least one dimension"},
		{"129 dimensions", dimension(make([]string, 129)...), "DimensionMappings has 129 elements, which exceeds the limit of 128"},
		{"8193 measures", mixed(make([]qtypes.MixedMeasureMapping, 8193)...), "MixedMeasureMappings has 8193 elements, which exceeds the limit of 8192"},
		{"a reserved dimension", dimension("time"), "the dimension name 'time' is invalid"},
		{"a dimension twice", dimension("x", "y", "x"), "two dimensions have the name 'x'"},
		{"no target name", region(qtypes.TimestreamConfiguration{MultiMeasureMappings: &qtypes.MultiMeasureMappings{MultiMeasureAttributeMappings: attributes("a")}}), "has no name"},
		{"no attributes", region(qtypes.TimestreamConfiguration{MultiMeasureMappings: multi()}), "has no MultiMeasureAttributeMappings"},
		{"an attribute twice", region(qtypes.TimestreamConfiguration{MultiMeasureMappings: multi(attributes("a", "b>a")...)}), "have the name 'a'"},
		{"a reserved attribute", region(qtypes.TimestreamConfiguration{MultiMeasureMappings: multi(attributes("a>measure_name")...)}), "the attribute name 'measure_name' is invalid"},
		{"an attribute of type MULTI", region(qtypes.TimestreamConfiguration{MultiMeasureMappings: multi(qtypes.MultiMeasureAttributeMapping{SourceColumn: a, MeasureValueType: "MULTI"})}), "MULTI is an invalid type"},
		{"257 attributes", region(qtypes.TimestreamConfiguration{MultiMeasureMappings: multi(make([]qtypes.MultiMeasureAttributeMapping, 257)...)}), "exceeds the limit of 256"},
		{"a measure twice", mixed(qtypes.MixedMeasureMapping{SourceColumn: a, MeasureValueType: "DOUBLE"}, qtypes.MixedMeasureMapping{SourceColumn: a, MeasureValueType: "BIGINT"}), "two mappings write the measure 'a'"},
		{"a measure without a column", mixed(qtypes.MixedMeasureMapping{TargetMeasureName: a, MeasureValueType: "DOUBLE"}), "has no SourceColumn"},
		{"a measure of type TIMESTAMP", mixed(qtypes.MixedMeasureMapping{SourceColumn: a, MeasureValueType: "TIMESTAMP"}), "TIMESTAMP is an invalid measure value type"},
		{"a measure with a colon", mixed(qtypes.MixedMeasureMapping{SourceColumn: a, TargetMeasureName: aws.String("a:b"), MeasureValueType: "DOUBLE"}), "the measure name 'a:b' is invalid"},
		{"a single measure with attributes", mixed(qtypes.MixedMeasureMapping{SourceColumn: a, MeasureValueType: "DOUBLE", MultiMeasureAttributeMappings: attributes("a")}), "is of type DOUBLE and has"},
		{"MULTI without attributes", mixed(qtypes.MixedMeasureMapping{TargetMeasureName: a, MeasureValueType: "MULTI"}), "has no MultiMeasureAttributeMappings"},
		{"no measure name beside a column of them", named(qtypes.MixedMeasureMapping{SourceColumn: a, MeasureValueType: "DOUBLE"}), "has no MeasureName"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := FromQuery(&tt.give); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestBindErrors(t *testing.T) {
	c := region(qtypes.TimestreamConfiguration{MultiMeasureMappings: &qtypes.MultiMeasureMappings{TargetMultiMeasureName: aws.String("m"), MultiMeasureAttributeMappings: attributes("a")}})
	m, err := FromQuery(&c)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		give []Column
		want string
	}{
		{"no time column", []Column{{"region", Varchar}, {"a", Double}}, "TimeColumn names the column 'hour', which does not exist"},
		{"a time that is no timestamp", []Column{{"region", Varchar}, {"hour", Varchar}, {"a", Double}}, "TimeColumn maps the column 'hour' to TIMESTAMP, but it is of type VARCHAR"},
		{"no dimension", []Column{{"hour", Timestamp}, {"a", Double}}, "DimensionMappings names the column 'region', which does not exist"},
		{"a dimension that is no text", []Column{{"region", Bigint}, {"hour", Timestamp}, {"a", Double}}, "to VARCHAR, but it is of type BIGINT"},
		{"an attribute of another type", []Column{{"region", Varchar}, {"hour", Timestamp}, {"a", Bigint}}, "MultiMeasureAttributeMappings maps the column 'a' to DOUBLE, but it is of type BIGINT"},
		{"a column twice", []Column{{"region", Varchar}, {"hour", Timestamp}, {"a", Double}, {"a", Double}}, "'a', of which there are two"},
		{"a column that is not used twice", []Column{{"region", Varchar}, {"hour", Timestamp}, {"a", Double}, {"b", Double}, {"b", "ROW"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := m.Bind(tt.give)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
