// SPDX-License-Identifier: Apache-2.0

package payload_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/golang/snappy"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

const (
	plain    = ingestv1.Encoding_ENCODING_UNSPECIFIED
	isSnappy = ingestv1.Encoding_ENCODING_SNAPPY
	isZstd   = ingestv1.Encoding_ENCODING_ZSTD
	isGzip   = ingestv1.Encoding_ENCODING_GZIP
)

func TestCheckEncoding(t *testing.T) {
	tests := []struct {
		give     []string
		accepted []ingestv1.Encoding
		want     ingestv1.Encoding
		wantOK   bool
	}{
		{nil, []ingestv1.Encoding{isSnappy, isZstd}, isSnappy, true},
		{[]string{""}, []ingestv1.Encoding{plain, isGzip}, plain, true},
		{[]string{"identity"}, []ingestv1.Encoding{plain, isGzip}, plain, true},
		{[]string{"identity"}, []ingestv1.Encoding{isSnappy}, 0, false},
		{[]string{"Gzip"}, []ingestv1.Encoding{plain, isGzip}, isGzip, true},
		{[]string{"zstd"}, []ingestv1.Encoding{isSnappy, isZstd}, isZstd, true},
		{[]string{"zstd"}, []ingestv1.Encoding{isSnappy}, 0, false},
		{[]string{"gzip, zstd"}, []ingestv1.Encoding{plain, isGzip, isZstd}, 0, false},
		{[]string{"gzip", "gzip"}, []ingestv1.Encoding{plain, isGzip}, 0, false},
		{[]string{"br"}, []ingestv1.Encoding{plain, isGzip}, 0, false},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Content-Encoding"] = tt.give
		got, err := payload.CheckEncoding(r, tt.accepted...)
		var refusal *httperr.Refusal
		if (err == nil) != tt.wantOK || got != tt.want || err != nil && (!errors.As(err, &refusal) || refusal.Status != 415) {
			t.Errorf("%q of %v: got %s, %v; want %s, %t", tt.give, tt.accepted, got, err, tt.want, tt.wantOK)
		}
	}
}

// zstdFrame is the header of a frame, by RFC 8878, section 3.1.1.1: the size in so many bytes, 0 for none, a dictionary's
// number in so many bytes, and a window's size unless the frame is one segment.
func zstdFrame(size uint64, sizeBytes, dictionaryBytes int, singleSegment bool) []byte {
	out := []byte{0x28, 0xb5, 0x2f, 0xfd, 0}
	if singleSegment {
		out[4] |= 1 << 5
	} else {
		out = append(out, 0x58)
	}
	out[4] |= map[int]byte{0: 0, 1: 1, 2: 2, 4: 3}[dictionaryBytes]
	out = append(out, make([]byte, dictionaryBytes)...)
	switch sizeBytes {
	case 1:
		out = append(out, byte(size))
	case 2:
		out[4] |= 1 << 6
		out = binary.LittleEndian.AppendUint16(out, uint16(size-256))
	case 4:
		out[4] |= 2 << 6
		out = binary.LittleEndian.AppendUint32(out, uint32(size))
	case 8:
		out[4] |= 3 << 6
		out = binary.LittleEndian.AppendUint64(out, size)
	}
	return out
}

