// SPDX-License-Identifier: Apache-2.0

package duck

import (
	"fmt"
	"math/big"
	"strings"
	"unsafe"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// Column is one column of a chunk, read in place. Its memory belongs to the chunk: strings are copied out, Bytes are
// not.
type Column struct {
	typ      bindings.Type
	data     unsafe.Pointer
	validity unsafe.Pointer
	// kids are a struct's fields, or a list's one element column.
	kids  []Column
	names []string
}

func (c *Column) init(vec bindings.Vector) error {
	lt := bindings.VectorGetColumnType(vec)
	defer bindings.DestroyLogicalType(&lt)
	typ := bindings.GetTypeId(lt)
	c.data = bindings.VectorGetData(vec)
	c.validity = bindings.VectorGetValidity(vec)
	switch typ {
	case bindings.TypeBoolean, bindings.TypeInteger, bindings.TypeBigInt, bindings.TypeDouble, bindings.TypeVarchar,
		bindings.TypeBlob, bindings.TypeHugeInt, bindings.TypeUBigInt, bindings.TypeSQLNull:
	case bindings.TypeList:
		if c.typ != typ {
			c.kids = make([]Column, 1)
		}
		if err := c.kids[0].init(bindings.ListVectorGetChild(vec)); err != nil {
			return err
		}
	case bindings.TypeStruct:
		n := int(bindings.StructTypeChildCount(lt))
		if c.typ != typ || len(c.kids) != n {
			c.kids = make([]Column, n)
			c.names = make([]string, n)
			for i := range n {
				c.names[i] = bindings.StructTypeChildName(lt, bindings.IdxT(i))
			}
		}
		for i := range n {
			if err := c.kids[i].init(bindings.StructVectorGetChild(vec, bindings.IdxT(i))); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("unexpected type %d", typ)
	}
	c.typ = typ
	return nil
}

// IsNull tells whether row i is NULL.
func (c *Column) IsNull(i int) bool {
	if c.typ == bindings.TypeSQLNull {
		return true
	}
	if c.validity == nil {
		return false
	}
	word := *(*uint64)(unsafe.Add(c.validity, i/64*8))
	return word>>(uint(i)%64)&1 == 0
}

func at[T any](c *Column, i int) T {
	return *(*T)(unsafe.Add(c.data, uintptr(i)*unsafe.Sizeof(*new(T))))
}

// Bool returns row i of a BOOLEAN column.
func (c *Column) Bool(i int) bool { return at[bool](c, i) }

// Int32 returns row i of an INTEGER column.
func (c *Column) Int32(i int) int32 { return at[int32](c, i) }

// Int64 returns row i of a BIGINT column.
func (c *Column) Int64(i int) int64 { return at[int64](c, i) }

// Float64 returns row i of a DOUBLE column.
func (c *Column) Float64(i int) float64 { return at[float64](c, i) }

// Whole returns row i of an INTEGER or BIGINT column; false for any other.
func (c *Column) Whole(i int) (int64, bool) {
	switch c.typ {
	case bindings.TypeBigInt:
		return c.Int64(i), true
	case bindings.TypeInteger:
		return int64(c.Int32(i)), true
	}
	return 0, false
}

// Double returns row i of a DOUBLE column; false for any other.
func (c *Column) Double(i int) (float64, bool) {
	if c.typ != bindings.TypeDouble {
		return 0, false
	}
	return c.Float64(i), true
}

// AnyNull tells whether one of the n rows from row `from` on is NULL.
func (c *Column) AnyNull(from, n int) bool {
	if c.typ == bindings.TypeSQLNull {
		return n > 0
	}
	if c.validity == nil {
		return false
	}
	for i := from; i < from+n; {
		if i%64 == 0 && from+n-i >= 64 {
			if *(*uint64)(unsafe.Add(c.validity, i/8)) != ^uint64(0) {
				return true
			}
			i += 64
			continue
		}
		if c.IsNull(i) {
			return true
		}
		i++
	}
	return false
}

// Int64s returns n rows of a BIGINT column from row `from` on, in place: they are valid as long as the chunk.
func (c *Column) Int64s(from, n int) []int64 {
	return unsafe.Slice((*int64)(unsafe.Add(c.data, from*8)), n)
}

// Float64s returns n rows of a DOUBLE column from row `from` on, in place: they are valid as long as the chunk.
func (c *Column) Float64s(from, n int) []float64 {
	return unsafe.Slice((*float64)(unsafe.Add(c.data, from*8)), n)
}

// stringT is duckdb_string_t: up to 12 bytes are held in place, more behind a pointer after a prefix.
type stringT struct {
	length uint32
	inline [4]byte
	ptr    unsafe.Pointer
}

const inlineBytes = 12

// Bytes returns row i of a VARCHAR or BLOB column without a copy: it is valid as long as the chunk.
func (c *Column) Bytes(i int) []byte {
	s := (*stringT)(unsafe.Add(c.data, uintptr(i)*unsafe.Sizeof(stringT{})))
	if s.length <= inlineBytes {
		return unsafe.Slice((*byte)(unsafe.Pointer(&s.inline)), s.length)
	}
	return unsafe.Slice((*byte)(s.ptr), s.length)
}

// String returns row i of a VARCHAR column.
func (c *Column) String(i int) string { return string(c.Bytes(i)) }

// List returns the place of row i of a LIST column in Elements.
func (c *Column) List(i int) (offset, length int) {
	e := at[[2]uint64](c, i)
	return int(e[0]), int(e[1])
}

// Elements returns the elements of a LIST column.
func (c *Column) Elements() *Column { return &c.kids[0] }

// Fields returns the fields of a STRUCT column.
func (c *Column) Fields() []Column { return c.kids }

// IsList tells whether the column is a LIST.
func (c *Column) IsList() bool { return c.typ == bindings.TypeList }

// IsStruct tells whether the column is a STRUCT.
func (c *Column) IsStruct() bool { return c.typ == bindings.TypeStruct }

// Value returns row i as the database/sql driver does: nil, bool, int32, int64, uint64, float64, string, []byte, *big.Int,
// []any for a list, map[string]any for a struct.
func (c *Column) Value(i int) any {
	if c.IsNull(i) {
		return nil
	}
	switch c.typ {
	case bindings.TypeBoolean:
		return c.Bool(i)
	case bindings.TypeInteger:
		return c.Int32(i)
	case bindings.TypeBigInt:
		return c.Int64(i)
	case bindings.TypeUBigInt:
		return at[uint64](c, i)
	case bindings.TypeDouble:
		return c.Float64(i)
	case bindings.TypeVarchar:
		return c.String(i)
	case bindings.TypeBlob:
		return []byte(strings.Clone(c.String(i)))
	case bindings.TypeHugeInt:
		h := at[struct {
			lower uint64
			upper int64
		}](c, i)
		v := new(big.Int).Lsh(big.NewInt(h.upper), 64)
		return v.Add(v, new(big.Int).SetUint64(h.lower))
	case bindings.TypeList:
		offset, length := c.List(i)
		out := make([]any, length)
		for k := range out {
			out[k] = c.kids[0].Value(offset + k)
		}
		return out
	case bindings.TypeStruct:
		out := make(map[string]any, len(c.kids))
		for k := range c.kids {
			out[c.names[k]] = c.kids[k].Value(i)
		}
		return out
	}
	return nil
}
