// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/prometheus/prometheus/promql"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/services/query/internal/gate"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// reasonResultTooLarge is the reason of a google.rpc.ErrorInfo beside ResourceExhausted: waiting does not help, the
// result is over a limit.
const reasonResultTooLarge = "RESULT_TOO_LARGE"

// reasonTableNotAllowed is the reason beside PermissionDenied: --allowed-tables lacks the table that the request names.
const reasonTableNotAllowed = "TABLE_NOT_ALLOWED"

// reasonExecution is the reason beside FailedPrecondition: the expression cannot be evaluated over this data.
const reasonExecution = "EXECUTION"

// statusOf is the one table that turns errors of calls into gRPC statuses; ctx is the caller's.
func (s *Service) statusOf(ctx context.Context, err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	if storage := (promql.ErrStorage{}); errors.As(err, &storage) { // hides what is inside
		err = storage.Err
	}
	var (
		e         *series.Error
		timeout   promql.ErrQueryTimeout
		cancelled promql.ErrQueryCanceled
		tooMany   promql.ErrTooManySamples
		execution executionError
		bug       runtime.Error
	)
	switch {
	case errors.Is(err, gate.ErrFull):
		return status.New(codes.ResourceExhausted, err.Error())
	case ctx.Err() != nil: // the caller is gone, or his deadline has passed
		return status.FromContextError(ctx.Err())
	case errors.As(err, &timeout):
		return status.New(codes.DeadlineExceeded, fmt.Sprintf("%s (the request's own timeout, or --%s=%s)", timeout.Error(), timeoutFlag, s.cfg.Timeout))
	case errors.As(err, &cancelled):
		return status.New(codes.Canceled, cancelled.Error())
	case errors.Is(err, context.DeadlineExceeded):
		if errors.As(err, &execution) {
			return status.New(codes.DeadlineExceeded, fmt.Sprintf("query timed out (the request's own timeout, or --%s=%s): %v", timeoutFlag, s.cfg.Timeout, err))
		}
		return status.New(codes.DeadlineExceeded, fmt.Sprintf("the read took longer than %s (--%s): %v", s.cfg.Timeout, timeoutFlag, err))
	case errors.As(err, &e):
		return tableRow(e)
	case errors.As(err, &tooMany):
		return withReason(codes.ResourceExhausted, reasonResultTooLarge, fmt.Sprintf("%s (--%s=%d)", tooMany.Error(), maxQuerySamplesFlag, s.cfg.MaxQuerySamples))
	case errors.As(err, &bug):
		return status.New(codes.Internal, err.Error())
	case errors.As(err, &execution):
		return withReason(codes.FailedPrecondition, reasonExecution, err.Error())
	}
	return status.Convert(err) // what was refused before, and what the stream returns
}

func tableRow(e *series.Error) *status.Status {
	switch e.Kind {
	case series.Unavailable:
		return status.New(codes.Unavailable, e.Error())
	case series.NotFound:
		return status.New(codes.NotFound, e.Error())
	case series.Busy:
		return status.New(codes.ResourceExhausted, e.Error())
	case series.Unsupported:
		return status.New(codes.Unimplemented, e.Error())
	case series.TooLarge:
		return withReason(codes.ResourceExhausted, reasonResultTooLarge, e.Error())
	}
	return status.New(codes.Internal, e.Error())
}

// withReason is a status that says more than its code can.
func withReason(c codes.Code, reason, text string) *status.Status {
	st := status.New(c, text)
	if with, err := st.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "tributary"}); err == nil {
		return with
	}
	return st
}
