// SPDX-License-Identifier: Apache-2.0

// Package ingestv1 is the contract of the ingest service as generated from its protocol buffer file, what codecs need to
// know of its large message, and the one rule by which both sides tell a write that failed.
package ingestv1

import "google.golang.org/protobuf/proto"

// PayloadField is the number of WriteRequest's field payload.
const PayloadField = 3

// LargeField returns the number of the payload and where it is. With WithoutLargeField it is for codecs that treat the
// payload, which is nearly all of a request, apart from the other fields.
func (x *WriteRequest) LargeField() (number int32, field *[]byte) { return PayloadField, &x.Payload }

// WithoutLargeField returns a message with the same other fields and no payload. The two share what is in them.
func (x *WriteRequest) WithoutLargeField() proto.Message {
	out := &WriteRequest{
		MessageType: x.GetMessageType(), Encoding: x.GetEncoding(), Destination: x.GetDestination(), CallerId: x.GetCallerId(),
	}
	out.ProtoReflect().SetUnknown(x.ProtoReflect().GetUnknown())
	return out
}
