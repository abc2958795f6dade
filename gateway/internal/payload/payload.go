// SPDX-License-Identifier: Apache-2.0

// Package payload looks at the headers of API requests and reads their bodies within limits: so many bytes as they came,
// so many decompressed by what their first bytes declare, so much time, and never more memory than has really arrived.
// Decompressing and decoding are left to others.
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

	"github.com/tributary-project/tributary/gateway/internal/httperr"
	"github.com/tributary-project/tributary/internal/fairgate"
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
func (rd *Reader) Read(w http.ResponseWriter, r *http.Request, ticket *fairgate.Ticket) (*Body, error) {
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
	var full *fairgate.FullError
	if errors.As(err, &full) {
		reason = "overloaded_" + full.What
		if full.Share > 0 {
			reason += "_share"
		}
	}
	return &httperr.Refusal{Status: http.StatusServiceUnavailable, Reason: reason, RetryAfter: true, Close: true, Text: err.Error()}
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

// CheckType refuses a Content-Type whose media type is none of accepted, and returns the one it is with its parameters. A
// missing one counts as the first accepted type, as in Prometheus' receiver.
func CheckType(r *http.Request, accepted ...string) (media string, params map[string]string, err error) {
	header := r.Header.Get("Content-Type")
	if header == "" {
		return accepted[0], nil, nil
	}
	if slices.Contains(accepted, header) { // nearly always, and without the work
		return header, nil, nil
	}
	media, params, err = mime.ParseMediaType(header)
	if err != nil || !slices.Contains(accepted, media) {
		return "", nil, &httperr.Refusal{
			Status: http.StatusUnsupportedMediaType, Reason: "unsupported_content_type", Close: true,
			Text: fmt.Sprintf("Content-Type %q is not supported, only %s", header, strings.Join(accepted, ", ")),
		}
	}
	return media, params, nil
}
