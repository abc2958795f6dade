// SPDX-License-Identifier: Apache-2.0

package pagejson

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tributary-project/tributary/timestream/result"
)

// Decoder reads the rows of one statement. It uses its memory again for each row, and is not safe for concurrent use.
type Decoder struct {
	kinds []result.Kind
	row   result.Row
	// points and texts are the memory of the columns' time series.
	points [][]result.Point
	texts  [][]result.TextPoint
	// text is the memory of texts that cannot be shown where they stand.
	text  []byte
	clock result.Clock
	// read counts the rows so far, over all pages.
	read int64
}

// NewDecoder returns a decoder of rows whose columns have these kinds.
func NewDecoder(kinds []result.Kind) *Decoder {
	return &Decoder{kinds: kinds, row: make(result.Row, len(kinds)), points: make([][]result.Point, len(kinds)), texts: make([][]result.TextPoint, len(kinds))}
}

// Rows reads the rows of a page and calls each for every one, in order. An error of each ends it and is returned as it is;
// any other says what cannot be read, in which row and column, both counted from 1.
func (d *Decoder) Rows(p *Page, each func(result.Row) error) error {
	if p.rows == nil {
		return nil
	}
	l := &lexer{b: p.rows, i: 1, text: d.text}
	defer func() { d.text = l.text }()
	for first := true; ; first = false {
		more, err := l.element(first, ']')
		if err != nil {
			return fmt.Errorf("after row %d: %w", d.read, err)
		}
		if !more {
			break
		}
		d.read++
		l.text = l.text[:0]
		if err := d.object(l); err != nil {
			return fmt.Errorf("row %d: %w", d.read, err)
		}
		if err := each(d.row); err != nil {
			return err
		}
	}
	if p.open {
		if err := remainder(l); err != nil {
			return fmt.Errorf("after row %d: %w", d.read, err)
		}
	}
	return nil
}

// remainder reads what follows the rows in a document.
func remainder(l *lexer) error {
	for {
		_, more, err := l.member(false)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := l.skip(); err != nil {
			return err
		}
	}
	if l.peek() != 0 || l.i < len(l.b) {
		return l.unexpected("the end of the document")
	}
	return nil
}

// object reads a Row.
func (d *Decoder) object(l *lexer) error {
	if err := l.take('{'); err != nil {
		return err
	}
	seen := false
	for first := true; ; first = false {
		name, more, err := l.member(first)
		switch {
		case err != nil:
		case !more && !seen:
			return errors.New("there is no Data")
		case !more:
			return nil
		case l.null():
		case string(name) == "Data":
			seen = true
			err = d.data(l)
		default:
			err = l.skip()
		}
		if err != nil {
			return err
		}
	}
}

// data reads the cells of a row.
func (d *Decoder) data(l *lexer) error {
	if err := l.take('['); err != nil {
		return err
	}
	for column := 0; ; column++ {
		more, err := l.element(column == 0, ']')
		if err != nil {
			return err
		}
		if more != (column < len(d.kinds)) {
			if more {
				return fmt.Errorf("more columns than the %d that were asked for", len(d.kinds))
			}
			return fmt.Errorf("%d columns where %d were asked for", column, len(d.kinds))
		}
		if !more {
			return nil
		}
		if err := d.cell(l, column); err != nil {
			return fmt.Errorf("column %d: %w", column+1, err)
		}
	}
}

// The forms in which the service writes what is read most.
const (
	beforeScalar = `{"ScalarValue":"`
	nullDatum    = `{"NullValue":true}`
	beforeSeries = `{"TimeSeriesValue":[`
	beforeTime   = `{"Time":"`
	// Two parts, because the compiler compares up to 16 bytes without a call.
	afterTime, beforeValue = `","Value":{"Scal`, `arValue":"`
	afterValue             = `"}}`
)

// cell reads a Datum.
func (d *Decoder) cell(l *lexer, column int) error {
	cell := &d.row[column]
	*cell = result.Cell{}
	from := l.i
	switch kind := d.kinds[column]; {
	case kind == result.Scalar && l.literal(beforeScalar):
		s, err := l.rest()
		if err != nil {
			return err
		}
		if l.literal("}") {
			cell.Text = s
			return nil
		}
	case l.literal(nullDatum):
		cell.Null = true
		return nil
	case kind != result.Scalar && l.literal(beforeSeries):
		if err := d.series(l, column); err != nil {
			return err
		}
		if l.literal("}") {
			return nil
		}
	}
	l.i = from
	return d.datum(l, column)
}

// datum reads a Datum of any form.
func (d *Decoder) datum(l *lexer, column int) error {
	if err := l.take('{'); err != nil {
		return err
	}
	cell, kind := &d.row[column], d.kinds[column]
	*cell = result.Cell{}
	have := false
	for first := true; ; first = false {
		name, more, err := l.member(first)
		switch {
		case err != nil:
		case !more && !have && !cell.Null:
			return fmt.Errorf("there is no %s", want(kind))
		case !more:
			return nil
		case l.null():
		case string(name) == "NullValue":
			cell.Null = cell.Null || l.literal("true")
			if !cell.Null && !l.literal("false") {
				err = l.unexpected("true or false")
			}
		case string(name) == "ScalarValue" && kind == result.Scalar:
			have = true
			cell.Text, err = l.str()
		case string(name) == "TimeSeriesValue" && kind != result.Scalar:
			have = true
			if err = l.take('['); err == nil {
				err = d.series(l, column)
			}
		case string(name) == "ScalarValue", string(name) == "TimeSeriesValue", string(name) == "ArrayValue", string(name) == "RowValue":
			err = fmt.Errorf("%s where a %s was asked for", name, want(kind))
		default:
			err = l.skip()
		}
		if err != nil {
			return err
		}
	}
}

