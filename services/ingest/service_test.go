// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/store"
	"github.com/tributary-project/tributary/timestream/promschema"
)

const (
	rw1 = ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1
	rw2 = ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2
)

// rig is a service behind gRPC, in front of an imitated Timestream.
type rig struct {
	*ingesttest.Endpoint
	service *Service
	client  ingestv1.IngestServiceClient
	log     *syncBuffer

	registry *prometheus.Registry
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// quick is a configuration for tests: it retries twice, soon.
func quick() ServiceConfig {
	cfg := DefaultServiceConfig()
	cfg.Database, cfg.Table = "metrics", "table"
	cfg.WriteRetries, cfg.MinBackoff, cfg.MaxBackoff = 2, time.Millisecond, 2*time.Millisecond
	cfg.Timeout, cfg.WriteTimeout = time.Hour, time.Hour // what is slow here is the machine
	return cfg
}

func newRig(t testing.TB, cfg ServiceConfig) *rig {
	t.Helper()
	e := ingesttest.NewEndpoint(t)
	log := &syncBuffer{}
	registry := prometheus.NewRegistry()
	s, err := NewService(cfg, Deps{
		Writer: e.BodyWriter(), Querier: e.Querier(),
		Logger: slog.New(slog.NewTextHandler(log, nil)), Registerer: registry, Now: time.Now, Target: e.URL,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln := bufconn.Listen(1 << 20)
	srv := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	s.Register(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	conn, err := grpc.NewClient("passthrough:///ingest", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		srv.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &rig{Endpoint: e, service: s, client: ingestv1.NewIngestServiceClient(conn), log: log, registry: registry}
}

func request(t testing.TB, m ingestv1.MessageType, ss ...ingesttest.Series) *ingestv1.WriteRequest {
	plain := ingesttest.V2(t, ss)
	if m == rw1 {
		plain = ingesttest.V1(t, ss, 0)
	}
	return &ingestv1.WriteRequest{MessageType: m, Encoding: ingestv1.Encoding_ENCODING_SNAPPY, Payload: ingesttest.Snappy(plain)}
}

func (r *rig) write(t testing.TB, req *ingestv1.WriteRequest) *ingestv1.WriteResponse {
	t.Helper()
	res, err := r.client.Write(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	balance(t, res.GetLedger())
	return res
}

// balance checks promise 2 for each kind.
func balance(t testing.TB, l *ingestv1.Ledger) {
	t.Helper()
	for _, c := range []*ingestv1.Counts{l.GetSamples(), l.GetHistograms(), l.GetExemplars(), l.GetMetadata(), l.GetStartTimestamps()} {
		if c.GetReceived() != c.GetStored()+c.GetDuplicate()+c.GetRejected()+c.GetDeferred() || c.GetStoredLate() > c.GetStored() {
			t.Errorf("not balanced: %v", c)
		}
	}
}

// counts prints what became of the samples.
func counts(c *ingestv1.Counts) string {
	return fmt.Sprintf("received %d stored %d late %d duplicate %d rejected %d deferred %d", c.GetReceived(), c.GetStored(), c.GetStoredLate(), c.GetDuplicate(), c.GetRejected(), c.GetDeferred())
}

func reasons(res *ingestv1.WriteResponse) string {
	var out []string
	for _, r := range res.GetRejections() {
		out = append(out, fmt.Sprintf("%s %s %d", r.GetKind(), r.GetReason(), r.GetCount()))
	}
	return strings.Join(out, ", ")
}

const ms = 1_790_000_000_000

func sample(pairs ...string) ingesttest.Series { return ingesttest.One(ingesttest.L(pairs...), ms, 1) }

func TestWriteStores(t *testing.T) {
	for _, m := range []ingestv1.MessageType{rw1, rw2} {
		r := newRig(t, quick())
		load := ingesttest.Load(1000, 2500, 0)
		load = append(load,
			ingesttest.One(ingesttest.L("__name__", "rule:sum", "job", "it's;\n\"quoted\""), ms, 0.1),
			ingesttest.One(ingesttest.L("__name__", "special", "job", "a"), ms, math.Float64frombits(value.StaleNaN)),
			ingesttest.One(ingesttest.L("__name__", "alone"), ms, math.Inf(1)),
			ingesttest.One(ingesttest.L("__name__", strings.Repeat("n", 300), "time", "reserved"), ms, 5),
		)
		res := r.write(t, request(t, m, load...))
		if got := counts(res.GetLedger().GetSamples()); got != "received 2504 stored 2504 late 0 duplicate 0 rejected 0 deferred 0" || len(res.GetRejections()) > 0 {
			t.Errorf("%v: %s, %s", m, got, reasons(res))
		}
		stored := r.Stored()
		if len(stored) != 2504 || len(r.Calls()) != 26 {
			t.Errorf("%v: %d records in %d calls", m, len(stored), len(r.Calls()))
		}
		for _, want := range []ingesttest.Record{
			{MeasureName: "rule--sum", Dimensions: []ingesttest.Dimension{{Name: "job", Value: "it's;\n\"quoted\""}}, Time: fmt.Sprint(ms), MeasureValue: "0.1"},
			{MeasureName: promschema.SampleFamily.Measure("alone"), Dimensions: []ingesttest.Dimension{{Name: "__name__", Value: "alone"}}, Time: fmt.Sprint(ms), MeasureValueType: "MULTI"},
		} {
			if got, have := stored[want.Key()]; !have || want.MeasureValue != got.MeasureValue {
				t.Errorf("%v: %s is not stored", m, want.Key())
			}
		}
		// The second time nothing is encoded and everything is accepted again.
		encoded := encodedSeries(t, r)
		if res := r.write(t, request(t, m, load...)); res.GetLedger().GetSamples().GetStored() != 2504 {
			t.Errorf("%v: again: %s", m, counts(res.GetLedger().GetSamples()))
		}
		if n := encodedSeries(t, r); n != encoded || encoded != 1004 || len(r.Stored()) != 2504 {
			t.Errorf("%v: %v series encoded, then %v, %d records", m, encoded, n, len(r.Stored()))
		}
	}
}

// encodedSeries reads the metric that counts encodings.
func encodedSeries(t *testing.T, r *rig) float64 {
	t.Helper()
	all, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "tributary_ingest_series_encoded_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no such metric")
	return 0
}

func TestInvalidSeriesDoNotSinkTheOthers(t *testing.T) {
	r := newRig(t, quick())
	res := r.write(t, request(t, rw1,
		sample("__name__", "good", "job", "a"),
		sample("job", "no name"),
		sample("__name__", "twice", "a", "1", "a", "2"),
		sample("__name__", "huge", "a", strings.Repeat("v", 1500), "b", strings.Repeat("v", 1500)),
		ingesttest.One(ingesttest.L("__name__", "future"), math.MaxInt64, 1),
		// It fits as a plain record, but not with its name as a dimension too.
		ingesttest.Series{Labels: ingesttest.L("__name__", "tight", "a", strings.Repeat("v", 2040)), Samples: []prompb.Sample{{Timestamp: ms, Value: 1}, {Timestamp: ms + 1, Value: math.NaN()}}},
		ingesttest.Series{Labels: ingesttest.L("__name__", "native"), Histograms: 2, Exemplars: 1},
		sample("__name__", "also_good", "job", "a"),
	))
	if got := counts(res.GetLedger().GetSamples()); got != "received 8 stored 3 late 0 duplicate 0 rejected 5 deferred 0" {
		t.Errorf("got %s", got)
	}
	want := "samples labels_too_large 2, samples missing_metric_name 1, samples duplicate_label_name 1, samples out_of_range 1"
	if got := reasons(res); got != want {
		t.Errorf("got %s", got)
	}
	for _, x := range res.GetRejections() {
		if x.GetReason() == "labels_too_large" && (len(x.GetExamples()) != 2 || !strings.Contains(x.GetExamples()[1], "tight")) {
			t.Errorf("examples %q", x.GetExamples())
		}
	}
	// The two histograms of the message are of one time.
	if got := counts(res.GetLedger().GetHistograms()); got != "received 2 stored 1 late 0 duplicate 1 rejected 0 deferred 0" {
		t.Errorf("histograms: got %s", got)
	}
	if len(r.Stored()) != 5 {
		t.Errorf("stored %v", r.Stored())
	}
	if log := r.log.String(); !strings.Contains(log, "reason=missing_metric_name") || strings.Contains(log, "kind=exemplars") {
		t.Errorf("log: %s", log)
	}
}

// Exemplars and metadata of an invalid series make a request of 2.0 fail alone.
func TestInvalidSeriesWithoutSamples(t *testing.T) {
	r := newRig(t, quick())
	none := ingesttest.Series{Labels: ingesttest.L("job", "no name"), Exemplars: 1, Metadata: true}
	for _, tt := range []struct {
		message ingestv1.MessageType
		outcome string
		level   string
		want    string
	}{
		{rw1, "ok", "INFO", "exemplars missing_metric_name 1"},
		{rw2, "rejected", "WARN", "exemplars missing_metric_name 1, metadata missing_metric_name 1"},
	} {
		res := r.write(t, request(t, tt.message, sample("__name__", "good", "job", "a"), none))
		if got := reasons(res); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.message, got, tt.want)
		}
		if got := counts(res.GetLedger().GetSamples()); got != "received 1 stored 1 late 0 duplicate 0 rejected 0 deferred 0" {
			t.Errorf("%s: got %s", tt.message, got)
		}
		if n := testutil.ToFloat64(r.service.requests.WithLabelValues(tt.outcome)); n != 1 {
			t.Errorf("%s: %v requests are %s", tt.message, n, tt.outcome)
		}
		if log := r.log.String(); !strings.Contains(log, "level="+tt.level+` msg="entries refused for good" kind=exemplars reason=missing_metric_name count=1`) {
			t.Errorf("%s: log: %s", tt.message, log)
		}
	}
}

func TestRepeatsInsideARequest(t *testing.T) {
	r := newRig(t, quick())
	same := sample("__name__", "m", "job", "a")
	other := same
	other.Samples = []prompb.Sample{{Timestamp: ms, Value: 2}}
	res := r.write(t, request(t, rw2, same, other, same, sample("job", "a", "__name__", "m", "empty", "")))
	if got := counts(res.GetLedger().GetSamples()); got != "received 4 stored 1 late 0 duplicate 3 rejected 0 deferred 0" {
		t.Errorf("got %s", got)
	}
	for _, rec := range r.Stored() {
		if rec.MeasureValue != "1" {
			t.Errorf("the first does not win: %+v", rec)
		}
	}
	// Another value in a later request conflicts with what is stored; its repeats are no more written than it is.
	res = r.write(t, request(t, rw2, other, other, sample("__name__", "fine")))
	if got := counts(res.GetLedger().GetSamples()); got != "received 3 stored 1 late 0 duplicate 0 rejected 2 deferred 0" || reasons(res) != "samples conflict 2" {
		t.Errorf("got %s: %s", got, reasons(res))
	}
}

func TestStoredLate(t *testing.T) {
	r := newRig(t, quick())
	r.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply { return ingesttest.Reply{Late: 1} })
	res := r.write(t, request(t, rw2, sample("__name__", "a"), sample("__name__", "b")))
	if got := counts(res.GetLedger().GetSamples()); got != "received 2 stored 2 late 1 duplicate 0 rejected 0 deferred 0" {
		t.Errorf("got %s", got)
	}
}

func TestDeferral(t *testing.T) {
	for _, c := range []struct {
		name, class, message string
		status               int
		reason               string
	}{
		{"throttled", "ThrottlingException", "Request rate limit exceeded", 429, "throttles"},
		{"away", "InternalServerException", "boom", 500, "internal error"},
		{"configured table missing", "ResourceNotFoundException", "The table table does not exist.", 404, "--default-table"},
		{"denied", "AccessDeniedException", "User: arn:aws:iam::1:user/u", 403, "denies"},
		{"bad signature", "InvalidSignatureException", "x-amz-security-token:SECRET", 403, "refuses the credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := quick()
			cfg.MaxInFlightWritesPerRequest = 1
			r := newRig(t, cfg)
			calls := 0
			r.OnWrite(func(call ingesttest.WriteCall, _ []ingesttest.Record) ingesttest.Reply {
				if calls++; calls == 1 {
					return ingesttest.Reply{} // part of it is stored before things go wrong
				}
				return ingesttest.Reply{Class: c.class, Status: c.status, Message: c.message}
			})
			load := append(ingesttest.Load(300, 300, 0), sample("job", "no name"), sample("__name__", "h"))
			load[301].Histograms, load[301].Exemplars = 1, 1
			res := r.write(t, request(t, rw2, load...))
			if got := counts(res.GetLedger().GetSamples()); got != "received 302 stored 100 late 0 duplicate 0 rejected 0 deferred 202" {
				t.Errorf("got %s", got)
			}
			if h, e := res.GetLedger().GetHistograms(), res.GetLedger().GetExemplars(); h.GetDeferred() != 1 || e.GetDeferred() != 1 {
				t.Errorf("histograms %v, exemplars %v", h, e)
			}
			if after := res.GetRetryAfter().AsDuration(); after < time.Second || after > 5*time.Second {
				t.Errorf("retry after %v", after)
			}
			if !strings.Contains(res.GetDeferredReason(), c.reason) || len(res.GetRejections()) != 0 {
				t.Errorf("reason %q, rejections %s", res.GetDeferredReason(), reasons(res))
			}
			if all := res.String() + r.log.String(); strings.Contains(all, "SECRET") {
				t.Errorf("a credential leaks: %s", all)
			}
			// Nothing was lost: the sender comes again, and all is there once.
			r.OnWrite(nil)
			res = r.write(t, request(t, rw2, load...))
			if got := counts(res.GetLedger().GetSamples()); got != "received 302 stored 301 late 0 duplicate 0 rejected 1 deferred 0" || len(r.Stored()) != 303 {
				t.Errorf("again: %s, %d records", got, len(r.Stored()))
			}
		})
	}
}

func TestEndpointAway(t *testing.T) {
	cfg := quick()
	s, err := NewService(cfg, Deps{
		Writer: ingesttest.Writer(t, "http://127.0.0.1:1"), Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Write(context.Background(), request(t, rw1, ingesttest.Load(500, 500, 0)...))
	if err != nil || !strings.Contains(res.GetDeferredReason(), "cannot be reached") || res.GetLedger().GetSamples().GetDeferred() != 500 {
		t.Errorf("got %v, %v", res, err)
	}
}

// deadlines is a Timestream that stores everything and remembers until when.
type deadlines struct {
	RecordWriter // bodies are taken
	mu           sync.Mutex
	all          []time.Time
}

func (d *deadlines) WriteRecordsBody(ctx context.Context, _ []byte, release func()) (*timestreamwrite.WriteRecordsOutput, error) {
	defer release()
	d.mu.Lock()
	defer d.mu.Unlock()
	if deadline, ok := ctx.Deadline(); ok {
		d.all = append(d.all, deadline)
	}
	return &timestreamwrite.WriteRecordsOutput{}, nil
}

// The deadline of the caller ends the writing early enough for the answer.
func TestDeadline(t *testing.T) {
	cfg := quick()
	cfg.WriteTimeout = 2 * time.Hour
	req := request(t, rw2, ingesttest.Load(300, 300, 0)...)
	for left, want := range map[time.Duration]time.Duration{time.Minute: answerTime, 2 * time.Second: 200 * time.Millisecond} {
		deadline := time.Now().Add(time.Hour)
		var seen deadlines
		s, err := NewService(cfg, Deps{
			Writer: &seen, Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
			Now: func() time.Time { return deadline.Add(-left) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		if res, err := s.Write(ctx, req); err != nil || res.GetLedger().GetSamples().GetStored() != 300 {
			t.Errorf("got %v, %v", res, err)
		}
		for _, d := range seen.all {
			if got := deadline.Sub(d); got != want {
				t.Errorf("with %s left the writing ends %s before the deadline, want %s", left, got, want)
			}
		}
		if len(seen.all) == 0 {
			t.Error("no call had a deadline")
		}
	}

	r := newRig(t, cfg)
	r.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply { return ingesttest.Reply{Hang: true} })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	res, err := r.service.Write(ctx, req)
	if err != nil || !strings.Contains(res.GetDeferredReason(), "ran out of time") || res.GetLedger().GetSamples().GetDeferred() != 300 {
		t.Errorf("got %v, %v", res, err)
	}
}

func TestCallerNamesTheTable(t *testing.T) {
	cfg := quick()
	if err := cfg.AllowedTables.Set("metrics.mine"); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, cfg)
	req := request(t, rw2, sample("__name__", "m"))
	req.Destination = &ingestv1.Destination{Table: "mine"}
	r.write(t, req)
	if c := r.Calls()[0]; c.DatabaseName != "metrics" || c.TableName != "mine" {
		t.Errorf("written to %s.%s", c.DatabaseName, c.TableName)
	}
	r.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		return ingesttest.Reply{Class: "ResourceNotFoundException", Status: 404, Message: "The table mine does not exist."}
	})
	_, err := r.client.Write(context.Background(), req)
	if status.Code(err) != codes.NotFound || reason(err) != ReasonTableNotFound || !strings.Contains(err.Error(), "metrics.mine") {
		t.Errorf("got %v", err)
	}
	// Naming the configured table is no different from naming none.
	req.Destination = &ingestv1.Destination{Database: "metrics", Table: "table"}
	if res := r.write(t, req); res.GetDeferredReason() == "" {
		t.Errorf("got %v", res)
	}
}

func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return i.GetReason()
		}
	}
	return ""
}

