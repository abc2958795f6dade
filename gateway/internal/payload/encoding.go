// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/golang/snappy"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// encodingName is the word that Content-Encoding has for an encoding.
func encodingName(e ingestv1.Encoding) string {
	switch e {
	case ingestv1.Encoding_ENCODING_SNAPPY:
		return "snappy"
	case ingestv1.Encoding_ENCODING_ZSTD:
		return "zstd"
	case ingestv1.Encoding_ENCODING_GZIP:
		return "gzip"
	}
	return "identity"
}

// CheckEncoding returns which of the accepted encodings the body of r has by its header, and refuses all others. Without
// a header it is the first of them.
func CheckEncoding(r *http.Request, accepted ...ingestv1.Encoding) (ingestv1.Encoding, error) {
	header := r.Header["Content-Encoding"]
	if len(header) == 0 || len(header) == 1 && header[0] == "" {
		return accepted[0], nil
	}
	if len(header) == 1 {
		for _, e := range accepted {
			if strings.EqualFold(header[0], encodingName(e)) {
				return e, nil
			}
		}
	}
	names := make([]string, len(accepted))
	for i, e := range accepted {
		names[i] = encodingName(e)
	}
	return 0, &httperr.Refusal{
		Status: http.StatusUnsupportedMediaType, Reason: "unsupported_encoding", Close: true,
		Text: fmt.Sprintf("Content-Encoding %q is not supported, only %s", strings.Join(header, ", "), strings.Join(names, ", ")),
	}
}

// CheckDeclared refuses a body that, by what its first bytes declare, decompresses to more than the limit, and one that
// cannot be what its encoding says. A format that declares nothing passes: whoever decompresses it counts. The error is
// always a *httperr.Refusal.
func (rd *Reader) CheckDeclared(encoding ingestv1.Encoding, body []byte) error {
	switch encoding {
	case ingestv1.Encoding_ENCODING_SNAPPY:
		return rd.CheckSnappy(body)
	case ingestv1.Encoding_ENCODING_ZSTD:
		size, ok := zstdContentSize(body)
		if !ok {
			return &httperr.Refusal{
				Status: http.StatusBadRequest, Reason: "corrupt_zstd",
				Text: "the body is not a Zstandard frame: it does not begin as one",
			}
		}
		if size > uint64(rd.limits.MaxDecompressedBytes) {
			return rd.decompressedTooLarge(fmt.Sprintf("%d bytes", size))
		}
	case ingestv1.Encoding_ENCODING_GZIP: // its length comes last, modulo 4 GiB, and counts only the last member
		if len(body) < 2 || body[0] != 0x1f || body[1] != 0x8b {
			return &httperr.Refusal{
				Status: http.StatusBadRequest, Reason: "corrupt_gzip",
				Text: "the body is not gzip: it does not begin as such",
			}
		}
	case ingestv1.Encoding_ENCODING_UNSPECIFIED:
		if int64(len(body)) > rd.limits.MaxDecompressedBytes {
			return rd.decompressedTooLarge(fmt.Sprintf("%d bytes", len(body)))
		}
	}
	return nil
}

// CheckSnappy reads the length that a snappy block declares in its first bytes, and nothing more: it says whether
// decompressing the block would stay within the limit. The error is always a *httperr.Refusal.
func (rd *Reader) CheckSnappy(block []byte) error {
	n, err := snappy.DecodedLen(block)
	if errors.Is(err, snappy.ErrTooLarge) { // the declared length does not fit an int
		return rd.decompressedTooLarge("more than 4 GiB")
	}
	if err != nil {
		return &httperr.Refusal{
			Status: http.StatusBadRequest, Reason: "corrupt_snappy",
			Text: "the body is not a snappy block: its header does not hold a length",
		}
	}
	if int64(n) > rd.limits.MaxDecompressedBytes {
		return rd.decompressedTooLarge(fmt.Sprintf("%d bytes", n))
	}
	return nil
}

func (rd *Reader) decompressedTooLarge(size string) error {
	return &httperr.Refusal{
		Status: http.StatusRequestEntityTooLarge, Reason: "decompressed_too_large",
		Text: fmt.Sprintf("the body would be %s decompressed, the limit is %d (--%s)", size, rd.limits.MaxDecompressedBytes, rd.limits.MaxDecompressedBytesFlag),
	}
}

// Magic numbers of RFC 8878, sections 3.1.1 and 3.1.2. That of a skippable frame may end in any 4 bits.
const (
	zstdMagic      = 0xFD2FB528
	skippableMagic = 0x184D2A50
)

// IsZstd tells whether a body begins with a Zstandard frame. A snappy block never does: the frame's magic number would be
// a block of 40 bytes that begins with a copy of earlier ones.
func IsZstd(body []byte) bool {
	return len(body) >= 4 && binary.LittleEndian.Uint32(body) == zstdMagic
}

// zstdContentSize returns the size that the first frame of a body declares for its content, 0 when it declares none (RFC
// 8878, section 3.1.1.1). ok is false when the body does not begin with a frame.
func zstdContentSize(body []byte) (size uint64, ok bool) {
	if len(body) >= 4 && binary.LittleEndian.Uint32(body)&^0xf == skippableMagic {
		return 0, true
	}
	if !IsZstd(body) || len(body) < 5 {
		return 0, false
	}
	descriptor := body[4]
	rest := body[5:]
	const reservedBit, singleSegmentBit = 1 << 3, 1 << 5
	if descriptor&reservedBit != 0 {
		return 0, false
	}
	singleSegment := descriptor&singleSegmentBit != 0
	skip := [4]int{0, 1, 2, 4}[descriptor&3] // the dictionary's number
	if !singleSegment {
		skip++ // the window's size
	}
	sizeBytes := [4]int{0, 2, 4, 8}[descriptor>>6]
	if sizeBytes == 0 && singleSegment {
		sizeBytes = 1
	}
	if len(rest) < skip+sizeBytes {
		return 0, false
	}
	rest = rest[skip:]
	switch sizeBytes {
	case 1:
		size = uint64(rest[0])
	case 2:
		size = uint64(binary.LittleEndian.Uint16(rest)) + 256
	case 4:
		size = uint64(binary.LittleEndian.Uint32(rest))
	case 8:
		size = binary.LittleEndian.Uint64(rest)
	}
	return size, true
}
