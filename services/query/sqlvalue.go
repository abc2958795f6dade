// SPDX-License-Identifier: Apache-2.0

package query

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"google.golang.org/protobuf/types/known/structpb"
)

// column is a column of a result, or a field of a row in one.
type column struct {
	name string
	typ  sqlType
}

// sqlType is a type of Timestream's: a scalar one, or one that has others in it (API Reference, Type).
type sqlType struct {
	scalar string // in lower case
	list   string // array or timeseries, of elem
	elem   *sqlType
	fields []column // of a row
}

// String returns the type's name as the contract has it.
func (t sqlType) String() string {
	switch {
	case t.list != "":
		return t.list + "(" + t.elem.String() + ")"
	case t.fields != nil:
		names := make([]string, len(t.fields))
		for i, f := range t.fields {
			names[i] = f.typ.String()
		}
		return "row(" + strings.Join(names, ", ") + ")"
	}
	return t.scalar
}

func columnsOf(in []types.ColumnInfo) []column {
	out := make([]column, len(in))
	for i, c := range in {
		out[i] = column{aws.ToString(c.Name), typeOf(c.Type)}
	}
	return out
}

func typeOf(t *types.Type) sqlType {
	list := func(name string, c *types.ColumnInfo) sqlType {
		elem := typeOf(c.Type)
		return sqlType{list: name, elem: &elem}
	}
	switch {
	case t == nil:
		return sqlType{scalar: "unknown"}
	case t.ArrayColumnInfo != nil:
		return list("array", t.ArrayColumnInfo)
	case t.TimeSeriesMeasureValueColumnInfo != nil:
		return list("timeseries", t.TimeSeriesMeasureValueColumnInfo)
	case t.RowColumnInfo != nil:
		return sqlType{fields: columnsOf(t.RowColumnInfo)}
	}
	return sqlType{scalar: strings.ToLower(string(t.ScalarType))}
}

// rowOf translates a row, and tells about how long it is in a message.
func rowOf(columns []column, data []types.Datum) (*structpb.ListValue, int, error) {
	if len(data) != len(columns) {
		return nil, 0, fmt.Errorf("%d values for %d columns", len(data), len(columns))
	}
	out, size := &structpb.ListValue{Values: make([]*structpb.Value, len(data))}, 4
	for i := range data {
		v, n, err := valueOf(&columns[i].typ, &data[i])
		if err != nil {
			return nil, 0, fmt.Errorf("column %q: %w", columns[i].name, err)
		}
		out.Values[i] = v
		size += n
	}
	return out, size, nil
}

// numberSize is a number in a message, with what stands around it.
const numberSize = 13

// valueOf translates a value.
func valueOf(t *sqlType, d *types.Datum) (*structpb.Value, int, error) {
	switch {
	case aws.ToBool(d.NullValue):
		return structpb.NewNullValue(), 4, nil
	case t.list == "timeseries":
		values, size := make([]*structpb.Value, len(d.TimeSeriesValue)), 8
		for i := range d.TimeSeriesValue {
			p := &d.TimeSeriesValue[i]
			if p.Value == nil {
				return nil, 0, errors.New("a point of a time series has no value")
			}
			v, n, err := valueOf(t.elem, p.Value)
			if err != nil {
				return nil, 0, err
			}
			at := aws.ToString(p.Time)
			values[i] = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"time": structpb.NewStringValue(at), "value": v}})
			size += n + len(at) + 24
		}
		return structpb.NewListValue(&structpb.ListValue{Values: values}), size, nil
	case t.list != "":
		values, size := make([]*structpb.Value, len(d.ArrayValue)), 8
		for i := range d.ArrayValue {
			v, n, err := valueOf(t.elem, &d.ArrayValue[i])
			if err != nil {
				return nil, 0, err
			}
			values[i] = v
			size += n
		}
		return structpb.NewListValue(&structpb.ListValue{Values: values}), size, nil
	case t.fields != nil:
		if d.RowValue == nil {
			return nil, 0, fmt.Errorf("want a %s", t)
		}
		l, size, err := rowOf(t.fields, d.RowValue.Data)
		return structpb.NewListValue(l), size, err
	case d.ScalarValue == nil:
		return nil, 0, fmt.Errorf("want a %s", t)
	}
	v, n := scalarOf(t.scalar, *d.ScalarValue)
	return v, n, nil
}

// maxExactInteger is the largest integer up to which all are a float64, which numbers of JSON are read as.
const maxExactInteger = 1 << 53

// scalarOf translates a scalar: what a number of JSON cannot hold exactly stays the text that it is.
func scalarOf(scalar, text string) (*structpb.Value, int) {
	switch scalar {
	case "double":
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			return structpb.NewNumberValue(v), numberSize
		}
	case "bigint", "integer":
		if v, err := strconv.ParseInt(text, 10, 64); err == nil && -maxExactInteger <= v && v <= maxExactInteger {
			return structpb.NewNumberValue(float64(v)), numberSize
		}
	case "boolean":
		if text == "true" || text == "false" {
			return structpb.NewBoolValue(text == "true"), 6
		}
	}
	return structpb.NewStringValue(strings.ToValidUTF8(text, "\uFFFD")), len(text) + 8 // a message takes no other text
}
