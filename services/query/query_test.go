// SPDX-License-Identifier: Apache-2.0

package query

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"

	"github.com/tributary-project/tributary/services/query/internal/querytest"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

const (
	testDB    = "PrometheusDatabase"
	testTable = "PrometheusMetricsTable"
	t0        = 1_700_000_000_000
)

// running is a service with its listeners and a connection to it.
type running struct {
	*Service
	conn    *grpc.ClientConn
	client  queryv1.QueryServiceClient
	backend *querytest.Backend
	reg     *prometheus.Registry
}

// start runs a service over the real SDK's client and real listeners until the test ends.
func start(t *testing.T, set func(*Config)) *running {
	t.Helper()
	r := &running{backend: &querytest.Backend{}, reg: prometheus.NewRegistry()}
	r.backend.CreateTable(testDB, testTable)
	cfg := DefaultConfig()
	cfg.ListenAddress, cfg.GRPC.ListenAddress, cfg.MaxRetries = "127.0.0.1:0", "127.0.0.1:0", 0
	if set != nil {
		set(&cfg)
	}
	s, err := New(cfg, Deps{
		Timestream: querytest.Client(t, r.backend), Target: "the test", Logger: slog.New(slog.DiscardHandler), Registry: r.reg,
		Build: process.Build{Version: "v1"}, Settings: []flags.Setting{{Name: "region", Value: "us-east-1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Service = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.conn, err = grpc.NewClient(s.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	r.client = queryv1.NewQueryServiceClient(r.conn)
	t.Cleanup(func() {
		_ = r.conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r
}

func (r *running) write(t *testing.T, samples []series.Sample, ls ...string) {
	t.Helper()
	records, err := querytest.Records(labels.FromStrings(ls...), samples, querytest.Budget{"job", "instance"})
	if err != nil {
		t.Fatal(err)
	}
	r.backend.Write(testDB, testTable, records...)
}

// read collects a stream.
func (r *running) read(t *testing.T, req *queryv1.ReadRequest) ([]prompb.TimeSeries, *queryv1.ReadTrailer, error) {
	t.Helper()
	stream, err := r.client.Read(t.Context(), req)
	if err != nil {
		return nil, nil, err
	}
	var out []prompb.TimeSeries
	var trailer *queryv1.ReadTrailer
	for n := 0; ; n++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, trailer, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if trailer != nil {
			t.Error("a message after the trailer")
		}
		switch m := m.GetMessage().(type) {
		case *queryv1.ReadResponse_Header:
			if n != 0 || m.Header.GetResponseType() != queryv1.ResponseType_RESPONSE_TYPE_SAMPLES {
				t.Errorf("message %d is the header %v", n, m.Header)
			}
		case *queryv1.ReadResponse_TimeSeries:
			var ts prompb.TimeSeries
			if err := ts.Unmarshal(m.TimeSeries); err != nil {
				t.Fatal(err)
			}
			out = append(out, ts)
		case *queryv1.ReadResponse_Trailer:
			trailer = m.Trailer
		}
	}
}

func matcher(t queryv1.LabelMatcher_Type, name, value string) *queryv1.LabelMatcher {
	return &queryv1.LabelMatcher{Type: t, Name: name, Value: value}
}

func nameIs(name string) *queryv1.LabelMatcher {
	return matcher(queryv1.LabelMatcher_TYPE_EQUAL, model.MetricNameLabel, name)
}

func TestReadGivesBackWhatWasWritten(t *testing.T) {
	r := start(t, nil)
	r.backend.PageRows, r.backend.EmptyPages = 2, 1
	values := []float64{1, math.Inf(1), math.Copysign(0, -1), math.Float64frombits(value.StaleNaN), math.NaN(), 1e-300, 0.1}
	var samples []series.Sample
	for i, v := range values {
		samples = append(samples, series.Sample{T: t0 + int64(i)*1000, V: v})
	}
	r.write(t, samples, "__name__", "job:up:sum", "job", "it's", "地区", "x;y")
	r.write(t, samples[:2], "__name__", "job:up:sum", "instance", "b")
	r.write(t, samples[:1], "__name__", "other", "instance", "b")

	got, trailer, err := r.read(t, &queryv1.ReadRequest{
		Matchers: []*queryv1.LabelMatcher{nameIs("job:up:sum"), matcher(queryv1.LabelMatcher_TYPE_REGEX_MATCH, "job", "it's|")},
		StartMs:  t0, EndMs: t0 + 5999, CallerId: "test", Hints: &queryv1.ReadHints{Func: "rate"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, s := range got {
		line := ""
		for _, l := range s.Labels {
			line += l.Name + "=" + l.Value + ","
		}
		for _, p := range s.Samples {
			line += fmt.Sprintf(" %d:%x", p.Timestamp-t0, math.Float64bits(p.Value))
		}
		text = append(text, line)
	}
	first, second := "__name__=job:up:sum,instance=b,", "__name__=job:up:sum,job=it's,地区=x;y,"
	for i, v := range values[:6] {
		point := fmt.Sprintf(" %d:%x", i*1000, math.Float64bits(v))
		if second += point; i < 2 {
			first += point
		}
	}
	if want := first + "\n" + second; strings.Join(text, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(text, "\n"), want)
	}
	st := trailer.GetStats()
	if st.GetSeries() != 2 || st.GetSamples() != 8 || st.GetQueries() != 2 || st.GetPages() < 4 || st.GetMeteredBytes() == 0 || len(trailer.GetWarnings()) != 0 {
		t.Errorf("trailer: %v", trailer)
	}
	if got := testutil.ToFloat64(r.metrics.samples); got != 8 {
		t.Errorf("samples metric: got %v", got)
	}
}

func TestReadRefusesWhatIsMalformed(t *testing.T) {
	r := start(t, nil)
	for _, tt := range []struct {
		name string
		give *queryv1.ReadRequest
		want string
	}{
		{"no matchers", &queryv1.ReadRequest{}, "no matchers"},
		{"no type", &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{{Name: "a"}}}, "unknown type"},
		{"no name", &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{{Type: queryv1.LabelMatcher_TYPE_EQUAL}}}, "no label name"},
		{"bad regex", &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{matcher(queryv1.LabelMatcher_TYPE_REGEX_MATCH, "job", "(")}}, `label "job"`},
		{"response type", &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{nameIs("up")}, ResponseType: 99}, "response_type"},
		{"caller id", &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{nameIs("up")}, CallerId: strings.Repeat("x", 129)}, "caller_id"},
		{"database", &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{nameIs("up")}, Destination: &queryv1.Destination{Database: `a"b`}}, "destination.database"},
		{"table", &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{nameIs("up")}, Destination: &queryv1.Destination{Table: strings.Repeat("x", 257)}}, "destination.table"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := r.read(t, tt.give)
			if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if n := len(r.backend.Statements()); n != 0 {
		t.Errorf("%d statements were run", n)
	}
}

func TestReadErrors(t *testing.T) {
	up := &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{nameIs("up")}, EndMs: math.MaxInt64}
	t.Run("named table", func(t *testing.T) {
		r := start(t, func(c *Config) {
			if err := c.AllowedTables.Set("*.nope"); err != nil {
				t.Fatal(err)
			}
		})
		_, _, err := r.read(t, &queryv1.ReadRequest{Matchers: up.Matchers, EndMs: up.EndMs, Destination: &queryv1.Destination{Table: "nope"}})
		if status.Code(err) != codes.NotFound {
			t.Errorf("got %v", err)
		}
	})
	t.Run("table that may not be named", func(t *testing.T) {
		r := start(t, nil)
		for _, d := range []*queryv1.Destination{{Table: "nope"}, {Database: "other"}, {Database: "other", Table: testTable}} {
			_, _, err := r.read(t, &queryv1.ReadRequest{Matchers: up.Matchers, EndMs: up.EndMs, Destination: d})
			st := status.Convert(err)
			if st.Code() != codes.PermissionDenied || !strings.Contains(st.Message(), "--allowed-tables") || len(st.Details()) != 1 || st.Details()[0].(*errdetails.ErrorInfo).GetReason() != reasonTableNotAllowed {
				t.Errorf("%v: got %v, %v", d, err, st.Details())
			}
		}
		if n := len(r.backend.Statements()); n != 0 {
			t.Errorf("%d statements were run", n)
		}
		// Naming the configured table is no different from naming none.
		if _, _, err := r.read(t, &queryv1.ReadRequest{Matchers: up.Matchers, EndMs: up.EndMs, Destination: &queryv1.Destination{Database: testDB, Table: testTable}}); err != nil {
			t.Error(err)
		}
	})
	t.Run("configured table", func(t *testing.T) {
		r := start(t, func(c *Config) { c.Table = "nope" })
		if _, _, err := r.read(t, up); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "--default-table") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("sample limit", func(t *testing.T) {
		r := start(t, func(c *Config) { c.MaxSamples = 1 })
		r.write(t, []series.Sample{{T: t0, V: 1}, {T: t0 + 1, V: 1}}, "__name__", "up", "job", "a")
		_, _, err := r.read(t, up)
		st := status.Convert(err)
		if st.Code() != codes.ResourceExhausted || !strings.Contains(st.Message(), "--storage.remote.read-sample-limit") || len(st.Details()) != 1 || st.Details()[0].(*errdetails.ErrorInfo).GetReason() != "RESULT_TOO_LARGE" {
			t.Errorf("got %v %v", err, st.Details())
		}
	})
	t.Run("newer layout", func(t *testing.T) {
		r := start(t, nil)
		r.backend.Write(testDB, testTable, querytest.Record{Measure: "__tributary_2_s_00", Values: map[string]any{"v": 1.0}})
		if _, _, err := r.read(t, up); status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "newer") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		r := start(t, func(c *Config) { c.Timeout = 50 * time.Millisecond })
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		r.backend.Before = func(string) error { <-release; return nil }
		if _, _, err := r.read(t, up); status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "--query.timeout") {
			t.Errorf("got %v", err)
		}
	})
}

