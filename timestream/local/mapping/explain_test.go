// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// TestExplain: what a store says of a record's members is said of the columns that they came from, where only one can be meant.
func TestExplain(t *testing.T) {
	const path = "1 validation error detected: Value '' at 'records.1.member."
	const constraint = "' failed to satisfy constraint: Member must have length greater than or equal to 1"
	model := func(mixed ...wtypes.MixedMeasureMapping) *Mapper {
		t.Helper()
		m, err := FromDataModel(&wtypes.DataModel{
			TimeColumn: aws.String("at"), MeasureNameColumn: aws.String("what"), MixedMeasureMappings: mixed,
			DimensionMappings: []wtypes.DimensionMapping{{SourceColumn: aws.String("h"), DestinationColumn: aws.String("host")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		var columns []Column
		for _, name := range []string{"at", "what", "h", "a", "b", "c", "d"} {
			columns = append(columns, Column{Name: name})
		}
		r, err := m.Bind(columns)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	single := func(when, column, target string) wtypes.MixedMeasureMapping {
		return wtypes.MixedMeasureMapping{MeasureName: &when, SourceColumn: &column, TargetMeasureName: &target, MeasureValueType: "DOUBLE"}
	}
	attribute := func(column, target string, typ wtypes.ScalarMeasureValueType) wtypes.MultiMeasureAttributeMapping {
		return wtypes.MultiMeasureAttributeMapping{SourceColumn: &column, TargetMultiMeasureAttributeName: &target, MeasureValueType: typ}
	}
	several := wtypes.MixedMeasureMapping{MeasureName: aws.String("multi"), MeasureValueType: "MULTI", MultiMeasureAttributeMappings: []wtypes.MultiMeasureAttributeMapping{
		attribute("b", "weight", "DOUBLE"), attribute("c", "note", "VARCHAR"), attribute("d", "size", "DOUBLE")}}
	mapper := model(single("one", "a", "first"), several)
	long := strings.Repeat("ü", 2000)
	host := []record.Dimension{{Name: "host", Value: "x"}}
	multi := func(a ...record.Attribute) record.Record {
		return record.Record{Dimensions: host, MeasureName: "multi", MeasureValueType: "MULTI", Time: "noon", Attributes: a}
	}
	one := func(value string) record.Record {
		return record.Record{Dimensions: host, MeasureName: "first", MeasureValueType: "DOUBLE", MeasureValue: value}
	}
	weight, note, size := record.Attribute{Name: "weight", Value: "1", Type: "DOUBLE"}, record.Attribute{Name: "note", Value: "y", Type: "VARCHAR"}, record.Attribute{Name: "size", Value: "y", Type: "DOUBLE"}
	none := record.Attribute{Name: "note", Type: "VARCHAR"}
	for _, tt := range []struct {
		name         string
		mapper       *Mapper
		rec          record.Record
		reason, want string
	}{
		{"the time", mapper, multi(weight), record.TextBadTime, "Column 'at', value 'noon': Invalid time for record."},
		{"a value", mapper, one("abc"), record.TextBadValue("abc", "double"), "Column 'a': Invalid value abc for double measure value type."},
		{"a long value", mapper, one(long), record.TextBadValue(long, "double"), "Column 'a': Invalid value " + strings.Repeat("ü", 32) + "… for double measure value type."},
		{"an attribute, and not another with its value", mapper, multi(weight, note, size), record.TextBadValue("y", "double"), "Column 'd': Invalid value y for double measure value type."},
		{"an attribute that is too long", mapper, multi(weight, record.Attribute{Name: "note", Value: long, Type: "VARCHAR"}), record.TextLongValue,
			"Column 'c', value '" + strings.Repeat("ü", 32) + "…': A measure value of the record exceeds the limit of 2048 bytes."},
		{"an empty attribute", mapper, multi(weight, none), path + "measureValues.2.member.value" + constraint, "Column 'c': Value '" + constraint},
		{"two of them", mapper, multi(weight, none), "2 validation errors detected: Value '...' at 'records.1.member.time" + constraint + "; Value '' at 'records.1.member.measureValues.2.member.value" + constraint,
			"Column 'at': Value 'noon" + constraint + "; Column 'c': Value '" + constraint},
		{"an empty value", mapper, one(""), path + "measureValue" + constraint, "Column 'a': Value '" + constraint},
		{"an attribute that is not there", mapper, multi(weight), path + "measureValues.9.member.value" + constraint, path + "measureValues.9.member.value" + constraint},
		{"a member without a column", mapper, one("1"), path + "timeUnit" + constraint, path + "timeUnit" + constraint},
		{"an empty dimension", mapper, one("1"), record.TextEmptyDimension("host"), "Column 'h': The value of dimension 'host' is empty."},
		{"a long dimension", mapper, one("1"), record.TextLongDimension("host"), "Column 'h', value 'x': " + record.TextLongDimension("host")},
		{"either of two", model(single("one", "a", "first"), single("other", "b", "first")), one("abc"), record.TextBadValue("abc", "double"), record.TextBadValue("abc", "double")},
		{"another reason", mapper, one("1"), "A record already exists.", "A record already exists."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.mapper.Explain(&tt.rec, tt.reason); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}
