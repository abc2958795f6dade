// SPDX-License-Identifier: Apache-2.0

package rawcodec_test

import (
	"bytes"
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tributary-project/tributary/internal/rawcodec"
)

// large is Any, whose value is field 2, after a text.
type large struct{ *anypb.Any }

func (l large) LargeField() (number int32, field *[]byte) { return 2, &l.Value }

func (l large) WithoutLargeField() proto.Message {
	out := &anypb.Any{TypeUrl: l.GetTypeUrl()}
	out.ProtoReflect().SetUnknown(l.ProtoReflect().GetUnknown())
	return out
}

func message(size int) large {
	m := &anypb.Any{TypeUrl: "type", Value: bytes.Repeat([]byte("x"), size)}
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 5))
	return large{m}
}

// empty returns a message like m with nothing in it.
func empty(m proto.Message) proto.Message {
	if _, ok := m.(large); ok {
		return large{new(anypb.Any)}
	}
	return m.ProtoReflect().New().Interface()
}

// slices cuts b as a transport does.
func slices(b []byte, size int) (out mem.BufferSlice) {
	for len(b) > size {
		out, b = append(out, mem.SliceBuffer(b[:size])), b[size:]
	}
	return append(out, mem.SliceBuffer(b))
}

// TestBothWays: what it writes the standard codec reads, and the other way round.
func TestBothWays(t *testing.T) {
	raw, standard := rawcodec.New(), encoding.GetCodecV2(encodingproto.Name)
	if raw.Name() != standard.Name() {
		t.Errorf("got name %s", raw.Name())
	}
	for _, m := range []proto.Message{message(0), message(100), message(5000), message(1 << 20), wrapperspb.String("another message"), large{&anypb.Any{}}} {
		for name, codecs := range map[string][2]encoding.CodecV2{"raw to raw": {raw, raw}, "raw to standard": {raw, standard}, "standard to raw": {standard, raw}} {
			data, err := codecs[0].Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			got := empty(m)
			if err := codecs[1].Unmarshal(slices(data.Materialize(), 1000), got); err != nil || !proto.Equal(got, m) {
				t.Errorf("%s, %d bytes: got %v, or another message", name, proto.Size(m), err)
			}
		}
	}
	if _, err := raw.Marshal(5); err == nil {
		t.Error("something that is no message was written")
	}
}

// TestNoCopy: the field goes out as it is, and what comes in belongs to the receiver.
func TestNoCopy(t *testing.T) {
	c, m := rawcodec.New(), message(10_000)
	data, err := c.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if last := data[len(data)-1].ReadOnlyData(); &last[0] != &m.Value[0] {
		t.Error("the field was copied")
	}
	wire := data.Materialize()
	got := large{new(anypb.Any)}
	if err := c.Unmarshal(slices(wire, len(wire)), got); err != nil {
		t.Fatal(err)
	}
	clear(wire)
	if !proto.Equal(got, m) {
		t.Error("the message changed with the transport's buffer")
	}
	if got.Value = append(got.Value, 'y'); !bytes.Equal(got.Value[:10_000], m.Value) {
		t.Error("the field shares its end with something")
	}
}

// TestOverGRPC passes a message through real transports.
func TestOverGRPC(t *testing.T) {
	c, m := rawcodec.New(), message(300_000)
	desc := grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := large{new(anypb.Any)}
			return in, decode(in)
		},
	}}}
	for name, options := range map[string]struct {
		server []grpc.ServerOption
		client []grpc.CallOption
	}{
		"both":   {[]grpc.ServerOption{grpc.ForceServerCodecV2(c)}, []grpc.CallOption{grpc.ForceCodecV2(c)}},
		"server": {[]grpc.ServerOption{grpc.ForceServerCodecV2(c)}, nil},
		"client": {nil, []grpc.CallOption{grpc.ForceCodecV2(c)}},
	} {
		t.Run(name, func(t *testing.T) {
			l := bufconn.Listen(1 << 16)
			s := grpc.NewServer(options.server...)
			s.RegisterService(&desc, nil)
			go func() { _ = s.Serve(l) }()
			defer s.Stop()
			conn, err := grpc.NewClient("passthrough:///echo", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
				grpc.WithDefaultCallOptions(options.client...))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			for range 20 {
				got := large{new(anypb.Any)}
				if err := conn.Invoke(t.Context(), "/test.Echo/Echo", m, got); err != nil || !proto.Equal(got, m) {
					t.Fatalf("got %v, or another message", err)
				}
				clear(m.Value) // allowed after an OK answer; the race detector sees whoever still reads it
				copy(m.Value, "next")
			}
		})
	}
}

// FuzzUnmarshal: whatever comes is read, or refused, as by the standard codec.
func FuzzUnmarshal(f *testing.F) {
	for _, size := range []int{0, 10, 5000} {
		b, err := proto.Marshal(message(size))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, size)
		f.Add(append(b, b...), size) // each field twice
	}
	f.Add([]byte{0x12, 0xff}, 1)
	raw, standard := rawcodec.New(), encoding.GetCodecV2(encodingproto.Name)
	f.Fuzz(func(t *testing.T, b []byte, pad int) {
		// A field before it makes it long enough.
		b = append(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, 5000+pad%1000)), b...)
		got, want := large{new(anypb.Any)}, large{new(anypb.Any)}
		gotErr, wantErr := raw.Unmarshal(slices(b, 999), got), standard.Unmarshal(slices(b, 999), want)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("got %v, want %v", gotErr, wantErr)
		}
		if gotErr == nil && !proto.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	m := message(92_000)
	for name, c := range map[string]encoding.CodecV2{"raw": rawcodec.New(), "standard": encoding.GetCodecV2(encodingproto.Name)} {
		b.Run(name+"/marshal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				data, err := c.Marshal(m)
				if err != nil {
					b.Fatal(err)
				}
				data.Free()
			}
		})
		wire, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		data := slices(wire, 16<<10)
		b.Run(name+"/unmarshal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Unmarshal(data, large{new(anypb.Any)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
