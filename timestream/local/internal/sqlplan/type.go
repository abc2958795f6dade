// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"slices"
	"strconv"
	"strings"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
)

// Scalar is a scalar type under the name that results carry.
type Scalar = qtypes.ScalarType

// The scalar types.
const (
	Varchar   Scalar = qtypes.ScalarTypeVarchar
	Boolean   Scalar = qtypes.ScalarTypeBoolean
	Bigint    Scalar = qtypes.ScalarTypeBigint
	Integer   Scalar = qtypes.ScalarTypeInteger
	Double    Scalar = qtypes.ScalarTypeDouble
	Timestamp Scalar = qtypes.ScalarTypeTimestamp
	Date      Scalar = qtypes.ScalarTypeDate
	TimeOfDay Scalar = qtypes.ScalarTypeTime
	DayTime   Scalar = qtypes.ScalarTypeIntervalDayToSecond
	YearMonth Scalar = qtypes.ScalarTypeIntervalYearToMonth
	Unknown   Scalar = qtypes.ScalarTypeUnknown
	// Varbinary is Trino's type of bytes. The API has no name for it, so it only stands between functions.
	Varbinary Scalar = "VARBINARY"
)

// Type is the type of an expression: exactly one member is set.
type Type struct {
	Scalar Scalar
	// Series is the type of the values of a time series.
	Series *Type
	// Array is the type of the elements of an array.
	Array *Type
	// Row are the fields of a row.
	Row []Field
}

// Field is one field of a row type; Name may be empty.
type Field struct {
	Name string
	Type Type
	// key is the field's name in DuckDB, empty for the usual one.
	key string
}

// fieldKey is the name in DuckDB of field i of a row.
func fieldKey(row Type, i int) string {
	if k := row.Row[i].key; k != "" {
		return k
	}
	return "f" + strconv.Itoa(i)
}

// point is the type of a time series' elements.
func point(value Type) Type {
	return Type{Row: []Field{{Name: "time", Type: ScalarOf(Timestamp), key: pointTime}, {Name: "value", Type: value, key: pointValue}}}
}

// comparable tells whether values of the type can be grouped, sorted and made distinct: all but time series.
func (t Type) comparable() bool {
	switch {
	case t.Series != nil:
		return false
	case t.Array != nil:
		return t.Array.comparable()
	}
	for _, f := range t.Row {
		if !f.Type.comparable() {
			return false
		}
	}
	return true
}

// binary tells whether bytes are in values of the type, which no result has.
func (t Type) binary() bool {
	switch {
	case t.Array != nil:
		return t.Array.binary()
	case t.Row != nil:
		return slices.ContainsFunc(t.Row, func(f Field) bool { return f.Type.binary() })
	}
	return t.isScalar(Varbinary)
}

// ScalarOf returns the type of a scalar.
func ScalarOf(s Scalar) Type { return Type{Scalar: s} }

// String returns the type as error texts and DESCRIBE write it: lower case, `interval day to second`.
func (t Type) String() string {
	switch {
	case t.Series != nil:
		return "timeseries(row(timestamp, " + t.Series.String() + "))"
	case t.Array != nil:
		return "array(" + t.Array.String() + ")"
	case t.Row != nil:
		fields := make([]string, len(t.Row))
		for i, f := range t.Row {
			fields[i] = f.Type.String()
			if f.Name != "" {
				fields[i] = f.Name + " " + fields[i]
			}
		}
		return "row(" + strings.Join(fields, ", ") + ")"
	}
	return strings.ToLower(strings.ReplaceAll(string(t.Scalar), "_", " "))
}

// isScalar tells whether t is the scalar s.
func (t Type) isScalar(s Scalar) bool { return t.Scalar == s }

// equal tells whether two types are the same; names of row fields do not count.
func (t Type) equal(u Type) bool {
	switch {
	case t.Series != nil || u.Series != nil:
		return t.Series != nil && u.Series != nil && t.Series.equal(*u.Series)
	case t.Array != nil || u.Array != nil:
		return t.Array != nil && u.Array != nil && t.Array.equal(*u.Array)
	case t.Row != nil || u.Row != nil:
		if len(t.Row) != len(u.Row) {
			return false
		}
		for i := range t.Row {
			if !t.Row[i].Type.equal(u.Row[i].Type) {
				return false
			}
		}
		return true
	}
	return t.Scalar == u.Scalar
}

// API returns the type as the Query API describes it. Element types have no name.
func (t Type) API() *qtypes.Type {
	switch {
	case t.Series != nil:
		return &qtypes.Type{TimeSeriesMeasureValueColumnInfo: &qtypes.ColumnInfo{Type: t.Series.API()}}
	case t.Array != nil:
		return &qtypes.Type{ArrayColumnInfo: &qtypes.ColumnInfo{Type: t.Array.API()}}
	case t.Row != nil:
		out := &qtypes.Type{RowColumnInfo: make([]qtypes.ColumnInfo, len(t.Row))}
		for i, f := range t.Row {
			out.RowColumnInfo[i].Type = f.Type.API()
			if f.Name != "" {
				name := f.Name
				out.RowColumnInfo[i].Name = &name
			}
		}
		return out
	}
	return &qtypes.Type{ScalarType: t.Scalar}
}

// ColumnInfo describes the result's columns as the Query API does.
func (p *Plan) ColumnInfo() []qtypes.ColumnInfo {
	out := make([]qtypes.ColumnInfo, len(p.Columns))
	for i, c := range p.Columns {
		name := c.Name
		out[i] = qtypes.ColumnInfo{Name: &name, Type: c.Type.API()}
	}
	return out
}
