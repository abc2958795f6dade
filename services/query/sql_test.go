// SPDX-License-Identifier: Apache-2.0

package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// scripted is a Timestream that answers every statement with the same pages.
type scripted struct {
	pages []*timestreamquery.QueryOutput
	err   error         // instead of a page, after those that there are
	hang  chan struct{} // closed when a call waits for the end of its context instead of answering; nil: it answers

	mu         sync.Mutex
	statements []string
	cancelled  int
}

func (s *scripted) Query(ctx context.Context, in *timestreamquery.QueryInput, _ ...func(*timestreamquery.Options)) (*timestreamquery.QueryOutput, error) {
	n, _ := strconv.Atoi(aws.ToString(in.NextToken)) //nolint:errcheck // no token is 0
	s.mu.Lock()
	if n == 0 {
		s.statements = append(s.statements, aws.ToString(in.QueryString))
	}
	s.mu.Unlock()
	if n == len(s.pages) && s.hang != nil {
		close(s.hang)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if n == len(s.pages) {
		return nil, s.err
	}
	out := *s.pages[n]
	out.QueryId = aws.String("Q")
	out.QueryStatus = &types.QueryStatus{CumulativeBytesMetered: int64(n+1) * 1000}
	if n+1 < len(s.pages) || s.err != nil || s.hang != nil {
		out.NextToken = aws.String(strconv.Itoa(n + 1))
	}
	return &out, nil
}

func (s *scripted) CancelQuery(context.Context, *timestreamquery.CancelQueryInput, ...func(*timestreamquery.Options)) (*timestreamquery.CancelQueryOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelled++
	return &timestreamquery.CancelQueryOutput{}, nil
}

func (s *scripted) ran() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.statements...)
}

func (s *scripted) cancels() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cancelled
}

