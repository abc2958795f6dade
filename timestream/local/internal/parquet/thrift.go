// SPDX-License-Identifier: Apache-2.0

package parquet

import "encoding/binary"

// Types of Thrift's compact protocol, in which the format's structures are written.
const (
	thriftI32    = 5
	thriftI64    = 6
	thriftBinary = 8
	thriftList   = 9
	thriftStruct = 12
)

// thrift writes a structure; field numbers grow.
type thrift struct {
	b []byte
	// last is the number of the last field, outer those of the structures around.
	last  int
	outer []int
}

func (t *thrift) field(id, typ int) {
	t.b = append(t.b, byte((id-t.last)<<4|typ)) // all of the format's fields are close to each other
	t.last = id
}

func (t *thrift) i32(id int, v int64) {
	t.field(id, thriftI32)
	t.b = binary.AppendVarint(t.b, v)
}

func (t *thrift) i64(id int, v int64) {
	t.field(id, thriftI64)
	t.b = binary.AppendVarint(t.b, v)
}

func (t *thrift) text(id int, s string) {
	t.field(id, thriftBinary)
	t.b = append(binary.AppendUvarint(t.b, uint64(len(s))), s...)
}

// list begins a list; its elements follow.
func (t *thrift) list(id, typ, n int) {
	t.field(id, thriftList)
	if n < 15 {
		t.b = append(t.b, byte(n<<4|typ))
		return
	}
	t.b = binary.AppendUvarint(append(t.b, byte(0xf0|typ)), uint64(n))
}

// begin and end surround a structure that is a field.
func (t *thrift) begin(id int) {
	t.field(id, thriftStruct)
	t.outer = append(t.outer, t.last)
	t.last = 0
}

func (t *thrift) end() {
	t.stop()
	t.last = t.outer[len(t.outer)-1]
	t.outer = t.outer[:len(t.outer)-1]
}

// nested writes a structure that is an element of a list.
func (t *thrift) nested(f func(*thrift)) {
	last := t.last
	t.last = 0
	f(t)
	t.stop()
	t.last = last
}

func (t *thrift) stop() { t.b = append(t.b, 0) }

// element writes a node and those below it as elements of the schema, and returns how many.
func (t *thrift) element(n Node) int {
	one := func(physical, repetition int, name string, children, converted int) {
		t.nested(func(t *thrift) {
			if physical >= 0 {
				t.i32(1, int64(physical))
			}
			t.i32(3, int64(repetition))
			t.text(4, name)
			if children > 0 {
				t.i32(5, int64(children))
			}
			if converted >= 0 {
				t.i32(6, int64(converted))
			}
		})
	}
	const none = -1
	switch n.Kind {
	case List:
		one(none, optional, n.Name, 1, convertedList)
		one(none, repeated, "list", 1, none)
		e := n.Of[0]
		e.Name = "element"
		return 2 + t.element(e)
	case Group:
		one(none, optional, n.Name, len(n.Of), none)
		count := 1
		for _, f := range n.Of {
			count += t.element(f)
		}
		return count
	case Text:
		one(typeBytes, optional, n.Name, 0, convertedUTF8)
	case Date:
		one(typeInt32, optional, n.Name, 0, convertedDate)
	default:
		one(physical(n.Kind), optional, n.Name, 0, none)
	}
	return 1
}
