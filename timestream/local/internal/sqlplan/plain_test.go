// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"slices"
	"strings"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// This file renders rows the plain way, from Go values to the SDK's types. Tests hold AppendRow, which reads DuckDB's
// vectors, against it.

func plainRow(p *Plan, values []any) (qtypes.Row, error) {
	data := make([]qtypes.Datum, len(values))
	for i, v := range values {
		var err error
		if data[i], err = render(&p.Columns[i].Type, v); err != nil {
			return qtypes.Row{}, p.columnError(i, err)
		}
	}
	return qtypes.Row{Data: data}, nil
}

func null() qtypes.Datum {
	yes := true
	return qtypes.Datum{NullValue: &yes}
}

// render renders one value of type t.
func render(t *Type, v any) (qtypes.Datum, error) {
	switch {
	case v == nil:
		return null(), nil
	case t.Series != nil:
		return renderSeries(t.Series, v)
	case t.Array != nil:
		elements, ok := v.([]any)
		if !ok {
			return qtypes.Datum{}, unexpected(t, v)
		}
		out := make([]qtypes.Datum, len(elements))
		for i, e := range elements {
			var err error
			if out[i], err = render(t.Array, e); err != nil {
				return qtypes.Datum{}, err
			}
		}
		return qtypes.Datum{ArrayValue: out}, nil
	case t.Row != nil:
		fields, ok := v.(map[string]any)
		if !ok || len(fields) != len(t.Row) {
			return qtypes.Datum{}, unexpected(t, v)
		}
		out := make([]qtypes.Datum, len(t.Row))
		for i := range t.Row {
			var err error
			if out[i], err = render(&t.Row[i].Type, fields[fieldKey(*t, i)]); err != nil {
				return qtypes.Datum{}, err
			}
		}
		return qtypes.Datum{RowValue: &qtypes.Row{Data: out}}, nil
	}
	if s, ok := v.(string); ok && t.Scalar == Varchar {
		return text(s), nil
	}
	var c clock
	b, err := appendScalar(nil, &c, t, v)
	if err != nil {
		return qtypes.Datum{}, err
	}
	return text(string(b)), nil
}

func renderSeries(elem *Type, v any) (qtypes.Datum, error) {
	list, ok := v.([]any)
	if !ok {
		return qtypes.Datum{}, unexpected(&Type{Series: elem}, v)
	}
	series := make([]qtypes.TimeSeriesDataPoint, len(list))
	for i, e := range list {
		point, ok := e.(map[string]any)
		if !ok {
			return qtypes.Datum{}, unexpected(&Type{Series: elem}, e)
		}
		t, ok := point[pointTime].(int64)
		if !ok || point[pointValue] == nil {
			return qtypes.Datum{}, errNullPoint()
		}
		value, err := render(elem, point[pointValue])
		if err != nil {
			return qtypes.Datum{}, err
		}
		at := timestampText(t)
		series[i] = qtypes.TimeSeriesDataPoint{Time: &at, Value: &value}
	}
	// The texts have one length, so their order is that of the times.
	slices.SortStableFunc(series, func(a, b qtypes.TimeSeriesDataPoint) int { return strings.Compare(*a.Time, *b.Time) })
	return qtypes.Datum{TimeSeriesValue: series}, nil
}

// timestampText is appendTimestamp for one value.
func timestampText(ns int64) string {
	var c clock
	return string(c.appendTimestamp(nil, ns))
}
