// SPDX-License-Identifier: Apache-2.0

package payload_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"
	"time"

	"github.com/golang/snappy"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/internal/fairgate"
)

const maxBytes = 300_000

func newReader() *payload.Reader {
	return payload.NewReader(payload.Limits{MaxBytes: maxBytes, MaxDecompressedBytes: 1000, Timeout: time.Second})
}

func read(tb testing.TB, rd *payload.Reader, g *fairgate.Gate, from io.Reader, contentLength int64) (body *payload.Body, leave func(), err error) {
	tb.Helper()
	ticket, err := g.Enter("caller", 0)
	if err != nil {
		tb.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", from)
	r.ContentLength = contentLength
	body, err = rd.Read(httptest.NewRecorder(), r, ticket)
	return body, ticket.Leave, err
}

// TestRead reads bodies of sizes around every step of growth, with and without a declared length, from readers that
// give much, little, or their end together with the last bytes.
func TestRead(t *testing.T) {
	rd, g := newReader(), fairgate.New(fairgate.Limits{}, time.Now)
	readers := map[string]func(io.Reader) io.Reader{
		"plain": func(r io.Reader) io.Reader { return r },
		"half":  iotest.HalfReader,
		"eof":   iotest.DataErrReader,
	}
	for _, size := range []int{0, 1, 100, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128 << 10, 200_000, maxBytes - 1, maxBytes, maxBytes + 1, 2 * maxBytes} {
		want := bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
		for name, wrap := range readers {
			for _, length := range []int64{int64(size), -1} {
				b, leave, err := read(t, rd, g, wrap(bytes.NewReader(want)), length)
				if size > maxBytes {
					var refusal *httperr.Refusal
					if !errors.As(err, &refusal) || refusal.Status != 413 || !refusal.Close {
						t.Errorf("%d bytes, %s, length %d: got %v, want 413", size, name, length, err)
					}
					leave()
					continue
				}
				if err != nil || !bytes.Equal(b.Bytes, want) {
					t.Fatalf("%d bytes, %s, length %d: got %v, or other bytes", size, name, length, err)
				}
				if held := g.Bytes(); held < int64(size) || held > 2*int64(size)+64<<10+1 {
					t.Errorf("%d bytes, %s, length %d: %d are accounted for", size, name, length, held)
				}
				b.Free()
				leave()
			}
		}
	}
	if g.Bytes() != 0 {
		t.Errorf("%d bytes are still accounted for", g.Bytes())
	}
}

func TestReadRefuses(t *testing.T) {
	tests := []struct {
		name       string
		give       io.Reader
		giveLength int64
		giveGate   int64
		want       int
		wantReason string
	}{
		{"truncated", io.MultiReader(bytes.NewReader([]byte("abc")), iotest.ErrReader(io.ErrUnexpectedEOF)), 10, 0, 400, "body_truncated"},
		{"declared too large", iotest.ErrReader(errors.New("must not be read")), maxBytes + 1, 0, 413, "body_too_large"},
		{"gate full at once", bytes.NewReader(make([]byte, 100)), 100, 50, 503, "overloaded_bytes"},
		{"gate full on the way", bytes.NewReader(make([]byte, 200_000)), -1, 150_000, 503, "overloaded_bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := fairgate.New(fairgate.Limits{Bytes: tt.giveGate}, time.Now)
			_, leave, err := read(t, newReader(), g, tt.give, tt.giveLength)
			var refusal *httperr.Refusal
			if !errors.As(err, &refusal) || refusal.Status != tt.want || refusal.Reason != tt.wantReason {
				t.Errorf("got %v, want %d %s", err, tt.want, tt.wantReason)
			}
			leave()
			if g.Bytes() != 0 {
				t.Errorf("%d bytes are still accounted for", g.Bytes())
			}
		})
	}
}

// FuzzCheckSnappy: what passes the check decompresses to no more than the limit, and what is refused as too large is.
func FuzzCheckSnappy(f *testing.F) {
	for _, seed := range [][]byte{nil, {0}, snappy.Encode(nil, make([]byte, 1000)), snappy.Encode(nil, make([]byte, 1001)), {0xff, 0xff, 0xff, 0xff, 0x0f}} {
		f.Add(seed)
	}
	rd := newReader()
	f.Fuzz(func(t *testing.T, block []byte) {
		err := rd.CheckSnappy(block)
		n, lenErr := snappy.DecodedLen(block)
		var refusal *httperr.Refusal
		switch {
		case err == nil && (lenErr != nil || n > 1000):
			t.Errorf("passed: %d %v", n, lenErr)
		case err != nil && lenErr == nil && n <= 1000:
			t.Errorf("refused %d bytes: %v", n, err)
		case err != nil && !errors.As(err, &refusal):
			t.Errorf("got %T", err)
		}
		if err == nil {
			if plain, err := snappy.Decode(nil, block); err == nil && len(plain) > 1000 {
				t.Errorf("decompressed to %d bytes", len(plain))
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	rd, g := newReader(), fairgate.New(fairgate.Limits{}, time.Now)
	content := make([]byte, 40_000)
	body := bytes.NewReader(content)
	r := httptest.NewRequest(http.MethodPost, "/", body)
	w := httptest.NewRecorder()
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(content)
		ticket, err := g.Enter("caller", 0)
		if err != nil {
			b.Fatal(err)
		}
		got, err := rd.Read(w, r, ticket)
		if err != nil {
			b.Fatal(err)
		}
		got.Free()
		ticket.Leave()
	}
}