func TestReadsAreBounded(t *testing.T) {
	r := start(t, func(c *Config) { c.MaxConcurrent = 1 })
	up := &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{nameIs("up")}, EndMs: math.MaxInt64}
	release, entered := make(chan struct{}), make(chan struct{}, 1000)
	r.backend.Before = func(string) error {
		entered <- struct{}{}
		<-release
		return nil
	}
	results := make(chan error, 100)
	read := func() { _, _, err := r.read(t, up); results <- err }
	go read()
	<-entered
	for range waitingPerRunning {
		go read()
	}
	for r.gate.Waiting() < waitingPerRunning {
		time.Sleep(time.Millisecond)
	}
	if _, _, err := r.read(t, up); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "--storage.remote.read-concurrent-limit") {
		t.Errorf("one too many: got %v", err)
	}
	if got := r.gate.Running(); got != 1 {
		t.Errorf("%d run at once", got)
	}
	close(release)
	for range waitingPerRunning + 1 {
		if err := <-results; err != nil {
			t.Errorf("one that waited: %v", err)
		}
	}
}

func TestStatusAndHealth(t *testing.T) {
	r := start(t, nil)
	client := statusv1.NewStatusServiceClient(r.conn)
	st, err := client.GetStatus(t.Context(), &statusv1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	dep := st.GetDependencies()[0]
	if st.GetRole() != "query" || st.GetBuild().GetVersion() != "v1" || st.GetDatabase() != testDB || st.GetTable() != testTable ||
		len(st.GetSettings()) != 1 || !dep.GetHealthy() || dep.GetTarget() != "the test" || st.GetStartTime() == nil {
		t.Errorf("got %v", st)
	}
	if _, err := client.GetStatus(t.Context(), &statusv1.GetStatusRequest{Role: "ingest"}); status.Code(err) != codes.NotFound {
		t.Errorf("another role: %v", err)
	}
	r.backend.DropTable(testDB, testTable)
	if _, _, err := r.read(t, &queryv1.ReadRequest{Matchers: []*queryv1.LabelMatcher{nameIs("up")}, EndMs: 1}); err == nil {
		t.Error("no error without the table")
	}
	if st, err = client.GetStatus(t.Context(), &statusv1.GetStatusRequest{Role: "query"}); err != nil || st.GetDependencies()[0].GetHealthy() {
		t.Errorf("after a failure: %v, %v", st.GetDependencies(), err)
	}
	health, err := healthv1.NewHealthClient(r.conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: queryv1.QueryService_ServiceDesc.ServiceName})
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", health, err)
	}
	for path, want := range map[string]int{"/metrics": 200, "/-/healthy": 200, "/-/ready": 200, "/-/ready?role=query": 200, "/-/ready?role=ingest": 400} {
		res, err := http.Get(r.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body) //nolint:errcheck // its status is what counts
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d %.100s", path, res.StatusCode, body)
		}
		for _, name := range []string{"timestream_connector_read_requests_total 1", "timestream_connector_read_duration_seconds_count 1"} {
			if path == "/metrics" && !strings.Contains(string(body), name) {
				t.Errorf("the metrics lack %s", name)
			}
		}
		if path == "/metrics" && !strings.Contains(string(body), `tributary_query_reads_total{code="Unavailable"} 1`) {
			t.Errorf("metrics lack the failed read")
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	deps := func() Deps {
		return Deps{Timestream: &querytest.Backend{}, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()}
	}
	cfg := DefaultConfig()
	cfg.Timeout = 0
	if _, err := New(cfg, deps()); err == nil || !strings.Contains(err.Error(), "--query.timeout") {
		t.Errorf("got %v", err)
	}
	cfg = DefaultConfig()
	cfg.ListenAddress, cfg.GRPC.ListenAddress = "127.0.0.1:0", "256.0.0.1:1"
	if _, err := New(cfg, deps()); err == nil || !strings.Contains(err.Error(), "--grpc.listen-address") {
		t.Errorf("got %v", err)
	}
	// Without listeners it is a service to be registered elsewhere.
	cfg.ListenAddress, cfg.GRPC.ListenAddress = "", ""
	s, err := New(cfg, deps())
	if err != nil {
		t.Fatal(err)
	}
	if s.GRPCAddr() != nil || s.URL() != "" {
		t.Error("it listens")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}
