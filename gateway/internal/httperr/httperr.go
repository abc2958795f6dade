// SPDX-License-Identifier: Apache-2.0

// Package httperr is the one table that turns what went wrong into an HTTP answer: gRPC codes of the services behind
// the gateway, and the gateway's own refusals. What each row decides is what the sender will do: Prometheus sends
// again after a 5xx, drops after any 4xx (429 included, unless it is told otherwise), and shows read errors to a person.
package httperr

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// StatusClientClosedRequest is what proxies record when the client went away before the answer; nobody receives it.
const StatusClientClosedRequest = 499

// Domain is that of the google.rpc.ErrorInfo by which a service of ours marks an error as its own: one without may come
// from gRPC itself or from a proxy on the way.
const Domain = "tributary"

// Reasons of a google.rpc.ErrorInfo by which a service says more than its gRPC code can.
const (
	// ReasonDecompressedTooLarge comes with InvalidArgument: the payload is larger decompressed than the service takes.
	ReasonDecompressedTooLarge = "DECOMPRESSED_TOO_LARGE"
	// ReasonResultTooLarge comes with ResourceExhausted: the result is over a limit that waiting does not move, such as
	// samples per read.
	ReasonResultTooLarge = "RESULT_TOO_LARGE"
)

// Refusal is an error that knows its HTTP answer.
type Refusal struct {
	// Status is the HTTP status code.
	Status int
	// Reason is one snake_case word for metrics.
	Reason string
	// Text is the body of the answer: what is wrong, which limit was met and which flag moves it.
	Text string
	// RetryAfter asks the sender to come again; After is for how long to wait, 0 when nobody knows.
	RetryAfter bool
	// After is how long the sender should wait, when the service behind said so.
	After time.Duration
	// Close asks for the end of the connection: the body of the request was not read to its end, and waiting for the
	// rest of it would delay the answer.
	Close bool
}

// Error returns the text of the answer.
func (r *Refusal) Error() string { return r.Text }

// row is one line of the table.
type row struct {
	status int
	reason string
	retry  bool
}

func tableRow(c codes.Code) row {
	switch c {
	case codes.InvalidArgument, codes.OutOfRange, codes.FailedPrecondition:
		return row{http.StatusBadRequest, "invalid_argument", false}
	case codes.ResourceExhausted: // 429 would make a default Prometheus drop the samples
		return row{http.StatusServiceUnavailable, "backend_overloaded", true}
	case codes.Unavailable, codes.Aborted:
		return row{http.StatusServiceUnavailable, "backend_unavailable", true}
	case codes.DeadlineExceeded:
		return row{http.StatusServiceUnavailable, "deadline_exceeded", true}
	case codes.NotFound:
		return row{http.StatusNotFound, "not_found", false}
	case codes.PermissionDenied:
		return row{http.StatusForbidden, "permission_denied", false}
	case codes.Unauthenticated:
		return row{http.StatusUnauthorized, "unauthenticated", false}
	case codes.Unimplemented:
		return row{http.StatusNotImplemented, "unimplemented", false}
	case codes.Canceled:
		return row{StatusClientClosedRequest, "canceled", false}
	}
	return row{http.StatusInternalServerError, "internal", false} // Internal, Unknown, DataLoss: a bug of ours
}

// From turns any error into a refusal. Refusals stay what they are; errors that carry a gRPC status go through the
// table; the end of a context counts as DeadlineExceeded or Canceled; anything else is a bug of ours, 500. err must not
// be nil.
//
// It is the table of reads, whose errors a person sees. FromWrite has that of writes.
func From(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
		if st.Code() == codes.Unknown {
			return &Refusal{Status: http.StatusInternalServerError, Reason: "internal", Text: err.Error()}
		}
	}
	t := tableRow(st.Code())
	if messageTooLarge(st) {
		t = row{http.StatusBadRequest, reasonMessageTooLarge, false}
	}
	out := &Refusal{Status: t.status, Reason: t.reason, Text: st.Message(), RetryAfter: t.retry}
	if out.Text == "" {
		out.Text = st.Code().String()
	}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			switch {
			case d.GetReason() == ReasonDecompressedTooLarge && st.Code() == codes.InvalidArgument:
				out.Status, out.Reason = http.StatusRequestEntityTooLarge, "decompressed_too_large"
			case d.GetReason() == ReasonResultTooLarge && st.Code() == codes.ResourceExhausted:
				// What Prometheus' own read handler answers over its sample limit.
				out.Status, out.Reason, out.RetryAfter = http.StatusBadRequest, "result_too_large", false
			}
		case *errdetails.RetryInfo:
			out.After = d.GetRetryDelay().AsDuration()
		}
	}
	return out
}

