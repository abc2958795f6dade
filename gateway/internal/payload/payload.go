// SPDX-License-Identifier: Apache-2.0

// Package payload reads the bodies of API requests within limits: so many bytes as they came, so many decompressed by
// what snappy's header declares, so much time, and never more memory than has really arrived. Decompressing and decoding are left
// to others.
package payload

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang/snappy"

	"github.com/tributary-project/tributary/gateway/internal/gate"
	"github.com/tributary-project/tributary/gateway/internal/httperr"
)

const (
	// startBytes is what a body gets before any of it has come, whatever its Content-Length claims.
	startBytes = 64 << 10
	// keepBytes is the largest buffer that is kept for the next request.
	keepBytes = 1 << 20
)

// Limits bounds bodies. The flags' names are for error texts.
type Limits struct {
	// MaxBytes bounds a body as it comes.
	MaxBytes     int64
	MaxBytesFlag string
	// MaxDecompressedBytes bounds what a compressed body declares to be once decompressed.
	MaxDecompressedBytes     int64
	MaxDecompressedBytesFlag string
	// Timeout bounds the time in which the whole body must come.
	Timeout     time.Duration
	TimeoutFlag string
}

// Reader reads bodies into buffers that it keeps for later ones.
type Reader struct {
	limits  Limits
	buffers sync.Pool // of *[]byte, at most keepBytes each
}

// NewReader returns a reader with the given limits.
func NewReader(l Limits) *Reader { return &Reader{limits: l} }

// Body is a body that was read. Bytes are valid until Free.
type Body struct {
	Bytes  []byte
	reader *Reader
}

// Free gives the buffer back. Nobody may use Bytes afterwards.
func (b *Body) Free() {
	if cap(b.Bytes) <= keepBytes {
		buf := b.Bytes[:0]
		b.reader.buffers.Put(&buf)
	}
	b.Bytes = nil
}

// Read reads the body of r to its end. Memory is taken from ticket as the body arrives. The error is always a
// *httperr.Refusal.
func (rd *Reader) Read(w http.ResponseWriter, r *http.Request, ticket *gate.Ticket) (*Body, error) {
	limit := rd.limits.MaxBytes
	if r.ContentLength > limit {
		return nil, rd.tooLarge()
	}
	// A body that trickles must not hold memory for ever. The deadline is lifted again because the server goes on
	// reading in order to notice that the client went away. A writer that has no deadline (a test's recorder, a Lambda)
	// has the whole body already.
	rc := http.NewResponseController(w)
	if rc.SetReadDeadline(time.Now().Add(rd.limits.Timeout)) == nil {
		defer func() { _ = rc.SetReadDeadline(time.Time{}) }() //nolint:errcheck // it worked a moment ago
	}
	buf := rd.buffer(r.ContentLength)
	if err := ticket.Take(int64(cap(buf))); err != nil {
		return nil, Overloaded(err)
	}
	for {
		if len(buf) == cap(buf) {
			if int64(len(buf)) > limit {
				return nil, rd.tooLarge()
			}
			grown := rd.grownCap(cap(buf), r.ContentLength)
			if err := ticket.Take(int64(grown - cap(buf))); err != nil {
				return nil, Overloaded(err)
			}
			buf = append(make([]byte, 0, grown), buf...)
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return nil, rd.tooLarge()
		case err == io.EOF:
			return &Body{Bytes: buf, reader: rd}, nil
		case err != nil:
			return nil, rd.readError(err, len(buf), r.ContentLength)
		}
	}
}

// buffer returns an empty buffer with one byte more than a small body needs, so that its end is seen without growing.
func (rd *Reader) buffer(contentLength int64) []byte {
	want := startBytes
	if contentLength >= 0 && contentLength < startBytes {
		want = int(contentLength) + 1
	}
	if b, ok := rd.buffers.Get().(*[]byte); ok && cap(*b) >= want {
		return (*b)[:0]
	}
	return make([]byte, 0, want)
}

