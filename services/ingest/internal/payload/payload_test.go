// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const limit = 8 << 20

// message is text that compresses about as messages do.
func message(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]byte, 0, n+32)
	for len(out) < n {
		out = fmt.Appendf(out, "instance-%d:%x;", r.IntN(50), r.Uint32())
	}
	return out[:n]
}

func zip(level int, parts ...[]byte) []byte {
	var out bytes.Buffer
	for _, p := range parts {
		w, err := gzip.NewWriterLevel(&out, level)
		if err == nil {
			_, err = w.Write(p)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			panic(err)
		}
	}
	return out.Bytes()
}

// zstdWhole compresses as a sender does that has the message in memory: the frame declares its size.
func zstdWhole(p []byte, opts ...zstd.EOption) []byte {
	w, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		panic(err)
	}
	defer func() { _ = w.Close() }()
	return w.EncodeAll(p, nil)
}

// zstdStream compresses as a sender does that writes bit by bit: the frame does not declare its size.
func zstdStream(p []byte, chunk int) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	for c := range slices.Chunk(p, chunk) {
		if err == nil {
			_, err = w.Write(c)
		}
		if err == nil {
			err = w.Flush()
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return out.Bytes()
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestDecompress(t *testing.T) {
	text, zeros := message(300_000), make([]byte, 1<<20)
	skippable := append([]byte{0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	d := NewDecompressor()
	for _, c := range []struct {
		name  string
		e     Encoding
		give  []byte
		want  []byte
		exact bool // the size is known beforehand
	}{
		{"plain", Plain, text, text, true},
		{"plain, empty", Plain, nil, nil, true},
		{"snappy", Snappy, snappy.Encode(nil, text), text, true},
		{"snappy, empty", Snappy, snappy.Encode(nil, nil), nil, true},
		{"snappy, zeros", Snappy, snappy.Encode(nil, zeros), zeros, true},
		{"zstd", Zstd, zstdWhole(text), text, true},
		{"zstd, best", Zstd, zstdWhole(text, zstd.WithEncoderLevel(zstd.SpeedBestCompression)), text, true},
		{"zstd, no checksum", Zstd, zstdWhole(text, zstd.WithEncoderCRC(false)), text, true},
		{"zstd, empty", Zstd, zstdWhole(nil, zstd.WithZeroFrames(true)), nil, true},
		{"zstd, zeros", Zstd, zstdWhole(zeros), zeros, true},
		{"zstd, stream", Zstd, zstdStream(text, 100_000), text, false},
		{"zstd, small blocks", Zstd, zstdStream(text, 3000), text, false},
		{"zstd, frames", Zstd, join(zstdWhole(text), skippable, zstdStream(text, 50_000), zstdWhole(zeros)), join(text, text, zeros), false},
		{"zstd, frames that declare their sizes", Zstd, join(skippable, zstdWhole(text), zstdWhole(zeros)), join(text, zeros), true},
		{"gzip", Gzip, zip(6, text), text, true},
		{"gzip, stored", Gzip, zip(0, text), text, true},
		{"gzip, empty", Gzip, zip(6, nil), nil, true},
		{"gzip, zeros", Gzip, zip(9, zeros), zeros, true},
		{"gzip, members", Gzip, zip(6, text, zeros[:1000]), join(text, zeros[:1000]), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, most, err := Bounds(c.e, c.give, limit)
			if err != nil {
				t.Fatal(err)
			}
			if first > most || most > limit || most < len(c.want) || c.exact && first != len(c.want) || c.e != Gzip && first != most {
				t.Errorf("%d to %d bytes, %d are", first, most, len(c.want))
			}
			for range 2 {
				m, err := d.Decompress(c.e, c.give, most)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(m.Bytes, c.want) {
					t.Errorf("%d bytes, want %d", len(m.Bytes), len(c.want))
				}
				m.Release()
			}
			if len(c.want) > 0 {
				if m, err := d.Decompress(c.e, c.give, len(c.want)-1); !errors.Is(err, ErrTooLarge) {
					t.Errorf("into less: %v, %v", m, err)
				}
			}
			if m, err := d.Decompress(c.e, c.give, len(c.want)); err != nil || !bytes.Equal(m.Bytes, c.want) {
				t.Errorf("into just enough: %v", err)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	text := message(5000)
	sn, zs, gz := snappy.Encode(nil, text), zstdWhole(text), zip(6, text)
	flip := func(p []byte, at int) []byte {
		p = slices.Clone(p)
		p[at] ^= 0x55
		return p
	}
	huge := slices.Clone(gz)
	binary.LittleEndian.PutUint32(huge[len(huge)-4:], 7<<20) // less than limit, more than it can be
	less := slices.Clone(gz)
	binary.LittleEndian.PutUint32(less[len(less)-4:], 10)
	// A frame header that claims 4 MiB, and a block of one byte.
	claims := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0x40, 0}, 0x09, 0, 0, 'x')
	// A block of a reserved type, and one over 128 KiB.
	reserved := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 1}, 0x0f, 0, 0, 'x')
	oversized := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}, 0x03, 0, 0x20, 'x')
	d := NewDecompressor()
	for _, c := range []struct {
		name string
		e    Encoding
		give []byte
		want error
	}{
		{"snappy: empty", Snappy, nil, ErrCorrupt},
		{"snappy: none", Snappy, []byte("hello, this is no snappy at all"), ErrCorrupt},
		{"snappy: cut", Snappy, sn[:len(sn)/2], ErrCorrupt},
		{"snappy: goes on", Snappy, join(sn, []byte("garbage")), ErrCorrupt},
		{"snappy: claims much", Snappy, []byte{0x80, 0x80, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, ErrCorrupt},
		{"snappy: framed", Snappy, []byte("\xff\x06\x00\x00sNaPpY\x00\x00\x00"), ErrCorrupt},
		{"zstd: empty", Zstd, nil, ErrCorrupt},
		{"zstd: none", Zstd, []byte("hello, this is no zstd"), ErrCorrupt},
		{"zstd: magic alone", Zstd, zs[:4], ErrCorrupt},
		{"zstd: cut", Zstd, zs[:len(zs)/2], ErrCorrupt},
		{"zstd: cut in the checksum", Zstd, zs[:len(zs)-2], ErrCorrupt},
		{"zstd: checksum", Zstd, flip(zs, len(zs)-1), ErrCorrupt},
		{"zstd: goes on", Zstd, join(zs, []byte("garbage")), ErrCorrupt},
		{"zstd: skippable, cut", Zstd, []byte{0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1}, ErrCorrupt},
		{"zstd: claims much", Zstd, claims, ErrCorrupt},
		{"zstd: reserved block", Zstd, reserved, ErrCorrupt},
		{"zstd: block too large", Zstd, oversized, ErrCorrupt},
		{"zstd: zeros without end", Zstd, zstdStream(make([]byte, 2*limit), 100_000), ErrTooLarge},
		{"zstd: declares too much", Zstd, zstdWhole(make([]byte, limit+1)), ErrTooLarge},
		{"gzip: empty", Gzip, nil, ErrCorrupt},
		{"gzip: none", Gzip, []byte("hello, this is no gzip at all"), ErrCorrupt},
		{"gzip: cut", Gzip, gz[:len(gz)/2], ErrCorrupt},
		{"gzip: cut in the trailer", Gzip, gz[:len(gz)-3], ErrCorrupt},
		{"gzip: checksum", Gzip, flip(gz, len(gz)-7), ErrCorrupt},
		{"gzip: claims much", Gzip, huge, ErrCorrupt},
		{"gzip: claims little", Gzip, less, ErrCorrupt},
		{"gzip: goes on", Gzip, join(gz, []byte("garbage, and some more of it")), ErrCorrupt},
		{"gzip: next header cut", Gzip, join(gz, []byte{0x1f, 0x8b, 8}), ErrCorrupt},
		{"gzip: next header cut in the name", Gzip, join(zip(6, make([]byte, 48)), []byte("\x1f\x8b\x08\x08000000na\x00\x00")[:14]), ErrCorrupt},
		{"gzip: bomb", Gzip, zip(9, make([]byte, limit/2), make([]byte, limit/2), make([]byte, 1)), ErrTooLarge},
		{"gzip: declares too much", Gzip, zip(9, make([]byte, limit+1)), ErrTooLarge},
		{"plain: too large", Plain, make([]byte, limit+1), ErrTooLarge},
		{"unknown", 9, gz, ErrCorrupt},
	} {
		if m, err := d.Decompress(c.e, c.give, limit); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, %v", c.name, m, err)
		} else if len(err.Error()) > 200 || strings.ContainsAny(err.Error(), "\x00\n") {
			t.Errorf("%s: %q", c.name, err)
		}
	}
}

// The buffer that a payload gets is as large as it was said to be, whatever the payload holds.
func TestBuffersAreBounded(t *testing.T) {
	zeros := make([]byte, 4<<20)
	for e, p := range map[Encoding][]byte{
		Snappy: snappy.Encode(nil, zeros), Zstd: join(zstdStream(zeros, 1<<20), zstdWhole(zeros)), Gzip: zip(9, zeros, zeros),
	} {
		for _, limit := range []int{0, 1, 1000, 1 << 20, 1<<20 + 1} {
			m := &Message{from: NewDecompressor()}
			if err := m.decompress(e, p, limit); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%v, %d: %v", e, limit, err)
			}
			if cap(m.buf) > limit {
				t.Errorf("%v, %d: a buffer of %d", e, limit, cap(m.buf))
			}
		}
	}
}

