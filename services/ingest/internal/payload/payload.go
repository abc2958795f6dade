// SPDX-License-Identifier: Apache-2.0

// Package payload turns the compressed body of a write request into the message it holds. It tells beforehand how many
// bytes that takes, without decompressing anything, and then takes no more than it was allowed. What the message says is
// left to others.
package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Encoding is how a payload is compressed.
type Encoding uint8

// The encodings.
const (
	// Plain payloads are the message itself.
	Plain Encoding = iota
	// Snappy is snappy's block format, not its framed one.
	Snappy
	// Zstd is one or more Zstandard frames (RFC 8878) without a dictionary.
	Zstd
	// Gzip is one or more gzip members (RFC 1952).
	Gzip
)

// String returns the name that HTTP has for it.
func (e Encoding) String() string {
	switch e {
	case Plain:
		return "identity"
	case Snappy:
		return "snappy"
	case Zstd:
		return "zstd"
	case Gzip:
		return "gzip"
	}
	return fmt.Sprintf("encoding %d", uint8(e))
}

// Errors of a payload, wrapped with what was found.
var (
	// ErrCorrupt says that a payload is not what it claims to be.
	ErrCorrupt = errors.New("corrupt payload")
	// ErrTooLarge says that a message is over the limit.
	ErrTooLarge = errors.New("message too large")
)

const (
	// snappyRatio is more than snappy's block format can compress: its densest element has 3 bytes for 64.
	snappyRatio = 22
	// gzipRatio is the most that deflate can compress: a match of 258 bytes in two bits (zlib, "Technical Details").
	gzipRatio = 1032
	// minGzip is the size of an empty member: header, an empty block, trailer.
	minGzip = 10 + 2 + 8
	// zstdBlock is the most that a block of Zstandard holds (RFC 8878, section 3.1.1.2.4).
	zstdBlock = 128 << 10
)

// Bounds returns how many bytes the message of a payload takes when at most limit are allowed: first by the payload's own
// account, most at the worst. Neither is over limit, and first is not over most. They differ for gzip alone, whose account
// does not bind: Decompress may find that first was not enough, and most is. A few bytes that claim more than their
// encoding can hold are ErrCorrupt, a payload that claims more than limit is ErrTooLarge. Nothing is decompressed.
func Bounds(e Encoding, p []byte, limit int) (first, most int, err error) {
	claims, worst, err := measure(e, p)
	if err != nil {
		return 0, 0, err
	}
	if claims > uint64(limit) {
		return 0, 0, fmt.Errorf("%w: %d bytes decompressed, the limit is %d", ErrTooLarge, claims, limit)
	}
	most = int(min(worst, uint64(limit)))
	if e == Zstd {
		return most, most, nil // its frames declare what they hold, or their blocks bound it
	}
	return int(claims), most, nil
}

// measure returns how many bytes the message of a payload has by the payload's own account, and at the worst.
func measure(e Encoding, p []byte) (claims, worst uint64, err error) {
	switch e {
	case Plain:
		return uint64(len(p)), uint64(len(p)), nil
	case Snappy:
		n, err := snappy.DecodedLen(p)
		if err != nil {
			return 0, 0, fmt.Errorf("%w: snappy block header: %w", ErrCorrupt, err)
		}
		if n > len(p)*snappyRatio {
			return 0, 0, claim(e, p, uint64(n))
		}
		return uint64(n), uint64(n), nil
	case Zstd:
		return zstdBounds(p)
	case Gzip:
		if len(p) < minGzip || p[0] != 0x1f || p[1] != 0x8b {
			return 0, 0, fmt.Errorf("%w: gzip: no header in %d bytes", ErrCorrupt, len(p))
		}
		// The trailer has the length of the last member, modulo 2^32.
		claims, worst = uint64(binary.LittleEndian.Uint32(p[len(p)-4:])), uint64(len(p))*gzipRatio
		if claims > worst {
			return 0, 0, claim(e, p, claims)
		}
		return claims, worst, nil
	}
	return 0, 0, fmt.Errorf("%w: unknown %s", ErrCorrupt, e)
}

func claim(e Encoding, p []byte, claims uint64) error {
	return fmt.Errorf("%w: %s of %d bytes claims to hold %d", ErrCorrupt, e, len(p), claims)
}

// zstdBounds walks over the frames and blocks. least and most are equal when all frames declare their content's size;
// otherwise the blocks that are compressed count nothing and 128 KiB.
func zstdBounds(p []byte) (least, most uint64, err error) {
	cut := func(at []byte) error {
		return fmt.Errorf("%w: zstd: cut at byte %d", ErrCorrupt, len(p)-len(at))
	}
	if len(p) == 0 {
		return 0, 0, cut(p)
	}
	for rest := p; len(rest) > 0; {
		var h zstd.Header
		if err := h.Decode(rest); err != nil {
			return 0, 0, fmt.Errorf("%w: zstd frame header at byte %d: %w", ErrCorrupt, len(p)-len(rest), err)
		}
		if h.Skippable {
			if uint64(len(rest)) < uint64(h.HeaderSize)+uint64(h.SkippableSize) {
				return 0, 0, cut(rest)
			}
			rest = rest[h.HeaderSize+int(h.SkippableSize):]
			continue
		}
		rest = rest[h.HeaderSize:]
		var exact, compressed uint64
		for last := false; !last; {
			if len(rest) < 3 {
				return 0, 0, cut(rest)
			}
			header := uint32(rest[0]) | uint32(rest[1])<<8 | uint32(rest[2])<<16
			last = header&1 != 0
			size, takes := header>>3, header>>3
			switch header >> 1 & 3 {
			case 0: // as it is
				exact += uint64(size)
			case 1: // one byte, repeated
				exact += uint64(size)
				takes = 1
			case 2:
				compressed++
			default:
				return 0, 0, fmt.Errorf("%w: zstd: reserved type of block at byte %d", ErrCorrupt, len(p)-len(rest))
			}
			if size > zstdBlock || uint64(len(rest)-3) < uint64(takes) {
				return 0, 0, cut(rest)
			}
			rest = rest[3+takes:]
		}
		if h.HasCheckSum {
			if len(rest) < 4 {
				return 0, 0, cut(rest)
			}
			rest = rest[4:]
		}
		worst := exact + compressed*zstdBlock
		if h.HasFCS {
			if h.FrameContentSize < exact || h.FrameContentSize > worst {
				return 0, 0, claim(Zstd, p, h.FrameContentSize)
			}
			exact, worst = h.FrameContentSize, h.FrameContentSize
		}
		least, most = least+exact, most+worst
	}
	return least, most, nil
}