// FromWrite is From for writes, where a 4xx other than for what the sender did wrong loses samples: that gRPC itself finds
// a message too large is 413, and PermissionDenied and Unauthenticated are 403 and 401 only if a service says so. grpc-go
// makes the same codes of the 403 and 401 of a proxy between the gateway and the service, which the sender cannot help.
func FromWrite(err error) *Refusal {
	r := From(err)
	st, ok := status.FromError(err)
	switch {
	case !ok:
	case r.Reason == reasonMessageTooLarge:
		r.Status = http.StatusRequestEntityTooLarge
		r.Text += "; the ingest service takes less (--ingest.max-decompressed-bytes) than the gateway lets in (--web.max-request-bytes); smaller batches of the sender avoid it"
	case (st.Code() == codes.PermissionDenied || st.Code() == codes.Unauthenticated) && !ours(st):
		t := tableRow(codes.Unavailable)
		r.Status, r.Reason, r.RetryAfter = t.status, t.reason, t.retry
	case st.Code() == codes.Unavailable && !ours(st) && !strings.HasPrefix(r.Text, Unreachable("ingest")):
		r.Text = Unreachable("ingest") + r.Text // the ingest service marks all of its own
	}
	return r
}

const reasonMessageTooLarge = "message_too_large"

// messageTooLarge tells whether grpc-go itself, on either side, refused a message for its size. It uses the code of an
// overload for that, but waiting does not cure it; only its text tells the two apart.
func messageTooLarge(st *status.Status) bool {
	return st.Code() == codes.ResourceExhausted && strings.Contains(st.Message(), "larger than max") && !ours(st) &&
		(strings.HasPrefix(st.Message(), "grpc: ") || strings.HasPrefix(st.Message(), "trying to send message"))
}

// ours tells whether a service of ours made the status.
func ours(st *status.Status) bool {
	for _, d := range st.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok && i.GetDomain() == Domain {
			return true
		}
	}
	return false
}

// SetHeaders sets the headers that belong to a refusal: Retry-After and Connection.
func (r *Refusal) SetHeaders(h http.Header) {
	if r.RetryAfter {
		h.Set("Retry-After", RetryAfter(r.After, rand.Float64()))
	}
	if r.Close {
		h.Set("Connection", "close")
	}
}

// lingerTimeout bounds how long net/http looks for the end of a body that nobody read, once the answer is out. Without
// it a body that never ends would keep its goroutine.
const lingerTimeout = time.Second

// Begin sets the headers that belong to a refusal, and sees to the end of the connection where that is asked for. Status
// and body follow.
func (r *Refusal) Begin(w http.ResponseWriter) {
	r.SetHeaders(w.Header())
	if r.Close {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingerTimeout)) //nolint:errcheck // a test's recorder has none
	}
}

// Write answers with plain text, as Prometheus does for write and read errors.
func (r *Refusal) Write(w http.ResponseWriter) {
	r.Begin(w)
	http.Error(w, r.Text, r.Status)
}

// RetryAfter returns the value of a Retry-After header: whole seconds from 1 to 5, spread by jitter in [0, 1) so that
// the senders of one moment do not come back in one moment. With a hint the answer lies between half of it and one and
// a half times it; without, anywhere in the range.
func RetryAfter(hint time.Duration, jitter float64) string {
	const low, high = 1, 5
	var s int
	if hint > 0 {
		s = int(hint.Seconds()*(0.5+jitter) + 0.5)
	} else {
		s = low + int(jitter*(high-low+1))
	}
	return strconv.Itoa(min(max(s, low), high))
}