func TestSteadyWorkDoesNotAllocate(t *testing.T) {
	text := message(100_000)
	d := NewDecompressor()
	for e, p := range map[Encoding][]byte{Plain: text, Snappy: snappy.Encode(nil, text), Zstd: zstdWhole(text), Gzip: zip(6, text)} {
		n := 1000.0
		for range 30 { // the pools lose something now and then
			n = min(n, testing.AllocsPerRun(1, func() {
				m, err := d.Decompress(e, p, len(text))
				if err != nil {
					t.Fatal(err)
				}
				m.Release()
			}))
		}
		want := 0.0
		if e == Gzip {
			want = 2 // its reader's own
		}
		if n > want {
			t.Errorf("%v: %v allocations", e, n)
		}
	}
}

func TestConcurrent(t *testing.T) {
	d := NewDecompressor()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 20 {
				text := message(1000 + 997*((i*j)%40))
				for e, p := range map[Encoding][]byte{Snappy: snappy.Encode(nil, text), Zstd: zstdStream(text, 1000), Gzip: zip(1, text)} {
					m, err := d.Decompress(e, p, limit)
					if err != nil || !bytes.Equal(m.Bytes, text) {
						t.Errorf("%v: %v", e, err)
						return
					}
					m.Release()
				}
			}
		})
	}
	wg.Wait()
}
