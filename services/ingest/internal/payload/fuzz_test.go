// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"io"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
)

// fuzz checks that a payload never takes more than Bounds says, and is the same to others.
func fuzz(f *testing.F, e Encoding, reference func([]byte) ([]byte, error)) {
	const limit = 1 << 20
	d := NewDecompressor()
	f.Fuzz(func(t *testing.T, p []byte) {
		first, most, err := Bounds(e, p, limit)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if first < 0 || first > most || most > limit {
			t.Fatalf("%d to %d", first, most)
		}
		m, err := d.Decompress(e, p, most)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		defer m.Release()
		if len(m.Bytes) > most || cap(m.buf) > maxPooledBytes {
			t.Fatalf("%d bytes of at most %d", len(m.Bytes), most)
		}
		if want, err := reference(p); err != nil || !bytes.Equal(m.Bytes, want) {
			t.Fatalf("%d bytes, others get %d, %v", len(m.Bytes), len(want), err)
		}
	})
}

func FuzzSnappy(f *testing.F) {
	f.Add(snappy.Encode(nil, message(500)))
	fuzz(f, Snappy, func(p []byte) ([]byte, error) { return snappy.Decode(nil, p) })
}

func FuzzZstd(f *testing.F) {
	f.Add(zstdWhole(message(500)))
	f.Add(zstdStream(message(5000), 1000))
	f.Add(join(zstdWhole(make([]byte, 5000)), zstdWhole(message(100), zstd.WithEncoderCRC(false))))
	fuzz(f, Zstd, func(p []byte) ([]byte, error) {
		r, err := zstd.NewReader(bytes.NewReader(p), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	})
}

func FuzzGzip(f *testing.F) {
	f.Add(zip(6, message(500)))
	f.Add(zip(0, message(50), message(20)))
	fuzz(f, Gzip, func(p []byte) ([]byte, error) {
		r, err := stdgzip.NewReader(bytes.NewReader(p))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	})
}
