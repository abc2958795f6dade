// SPDX-License-Identifier: Apache-2.0

package pagejson

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/result"
)

// SDKRows is Rows for rows that the SDK has read.
func (d *Decoder) SDKRows(rows []types.Row, each func(result.Row) error) error {
	for i := range rows {
		d.read++
		d.text = d.text[:0]
		data := rows[i].Data
		if len(data) != len(d.kinds) {
			return fmt.Errorf("row %d: %d columns where %d were asked for", d.read, len(data), len(d.kinds))
		}
		for column := range data {
			if err := d.sdkCell(&data[column], column); err != nil {
				return fmt.Errorf("row %d: column %d: %w", d.read, column+1, err)
			}
		}
		if err := each(d.row); err != nil {
			return err
		}
	}
	return nil
}

func (d *Decoder) sdkCell(datum *types.Datum, column int) error {
	cell, kind := &d.row[column], d.kinds[column]
	*cell = result.Cell{Null: datum.NullValue != nil && *datum.NullValue}
	switch {
	case datum.ArrayValue != nil:
		return fmt.Errorf("ArrayValue where a %s was asked for", want(kind))
	case datum.RowValue != nil:
		return fmt.Errorf("RowValue where a %s was asked for", want(kind))
	case datum.ScalarValue != nil && kind != result.Scalar:
		return fmt.Errorf("ScalarValue where a %s was asked for", want(kind))
	case datum.TimeSeriesValue != nil && kind == result.Scalar:
		return fmt.Errorf("TimeSeriesValue where a %s was asked for", want(kind))
	case datum.ScalarValue != nil:
		cell.Text = d.keep(*datum.ScalarValue)
		return nil
	case datum.TimeSeriesValue != nil:
		return d.sdkSeries(datum.TimeSeriesValue, column)
	case cell.Null:
		return nil
	}
	return fmt.Errorf("there is no %s", want(kind))
}

func (d *Decoder) sdkSeries(series []types.TimeSeriesDataPoint, column int) error {
	points, texts := d.points[column][:0], d.texts[column][:0]
	for i := range series {
		p := &series[i]
		t, text, err := d.sdkPoint(p)
		if err != nil {
			return fmt.Errorf("point %d: %w", i+1, err)
		}
		if d.kinds[column] == result.Texts {
			texts = append(texts, result.TextPoint{T: t, Text: text})
			continue
		}
		v, err := result.Double(text)
		if err != nil {
			return fmt.Errorf("point %d: %w", i+1, err)
		}
		points = append(points, result.Point{T: t, V: v})
	}
	d.points[column], d.texts[column] = points, texts
	if d.kinds[column] == result.Texts {
		d.row[column].Texts = texts
	} else {
		d.row[column].Points = points
	}
	return nil
}

func (d *Decoder) sdkPoint(p *types.TimeSeriesDataPoint) (t int64, text []byte, err error) {
	switch {
	case p.Time == nil:
		return 0, nil, errors.New("there is no Time")
	case p.Value == nil:
		return 0, nil, errors.New("there is no value")
	case p.Value.TimeSeriesValue != nil, p.Value.ArrayValue != nil, p.Value.RowValue != nil:
		return 0, nil, errors.New("a point whose value is no ScalarValue")
	case p.Value.ScalarValue == nil:
		return 0, nil, errors.New("there is no value")
	}
	t, err = d.clock.Millis(d.keep(*p.Time))
	return t, d.keep(*p.Value.ScalarValue), err
}

// keep copies a text into memory that is used again.
func (d *Decoder) keep(s string) []byte {
	from := len(d.text)
	d.text = append(d.text, s...)
	return d.text[from:len(d.text):len(d.text)]
}
