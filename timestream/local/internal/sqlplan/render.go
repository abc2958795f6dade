// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
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

// RowAt is Row for row i of a chunk's columns. Time series are read in place, without a Go value per point.
func (p *Plan) RowAt(columns []duck.Column, i int) (qtypes.Row, error) {
	if len(columns) != len(p.Columns) {
		return qtypes.Row{}, fmt.Errorf("sqlplan: a row of %d values for %d columns", len(columns), len(p.Columns))
	}
	data := make([]qtypes.Datum, len(columns))
	for k := range columns {
		t := &p.Columns[k].Type
		var err error
		if t.Series != nil && !columns[k].IsNull(i) {
			data[k], err = renderSeriesAt(t.Series, &columns[k], i)
		} else {
			data[k], err = render(t, columns[k].Value(i))
		}
		if err != nil {
			return qtypes.Row{}, p.columnError(k, err)
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

// points collects the points of one time series: all texts in one buffer, all nodes in a few slabs, because a page holds
// ten thousand of them.
type points struct {
	elem  *Type
	clock clock
	times []int64
	buf   []byte
	// ends are the ends of the values' texts in buf.
	ends []int
}

func newPoints(elem *Type, n int) *points {
	return &points{elem: elem, times: make([]int64, 0, n), buf: make([]byte, 0, n*(timestampLen+8)), ends: make([]int, 0, n)}
}

func (p *points) add(t int64) {
	p.times = append(p.times, t)
	p.ends = append(p.ends, len(p.buf))
}

// datum builds the series. Points come in any order from DuckDB, since sorting there costs four times the aggregation,
// and are nearly always in order already.
func (p *points) datum() qtypes.Datum {
	n := len(p.times)
	values := len(p.buf)
	for _, t := range p.times {
		p.buf = p.clock.appendTimestamp(p.buf, t)
	}
	all := string(p.buf)
	texts := make([]string, 2*n)
	scalars := make([]qtypes.Datum, n)
	series := make([]qtypes.TimeSeriesDataPoint, n)
	start := 0
	for i := range n {
		texts[2*i] = all[values : values+timestampLen]
		texts[2*i+1] = all[start:p.ends[i]]
		values += timestampLen
		start = p.ends[i]
		scalars[i].ScalarValue = &texts[2*i+1]
		series[i] = qtypes.TimeSeriesDataPoint{Time: &texts[2*i], Value: &scalars[i]}
	}
	if !slices.IsSorted(p.times) {
		slices.SortStableFunc(series, func(a, b qtypes.TimeSeriesDataPoint) int {
			switch {
			case *a.Time < *b.Time:
				return -1
			case *a.Time > *b.Time:
				return 1
			}
			return 0
		})
	}
	return qtypes.Datum{TimeSeriesValue: series}
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
	p := newPoints(elem, len(list))
	for _, e := range list {
		point, ok := e.(map[string]any)
		if !ok {
			return qtypes.Datum{}, unexpected(&Type{Series: elem}, e)
		}
		t, ok := point[pointTime].(int64)
		if !ok || point[pointValue] == nil {
			return qtypes.Datum{}, errNullPoint()
		}
		var err error
		if p.buf, err = appendScalar(p.buf, &p.clock, elem, point[pointValue]); err != nil {
			return qtypes.Datum{}, err
		}
		p.add(t)
	}
	return p.datum(), nil
}

func renderSeriesAt(elem *Type, column *duck.Column, i int) (qtypes.Datum, error) {
	if !column.IsList() || !column.Elements().IsStruct() || len(column.Elements().Fields()) != 2 {
		return qtypes.Datum{}, unexpected(&Type{Series: elem}, column.Value(i))
	}
	fields := column.Elements().Fields()
	times, values := &fields[0], &fields[1]
	from, n := column.List(i)
	p := newPoints(elem, n)
	double := elem.Scalar == Double
	for k := from; k < from+n; k++ {
		if times.IsNull(k) || values.IsNull(k) {
			return qtypes.Datum{}, errNullPoint()
		}
		if double {
			p.buf = appendDouble(p.buf, values.Float64(k))
		} else {
			var err error
			if p.buf, err = appendScalar(p.buf, &p.clock, elem, values.Value(k)); err != nil {
				return qtypes.Datum{}, err
			}
		}
		p.add(times.Int64(k))
	}
	return p.datum(), nil
}
