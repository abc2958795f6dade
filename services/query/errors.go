// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"errors"
	"fmt"

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

// statusOf is the one table that turns errors of a read into gRPC statuses; ctx is the caller's.
func (s *Service) statusOf(ctx context.Context, err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	var e *series.Error
	switch {
	case errors.Is(err, gate.ErrFull):
		return status.New(codes.ResourceExhausted, err.Error())
	case ctx.Err() != nil: // the caller is gone, or his deadline has passed
		return status.FromContextError(ctx.Err())
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, fmt.Sprintf("the read took longer than %s (--%s): %v", s.cfg.Timeout, timeoutFlag, err))
	case errors.As(err, &e):
		return tableRow(e)
	}
	return status.Convert(err) // what selection and the stream return
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
