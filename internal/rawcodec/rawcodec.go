// SPDX-License-Identifier: Apache-2.0

// Package rawcodec is gRPC's protocol buffer codec for messages that are mostly one field of bytes. What goes over the wire is
// the same; but the field is not copied when it is sent, and only once when it is received. (The standard codec copies it
// through a pool whose tiers end at 32 KiB and 1 MiB, and clears the whole buffer each time.) Which field that is, the
// message says.
package rawcodec

import (
	"errors"

	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// minBytes is the size from which it is worth the trouble.
const minBytes = 4 << 10

// Message is a message with a large field. It must be a bytes field that is neither repeated nor part of a oneof.
type Message interface {
	proto.Message
	// LargeField returns the field's number and where it is.
	LargeField() (number int32, field *[]byte)
	// WithoutLargeField returns a message with the same other fields, unknown ones included, and without this one.
	WithoutLargeField() proto.Message
}

// Codec is a codec for messages with and without a large field.
//
// The sender must not change the bytes of the field before the call has ended, nor after a call that ended with an error: the
// transport may still hold them. After an OK answer to a unary call it holds them no more, because the other side had to
// read the message to its end first. The receiver owns the message that it got.
type Codec struct{ base encoding.CodecV2 }

var _ encoding.CodecV2 = (*Codec)(nil)

// New returns a codec.
func New() *Codec { return &Codec{base: encoding.GetCodecV2(encodingproto.Name)} }

// Name is that of the standard codec, so that each side may use either.
func (c *Codec) Name() string { return encodingproto.Name }

// Marshal implements encoding.CodecV2.
func (c *Codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(Message)
	if !ok {
		return c.base.Marshal(v)
	}
	n, field := m.LargeField()
	if len(*field) < minBytes {
		return c.base.Marshal(v)
	}
	head, err := proto.Marshal(m.WithoutLargeField())
	if err != nil {
		return nil, err
	}
	head = protowire.AppendTag(head, protowire.Number(n), protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(*field)))
	return mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(*field)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (c *Codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(Message)
	if !ok || data.Len() < minBytes {
		return c.base.Unmarshal(data, v)
	}
	n, field := m.LargeField()
	large, rest, err := split(data.Materialize(), protowire.Number(n))
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(rest, m); err != nil {
		return err
	}
	*field = large
	return nil
}

var errNotMessage = errors.New("proto: cannot parse invalid wire-format data")

// split cuts a message into the content of one bytes field and everything else. As in any protocol buffer the last
// occurrence of the field counts. large points into message; rest does so or is a copy.
func split(message []byte, number protowire.Number) (large, rest []byte, err error) {
	begin := 0 // of what was not yet moved to rest
	for at := 0; at < len(message); {
		num, typ, n := protowire.ConsumeTag(message[at:])
		if n < 0 {
			return nil, nil, errNotMessage
		}
		size := protowire.ConsumeFieldValue(num, typ, message[at+n:])
		if size < 0 {
			return nil, nil, errNotMessage
		}
		if num == number && typ == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(message[at+n:])
			large = content[:len(content):len(content)]
			rest = append(rest, message[begin:at]...)
			begin = at + n + size
		}
		at += n + size
	}
	return large, append(rest, message[begin:]...), nil
}
