// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/result"
)

// Rows makes the neutral rows of a plan out of DuckDB's columns. Its memory is used again for each row. It is not safe for
// concurrent use.
type Rows struct {
	plan  *Plan
	kinds []result.Kind
	row   result.Row
	clock clock
	// text holds the scalars that have no text in DuckDB, one after the other.
	text []byte
	// perm sorts the points of one series.
	perm []int32
}

// NewRows returns a maker of rows whose columns are of these kinds. It is an error when they are not those of the plan.
func (p *Plan) NewRows(kinds []result.Kind) (*Rows, error) {
	if len(kinds) != len(p.Columns) {
		return nil, fmt.Errorf("sqlplan: %d kinds for %d columns", len(kinds), len(p.Columns))
	}
	for i, k := range kinds {
		t := p.Columns[i].Type
		var ok bool
		switch k {
		case result.Scalar:
			ok = t.Scalar != ""
		case result.Doubles:
			ok = t.Series != nil && t.Series.isScalar(Double)
		case result.Texts:
			ok = t.Series != nil && t.Series.isScalar(Varchar)
		}
		if !ok {
			return nil, fmt.Errorf("sqlplan: column %q is a %s, which is not what is to be read", p.Columns[i].Name, t)
		}
	}
	return &Rows{plan: p, kinds: kinds, row: make(result.Row, len(kinds))}, nil
}

// Row returns row i of a chunk's columns. It is valid until the next call, and no longer than the chunk.
func (r *Rows) Row(columns []duck.Column, i int) (result.Row, error) {
	if len(columns) != len(r.row) {
		return nil, fmt.Errorf("sqlplan: a row of %d values for %d columns", len(columns), len(r.row))
	}
	r.text = r.text[:0]
	for k := range columns {
		cell, column := &r.row[k], &columns[k]
		if cell.Null = column.IsNull(i); cell.Null {
			cell.Text, cell.Points, cell.Texts = nil, cell.Points[:0], cell.Texts[:0]
			continue
		}
		var err error
		switch t := &r.plan.Columns[k].Type; {
		case r.kinds[k] != result.Scalar:
			err = r.series(cell, column, i, r.kinds[k])
		case t.Scalar == Varchar:
			cell.Text = column.Bytes(i)
		default:
			from := len(r.text)
			if r.text, err = r.scalar(t, column, i); err == nil {
				// What was appended before keeps its memory when the buffer moves.
				cell.Text = r.text[from:len(r.text):len(r.text)]
			}
		}
		if err != nil {
			return nil, r.plan.columnError(k, err)
		}
	}
	return r.row, nil
}

// scalar appends the text of a scalar that is neither NULL nor a varchar to r.text.
func (r *Rows) scalar(t *Type, column *duck.Column, i int) ([]byte, error) {
	if t.Scalar == Double {
		if v, ok := column.Double(i); ok {
			return appendDouble(r.text, v), nil
		}
	} else if v, ok := column.Whole(i); ok {
		return appendInteger(r.text, &r.clock, t, v)
	}
	return appendScalar(r.text, &r.clock, t, column.Value(i))
}

// Static returns row i of the plan's own rows.
func (r *Rows) Static(i int) (result.Row, error) {
	data := r.plan.Static[i]
	if len(data) != len(r.row) {
		return nil, fmt.Errorf("sqlplan: a row of %d values for %d columns", len(data), len(r.row))
	}
	for k := range data {
		cell := &r.row[k]
		switch d := &data[k]; {
		case d.ScalarValue != nil:
			cell.Null, cell.Text = false, []byte(*d.ScalarValue)
		case d.NullValue != nil:
			cell.Null, cell.Text = true, nil
		default:
			return nil, fmt.Errorf("sqlplan: column %q is no scalar", r.plan.Columns[k].Name)
		}
	}
	return r.row, nil
}

// series reads the points of a time series in the order of time.
func (r *Rows) series(cell *result.Cell, column *duck.Column, i int, kind result.Kind) error {
	if !column.IsList() || !column.Elements().IsStruct() || len(column.Elements().Fields()) != 2 {
		return unexpected(&Type{Scalar: Unknown}, column.Value(i))
	}
	fields := column.Elements().Fields()
	from, n := column.List(i)
	if fields[0].AnyNull(from, n) || fields[1].AnyNull(from, n) {
		return errNullPoint()
	}
	times := fields[0].Int64s(from, n)
	perm := r.order(times)
	if kind == result.Doubles {
		values := fields[1].Float64s(from, n)
		points := slices.Grow(cell.Points[:0], n)[:n]
		cell.Points = points
		if perm == nil {
			for k, t := range times {
				points[k] = result.Point{T: floorDiv(t, nsMilli), V: values[k]}
			}
			return nil
		}
		for k, at := range perm {
			points[k] = result.Point{T: floorDiv(times[at], nsMilli), V: values[at]}
		}
		return nil
	}
	texts := slices.Grow(cell.Texts[:0], n)[:n]
	cell.Texts = texts
	for k := range texts {
		at := k
		if perm != nil {
			at = int(perm[k])
		}
		texts[k] = result.TextPoint{T: floorDiv(times[at], nsMilli), Text: fields[1].Bytes(from + at)}
	}
	return nil
}

// order returns the places of times in their order, nil when they are in order, as they nearly always are.
func (r *Rows) order(times []int64) []int32 {
	if slices.IsSorted(times) {
		return nil
	}
	r.perm = slices.Grow(r.perm[:0], len(times))[:len(times)]
	for k := range r.perm {
		r.perm[k] = int32(k)
	}
	slices.SortStableFunc(r.perm, func(a, b int32) int { return cmp.Compare(times[a], times[b]) })
	return r.perm
}

const nsMilli int64 = 1e6
