// SPDX-License-Identifier: Apache-2.0

package httperr_test

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
)

func TestNameRole(t *testing.T) {
	const (
		refused = `connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:9221: connect: connection refused"`
		named   = "the query service cannot be reached (--query.address of the gateway; /-/ready?role=query follows it): "
	)
	marked, err := status.New(codes.Unavailable, refused).WithDetails(&errdetails.ErrorInfo{Reason: "X", Domain: "tributary"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		give error
		want string // empty: as it was
	}{
		{"nobody listens", status.Error(codes.Unavailable, refused), named + refused},
		{"nobody listens, of several", status.Error(codes.Unavailable, "last "+refused), named + "last " + refused},
		{"no such name", status.Error(codes.Unavailable, "name resolver error: produced zero addresses"), named + "name resolver error: produced zero addresses"},
		{"no addresses", status.Error(codes.Unavailable, "no children to pick from"), named + "no children to pick from"},
		{"nobody serves", status.Error(codes.Unavailable, "connection active but health check failed. status=NOT_SERVING"), named + "connection active but health check failed. status=NOT_SERVING"},
		{"the connection broke", status.Error(codes.Unavailable, "error reading from server: EOF"), named + "error reading from server: EOF"},
		{"a proxy", status.Error(codes.Unavailable, "no healthy upstream"), named + "no healthy upstream"},
		{"what is behind the service is away", status.Error(codes.Unavailable, "Timestream did not answer: connection error: refused"), ""},
		{"said by a service", marked.Err(), ""},
		{"another code", status.Error(codes.Internal, refused), ""},
		{"named already", status.Error(codes.Unavailable, named+refused), ""},
		{"no status", errors.New(refused), ""},
		{"the end of a stream", io.EOF, ""},
		{"none", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := httperr.NameRole("query", tt.give)
			if tt.want == "" {
				if got != tt.give { //nolint:errorlint // the very same
					t.Errorf("got %v, want it untouched", got)
				}
				return
			}
			if st := status.Convert(got); st.Code() != codes.Unavailable || st.Message() != tt.want {
				t.Errorf("got %v %q, want Unavailable %q", st.Code(), st.Message(), tt.want)
			}
		})
	}
	write := httperr.FromWrite(httperr.NameRole("ingest", status.Error(codes.Unavailable, refused)))
	if want := httperr.Unreachable("ingest") + refused; write.Text != want || write.Status != 503 || !write.RetryAfter {
		t.Errorf("got %+v, want 503 with %q once", write, want)
	}
}