// Whatever Timestream does, every sample is accounted for, and what is called stored is there.
func TestLedgerUnderRandomFaults(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	var mu sync.Mutex
	n := 0 // of the request: by chance alone all of them, or none, could be deferred
	cfg := quick()
	cfg.WriteRetries = 1
	r := newRig(t, cfg)
	r.OnWrite(func(_ ingesttest.WriteCall, records []ingesttest.Record) ingesttest.Reply {
		mu.Lock()
		defer mu.Unlock()
		fault := rnd.IntN(12)
		switch n {
		case 20:
			fault = 0
		case 40:
			fault = 11
		}
		switch fault {
		case 0:
			return ingesttest.Reply{Class: "ThrottlingException", Status: 429}
		case 1:
			return ingesttest.Reply{Class: "InternalServerException", Status: 500}
		case 2:
			return ingesttest.Reply{Drop: true}
		case 3, 4:
			var out ingesttest.Reply
			for i := range records {
				if rnd.IntN(4) == 0 {
					out.Rejected = append(out.Rejected, ingesttest.Rejected{RecordIndex: i, Reason: []string{
						"The record timestamp is outside the time range [a, b) of the memory store.",
						"The measure name 'x' already has the type MULTI in the table.", "The limit is exceeded.", "?",
					}[rnd.IntN(4)]})
				}
			}
			return out
		case 5:
			if len(records) > 1 {
				return ingesttest.Reply{Class: "ValidationException", Status: 400, Message: "some record is invalid"}
			}
		case 6:
			return ingesttest.Reply{Late: rnd.IntN(len(records) + 1)}
		}
		return ingesttest.Reply{}
	})
	var total ingestv1.Counts
	deferred := 0
	for i := range 60 {
		var load []ingesttest.Series
		mu.Lock()
		n = i
		for range 1 + rnd.IntN(400) {
			s := sample("__name__", fmt.Sprint("m", rnd.IntN(20)), "job", fmt.Sprint("j", rnd.IntN(5)), "i", fmt.Sprint(rnd.IntN(5)))
			s.Samples[0].Timestamp += int64(i)
			s.Samples[0].Value = []float64{1, 2, math.NaN(), math.Inf(1)}[rnd.IntN(4)]
			if rnd.IntN(30) == 0 {
				s.Labels = s.Labels[1:]
			}
			load = append(load, s)
		}
		mu.Unlock()
		res := r.write(t, request(t, []ingestv1.MessageType{rw1, rw2}[i%2], load...))
		c := res.GetLedger().GetSamples()
		total.Received += c.GetReceived()
		total.Stored += c.GetStored()
		total.Duplicate += c.GetDuplicate()
		total.Rejected += c.GetRejected()
		total.Deferred += c.GetDeferred()
		sum := uint64(0)
		for _, x := range res.GetRejections() {
			if x.GetKind() == "samples" {
				sum += x.GetCount()
			}
		}
		if c.GetReceived() != uint64(len(load)) || sum != c.GetRejected() || (res.GetDeferredReason() != "") != (c.GetDeferred() > 0) || res.GetDeferredReason() != "" && c.GetRejected() > 0 {
			t.Fatalf("request %d of %d samples: %v", i, len(load), res)
		}
		if res.GetDeferredReason() != "" {
			deferred++
		}
	}
	if deferred == 0 || deferred == 60 || total.Rejected == 0 || total.Duplicate == 0 {
		t.Errorf("%d of 60 deferred, %s: the faults do not reach everything", deferred, counts(&total))
	}
	process := r.service.totals.Counts()[0]
	if !process.Balanced() || process.Received != total.Received || process.Stored != total.Stored || process.Deferred != total.Deferred {
		t.Errorf("process %+v, sum of answers %s", process, counts(&total))
	}
	if int(total.Stored) < len(r.Stored()) {
		t.Logf("%d stored of which some were in deferred requests: %s", len(r.Stored()), counts(&total))
	}
}

