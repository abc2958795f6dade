// SPDX-License-Identifier: Apache-2.0

package remoteread

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"

	"github.com/golang/snappy"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
)

// blockBytes is how much snappy compresses at a time: its encoder cuts every input into pieces of this size and
// compresses each by itself (github.com/golang/snappy, maxBlockSize).
const blockBytes = 64 << 10

// block is what the snappy block format calls a stream of elements: compressed bytes without the length that precedes
// them. Elements copy from at most blockBytes back and never from before the piece they are in, so pieces that were
// compressed apart may stand one after the other, in any order, behind one common length. That is what allows
// compressing a result while it arrives: the format's length comes first, but is known last.
type block struct {
	pieces [][]byte
	// plainBytes is the length of it all decompressed, heldBytes that of the pieces.
	plainBytes, heldBytes int64

	pending []byte // not compressed yet, less than blockBytes; grows with what has come
	scratch []byte
}

// budget bounds what the blocks of one answer take. It is called from several goroutines, and an error is final for
// the answer.
type budget interface {
	// plain accounts for n more bytes of the answer before compression.
	plain(n int64) error
	// held accounts for n more bytes of memory.
	held(n int64) error
}

// addField appends a length-delimited protobuf field with the given tag byte and content.
func (b *block) addField(tag byte, content []byte, limits budget) error {
	var prefix [1 + binary.MaxVarintLen64]byte
	prefix[0] = tag
	n := 1 + binary.PutUvarint(prefix[1:], uint64(len(content)))
	if err := limits.plain(int64(n + len(content))); err != nil {
		return err
	}
	if err := b.write(prefix[:n], limits); err != nil {
		return err
	}
	return b.write(content, limits)
}

func (b *block) write(p []byte, limits budget) error {
	b.plainBytes += int64(len(p))
	for len(p) > 0 {
		n, before := min(len(p), blockBytes-len(b.pending)), cap(b.pending)
		b.pending = append(b.pending, p[:n]...)
		p = p[n:]
		if grown := cap(b.pending) - before; grown > 0 {
			if err := limits.held(int64(grown)); err != nil {
				return err
			}
		}
		if len(b.pending) == blockBytes {
			if err := b.flush(limits); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush compresses what is pending.
func (b *block) flush(limits budget) error {
	if len(b.pending) == 0 {
		return nil
	}
	if n := snappy.MaxEncodedLen(len(b.pending)); cap(b.scratch) < n {
		b.scratch = make([]byte, n)
	}
	elements := elementsOf(snappy.Encode(b.scratch[:cap(b.scratch)], b.pending))
	if err := limits.held(int64(len(elements))); err != nil {
		return err
	}
	b.heldBytes += int64(len(elements))
	b.pieces = append(b.pieces, append(make([]byte, 0, len(elements)), elements...))
	b.pending = b.pending[:0]
	return nil
}

// finish compresses the rest and lets go of working memory.
func (b *block) finish(limits budget) error {
	err := b.flush(limits)
	b.pending, b.scratch = nil, nil
	return err
}

// elementsOf strips the length from an encoded block.
func elementsOf(encoded []byte) []byte {
	_, n := binary.Uvarint(encoded)
	return encoded[n:]
}

// writeBlocks writes one snappy block whose content is, for each of blocks, a length-delimited protobuf field with the
// given tag byte around the content of that block.
func writeBlocks(w io.Writer, tag byte, blocks []block) error {
	prefixes := make([][]byte, len(blocks))
	total := uint64(0)
	for i := range blocks {
		p := binary.AppendUvarint([]byte{tag}, uint64(blocks[i].plainBytes))
		total += uint64(len(p)) + uint64(blocks[i].plainBytes)
		prefixes[i] = elementsOf(snappy.Encode(nil, p))
	}
	if _, err := w.Write(binary.AppendUvarint(nil, total)); err != nil {
		return err
	}
	for i := range blocks {
		if _, err := w.Write(prefixes[i]); err != nil {
			return err
		}
		for _, piece := range blocks[i].pieces {
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
	}
	return nil
}

// responseTooLarge is 400 because that is what Prometheus' own read handler answers over its sample limit, and because
// asking again is of no use.
func responseTooLarge(limit int64, flagName string) error {
	return &httperr.Refusal{
		Status: http.StatusBadRequest, Reason: "response_too_large",
		Text: fmt.Sprintf("the result is larger than %d bytes (--%s); ask for fewer series or a shorter range", limit, flagName),
	}
}