// Decompressor decompresses payloads into memory that it keeps for the next ones. It is safe for concurrent use.
type Decompressor struct {
	messages sync.Pool // of *Message
	zstd     sync.Pool // of *zstd.Decoder
	gzip     sync.Pool // of *gzipReader
}

type gzipReader struct {
	in  bytes.Reader
	out gzip.Reader
}

// NewDecompressor returns a decompressor. It starts no goroutines.
func NewDecompressor() *Decompressor {
	d := &Decompressor{}
	d.messages.New = func() any { return &Message{from: d} }
	d.gzip.New = func() any { return new(gzipReader) }
	return d
}

// Message is a decompressed payload.
type Message struct {
	// Bytes are the message. Of a plain payload they are the payload itself.
	Bytes []byte

	buf  []byte
	from *Decompressor
}

// maxPooledBytes is the largest buffer that is kept for the next payload: one huge request must not pin its memory.
const maxPooledBytes = 8 << 20

// Release gives the memory back. Bytes must not be used afterwards.
func (m *Message) Release() {
	if cap(m.buf) > maxPooledBytes {
		m.buf = nil
	}
	m.Bytes = nil
	m.from.messages.Put(m)
}

// Decompress returns the message of a payload. It takes no more than limit bytes for it, whatever the payload claims; a
// message that needs more is ErrTooLarge, and what is no payload of the encoding ErrCorrupt. Gzip takes all it
// might need within limit, so ask Bounds first. The payload must not change until the message is released.
func (d *Decompressor) Decompress(e Encoding, p []byte, limit int) (*Message, error) {
	m := d.messages.Get().(*Message)
	if err := m.decompress(e, p, limit); err != nil {
		m.Release()
		return nil, err
	}
	return m, nil
}

func (m *Message) decompress(e Encoding, p []byte, limit int) error {
	_, most, err := Bounds(e, p, limit)
	if err != nil {
		return err
	}
	if e == Plain {
		m.Bytes = p
		return nil
	}
	if cap(m.buf) < most {
		m.buf = make([]byte, most)
	}
	switch e {
	case Snappy:
		// The block format states its length first, and a decoder that is given room for exactly that fails on anything
		// else.
		m.Bytes, err = snappy.Decode(m.buf[:most:most], p)
	case Zstd:
		err = m.unzstd(p, most)
	default:
		err = m.gunzip(p, most)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrTooLarge):
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, e, err)
}

func tooLarge(limit int) error {
	return fmt.Errorf("%w: more than %d bytes decompressed, the limit", ErrTooLarge, limit)
}

// unzstd decompresses straight into the buffer, so no window is kept beside it.
func (m *Message) unzstd(p []byte, limit int) error {
	dec, _ := m.from.zstd.Get().(*zstd.Decoder)
	if dec == nil {
		var err error
		if dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true)); err != nil {
			return err
		}
	}
	defer m.from.zstd.Put(dec)
	out, err := dec.DecodeAll(p, m.buf[:0:limit])
	if err == nil && len(out) > limit || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return tooLarge(limit)
	}
	if err != nil && limit-len(out) < zstdBlock {
		// Not every block that lacks room is told from one that is corrupt.
		if _, worst, _ := zstdBounds(p); worst > uint64(limit) {
			return tooLarge(limit)
		}
	}
	m.Bytes = out
	return err
}

// gunzip fills the buffer, and reads on to check the trailers and that nothing is left.
func (m *Message) gunzip(p []byte, limit int) error {
	z := m.from.gzip.Get().(*gzipReader)
	z.in.Reset(p)
	defer func() {
		z.in.Reset(nil)
		m.from.gzip.Put(z)
	}()
	n := 0
	for {
		// One member after the other, because the reader takes a header that is cut for the end.
		if err := z.out.Reset(&z.in); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		z.out.Multistream(false)
		k, err := m.member(&z.out, n, limit)
		if err != nil {
			return err
		}
		n += k
		if z.in.Len() == 0 {
			m.Bytes = m.buf[:n]
			return nil
		}
	}
}

// member appends a member to the first n bytes of the buffer, and returns how long it is.
func (m *Message) member(in io.Reader, n, limit int) (int, error) {
	var beyond [1]byte
	for size := 0; ; {
		room := m.buf[n+size : limit]
		if len(room) == 0 {
			room = beyond[:]
		}
		k, err := in.Read(room)
		if size += k; n+size > limit {
			return 0, tooLarge(limit)
		}
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
