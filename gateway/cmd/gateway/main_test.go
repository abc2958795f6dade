// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/internal/grpcserver"
	"github.com/tributary-project/tributary/internal/process"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFlagDefaults(t *testing.T) {
	cfg := defaultConfig()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	cfg.registerFlags(fs)
	if err := fs.Parse(nil); err != nil {
		t.Fatal(err)
	}
	again := defaultConfig()
	again.registerFlags(flag.NewFlagSet("test", flag.ContinueOnError)) // it remembers its flags' names
	if !reflect.DeepEqual(cfg, again) {
		t.Errorf("got  %+v\nwant %+v", cfg, again)
	}
	if err := cfg.validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	for name, want := range map[string]string{"ingest.address": "127.0.0.1:9211", "query.address": "127.0.0.1:9221", "log.level": "info"} {
		if f := fs.Lookup(name); f == nil || f.DefValue != want {
			t.Errorf("--%s: got %v, want %s", name, f, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	tests := []struct {
		give      []string
		wantUsage bool
		want      string
	}{
		{[]string{"--nonsense"}, true, "nonsense"},
		{[]string{"surplus"}, true, "surplus"},
		{[]string{"--write.timeout=soon"}, true, "write.timeout"},
		{[]string{"--write.timeout=0s"}, true, "--write.timeout"},
		{[]string{"--log.level=loud"}, true, "--log.level"},
		{[]string{"--query.address=foo"}, true, "--query.address=foo: want host:port"},
		{[]string{"--ingest.address=http://foo:9211"}, true, "--ingest.address=http://foo:9211: want host:port"},
		{[]string{"--ingest.tls-ca=ca.pem"}, false, "--ingest.tls"},
		{[]string{"--query.tls", "--query.tls-ca=missing.pem"}, false, "missing.pem"},
		{[]string{"healthcheck", "--nonsense"}, true, "nonsense"},
		{[]string{"healthcheck", "--url=http://127.0.0.1:1/", "--timeout=1s"}, false, "127.0.0.1:1"},
	}
	for _, tt := range tests {
		err := run(t.Context(), tt.give, io.Discard, io.Discard)
		var usage process.UsageError
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, &usage) != tt.wantUsage {
			t.Errorf("%v: got %v (usage %t), want an error that names %q (usage %t)", tt.give, err, errors.As(err, &usage), tt.want, tt.wantUsage)
		}
	}
	t.Setenv("log_level", "loud") // the awslabs connector's name
	if err := run(t.Context(), nil, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "--log.level") {
		t.Errorf("got %v", err)
	}
	var help bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &help, io.Discard); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "--web.max-request-bytes=32MiB") || !strings.Contains(help.String(), "PromQL") {
		t.Errorf("got %v and %d bytes of help", err, help.Len())
	}
}

// fakeIngest says yes to everything.
type fakeIngest struct {
	ingestv1.UnimplementedIngestServiceServer
}

func (fakeIngest) Write(context.Context, *ingestv1.WriteRequest) (*ingestv1.WriteResponse, error) {
	return &ingestv1.WriteResponse{}, nil
}

// TestRun runs the process with an ingest service over TCP and without a query service.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ingest, err := grpcserver.New(grpcserver.DefaultConfig("127.0.0.1:0"), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ingestv1.RegisterIngestServiceServer(ingest.GRPC, fakeIngest{})
	done := make(chan error, 2)
	go func() { done <- ingest.Serve(ctx) }()

	logs, logWriter := io.Pipe()
	go func() {
		err := run(ctx, []string{
			"--web.listen-address=127.0.0.1:0", "--grpc.listen-address=127.0.0.1:0", "--backend.health-interval=5ms",
			"--ingest.address=" + ingest.Addr().String(), "--query.address=127.0.0.1:1",
		}, io.Discard, logWriter)
		_ = logWriter.Close()
		done <- err
	}()
	var url string
	lines := bufio.NewScanner(logs)
	for url == "" && lines.Scan() {
		if m := regexp.MustCompile(`url=(http://\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			url = m[1]
		}
	}
	if url == "" {
		t.Fatalf("the gateway did not say where it listens; it ended with %v", <-done)
	}
	go func() { _, _ = io.Copy(io.Discard, logs) }()

	ready := func(role string) bool {
		return run(ctx, []string{"healthcheck", "--url=" + url + "/-/ready?role=" + role}, io.Discard, io.Discard) == nil
	}
	for deadline := time.Now().Add(time.Minute); !ready("ingest"); time.Sleep(5 * time.Millisecond) { // polling a condition
		if time.Now().After(deadline) {
			t.Fatal("ingest does not become ready")
		}
	}
	if !ready("") || ready("query") {
		t.Errorf("got ready %t, query %t; want true, false", ready(""), ready("query"))
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Post(url+"/api/v1/write", "application/x-protobuf", strings.NewReader("\x00"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Errorf("got %s", res.Status)
	}
	res, err = client.Get(url + "/api/tributary/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(body), ingest.Addr().String()) || !strings.Contains(string(body), "web.max-request-bytes") {
		t.Errorf("got %s %v, want the flags in force", body, err)
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("got %v", err)
		}
	}
}
