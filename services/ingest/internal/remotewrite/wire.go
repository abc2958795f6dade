// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"encoding/binary"
	"fmt"
)

// Wire types of the protocol buffer encoding (protobuf.dev, "Encoding").
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// reader reads a protocol buffer message from front to back. Once it has failed it stays at the end, so that loops need
// no check of their own; err tells.
type reader struct {
	b   []byte
	i   int
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s at byte %d of a message of %d", ErrCorrupt, what, r.i, len(r.b))
	}
	r.i = len(r.b)
}

// more tells whether there is another field.
func (r *reader) more() bool { return r.i < len(r.b) }

// key reads the number and the wire type of a field.
func (r *reader) key() (field int, wire int) {
	k := r.varint()
	if r.err == nil && (k>>3 == 0 || k>>3 > 1<<29-1) {
		r.fail("illegal field number")
	}
	return int(k >> 3), int(k & 7)
}

func (r *reader) varint() uint64 {
	if r.i < len(r.b) && r.b[r.i] < 0x80 {
		v := r.b[r.i]
		r.i++
		return uint64(v)
	}
	return r.longVarint()
}

func (r *reader) longVarint() uint64 {
	v, n := binary.Uvarint(r.b[r.i:])
	if n <= 0 {
		r.fail("truncated or overlong number")
		return 0
	}
	r.i += n
	return v
}

func (r *reader) fixed64() uint64 {
	if len(r.b)-r.i < 8 {
		r.fail("truncated fixed64")
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b[r.i:])
	r.i += 8
	return v
}

// bytes reads a field with a length; the result aliases the message.
func (r *reader) bytes() []byte {
	n := r.varint()
	if n > uint64(len(r.b)-r.i) {
		r.fail("truncated field")
		return nil
	}
	v := r.b[r.i : r.i+int(n) : r.i+int(n)]
	r.i += int(n)
	return v
}

// shortBytes reads a field of the numbers 1 to last that has a length, when its key and its length take a byte each, as
// nearly all do. Otherwise it returns 0 and reads nothing.
func (r *reader) shortBytes(last int) (field int, v []byte) {
	i := r.i + 2
	if i > len(r.b) || r.b[i-2]&0x87 != wireBytes || r.b[i-1] >= 0x80 {
		return 0, nil
	}
	field = int(r.b[i-2] >> 3)
	end := i + int(r.b[i-1])
	if field < 1 || field > last || end > len(r.b) {
		return 0, nil
	}
	r.i = end
	return field, r.b[i:end:end]
}

// skip passes over a field of an unknown number.
func (r *reader) skip(wire int) {
	switch wire {
	case wireVarint:
		r.varint()
	case wireFixed64:
		r.fixed64()
	case wireBytes:
		r.bytes()
	case wireFixed32:
		if len(r.b)-r.i < 4 {
			r.fail("truncated fixed32")
			return
		}
		r.i += 4
	default:
		r.fail("illegal wire type")
	}
}

// want fails unless a known field has the wire type that its message gives it.
func (r *reader) want(got, want int) bool {
	if got != want {
		r.fail("wrong wire type of a known field")
		return false
	}
	return true
}