func TestMetricsHaveTheConnectorsNames(t *testing.T) {
	reg := prometheus.NewRegistry()
	e := ingesttest.NewEndpoint(t)
	s, err := NewService(quick(), Deps{Writer: e.Writer(), Logger: slog.New(slog.DiscardHandler), Registerer: reg, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(context.Background(), request(t, rw1, sample("__name__", "a"), sample("b", "no name"))); err != nil {
		t.Fatal(err)
	}
	err = testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP timestream_connector_ignored_samples_total Samples that were refused for good. The awslabs connector's name for it.
# TYPE timestream_connector_ignored_samples_total counter
timestream_connector_ignored_samples_total 1
# HELP timestream_connector_received_samples_total Samples that came. The awslabs connector's name for it.
# TYPE timestream_connector_received_samples_total counter
timestream_connector_received_samples_total 2
# HELP timestream_connector_write_requests_total WriteRecords calls. The awslabs connector's name for it.
# TYPE timestream_connector_write_requests_total counter
timestream_connector_write_requests_total 1
# HELP tributary_ingest_metered_bytes_total Bytes written as Timestream meters them, names counted, before rounding.
# TYPE tributary_ingest_metered_bytes_total counter
tributary_ingest_metered_bytes_total 39
# HELP tributary_ingest_rejected_total Entries refused for good, by kind and reason.
# TYPE tributary_ingest_rejected_total counter
tributary_ingest_rejected_total{kind="samples",reason="missing_metric_name"} 1
# HELP tributary_ingest_write_units_total Write units of 1 KiB as Timestream counts them: the metered bytes of each call, rounded up. Writes are priced by them.
# TYPE tributary_ingest_write_units_total counter
tributary_ingest_write_units_total 1
`), "timestream_connector_ignored_samples_total", "timestream_connector_received_samples_total", "timestream_connector_write_requests_total",
		"tributary_ingest_metered_bytes_total", "tributary_ingest_rejected_total", "tributary_ingest_write_units_total")
	if err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "timestream_connector_write_duration_seconds"); n != 1 || err != nil {
		t.Errorf("write duration: %d, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// A broken sender does not fill the log.
func TestNoticesAreFew(t *testing.T) {
	r := newRig(t, quick())
	for range 20 {
		r.write(t, request(t, rw1, sample("job", "no name")))
	}
	if n := strings.Count(r.log.String(), "missing_metric_name"); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// The ledger of each request is in the log for who asks; what fails no request is no warning.
func TestLedgerInTheLog(t *testing.T) {
	log := &syncBuffer{}
	n := newNotices(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), time.Now)
	var a ledger.Account
	a.Receive(ledger.Samples, 3)
	a.Store(ledger.Samples, 2)
	a.Reject(ledger.Samples, ledger.Conflict, 1, func() string { return "up{}" })
	a.Receive(ledger.Exemplars, 1)
	a.Reject(ledger.Exemplars, ledger.ExemplarTooLarge, 1, nil)
	a.Receive(ledger.Metadata, 1)
	a.Reject(ledger.Metadata, ledger.InvalidSymbols, 1, nil)
	n.account(t.Context(), ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2, store.Destination{Database: "d", Table: "t"}, "me", &a)
	for _, want := range []string{
		"level=DEBUG msg=write table=d.t caller=me samples.received=3 samples.stored=2 samples.late=0 samples.duplicate=0 samples.rejected=1 samples.deferred=0 exemplars.received=1",
		"level=WARN msg=\"entries refused for good\" kind=samples reason=conflict count=1 example=up{}",
		"level=INFO msg=\"entries refused for good\" kind=exemplars reason=exemplar_too_large count=1",
		"level=WARN msg=\"entries refused for good\" kind=metadata reason=invalid_symbols count=1",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log.String())
		}
	}
}