func TestCheckDeclared(t *testing.T) {
	rd := newReader() // its limit is 1000 bytes
	skippable := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x184D2A5F), 0)
	reserved := zstdFrame(1, 1, 0, true)
	reserved[4] |= 1 << 3
	tests := []struct {
		name     string
		encoding ingestv1.Encoding
		give     []byte
		want     int // 0: passes
	}{
		{"snappy", isSnappy, snappy.Encode(nil, make([]byte, 1000)), 0},
		{"snappy over the limit", isSnappy, snappy.Encode(nil, make([]byte, 1001)), 413},
		{"snappy without a header", isSnappy, nil, 400},
		{"zstd, one byte", isZstd, zstdFrame(200, 1, 0, true), 0},
		{"zstd, two bytes", isZstd, zstdFrame(1000, 2, 0, false), 0},
		{"zstd, two bytes over the limit", isZstd, zstdFrame(1001, 2, 0, false), 413},
		{"zstd, two bytes, one segment, dictionary", isZstd, zstdFrame(1001, 2, 4, true), 413},
		{"zstd, four bytes", isZstd, zstdFrame(1000, 4, 1, true), 0},
		{"zstd, four bytes over the limit", isZstd, zstdFrame(1<<31, 4, 2, false), 413},
		{"zstd, eight bytes", isZstd, zstdFrame(1000, 8, 0, false), 0},
		{"zstd, eight bytes over the limit", isZstd, zstdFrame(1<<63, 8, 0, false), 413},
		{"zstd without a size", isZstd, zstdFrame(0, 0, 0, false), 0},
		{"zstd, header cut", isZstd, zstdFrame(1000, 4, 0, false)[:9], 400},
		{"zstd, magic number only", isZstd, zstdFrame(0, 0, 0, false)[:4], 400},
		{"zstd, reserved bit", isZstd, reserved, 400},
		{"zstd, skippable frame first", isZstd, skippable, 0},
		{"zstd, empty", isZstd, nil, 400},
		{"zstd, something else", isZstd, []byte("snappy or so"), 400},
		{"gzip", isGzip, []byte{0x1f, 0x8b, 8}, 0},
		{"gzip, something else", isGzip, []byte("{}"), 400},
		{"gzip, empty", isGzip, nil, 400},
		{"plain", plain, make([]byte, 1000), 0},
		{"plain, empty", plain, nil, 0},
		{"plain over the limit", plain, make([]byte, 1001), 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := rd.CheckDeclared(tt.encoding, tt.give)
			var refusal *httperr.Refusal
			switch {
			case tt.want == 0 && err != nil:
				t.Errorf("got %v, want none", err)
			case tt.want != 0 && (!errors.As(err, &refusal) || refusal.Status != tt.want):
				t.Errorf("got %v, want %d", err, tt.want)
			}
		})
	}
}

// FuzzCheckDeclared: a header of a frame, whatever follows it, is judged by the size in it; and bytes that are no header
// end in a refusal, never in a panic.
func FuzzCheckDeclared(f *testing.F) {
	f.Add(uint64(1001), uint8(4), uint8(0), true, []byte("rest"), []byte(nil))
	f.Add(uint64(3), uint8(1), uint8(4), true, []byte(nil), []byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Add(uint64(1<<40), uint8(8), uint8(2), false, []byte{1}, []byte{0x50, 0x2a, 0x4d, 0x18})
	rd := newReader()
	f.Fuzz(func(t *testing.T, size uint64, sizeBytes, dictionaryBytes uint8, singleSegment bool, rest, any []byte) {
		n, d := []int{1, 2, 4, 8}[sizeBytes%4], []int{0, 1, 2, 4}[dictionaryBytes%4]
		switch n {
		case 1:
			size, singleSegment = size%256, true
		case 2:
			size = 256 + size%(1<<16)
		case 4:
			size %= 1 << 32
		}
		err := rd.CheckDeclared(isZstd, append(zstdFrame(size, n, d, singleSegment), rest...))
		var refusal *httperr.Refusal
		if errors.As(err, &refusal) != (size > 1000) || refusal != nil && refusal.Status != 413 {
			t.Errorf("%d bytes declared: got %v", size, err)
		}
		for _, e := range []ingestv1.Encoding{plain, isSnappy, isZstd, isGzip} {
			if err := rd.CheckDeclared(e, any); err != nil && !errors.As(err, &refusal) {
				t.Errorf("%s: got %T", e, err)
			}
		}
		// What begins as a frame is never a valid snappy block, so the body tells the two apart.
		if _, err := snappy.Decode(nil, append([]byte{0x28, 0xb5, 0x2f, 0xfd}, any...)); err == nil {
			t.Errorf("a snappy block begins as a frame: %x", any)
		}
		if payload.IsZstd(any) != bytes.HasPrefix(any, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
			t.Errorf("%x", any)
		}
	})
}

// FuzzHeaders: whatever headers say, the answer is one of the accepted values or a 415.
func FuzzHeaders(f *testing.F) {
	f.Add("application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy")
	f.Add("application/x-protobuf; proto=\"a\"; x", "gzip, zstd")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, contentType, encoding string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Content-Type"], r.Header["Content-Encoding"] = []string{contentType}, []string{encoding}
		var refusal *httperr.Refusal
		media, _, err := payload.CheckType(r, "application/x-protobuf", "application/json")
		if err == nil && media != "application/x-protobuf" && media != "application/json" ||
			err != nil && (media != "" || !errors.As(err, &refusal) || refusal.Status != 415) {
			t.Errorf("%q: got %q, %v", contentType, media, err)
		}
		e, err := payload.CheckEncoding(r, plain, isGzip)
		if e != plain && e != isGzip || err != nil && (!errors.As(err, &refusal) || refusal.Status != 415) {
			t.Errorf("%q: got %s, %v", encoding, e, err)
		}
	})
}
