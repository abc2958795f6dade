// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"fmt"
	"slices"
	"unicode/utf8"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// AppendRow appends row i of a chunk's columns as the Query API writes a Row in JSON, by the texts of the Query
// API, without a Go value per point of a time series: a page holds ten thousand of them. Nothing of the columns is kept.
func (p *Plan) AppendRow(dst []byte, columns []duck.Column, i int) ([]byte, error) {
	if len(columns) != len(p.Columns) {
		return nil, fmt.Errorf("sqlplan: a row of %d values for %d columns", len(columns), len(p.Columns))
	}
	dst = append(dst, `{"Data":[`...)
	var c clock
	for k := range columns {
		if k > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendValue(dst, &c, &p.Columns[k].Type, &columns[k], i); err != nil {
			return nil, p.columnError(k, err)
		}
	}
	return append(dst, "]}"...), nil
}

// AppendStatic appends row i of Static in the same form.
func (p *Plan) AppendStatic(dst []byte, i int) []byte {
	dst = append(dst, `{"Data":[`...)
	dst = appendData(dst, p.Static[i])
	return append(dst, "]}"...)
}

func appendData(dst []byte, data []qtypes.Datum) []byte {
	for i := range data {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch d := &data[i]; {
		case d.ScalarValue != nil:
			dst = append(dst, `{"ScalarValue":`...)
			dst = appendJSONString(dst, []byte(*d.ScalarValue))
			dst = append(dst, '}')
		case d.RowValue != nil:
			dst = append(dst, `{"RowValue":{"Data":[`...)
			dst = appendData(dst, d.RowValue.Data)
			dst = append(dst, "]}}"...)
		case d.ArrayValue != nil:
			dst = append(dst, `{"ArrayValue":[`...)
			dst = appendData(dst, d.ArrayValue)
			dst = append(dst, "]}"...)
		default:
			dst = append(dst, jsonNull...)
		}
	}
	return dst
}

const jsonNull = `{"NullValue":true}`

// appendValue appends one value of type t as a Datum.
func appendValue(dst []byte, c *clock, t *Type, column *duck.Column, i int) ([]byte, error) {
	switch {
	case column.IsNull(i):
		return append(dst, jsonNull...), nil
	case t.Series != nil:
		return appendSeries(dst, c, t.Series, column, i)
	case t.Array != nil:
		if !column.IsList() {
			return nil, unexpected(t, column.Value(i))
		}
		dst = append(dst, `{"ArrayValue":[`...)
		from, n := column.List(i)
		for k := from; k < from+n; k++ {
			if k > from {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = appendValue(dst, c, t.Array, column.Elements(), k); err != nil {
				return nil, err
			}
		}
		return append(dst, "]}"...), nil
	case t.Row != nil:
		if !column.IsStruct() || len(column.Fields()) != len(t.Row) {
			return nil, unexpected(t, column.Value(i))
		}
		dst = append(dst, `{"RowValue":{"Data":[`...)
		fields := column.Fields()
		for k := range fields {
			if k > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = appendValue(dst, c, &t.Row[k].Type, &fields[k], i); err != nil {
				return nil, err
			}
		}
		return append(dst, "]}}"...), nil
	}
	return appendScalarJSON(dst, c, t, column.Value(i))
}

func appendScalarJSON(dst []byte, c *clock, t *Type, v any) ([]byte, error) {
	dst = append(dst, `{"ScalarValue":`...)
	if s, ok := v.(string); ok && t.Scalar == Varchar {
		dst = appendJSONString(dst, []byte(s))
		return append(dst, '}'), nil
	}
	dst = append(dst, '"')
	dst, err := appendScalar(dst, c, t, v)
	if err != nil {
		return nil, err
	}
	return append(dst, `"}`...), nil
}

// appendSeries appends a time series in the order of time. Points come in any order from DuckDB, see createTimeSeries, and
// nearly always in the right one.
func appendSeries(dst []byte, c *clock, elem *Type, column *duck.Column, i int) ([]byte, error) {
	if !column.IsList() || !column.Elements().IsStruct() || len(column.Elements().Fields()) != 2 {
		return nil, unexpected(&Type{Series: elem}, column.Value(i))
	}
	fields := column.Elements().Fields()
	times, values := &fields[0], &fields[1]
	from, n := column.List(i)
	sorted := true
	for k := from; k < from+n; k++ {
		if times.IsNull(k) || values.IsNull(k) {
			return nil, errNullPoint()
		}
		sorted = sorted && (k == from || times.Int64(k-1) <= times.Int64(k))
	}
	var order []int
	if !sorted {
		order = make([]int, n)
		for k := range order {
			order[k] = from + k
		}
		slices.SortStableFunc(order, func(a, b int) int {
			switch x, y := times.Int64(a), times.Int64(b); {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		})
	}
	dst = append(dst, `{"TimeSeriesValue":[`...)
	for k := range n {
		at := from + k
		if order != nil {
			at = order[k]
		}
		if k > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"Time":"`...)
		dst = c.appendTimestamp(dst, times.Int64(at))
		dst = append(dst, `","Value":`...)
		if elem.Scalar == Double {
			dst = append(dst, `{"ScalarValue":"`...)
			dst = appendDouble(dst, values.Float64(at))
			dst = append(dst, `"}`...)
		} else {
			var err error
			if dst, err = appendScalarJSON(dst, c, elem, values.Value(at)); err != nil {
				return nil, err
			}
		}
		dst = append(dst, '}')
	}
	return append(dst, "]}"...), nil
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends a JSON string; nothing is escaped but what JSON demands, so that a page's size is that of its
// text. Bytes that are no UTF-8 become U+FFFD.
func appendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			if c >= utf8.RuneSelf {
				dst = append(dst, "\ufffd"...)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
