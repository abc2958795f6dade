// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/services/query/internal/querytest"
	"github.com/tributary-project/tributary/timestream/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newRunner(client Client, retries int, log io.Writer) *Runner {
	r := New(client, retries, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), prometheus.NewRegistry())
	r.delay = time.Millisecond
	return r
}

// backend holds rows series with three samples each.
func backend(rows int) *querytest.Backend {
	b := &querytest.Backend{}
	for i := range rows {
		for ts := range int64(3) {
			b.Write("db", "t", querytest.Record{Measure: "up", TimeNs: ts * 1e9, Values: map[string]any{"measure_value::double": float64(i)}})
		}
	}
	return b
}

const statement = `SELECT "time", "measure_value::double" FROM "db"."t" WHERE "measure_name" = 'up'`

func countRows(n *int) func(*timestreamquery.QueryOutput) error {
	return func(out *timestreamquery.QueryOutput) error { *n += len(out.Rows); return nil }
}

func TestRunReadsEveryPage(t *testing.T) {
	b := backend(10)
	b.PageRows, b.EmptyPages = 7, emptyPages+2
	r := newRunner(querytest.Client(t, b), 0, io.Discard)
	rows := 0
	st, err := r.Run(t.Context(), "plain", statement, countRows(&rows))
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(5 + emptyPages + 2); rows != 30 || st.Pages != want || st.MeteredBytes != 3000 {
		t.Errorf("got %d rows and %+v, want 30 rows in %d pages and 3000 bytes", rows, st, want)
	}
	if got := testutil.ToFloat64(r.metered); got != 3000 {
		t.Errorf("metered bytes: got %v", got)
	}
	if c := b.Cancelled(); len(c) != 0 {
		t.Errorf("a query that ended was cancelled: %v", c)
	}
}

func TestCallsAreMadeAgain(t *testing.T) {
	readAll := func(ctx context.Context, r *Runner, n *int) error {
		_, err := r.Rows(ctx, "plain", statement, twoScalars, func(result.Row) error { *n++; return nil })
		return err
	}
	readers := map[string]func(context.Context, *Runner, *int) error{
		"Run": func(ctx context.Context, r *Runner, n *int) error {
			_, err := r.Run(ctx, "plain", statement, countRows(n))
			return err
		},
		"pages": readAll, "SDK": readAll,
	}
	throttled := &types.ThrottlingException{Message: aws.String("Request rate limit exceeded")}
	internal := &types.InternalServerException{Message: aws.String("try later")}
	for _, tt := range []struct {
		name    string
		fault   error
		faults  int64
		retries int
		want    Class
		fails   bool
	}{
		{"throttled, then fine", throttled, 3, 3, 0, false},
		{"throttled for good", throttled, 4, 3, Throttled, true},
		{"5xx, then fine", internal, 1, 1, 0, false},
		{"5xx for good", internal, 2, 1, Away, true},
		{"no retries", throttled, 1, 0, Throttled, true},
		{"denied", &types.AccessDeniedException{Message: aws.String("not authorized")}, 1, 3, Denied, true},
		{"invalid", querytest.Validation("line 1:8: mismatched input"), 1, 3, Invalid, true},
		{"no column", querytest.Validation("line 1:76: Column 'vehicleName' does not exist"), 1, 3, NoColumn, true},
		{"no table", querytest.Validation("The table 'iotmulti' does not exist in database 'testdb' at line 1:1"), 1, 3, NoTable, true},
		{"no database", querytest.Validation("Requested database 'abc' not found for identifier 'abc.sampleDB' at line 1:36"), 1, 3, NoTable, true},
		{"row too large", querytest.Validation("Query aborted as max page response size has been exceeded by the output result row"), 1, 3, RowTooLarge, true},
		{"row too large, by another class", &types.QueryExecutionException{Message: aws.String("Query aborted as max page response size has been exceeded by the output result row")}, 1, 3, RowTooLarge, true},
		{"regular expression", querytest.Validation("Invalid regular expression: unmatched close parenthesis"), 1, 3, BadRegexp, true},
		{"execution", &types.QueryExecutionException{Message: aws.String("unable to run the query")}, 1, 3, Failed, true},
		{"too much work", querytest.Validation("MaxQueryTCU exceeded"), 1, 3, TooMuch, true},
	} {
		for _, where := range []string{"first call", "later page"} {
			for how, read := range readers {
				t.Run(tt.name+", "+where+", "+how, func(t *testing.T) {
					b := backend(10)
					b.PageRows = 7
					var left atomic.Int64
					left.Store(tt.faults)
					fault := func(string) error {
						if left.Add(-1) >= 0 {
							return tt.fault
						}
						return nil
					}
					if where == "first call" {
						b.Before = fault
					} else {
						b.BeforePage = fault
					}
					r := newRunner(newClient(how, querytest.Client(t, b)), tt.retries, io.Discard)
					rows := 0
					err := read(t.Context(), r, &rows)
					if !tt.fails {
						if err != nil || rows != 30 || r.Last() != nil {
							t.Fatalf("got %d rows, %v, last error %v", rows, err, r.Last())
						}
						return
					}
					if !IsClass(err, tt.want) {
						t.Fatalf("got %v, want class %s", err, tt.want)
					}
					if cancelled := len(b.Cancelled()); (cancelled == 1) != (where == "later page") {
						t.Errorf("%d queries cancelled", cancelled)
					}
				})
			}
		}
	}
}

