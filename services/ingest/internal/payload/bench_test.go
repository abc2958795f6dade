// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"testing"

	"github.com/golang/snappy"
)

// BenchmarkDecompress decompresses 200 kB of text, about what a request of 2,000 samples has.
func BenchmarkDecompress(b *testing.B) {
	text := message(200_000)
	d := NewDecompressor()
	for _, c := range []struct {
		name string
		e    Encoding
		p    []byte
	}{
		{"snappy", Snappy, snappy.Encode(nil, text)},
		{"zstd", Zstd, zstdWhole(text)},
		{"zstd-stream", Zstd, zstdStream(text, 50_000)},
		{"gzip", Gzip, zip(6, text)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				_, most, err := Bounds(c.e, c.p, limit)
				if err != nil {
					b.Fatal(err)
				}
				m, err := d.Decompress(c.e, c.p, most)
				if err != nil {
					b.Fatal(err)
				}
				m.Release()
			}
		})
	}
}
