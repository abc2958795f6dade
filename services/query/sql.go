// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"

	"github.com/tributary-project/tributary/services/query/internal/pages"
	"github.com/tributary-project/tributary/services/query/internal/series"
	"github.com/tributary-project/tributary/services/query/internal/statement"
)

// sqlRequest is a request like the others: a statement names its tables itself.
type sqlRequest struct{ *queryv1.SQLRequest }

// GetDestination implements request.
func (sqlRequest) GetDestination() *queryv1.Destination { return nil }

// SQL implements queryv1.QueryServiceServer.
func (s *Service) SQL(req *queryv1.SQLRequest, stream grpc.ServerStreamingServer[queryv1.SQLResponse]) error {
	return s.call(stream.Context(), "SQL", sqlRequest{req}, func(ctx context.Context, _ place) error {
		if strings.TrimSpace(req.GetStatement()) == "" {
			return status.Error(codes.InvalidArgument, `the field "statement" is missing or empty`)
		}
		text, err := s.guard.Check(req.GetStatement())
		if err != nil {
			return refused(err)
		}
		limit, limitText := s.cfg.MaxSQLRows, fmt.Sprintf("--%s=%d of the query service", maxSQLRowsFlag, s.cfg.MaxSQLRows)
		if n := req.GetLimit(); n > 0 && n < uint64(limit) {
			limit, limitText = int64(n), fmt.Sprintf("the request's limit of %d", n)
		}
		timeout := s.cfg.Timeout
		if d := req.GetTimeout(); d != nil {
			if err := d.CheckValid(); err != nil || d.AsDuration() <= 0 {
				return status.Errorf(codes.InvalidArgument, "timeout %s: want more than 0", d)
			}
			timeout = min(timeout, d.AsDuration())
		}
		s.logger.DebugContext(ctx, "SQL", "caller", req.GetCallerId(), "statement", text)
		tooLong := status.Errorf(codes.DeadlineExceeded, "the statement took longer than %s (the request's own timeout, or --%s=%s)", timeout, timeoutFlag, s.cfg.Timeout)
		ctx, cancel := context.WithTimeoutCause(ctx, timeout, tooLong)
		defer cancel()
		return s.listing(ctx, func(ctx context.Context) error {
			out := &rowWriter{stream: stream, limit: limit, limitText: limitText}
			took, err := s.runner.Run(ctx, "sql", text, out.page)
			switch {
			case err == nil, errors.Is(err, errEnough):
				return out.finish(took)
			case context.Cause(ctx) == tooLong: //nolint:errorlint // it is that very error
				return tooLong
			}
			return s.statementError(err)
		})
	})
}

// refused is the status of a statement that is not run.
func refused(err error) error {
	if e := (*statement.Error)(nil); errors.As(err, &e) && e.Denied {
		return withReason(codes.PermissionDenied, reasonTableNotAllowed, e.Text).Err()
	}
	return status.Error(codes.InvalidArgument, err.Error())
}

// statementError words why Timestream did not run a statement of a caller's. What is wrong with the statement is the caller's:
// the service's text says where, by line and column.
func (s *Service) statementError(err error) error {
	var e *pages.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Class {
	case pages.Invalid, pages.NoColumn, pages.BadRegexp:
		return status.Error(codes.InvalidArgument, e.Text)
	case pages.NoTable:
		return status.Error(codes.NotFound, e.Text)
	case pages.RowTooLarge:
		return withReason(codes.ResourceExhausted, reasonResultTooLarge, e.Text).Err()
	case pages.TooMuch:
		return withReason(codes.ResourceExhausted, reasonResultTooLarge, "Timestream's own limit on query work (MaxQueryTCU of the account settings) was met").Err()
	case pages.Failed:
		if e.Code == "QueryExecutionException" { // a division by zero, a cast that fails
			return status.Error(codes.InvalidArgument, e.Text)
		}
	case pages.Throttled:
		return &series.Error{Kind: series.Unavailable, Text: "Timestream throttles the query service (tried again as often as --max-retries says)", Err: err}
	case pages.Denied:
		// The service's text names the principal: that is for the log, not for callers.
		s.logger.Warn("Timestream denies access to a statement", "err", err)
		return &series.Error{Kind: series.Unavailable, Text: "Timestream does not allow the query service to run this statement (needed: timestream:Select on its tables, for SHOW and DESCRIBE the actions of these names, and timestream:DescribeEndpoints); the log of the query service says more"}
	case pages.Credentials:
		return &series.Error{Kind: series.Unavailable, Text: "the AWS credentials of the query service do not work", Err: err}
	case pages.Away:
	}
	return &series.Error{Kind: series.Unavailable, Text: "Timestream did not answer the statement", Err: err}
}

// errEnough ends a statement that has more rows than are wanted.
var errEnough = errors.New("there are more rows than the limit")

// rowWriter sends the rows of a result.
type rowWriter struct {
	stream    grpc.ServerStreamingServer[queryv1.SQLResponse]
	limit     int64
	limitText string

	columns  []column // nil until the header was sent
	begun    bool
	part     []*structpb.ListValue
	size     int // of part, roughly
	rows     int64
	warnings []string
}

// page sends the rows of a page. The first pages may have no rows; their columns are there from the first one on.
func (w *rowWriter) page(out *timestreamquery.QueryOutput) error {
	if !w.begun && (len(out.ColumnInfo) > 0 || len(out.Rows) > 0) {
		if err := w.header(columnsOf(out.ColumnInfo)); err != nil {
			return err
		}
	}
	for i := range out.Rows {
		if w.rows == w.limit {
			w.warnings = append(w.warnings, fmt.Sprintf("the result has more than %d rows; the others were cut off (%s)", w.limit, w.limitText))
			return errEnough
		}
		row, size, err := rowOf(w.columns, out.Rows[i].Data)
		if err != nil {
			return &series.Error{Kind: series.Internal, Text: "row " + fmt.Sprint(w.rows+1) + " of the result", Err: err}
		}
		w.rows++
		w.part = append(w.part, row)
		if w.size += size; w.size >= partBytes {
			if err := w.send(); err != nil {
				return err
			}
		}
	}
	return w.send() // the next page may take its time
}

func (w *rowWriter) header(columns []column) error {
	w.begun, w.columns = true, columns
	h := &queryv1.SQLHeader{Columns: make([]*queryv1.SQLColumn, len(columns))}
	for i, c := range columns {
		h.Columns[i] = &queryv1.SQLColumn{Name: c.name, Type: c.typ.String()}
	}
	return w.stream.Send(&queryv1.SQLResponse{Message: &queryv1.SQLResponse_Header{Header: h}})
}

func (w *rowWriter) send() error {
	if len(w.part) == 0 {
		return nil
	}
	m := &queryv1.SQLResponse{Message: &queryv1.SQLResponse_Rows{Rows: &queryv1.SQLRows{Rows: w.part}}}
	w.part, w.size = nil, 0
	return w.stream.Send(m)
}

func (w *rowWriter) finish(took pages.Stats) error {
	if !w.begun {
		if err := w.header(nil); err != nil {
			return err
		}
	}
	if err := w.send(); err != nil {
		return err
	}
	return w.stream.Send(&queryv1.SQLResponse{Message: &queryv1.SQLResponse_Trailer{Trailer: &queryv1.SQLTrailer{
		Warnings: w.warnings, Rows: uint64(w.rows),
		Stats: &queryv1.ReadStats{Queries: 1, Pages: uint64(took.Pages), MeteredBytes: uint64(took.MeteredBytes)},
	}}})
}
