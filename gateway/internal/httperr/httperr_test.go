// SPDX-License-Identifier: Apache-2.0

package httperr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
)

func TestFrom(t *testing.T) {
	with := func(c codes.Code, details ...protoadapt.MessageV1) error {
		st, err := status.New(c, "text").WithDetails(details...)
		if err != nil {
			t.Fatal(err)
		}
		return st.Err()
	}
	info := func(reason string) protoadapt.MessageV1 { return &errdetails.ErrorInfo{Reason: reason} }
	tests := []struct {
		name string
		give error
		want httperr.Refusal
	}{
		{"wrapped status", fmt.Errorf("write: %w", status.Error(codes.NotFound, "table")), httperr.Refusal{Status: 404, Reason: "not_found", Text: "write: rpc error: code = NotFound desc = table"}},
		{"wrapped refusal", fmt.Errorf("read: %w", &httperr.Refusal{Status: 418, Text: "x"}), httperr.Refusal{Status: 418, Text: "x"}},
		{"deadline of a context", fmt.Errorf("x: %w", context.DeadlineExceeded), httperr.Refusal{Status: 503, Reason: "deadline_exceeded", Text: "x: context deadline exceeded", RetryAfter: true}},
		{"end of a context", context.Canceled, httperr.Refusal{Status: 499, Reason: "canceled", Text: "context canceled"}},
		{"anything else", errors.New("x"), httperr.Refusal{Status: 500, Reason: "internal", Text: "x"}},
		{"no text", status.Error(codes.Unavailable, ""), httperr.Refusal{Status: 503, Reason: "backend_unavailable", Text: "Unavailable", RetryAfter: true}},
		{"too large decompressed", with(codes.InvalidArgument, info("DECOMPRESSED_TOO_LARGE")), httperr.Refusal{Status: 413, Reason: "decompressed_too_large", Text: "text"}},
		{"result too large", with(codes.ResourceExhausted, info("RESULT_TOO_LARGE")), httperr.Refusal{Status: 400, Reason: "result_too_large", Text: "text"}},
		{"a reason that does not fit the code", with(codes.Internal, info("DECOMPRESSED_TOO_LARGE")), httperr.Refusal{Status: 500, Reason: "internal", Text: "text"}},
		{"retry info", with(codes.ResourceExhausted, &errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)}), httperr.Refusal{Status: 503, Reason: "backend_overloaded", Text: "text", RetryAfter: true, After: 3 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := *httperr.From(tt.give); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		hint   time.Duration
		jitter float64
		want   string
	}{
		{0, 0, "1"},
		{0, 0.5, "3"},
		{0, 0.999, "5"},
		{-time.Second, 0.999, "5"},
		{2 * time.Second, 0, "1"},
		{2 * time.Second, 0.5, "2"},
		{2 * time.Second, 0.999, "3"},
		{10 * time.Millisecond, 0.999, "1"},
		{time.Hour, 0, "5"},
	}
	for _, tt := range tests {
		if got := httperr.RetryAfter(tt.hint, tt.jitter); got != tt.want {
			t.Errorf("RetryAfter(%s, %v): got %s, want %s", tt.hint, tt.jitter, got, tt.want)
		}
	}
}

func TestWrite(t *testing.T) {
	rec := httptest.NewRecorder()
	(&httperr.Refusal{Status: 503, Text: "text", RetryAfter: true, Close: true}).Write(rec)
	if rec.Code != 503 || rec.Body.String() != "text\n" || rec.Header().Get("Connection") != "close" || rec.Header().Get("Retry-After") == "" {
		t.Errorf("got %d %q %v", rec.Code, rec.Body, rec.Header())
	}
	rec = httptest.NewRecorder()
	(&httperr.Refusal{Status: 400, Text: "text"}).Write(rec)
	if rec.Header().Get("Connection") != "" || rec.Header().Get("Retry-After") != "" {
		t.Errorf("got %v, want neither header", rec.Header())
	}
}
