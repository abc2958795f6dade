// SPDX-License-Identifier: Apache-2.0

package remoteread

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/golang/snappy"
)

// unbounded counts what blocks take.
type unbounded struct{ plainBytes, heldBytes int64 }

func (u *unbounded) plain(n int64) error { u.plainBytes += n; return nil }
func (u *unbounded) held(n int64) error  { u.heldBytes += n; return nil }

// FuzzBlocks: fields of any sizes, spread over any number of blocks, decompress to their plain encoding.
func FuzzBlocks(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(0))
	f.Add(uint64(2), uint8(1), uint8(1))
	f.Add(uint64(3), uint8(3), uint8(20))
	f.Add(uint64(4), uint8(9), uint8(200))
	f.Fuzz(func(t *testing.T, seed uint64, blockCount, fieldCount uint8) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		blocks := make([]block, blockCount%10)
		var want []byte
		limits := &unbounded{}
		for i := range blocks {
			var content []byte
			for range int(fieldCount) % 30 {
				field := make([]byte, rnd.IntN(1<<rnd.IntN(18)))
				if rnd.IntN(2) == 0 { // half of them compress badly
					for j := range field {
						field[j] = byte(rnd.Uint32())
					}
				}
				content = append(binary.AppendUvarint(append(content, timeseriesTag), uint64(len(field))), field...)
				if err := blocks[i].addField(timeseriesTag, field, limits); err != nil {
					t.Fatal(err)
				}
			}
			if err := blocks[i].finish(limits); err != nil {
				t.Fatal(err)
			}
			want = append(binary.AppendUvarint(append(want, resultsTag), uint64(len(content))), content...)
			limits.plainBytes -= int64(len(content))
		}
		var out bytes.Buffer
		if err := writeBlocks(&out, resultsTag, blocks); err != nil {
			t.Fatal(err)
		}
		got, err := snappy.Decode(nil, out.Bytes())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
		if limits.plainBytes != 0 {
			t.Errorf("%d bytes too many or too few were accounted for", limits.plainBytes)
		}
		if limits.heldBytes < int64(out.Len()-64*(len(blocks)+1)) {
			t.Errorf("%d bytes were accounted for %d", limits.heldBytes, out.Len())
		}
	})
}

// BenchmarkBlocks puts an answer of 1,000 series of 240 samples together.
func BenchmarkBlocks(b *testing.B) {
	field := make([]byte, 300+240*18)
	for i := range field {
		field[i] = byte(i % 251)
	}
	b.SetBytes(int64(1000 * len(field)))
	b.ReportAllocs()
	for b.Loop() {
		var blocks [1]block
		for range 1000 {
			if err := blocks[0].addField(timeseriesTag, field, &unbounded{}); err != nil {
				b.Fatal(err)
			}
		}
		if err := blocks[0].finish(&unbounded{}); err != nil {
			b.Fatal(err)
		}
		if err := writeBlocks(discard{}, resultsTag, blocks[:]); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