func TestLastTellsWhetherTimestreamCouldBeUsed(t *testing.T) {
	b := backend(1)
	var fault error
	b.Before = func(string) error { return fault }
	r := newRunner(b, 0, io.Discard)
	for _, tt := range []struct {
		fault error
		bad   bool
	}{
		{nil, false}, {&types.InternalServerException{}, true}, {querytest.Validation("line 1:1: no"), false},
		{&types.ThrottlingException{}, true}, {nil, false}, {&types.AccessDeniedException{}, true},
	} {
		fault = tt.fault
		n := 0
		if _, err := r.Run(t.Context(), "plain", statement, countRows(&n)); (err != nil) != (tt.fault != nil) {
			t.Fatalf("got %v", err)
		}
		if (r.Last() != nil) != tt.bad {
			t.Errorf("after %v: got %v", tt.fault, r.Last())
		}
	}
}

// TestCallerGoesAway cancels while a page is being asked for: the query is cancelled, and nothing is left behind.
func TestCallerGoesAway(t *testing.T) {
	b := backend(10)
	b.PageRows = 7
	ctx, cancel := context.WithCancel(t.Context())
	b.BeforePage = func(string) error { cancel(); <-ctx.Done(); return nil }
	r := newRunner(querytest.Client(t, b), 3, io.Discard)
	rows := 0
	_, err := r.Run(ctx, "plain", statement, countRows(&rows))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if c := b.Cancelled(); len(c) != 1 || c[0] != "QUERY1" {
		t.Errorf("cancelled: %v", c)
	}
}

func TestRefusedPageCancelsTheQuery(t *testing.T) {
	b := backend(10)
	b.PageRows = 7
	refused := errors.New("enough")
	_, err := newRunner(b, 3, io.Discard).Run(t.Context(), "plain", statement, func(*timestreamquery.QueryOutput) error { return refused })
	if !errors.Is(err, refused) || len(b.Cancelled()) != 1 {
		t.Errorf("got %v, cancelled %v", err, b.Cancelled())
	}
}

// TestEchoesStayHidden: what stands in front of the service may repeat the request in any answer.
func TestEchoesStayHidden(t *testing.T) {
	const secret = "IQoJb3JpZ2luX2VjEJr-session-token"
	for _, code := range []string{"BadRequest", "Teapot", "ValidationException", "ThrottlingException", "InternalServerException", "AccessDeniedException", "QueryExecutionException"} {
		for _, text := range []string{"Authorization: AWS4-HMAC-SHA256 Credential=" + secret, "headers {x-amz-security-token: [" + secret + "]}"} {
			var log strings.Builder
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				querytest.WriteError(w, &smithy.GenericAPIError{Code: code, Message: text})
			})
			r := newRunner(querytest.Client(t, h), 0, &log)
			_, err := r.Run(t.Context(), "plain", statement, func(*timestreamquery.QueryOutput) error { return nil })
			if err == nil || strings.Contains(fmt.Sprint(err, r.Last(), log.String()), secret) {
				t.Errorf("%s: got %v, log %s", code, err, log.String())
			}
		}
	}
}

// TestCredentialsStayHidden: the service's text about a signature repeats what was signed.
func TestCredentialsStayHidden(t *testing.T) {
	const secret = "IQoJb3JpZ2luX2VjEJr-session-token"
	for _, code := range []string{"InvalidSignatureException", "UnrecognizedClientException", "ExpiredTokenException", "RequestExpired"} {
		var log strings.Builder
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			querytest.WriteError(w, &smithy.GenericAPIError{Code: code, Message: "The Canonical String should have been x-amz-security-token:" + secret})
		})
		r := newRunner(querytest.Client(t, h), 1, &log)
		_, err := r.Run(t.Context(), "plain", statement, func(*timestreamquery.QueryOutput) error { return nil })
		if !IsClass(err, Credentials) || strings.Contains(err.Error()+r.Last().Error()+log.String(), secret) {
			t.Errorf("%s: got %v, log %s", code, err, log.String())
		}
	}
}

func TestTransportErrors(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"connection lost": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{") },
		"a proxy's page": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>bad gateway", http.StatusBadGateway)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { calls.Add(1); h(w, r) })
			_, err := newRunner(querytest.Client(t, counted), 2, io.Discard).Run(t.Context(), "plain", statement, func(*timestreamquery.QueryOutput) error { return nil })
			if !IsClass(err, Away) || calls.Load() != 3 {
				t.Errorf("got %v after %d calls, want class away after 3", err, calls.Load())
			}
		})
	}
}
