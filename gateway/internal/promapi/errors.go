// SPDX-License-Identifier: Apache-2.0

package promapi

import (
	"errors"
	"fmt"
	"net/http"

	jsoniter "github.com/json-iterator/go"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
)

// Types of errors as Prometheus names them. The last three are ours: Prometheus has no word for what they say.
const (
	typeTimeout        = "timeout"
	typeCanceled       = "canceled"
	typeExecution      = "execution"
	typeBadData        = "bad_data"
	typeInternal       = "internal"
	typeUnavailable    = "unavailable"
	typeNotFound       = "not_found"
	typeForbidden      = "forbidden"
	typeUnauthorized   = "unauthorized"
	typeNotImplemented = "not_implemented"
)

// apiError is an error with its answer.
type apiError struct {
	typ    string
	status int
	text   string
	// refusal has the headers, if there are any.
	refusal *httperr.Refusal
}

// Error returns the text of the answer.
func (e *apiError) Error() string { return e.text }

func badData(err error) error {
	return &apiError{typ: typeBadData, status: http.StatusBadRequest, text: err.Error()}
}

// invalidParam is what Prometheus answers to a parameter that it cannot use.
func invalidParam(name string, err error) error {
	return badData(fmt.Errorf("invalid parameter %q: %w", name, err))
}

func (a *API) timedOut() error {
	return &apiError{typ: typeTimeout, status: http.StatusServiceUnavailable,
		text: fmt.Sprintf("query timed out: no answer within %s (--%s)", a.Timeout, a.TimeoutFlag)}
}

// toError finds the answer to any error: those of this package stay what they are, the gateway's refusals keep their
// status, and errors of the query service go through the table of the package's contract. Unlike in Prometheus a
// missing service, and one that has too much to do, is 503 and names the time to wait, for both pass.
func toError(err error) *apiError {
	var own *apiError
	if errors.As(err, &own) {
		return own
	}
	refusal := httperr.From(err)
	out := &apiError{status: refusal.Status, text: refusal.Text, refusal: refusal}
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err)
	}
	var gateway *httperr.Refusal
	switch code := st.Code(); {
	case errors.As(err, &gateway):
		out.typ = typeOf(refusal.Status)
	case code == codes.FailedPrecondition, code == codes.ResourceExhausted && !refusal.RetryAfter:
		out.typ, out.status = typeExecution, http.StatusUnprocessableEntity
	case code == codes.DeadlineExceeded: // the query took too long: waiting does not cure it
		out.typ, out.refusal = typeTimeout, nil
	default:
		out.typ = typeOf(refusal.Status)
	}
	return out
}

func typeOf(status int) string {
	switch status {
	case http.StatusServiceUnavailable:
		return typeUnavailable
	case http.StatusNotFound:
		return typeNotFound
	case http.StatusForbidden:
		return typeForbidden
	case http.StatusUnauthorized:
		return typeUnauthorized
	case http.StatusNotImplemented:
		return typeNotImplemented
	case httperr.StatusClientClosedRequest:
		return typeCanceled
	}
	if status >= http.StatusInternalServerError {
		return typeInternal
	}
	return typeBadData
}

// ofQuery is for errors of an evaluation: where the expression is at fault, Prometheus names the parameter.
func ofQuery(err error) error {
	if st, ok := status.FromError(err); ok && st.Code() == codes.InvalidArgument && !hasPrefix(st.Message()) && !tooLarge(st) {
		return invalidParam("query", errors.New(st.Message()))
	}
	return err
}

// tooLarge tells whether a status is about sizes and not about the expression.
func tooLarge(st *status.Status) bool {
	for _, d := range st.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok && i.GetReason() == httperr.ReasonDecompressedTooLarge {
			return true
		}
	}
	return false
}

// hasPrefix tells whether a text names the parameter already.
func hasPrefix(text string) bool {
	const prefix = "invalid parameter "
	return len(text) > len(prefix) && text[:len(prefix)] == prefix
}

// write answers with the error.
func (e *apiError) write(w http.ResponseWriter, r *http.Request) {
	if e.refusal != nil {
		e.refusal.Begin(w)
	}
	a := newAnswer(w, r, nil, func() {})
	a.json.WriteVal(struct {
		Status    string `json:"status"`
		ErrorType string `json:"errorType,omitempty"`
		Error     string `json:"error,omitempty"`
	}{"error", e.typ, e.text})
	a.start(e.status)
	_ = a.finish() //nolint:errcheck // the client went away
}

// compact is the library's form of what encoding/json writes, as Prometheus uses it.
func compact(v any) ([]byte, error) { return jsoniter.ConfigCompatibleWithStandardLibrary.Marshal(v) }
