// SPDX-License-Identifier: Apache-2.0

package ingestv1_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// TestLargeField: the payload apart, everything else is there; a field that is added to the message must be added to the
// copy.
func TestLargeField(t *testing.T) {
	req := &ingestv1.WriteRequest{}
	fields := req.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		switch fd := fields.Get(i); fd.Kind() {
		case protoreflect.EnumKind:
			req.ProtoReflect().Set(fd, protoreflect.ValueOfEnum(1))
		case protoreflect.BytesKind:
			req.ProtoReflect().Set(fd, protoreflect.ValueOfBytes([]byte("payload")))
		case protoreflect.StringKind:
			req.ProtoReflect().Set(fd, protoreflect.ValueOfString("text"))
		case protoreflect.MessageKind:
			req.ProtoReflect().Set(fd, protoreflect.ValueOfMessage((&ingestv1.Destination{Database: "d", Table: "t"}).ProtoReflect()))
		default:
			t.Fatalf("%s: this test knows no %s", fd.Name(), fd.Kind())
		}
	}
	req.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1})
	number, field := req.LargeField()
	if fd := fields.ByNumber(protoreflect.FieldNumber(number)); fd == nil || fd.Name() != "payload" || field != &req.Payload {
		t.Errorf("got field %d", number)
	}
	want := proto.CloneOf(req)
	want.Payload = nil
	if got := req.WithoutLargeField(); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if string(req.GetPayload()) != "payload" {
		t.Error("the message itself was changed")
	}
}