// sqlService serves a Timestream over a real listener until the test ends.
func sqlService(t *testing.T, backend TimestreamClient, log io.Writer, set func(*Config)) queryv1.QueryServiceClient {
	t.Helper()
	cfg := DefaultConfig()
	cfg.ListenAddress, cfg.GRPC.ListenAddress, cfg.MaxRetries = "", "", 0
	if set != nil {
		set(&cfg)
	}
	s, err := New(cfg, Deps{Timestream: backend, Logger: slog.New(slog.NewTextHandler(log, nil)), Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	s.Register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.GracefulStop()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return queryv1.NewQueryServiceClient(conn)
}

// sqlResult is the stream of a statement put together.
type sqlResult struct {
	header  *queryv1.SQLHeader
	rows    []string // as JSON without space
	parts   int
	trailer *queryv1.SQLTrailer
}

func runSQL(t *testing.T, client queryv1.QueryServiceClient, req *queryv1.SQLRequest) (sqlResult, error) {
	t.Helper()
	var out sqlResult
	stream, err := client.SQL(t.Context(), req)
	if err != nil {
		return out, err
	}
	for n := 0; ; n++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if out.trailer != nil || (n == 0) != (m.GetHeader() != nil) {
			t.Errorf("message %d is %v", n, m)
		}
		switch m := m.GetMessage().(type) {
		case *queryv1.SQLResponse_Header:
			out.header = m.Header
		case *queryv1.SQLResponse_Rows:
			out.parts++
			for _, r := range m.Rows.GetRows() {
				text, err := protojson.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				var plain bytes.Buffer
				if err := json.Compact(&plain, text); err != nil {
					t.Fatal(err)
				}
				out.rows = append(out.rows, plain.String())
			}
		case *queryv1.SQLResponse_Trailer:
			out.trailer = m.Trailer
		}
	}
}

func scalarColumn(name string, typ types.ScalarType) types.ColumnInfo {
	c := types.ColumnInfo{Type: &types.Type{ScalarType: typ}}
	if name != "" {
		c.Name = aws.String(name)
	}
	return c
}

func scalarDatum(text string) types.Datum { return types.Datum{ScalarValue: aws.String(text)} }

func nullDatum() types.Datum { return types.Datum{NullValue: aws.Bool(true)} }

// TestSQLTypes: every type of Timestream's comes out as the contract says.
func TestSQLTypes(t *testing.T) {
	double := &types.ColumnInfo{Type: &types.Type{ScalarType: types.ScalarTypeDouble}}
	series := types.Type{TimeSeriesMeasureValueColumnInfo: double}
	rowType := types.Type{RowColumnInfo: []types.ColumnInfo{scalarColumn("a", types.ScalarTypeBigint), {Type: &series}}}
	point := func(at string, v types.Datum) types.TimeSeriesDataPoint {
		return types.TimeSeriesDataPoint{Time: aws.String(at), Value: &v}
	}
	const at = "2026-01-02 03:04:05.123456789"
	for _, tt := range []struct {
		name     string
		typ      types.Type
		give     types.Datum
		wantType string
		want     string
	}{
		{"varchar", types.Type{ScalarType: types.ScalarTypeVarchar}, scalarDatum(`it's "ü"`), "varchar", `"it's \"ü\""`},
		{"varchar that looks like a number", types.Type{ScalarType: types.ScalarTypeVarchar}, scalarDatum("1"), "varchar", `"1"`},
		{"null", types.Type{ScalarType: types.ScalarTypeUnknown}, nullDatum(), "unknown", `null`},
		{"null of a type", types.Type{ScalarType: types.ScalarTypeDouble}, nullDatum(), "double", `null`},
		{"double", types.Type{ScalarType: types.ScalarTypeDouble}, scalarDatum("1.6554878837710001E9"), "double", `1655487883.7710001`},
		{"NaN", types.Type{ScalarType: types.ScalarTypeDouble}, scalarDatum("NaN"), "double", `"NaN"`},
		{"Infinity", types.Type{ScalarType: types.ScalarTypeDouble}, scalarDatum("Infinity"), "double", `"Infinity"`},
		{"-Infinity", types.Type{ScalarType: types.ScalarTypeDouble}, scalarDatum("-Infinity"), "double", `"-Infinity"`},
		{"minus zero", types.Type{ScalarType: types.ScalarTypeDouble}, scalarDatum("-0.0"), "double", `-0`},
		{"smallest", types.Type{ScalarType: types.ScalarTypeDouble}, scalarDatum("4.9E-324"), "double", `5e-324`},
		{"bigint", types.Type{ScalarType: types.ScalarTypeBigint}, scalarDatum("9007199254740992"), "bigint", `9007199254740992`},
		{"bigint beyond exactness", types.Type{ScalarType: types.ScalarTypeBigint}, scalarDatum("9007199254740993"), "bigint", `"9007199254740993"`},
		{"smallest bigint", types.Type{ScalarType: types.ScalarTypeBigint}, scalarDatum("-9223372036854775808"), "bigint", `"-9223372036854775808"`},
		{"integer", types.Type{ScalarType: types.ScalarTypeInteger}, scalarDatum("-5"), "integer", `-5`},
		{"boolean", types.Type{ScalarType: types.ScalarTypeBoolean}, scalarDatum("false"), "boolean", `false`},
		{"timestamp", types.Type{ScalarType: types.ScalarTypeTimestamp}, scalarDatum(at), "timestamp", `"` + at + `"`},
		{"date", types.Type{ScalarType: types.ScalarTypeDate}, scalarDatum("2026-01-02"), "date", `"2026-01-02"`},
		{"time", types.Type{ScalarType: types.ScalarTypeTime}, scalarDatum("01:00:00.000000000"), "time", `"01:00:00.000000000"`},
		{"interval", types.Type{ScalarType: types.ScalarTypeIntervalDayToSecond}, scalarDatum("1 21:00:00.000000000"), "interval_day_to_second", `"1 21:00:00.000000000"`},
		{"years", types.Type{ScalarType: types.ScalarTypeIntervalYearToMonth}, scalarDatum("3-11"), "interval_year_to_month", `"3-11"`},
		{"a type of tomorrow", types.Type{ScalarType: "DECIMAL"}, scalarDatum("1.10"), "decimal", `"1.10"`},
		{"array", types.Type{ArrayColumnInfo: double}, types.Datum{ArrayValue: []types.Datum{scalarDatum("1.0"), nullDatum(), scalarDatum("NaN")}}, "array(double)", `[1,null,"NaN"]`},
		{"empty array", types.Type{ArrayColumnInfo: double}, types.Datum{ArrayValue: []types.Datum{}}, "array(double)", `[]`},
		{"time series", series, types.Datum{TimeSeriesValue: []types.TimeSeriesDataPoint{point(at, scalarDatum("1.5")), point(at, nullDatum())}}, "timeseries(double)", `[{"time":"` + at + `","value":1.5},{"time":"` + at + `","value":null}]`},
		{"row", rowType, types.Datum{RowValue: &types.Row{Data: []types.Datum{scalarDatum("7"), {TimeSeriesValue: []types.TimeSeriesDataPoint{point(at, scalarDatum("2.0"))}}}}}, "row(bigint, timeseries(double))", `[7,[{"time":"` + at + `","value":2}]]`},
		{"array of rows", types.Type{ArrayColumnInfo: &types.ColumnInfo{Type: &rowType}}, types.Datum{ArrayValue: []types.Datum{nullDatum()}}, "array(row(bigint, timeseries(double)))", `[null]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend := &scripted{pages: []*timestreamquery.QueryOutput{
				{ColumnInfo: []types.ColumnInfo{{Name: aws.String("x"), Type: &tt.typ}, scalarColumn("_col1", types.ScalarTypeBigint)}},
				{ColumnInfo: []types.ColumnInfo{{Name: aws.String("x"), Type: &tt.typ}, scalarColumn("_col1", types.ScalarTypeBigint)}, Rows: []types.Row{{Data: []types.Datum{tt.give, scalarDatum("1")}}}},
			}}
			got, err := runSQL(t, sqlService(t, backend, io.Discard, nil), &queryv1.SQLRequest{Statement: "SELECT x, 1 FROM " + testDB + "." + testTable + ";"})
			if err != nil {
				t.Fatal(err)
			}
			if c := got.header.GetColumns(); len(c) != 2 || c[0].GetName() != "x" || c[0].GetType() != tt.wantType || c[1].GetName() != "_col1" {
				t.Errorf("got columns %v, want %s", c, tt.wantType)
			}
			if want := "[" + tt.want + ",1]"; len(got.rows) != 1 || got.rows[0] != want {
				t.Errorf("got %v, want %s", got.rows, want)
			}
			if st := got.trailer.GetStats(); got.trailer.GetRows() != 1 || st.GetPages() != 2 || st.GetQueries() != 1 || st.GetMeteredBytes() != 2000 {
				t.Errorf("got trailer %v", got.trailer)
			}
			if ran := backend.ran(); len(ran) != 1 || ran[0] != "SELECT x, 1 FROM "+testDB+"."+testTable {
				t.Errorf("ran %q", ran)
			}
		})
	}
}

// rowsOf returns pages of so many rows each, numbered through.
func rowsOf(nPages, rows int) []*timestreamquery.QueryOutput {
	out := []*timestreamquery.QueryOutput{{ColumnInfo: []types.ColumnInfo{scalarColumn("", types.ScalarTypeBigint), scalarColumn("text", types.ScalarTypeVarchar)}}}
	for i := range nPages {
		p := &timestreamquery.QueryOutput{ColumnInfo: out[0].ColumnInfo}
		for j := range rows {
			p.Rows = append(p.Rows, types.Row{Data: []types.Datum{scalarDatum(strconv.Itoa(i*rows + j)), scalarDatum(strings.Repeat("x", 100))}})
		}
		out = append(out, p)
	}
	return out
}

func TestSQLLimits(t *testing.T) {
	for _, tt := range []struct {
		name      string
		max       int64
		limit     uint64
		want      int
		warning   string
		cancelled int
	}{
		{"all of them", 5000, 0, 5000, "", 0},
		{"fewer by the flag", 1500, 0, 1500, "--sql.max-rows=1500", 1},
		{"the flag before the request", 1500, 4000, 1500, "--sql.max-rows=1500", 1},
		{"fewer by the request", 10_000, 10, 10, "the request's limit of 10", 1},
		{"at the end of a page", 10_000, 1000, 1000, "limit of 1000", 1},
		{"exactly", 10_000, 5000, 5000, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend := &scripted{pages: rowsOf(5, 1000)}
			got, err := runSQL(t, sqlService(t, backend, io.Discard, func(c *Config) { c.MaxSQLRows = tt.max }), &queryv1.SQLRequest{Statement: "SELECT 1", Limit: tt.limit})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.rows) != tt.want || got.trailer.GetRows() != uint64(tt.want) {
				t.Errorf("got %d rows, %d by the trailer, want %d", len(got.rows), got.trailer.GetRows(), tt.want)
			}
			for i, r := range got.rows {
				if !strings.HasPrefix(r, fmt.Sprintf("[%d,", i)) {
					t.Fatalf("row %d is %.50s", i, r)
				}
			}
			if got.parts > 1+tt.want/300 {
				t.Errorf("%d messages for %d rows", got.parts, len(got.rows))
			}
			warnings := strings.Join(got.trailer.GetWarnings(), "; ")
			if (tt.warning == "") != (warnings == "") || !strings.Contains(warnings, tt.warning) {
				t.Errorf("got warnings %q, want %q", warnings, tt.warning)
			}
			if n := backend.cancels(); n != tt.cancelled {
				t.Errorf("%d queries were cancelled, want %d", n, tt.cancelled)
			}
		})
	}
}

func TestSQLErrors(t *testing.T) {
	const principal = "arn:aws:iam::123456789012:user/somebody"
	for _, tt := range []struct {
		name string
		give *queryv1.SQLRequest
		err  error // of the first call
		want codes.Code
		text string
	}{
		{"not a statement to read", &queryv1.SQLRequest{Statement: "DROP TABLE x"}, nil, codes.InvalidArgument, "begin with SELECT"},
		{"another table", &queryv1.SQLRequest{Statement: "SELECT * FROM other.t"}, nil, codes.PermissionDenied, "--allowed-tables"},
		{"caller id", &queryv1.SQLRequest{Statement: "SELECT 1", CallerId: strings.Repeat("x", 129)}, nil, codes.InvalidArgument, "caller_id"},
		{"timeout", &queryv1.SQLRequest{Statement: "SELECT 1", Timeout: durationpb.New(-1)}, nil, codes.InvalidArgument, "timeout"},
		{"wrong", &queryv1.SQLRequest{Statement: "SELECT"}, &types.ValidationException{Message: aws.String("The query syntax is invalid at line 1:7")}, codes.InvalidArgument, "line 1:7"},
		{"no column", &queryv1.SQLRequest{Statement: "SELECT x"}, &types.ValidationException{Message: aws.String("line 1:8: Column 'x' does not exist")}, codes.InvalidArgument, "line 1:8"},
		{"execution", &queryv1.SQLRequest{Statement: "SELECT 1/0"}, &types.QueryExecutionException{Message: aws.String("Division by zero")}, codes.InvalidArgument, "Division by zero"},
		{"throttled", &queryv1.SQLRequest{Statement: "SELECT 1"}, &types.ThrottlingException{Message: aws.String("slow down")}, codes.Unavailable, "throttles"},
		{"denied", &queryv1.SQLRequest{Statement: "SELECT 1"}, &types.AccessDeniedException{Message: aws.String("User: " + principal + " is not authorized")}, codes.Unavailable, "timestream:Select"},
		{"away", &queryv1.SQLRequest{Statement: "SELECT 1"}, &types.InternalServerException{Message: aws.String("x")}, codes.Unavailable, "did not answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend := &scripted{err: tt.err}
			_, err := runSQL(t, sqlService(t, backend, io.Discard, nil), tt.give)
			if status.Code(err) != tt.want || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %s %q", err, tt.want, tt.text)
			}
			if strings.Contains(fmt.Sprint(err), principal) {
				t.Errorf("the error names the principal: %v", err)
			}
			if tt.err == nil && len(backend.ran()) != 0 {
				t.Errorf("ran %q", backend.ran())
			}
		})
	}
}

// TestSQLEndsEarly: a statement that takes too long, or whose caller has left, is cancelled in Timestream.
func TestSQLEndsEarly(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request func(limit time.Duration) time.Duration
		set     func(*Config, time.Duration)
		text    string
	}{
		{"the request's timeout", func(limit time.Duration) time.Duration { return limit }, func(*Config, time.Duration) {}, "%s"},
		{"the flag", func(time.Duration) time.Duration { return time.Hour }, func(c *Config, limit time.Duration) { c.Timeout = limit }, "--query.timeout=%s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for limit := 50 * time.Millisecond; ; limit *= 4 {
				backend := &scripted{pages: rowsOf(1, 10), hang: make(chan struct{})}
				service := sqlService(t, backend, io.Discard, func(c *Config) { tt.set(c, limit) })
				got, err := runSQL(t, service, &queryv1.SQLRequest{Statement: "SELECT 1", Timeout: durationpb.New(tt.request(limit))})
				if len(got.rows) == 0 && limit < 20*time.Second && status.Code(err) == codes.DeadlineExceeded {
					continue // a busy machine needs longer for the first page
				}
				if want := fmt.Sprintf(tt.text, limit); status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), want) || got.trailer != nil || len(got.rows) != 10 {
					t.Errorf("got %d rows and %v, want %s", len(got.rows), err, want)
				}
				if backend.cancels() != 1 {
					t.Error("the query was not cancelled")
				}
				return
			}
		})
	}
	backend := &scripted{pages: rowsOf(1, 10), hang: make(chan struct{})}
	client := sqlService(t, backend, io.Discard, nil)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := client.SQL(ctx, &queryv1.SQLRequest{Statement: "SELECT 1"}); err != nil {
		t.Fatal(err)
	}
	<-backend.hang
	cancel()
	for deadline := time.Now().Add(time.Minute); backend.cancels() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the query of a caller who has left was not cancelled")
		}
	}
}

// TestSQLIsNotLogged: a statement may hold anything, so its text is for debugging alone.
func TestSQLIsNotLogged(t *testing.T) {
	var log bytes.Buffer
	backend := &scripted{err: &types.InternalServerException{Message: aws.String("x")}}
	if _, err := runSQL(t, sqlService(t, backend, &log, nil), &queryv1.SQLRequest{Statement: "SELECT 'very private'"}); err == nil {
		t.Error("no error")
	}
	if text := log.String(); !strings.Contains(text, "call failed") || strings.Contains(text, "private") {
		t.Errorf("log: %s", text)
	}
}
