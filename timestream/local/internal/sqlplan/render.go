// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// Row renders one DuckDB row by the texts of the Query API. values are in the order of Columns and of the Go types that
// duck.Column.Value and DuckDB's database/sql driver give; they are not kept.
func (p *Plan) Row(values []driver.Value) (qtypes.Row, error) {
	if len(values) != len(p.Columns) {
		return qtypes.Row{}, fmt.Errorf("sqlplan: a row of %d values for %d columns", len(values), len(p.Columns))
	}
	data := make([]qtypes.Datum, len(values))
	for i, v := range values {
		var err error
		if data[i], err = render(&p.Columns[i].Type, v); err != nil {
			return qtypes.Row{}, p.columnError(i, err)
		}
	}
	return qtypes.Row{Data: data}, nil
}

func (p *Plan) columnError(i int, err error) error {
	var told *qtypes.QueryExecutionException
	if errors.As(err, &told) {
		return err
	}
	return fmt.Errorf("sqlplan: column %q: %w", p.Columns[i].Name, err)
}

func text(s string) qtypes.Datum { return qtypes.Datum{ScalarValue: &s} }

func null() qtypes.Datum {
	yes := true
	return qtypes.Datum{NullValue: &yes}
}

// render renders one value of type t.
func render(t *Type, v driver.Value) (qtypes.Datum, error) {
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
	}
	if s, ok := v.(string); ok && t.Scalar == Varchar {
		return text(s), nil
	}
	var c clock
	b, err := appendScalar(make([]byte, 0, timestampLen), &c, t, v)
	if err != nil {
		return qtypes.Datum{}, err
	}
	return text(string(b)), nil
}

func unexpected(t *Type, v any) error { return fmt.Errorf("a %T for type %s", v, t) }

// appendScalar appends the text of a scalar that is not NULL.
func appendScalar(dst []byte, c *clock, t *Type, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		if t.Scalar == Varchar {
			return append(dst, v...), nil
		}
	case bool:
		if t.Scalar == Boolean {
			return strconv.AppendBool(dst, v), nil
		}
	case float64:
		if t.Scalar == Double {
			return appendDouble(dst, v), nil
		}
	case int32:
		return appendInteger(dst, c, t, int64(v))
	case int64:
		return appendInteger(dst, c, t, v)
	}
	return nil, unexpected(t, v)
}

func appendInteger(dst []byte, c *clock, t *Type, v int64) ([]byte, error) {
	switch t.Scalar {
	case Integer, Bigint:
		return strconv.AppendInt(dst, v, 10), nil
	case Timestamp:
		return c.appendTimestamp(dst, v), nil
	case Date:
		return c.appendDate(dst, v), nil
	case TimeOfDay:
		return appendTimeOfDay(dst, v), nil
	case DayTime:
		return appendDayTime(dst, v), nil
	case YearMonth:
		return appendYearMonth(dst, v), nil
	}
	return nil, unexpected(t, v)
}

// errNullPoint is what CREATE_TIME_SERIES answers for a NULL: the guide says that values must not be NULL, but not in
// which words the service refuses them.
func errNullPoint() error {
	text := "CREATE_TIME_SERIES: time and value must not be NULL"
	return &qtypes.QueryExecutionException{Message: &text}
}

// The fields of a time series' points in DuckDB, where it is a LIST of STRUCTs in no particular order.
const (
	pointTime  = "t"
	pointValue = "v"
)

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
