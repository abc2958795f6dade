// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	statusv1 "github.com/tributary-project/tributary/proto/tributary/status/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
)

// get fetches a path of the admin listener.
func get(t *testing.T, base, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// The process as main runs it: listeners, health, status, metrics, and an end without leftovers.
func TestProcess(t *testing.T) {
	e := ingesttest.NewEndpoint(t)
	cfg := DefaultConfig()
	cfg.Service = quick()
	cfg.Timestream = ingesttest.Config(e.URL)
	cfg.GRPC.ListenAddress, cfg.AdminAddress = "127.0.0.1:0", "127.0.0.1:0"
	i, err := New(context.Background(), cfg, ProcessDeps{
		Logger: slog.New(slog.DiscardHandler), Registry: admin.NewRegistry(), Build: process.Build{Version: "v1", GoVersion: "go"},
		Settings: []flags.Setting{{Name: "region", Value: "x"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	conn, err := grpc.NewClient(i.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	res, err := ingestv1.NewIngestServiceClient(conn).Write(ctx, request(t, rw2, sample("__name__", "m")), grpc.WaitForReady(true))
	if err != nil || res.GetLedger().GetSamples().GetStored() != 1 {
		t.Fatalf("got %v, %v", res, err)
	}
	h, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: "tributary.ingest.v1.IngestService"})
	if err != nil || h.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", h, err)
	}

	st, err := statusv1.NewStatusServiceClient(conn).GetStatus(ctx, &statusv1.GetStatusRequest{Role: "ingest"})
	if err != nil {
		t.Fatal(err)
	}
	if st.GetRole() != "ingest" || st.GetDatabase() != "metrics" || st.GetTable() != "table" || st.GetBuild().GetVersion() != "v1" ||
		st.GetLedger().GetSamples().GetStored() != 1 || len(st.GetSettings()) != 1 || st.GetStartTime().AsTime().IsZero() {
		t.Errorf("status %v", st)
	}
	// The first write waits a second for the catalogue; what a busy machine does not read by then is read in the background.
	unhealthy := func(d *statusv1.Dependency) bool { return !d.GetHealthy() }
	for deadline := time.Now().Add(time.Minute); slices.ContainsFunc(st.GetDependencies(), unhealthy) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if st, err = statusv1.NewStatusServiceClient(conn).GetStatus(ctx, &statusv1.GetStatusRequest{Role: "ingest"}); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{}
	for _, d := range st.GetDependencies() {
		names = append(names, d.GetName())
		if !d.GetHealthy() || d.GetTarget() != e.URL {
			t.Errorf("dependency %v", d)
		}
	}
	if !slices.Equal(names, []string{"timestream-write", "timestream-query"}) {
		t.Errorf("dependencies %v", names)
	}
	if _, err := statusv1.NewStatusServiceClient(conn).GetStatus(ctx, &statusv1.GetStatusRequest{Role: "query"}); status.Code(err) != codes.NotFound {
		t.Errorf("another role: %v", err)
	}

	base := "http://" + i.AdminAddr().String()
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"/-/healthy", 200, ""}, {"/-/ready", 200, ""}, {"/-/ready?role=ingest", 200, ""}, {"/-/ready?role=query", 400, "query"},
		{"/metrics", 200, `tributary_ingest_entries_total{kind="samples",outcome="stored"} 1`},
		{"/metrics", 200, "tributary_ingest_build_info"}, {"/debug/pprof/cmdline", 200, ""},
	} {
		if code, body := get(t, base, c.path); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %.200s", c.path, code, body)
		}
	}
	if err := process.Healthcheck(ctx, []string{"--url=" + base + "/-/ready"}, process.Listener{Flag: "web.listen-address"}, io.Discard); err != nil {
		t.Errorf("healthcheck: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// While Timestream is away the service says so, and stays ready: its answers tell senders to come again.
func TestStatusWhileTimestreamIsAway(t *testing.T) {
	r := newRig(t, quick())
	away := ingesttest.Reply{Class: "InternalServerException", Status: 500, Message: "boom"}
	r.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply { return away })
	r.OnQuery(func(string) ([]string, [][]string, ingesttest.Reply) { return nil, nil, away })
	r.write(t, request(t, rw2, sample("__name__", "m")))
	st, err := r.service.GetStatus(context.Background(), &statusv1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range st.GetDependencies() {
		if d.GetHealthy() || d.GetMessage() == "" {
			t.Errorf("dependency %v", d)
		}
	}
	if err := r.service.Ready(); err != nil {
		t.Error(err)
	}
	if st.GetLedger().GetSamples().GetDeferred() != 1 {
		t.Errorf("ledger %v", st.GetLedger())
	}
}

// Run reads the catalogue in the background, and again when it could not be read.
func TestCatalogueIsRefreshed(t *testing.T) {
	cfg := quick()
	cfg.CatalogueRefresh = 1_000_000_000 // 1 s, the least that the flag allows
	r := newRig(t, cfg)
	asked := make(chan string, 100)
	r.OnQuery(func(s string) ([]string, [][]string, ingesttest.Reply) {
		asked <- s
		return nil, nil, ingesttest.Reply{}
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.service.Run(ctx) }()
	for range 4 { // DESCRIBE and SHOW MEASURES, twice
		<-asked
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestNewReleasesWhatItOpened(t *testing.T) {
	cfg := DefaultConfig()
	cfg.GRPC.ListenAddress, cfg.AdminAddress = "127.0.0.1:0", "256.0.0.1:0"
	_, err := New(context.Background(), cfg, ProcessDeps{Logger: slog.New(slog.DiscardHandler), Registry: admin.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), "--web.listen-address") {
		t.Errorf("got %v", err)
	}
	cfg.Service.Table = "?"
	if _, err = New(context.Background(), cfg, ProcessDeps{Logger: slog.New(slog.DiscardHandler), Registry: admin.NewRegistry()}); err == nil || !strings.Contains(err.Error(), "--default-table") {
		t.Errorf("got %v", err)
	}
	cfg = DefaultConfig()
	cfg.GRPC.ListenAddress, cfg.AdminAddress = "127.0.0.1:0", "127.0.0.1:0"
	i, err := New(context.Background(), cfg, ProcessDeps{Logger: slog.New(slog.DiscardHandler), Registry: admin.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}