// want names what a column of this kind holds.
func want(k result.Kind) string {
	if k == result.Scalar {
		return "ScalarValue"
	}
	return "TimeSeriesValue"
}

// series reads the points of a time series after the first bracket.
func (d *Decoder) series(l *lexer, column int) (err error) {
	cell := &d.row[column]
	if d.kinds[column] == result.Texts {
		cell.Texts, err = d.textPoints(l, d.texts[column][:0])
		d.texts[column] = cell.Texts
		return err
	}
	cell.Points, err = d.doubles(l, d.points[column][:0])
	d.points[column] = cell.Points
	return err
}

// doubles reads points of doubles.
func (d *Decoder) doubles(l *lexer, points []result.Point) ([]result.Point, error) {
	for first := true; ; first = false {
		more, err := l.element(first, ']')
		if err != nil || !more {
			return points, err
		}
		if t, v, n, ok := d.double(l.b[l.i:]); ok {
			points = append(points, result.Point{T: t, V: v})
			l.i += n
			continue
		}
		t, text, err := d.point(l)
		if err != nil {
			return points, fmt.Errorf("point %d: %w", len(points)+1, err)
		}
		v, err := result.Double(text)
		if err != nil {
			return points, fmt.Errorf("point %d: %w", len(points)+1, err)
		}
		points = append(points, result.Point{T: t, V: v})
	}
}

// The places of a point's parts in the service's form.
const (
	timeAt  = len(beforeTime)
	afterAt = timeAt + result.TimeLen
	restAt  = afterAt + len(afterTime)
	valueAt = restAt + len(beforeValue)
)

// head reads the time of a point that b begins with, whose value begins at valueAt, if it has the service's form.
func (d *Decoder) head(b []byte) (t int64, ok bool) {
	if len(b) < valueAt || string(b[:timeAt]) != beforeTime || string(b[afterAt:restAt]) != afterTime || string(b[restAt:valueAt]) != beforeValue {
		return 0, false
	}
	return d.clock.Full(b[timeAt:afterAt])
}

// double reads the point that b begins with, and its length, if it has the service's form.
func (d *Decoder) double(b []byte) (t int64, v float64, n int, ok bool) {
	if t, ok = d.head(b); !ok {
		return 0, 0, 0, false
	}
	v, n, ok = result.ShortDouble(b[valueAt:])
	if n += valueAt; !ok {
		end := bytes.IndexByte(b[valueAt:min(len(b), valueAt+maxDouble)], '"')
		if end < 0 {
			return 0, 0, 0, false
		}
		n = valueAt + end
		var err error
		if v, err = result.Double(b[valueAt:n]); err != nil {
			return 0, 0, 0, false
		}
	}
	if len(b) < n+len(afterValue) || string(b[n:n+len(afterValue)]) != afterValue {
		return 0, 0, 0, false
	}
	return t, v, n + len(afterValue), true
}

// maxDouble is more than the text of a double takes with its quote.
const maxDouble = 32

// textPoints reads points of varchars.
func (d *Decoder) textPoints(l *lexer, points []result.TextPoint) ([]result.TextPoint, error) {
	for first := true; ; first = false {
		more, err := l.element(first, ']')
		if err != nil || !more {
			return points, err
		}
		from := l.i
		if t, ok := d.head(l.b[l.i:]); ok {
			l.i += valueAt
			text, err := l.rest()
			if err != nil {
				return points, fmt.Errorf("point %d: %w", len(points)+1, err)
			}
			if l.literal("}}") {
				points = append(points, result.TextPoint{T: t, Text: text})
				continue
			}
			l.i = from
		}
		t, text, err := d.point(l)
		if err != nil {
			return points, fmt.Errorf("point %d: %w", len(points)+1, err)
		}
		points = append(points, result.TextPoint{T: t, Text: text})
	}
}

// point reads a TimeSeriesDataPoint of any form.
func (d *Decoder) point(l *lexer) (t int64, value []byte, err error) {
	if err := l.take('{'); err != nil {
		return 0, nil, err
	}
	timed := false
	for first := true; ; first = false {
		name, more, err := l.member(first)
		switch {
		case err != nil:
		case !more && !timed:
			return 0, nil, errors.New("there is no Time")
		case !more && value == nil:
			return 0, nil, errors.New("there is no value")
		case !more:
			return t, value, nil
		case l.null():
		case string(name) == "Time":
			var s []byte
			if s, err = l.str(); err == nil {
				t, err = d.clock.Millis(s)
			}
			timed = true
		case string(name) == "Value":
			value, err = scalar(l)
		default:
			err = l.skip()
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

// scalar reads a Datum that is a scalar; nil when it is NULL.
func scalar(l *lexer) (text []byte, err error) {
	if err := l.take('{'); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		name, more, err := l.member(first)
		switch {
		case err != nil:
		case !more:
			return text, nil
		case l.null():
		case string(name) == "ScalarValue":
			text, err = l.str()
		case string(name) == "TimeSeriesValue", string(name) == "ArrayValue", string(name) == "RowValue":
			err = fmt.Errorf("%s where a ScalarValue was asked for", name)
		default:
			err = l.skip()
		}
		if err != nil {
			return nil, err
		}
	}
}
