// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/tributary-project/tributary/timestream/client"
)

// Class is what went wrong, as far as it decides what to do about it.
type Class uint8

// The classes. Only Throttled and Away are worth trying again as they are.
const (
	// Away: no answer, or one that says the service is unwell.
	Away Class = iota
	// Throttled: too many requests.
	Throttled
	// Denied: the credentials are not allowed to do this.
	Denied
	// Credentials: there are none, or they are not accepted.
	Credentials
	// NoTable: the database or the table does not exist.
	NoTable
	// NoColumn: a column does not exist.
	NoColumn
	// RowTooLarge: one row of the result is larger than a page.
	RowTooLarge
	// BadRegexp: the service does not take a regular expression.
	BadRegexp
	// TooMuch: a limit on the work of queries was met.
	TooMuch
	// Invalid: the statement is wrong in another way.
	Invalid
	// Failed: the service gave up on the query.
	Failed
)

// String returns the class's name in metrics.
func (c Class) String() string {
	return [...]string{"away", "throttled", "denied", "credentials", "no_table", "no_column", "row_too_large", "bad_regexp", "too_much", "invalid", "failed"}[c]
}

// Error is a call that failed. Its text is fit for callers and logs: it holds no part of a credential.
type Error struct {
	Class Class
	// Code is the error's class as the service names it; empty when there was no answer.
	Code string
	// Text is what the service said.
	Text string
	err  error
}

// Error returns the code and the text.
func (e *Error) Error() string {
	if e.Code == "" {
		return e.Text
	}
	if e.Text == "" {
		return e.Code
	}
	return e.Code + ": " + e.Text
}

// Unwrap returns the SDK's error.
func (e *Error) Unwrap() error { return e.err }

// IsClass tells whether err is an Error of this class.
func IsClass(err error, c Class) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == c
}

// classify turns the SDK's error into an Error. The end of ctx is returned as it is. Classes and texts: Timestream
// Developer Guide, APITimestreamSpecificErrors, and API Reference, Query.
func classify(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		if errors.Is(err, client.ErrPageTooLarge) {
			return &Error{Class: Failed, Text: "the answer from Timestream is not read: " + client.ErrPageTooLarge.Error(), err: err}
		}
		if s := err.Error(); strings.Contains(s, "get credentials") || strings.Contains(s, "get identity") {
			return &Error{Class: Credentials, Text: "no AWS credentials: the SDK's chain (environment, profile, role) has none that work", err: err}
		}
		return &Error{Class: Away, Text: transportText(err), err: err}
	}
	e := &Error{Class: Failed, Code: client.Withhold(api.ErrorCode()), Text: client.Withhold(api.ErrorMessage()), err: err}
	switch {
	case client.CredentialCode(e.Code):
		e.Class, e.Text = Credentials, "the AWS credentials of the query service are not accepted"
	case strings.Contains(e.Text, "MaxQueryTCU exceeded"):
		e.Class = TooMuch
	case e.Code == "ThrottlingException", e.Code == "Throttling", e.Code == "TooManyRequestsException", e.Code == "RequestLimitExceeded":
		e.Class = Throttled
	case e.Code == "AccessDeniedException", e.Code == "AccessDenied":
		e.Class = Denied
	case e.Code == "ResourceNotFoundException":
		e.Class = NoTable
	case e.Code == "InternalServerException", e.Code == "InvalidEndpointException", e.Code == "ServiceUnavailableException":
		e.Class = Away
	case e.Code == "ValidationException":
		e.Class = validation(e.Text)
	case e.Code == "QueryExecutionException":
		// The reference gives the text of a row that is too large, and not its class.
		if c := validation(e.Text); c == RowTooLarge || c == BadRegexp {
			e.Class = c
		}
	default:
		var res *smithyhttp.ResponseError
		if errors.As(err, &res) {
			switch status := res.HTTPStatusCode(); {
			case status >= 500:
				e.Class = Away
			case status == http.StatusTooManyRequests:
				e.Class = Throttled
			case status == http.StatusForbidden:
				e.Class, e.Text = Credentials, "the AWS credentials of the query service are not accepted"
			}
		}
	}
	return e
}

// validation sorts ValidationExceptions by what their texts say.
func validation(text string) Class {
	lower := strings.ToLower(text)
	switch {
	case strings.Contains(text, "max page response size has been exceeded"):
		return RowTooLarge
	case strings.Contains(text, "Column '") && strings.Contains(text, "' does not exist"):
		return NoColumn
	case strings.Contains(text, "does not exist in database"), strings.Contains(text, "Requested database"),
		strings.Contains(lower, "database") && strings.Contains(lower, "does not exist"):
		return NoTable
	case strings.Contains(lower, "regular expression"), strings.Contains(lower, "regex"), strings.Contains(lower, "pattern"):
		return BadRegexp
	case strings.Contains(text, "Invalid pagination token"):
		return Failed
	}
	return Invalid
}

// transportText is the innermost reason that no answer came: the wrapping of the SDK repeats the operation.
func transportText(err error) string {
	var send *smithyhttp.RequestSendError
	if errors.As(err, &send) {
		return "no answer from Timestream: " + send.Err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer from Timestream in time"
	}
	var response *smithy.DeserializationError
	if errors.As(err, &response) {
		return "the answer from Timestream broke off or cannot be read: " + response.Err.Error()
	}
	return "no answer from Timestream: " + err.Error()
}