// grownCap doubles, but goes no further than the declared length or the limit, and one byte to see the end.
func (rd *Reader) grownCap(now int, contentLength int64) int {
	next := int64(now) * 2
	if contentLength >= 0 && contentLength+1 > int64(now) {
		next = min(next, contentLength+1)
	}
	return int(max(min(next, rd.limits.MaxBytes+1), int64(now)+1))
}

func (rd *Reader) tooLarge() error {
	return &httperr.Refusal{
		Status: http.StatusRequestEntityTooLarge, Reason: "body_too_large", Close: true,
		Text: fmt.Sprintf("the body is larger than %d bytes (--%s)", rd.limits.MaxBytes, rd.limits.MaxBytesFlag),
	}
}

func (rd *Reader) readError(err error, got int, contentLength int64) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// 503, not 408: a slow link is cured by waiting, and a sender drops what is answered 4xx.
		return &httperr.Refusal{
			Status: http.StatusServiceUnavailable, Reason: "body_timeout", RetryAfter: true, Close: true,
			Text: fmt.Sprintf("the body did not come within %s (--%s); %d bytes came", rd.limits.Timeout, rd.limits.TimeoutFlag, got),
		}
	}
	text := fmt.Sprintf("read body: %v after %d bytes", err, got)
	if contentLength >= 0 {
		text += fmt.Sprintf(" of %d", contentLength)
	}
	return &httperr.Refusal{Status: http.StatusBadRequest, Reason: "body_truncated", Close: true, Text: text}
}

// Overloaded is the answer to a request that a gate did not let in, or not further in; err is the gate's.
func Overloaded(err error) *httperr.Refusal {
	reason := "overloaded"
	var full *gate.FullError
	if errors.As(err, &full) {
		reason = "overloaded_" + full.What
	}
	return &httperr.Refusal{Status: http.StatusServiceUnavailable, Reason: reason, RetryAfter: true, Close: true, Text: err.Error()}
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

// CheckMethod refuses all but POST, and tells w which method there is.
func CheckMethod(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodPost {
		return nil
	}
	w.Header().Set("Allow", http.MethodPost)
	return &httperr.Refusal{
		Status: http.StatusMethodNotAllowed, Reason: "method_not_allowed", Close: true,
		Text: fmt.Sprintf("method %s is not allowed here, only POST", r.Method),
	}
}

// CheckEncoding refuses a Content-Encoding other than snappy; none at all counts as snappy, as in Prometheus'
// receiver. No sender of these protocols leaves its messages uncompressed.
func CheckEncoding(r *http.Request) error {
	encodings := r.Header.Values("Content-Encoding")
	if len(encodings) == 0 || len(encodings) == 1 && (encodings[0] == "" || strings.EqualFold(encodings[0], "snappy")) {
		return nil
	}
	return &httperr.Refusal{
		Status: http.StatusUnsupportedMediaType, Reason: "unsupported_encoding", Close: true,
		Text: fmt.Sprintf("Content-Encoding %q is not supported, only snappy", strings.Join(encodings, ", ")),
	}
}

// CheckType refuses a Content-Type whose media type is none of accepted, and returns its parameters. A missing one
// counts as the first accepted type, as in Prometheus' receiver.
func CheckType(r *http.Request, accepted ...string) (map[string]string, error) {
	header := r.Header.Get("Content-Type")
	if header == "" {
		return nil, nil
	}
	media, params, err := mime.ParseMediaType(header)
	if err != nil || !slices.Contains(accepted, media) {
		return nil, &httperr.Refusal{
			Status: http.StatusUnsupportedMediaType, Reason: "unsupported_content_type", Close: true,
			Text: fmt.Sprintf("Content-Type %q is not supported, only %s", header, strings.Join(accepted, ", ")),
		}
	}
	return params, nil
}
