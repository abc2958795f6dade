// SPDX-License-Identifier: Apache-2.0

// Package system starts the whole of Tributary for tests, in one process and over real listeners: gateway, ingest and query
// against timestream-local through the AWS SDK and its wire protocol. Tests see only URLs, so the same bodies run
// against separate processes too.
package system

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/faults"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// System is a running Tributary.
type System struct {
	// URL is the base URL of the gateway.
	URL string
	// TimestreamURL is where timestream-local speaks Timestream's protocol.
	TimestreamURL string
	// Store is the database behind it.
	Store *local.DB
	// Timestream switches the store off and on, and makes it fail.
	Timestream *Switch
	// Faults makes its answers go wrong at random.
	Faults *faults.Injector
	// Registry holds the metrics of all parts but the store.
	Registry *prometheus.Registry

	deps allinone.Deps
}

// WriteURL is where remote write goes.
func (s *System) WriteURL() string { return s.URL + "/api/v1/write" }

// ReadURL is where remote read goes.
func (s *System) ReadURL() string { return s.URL + "/api/v1/read" }

// Options change a system from its defaults. Nil fields change nothing.
type Options struct {
	App   func(*allinone.Config)
	Store func(*local.Config)
	// Direct hands the database to the services in the process, as `tributary all` does, instead of going through the
	// SDK. Timestream then switches nothing.
	Direct bool
}

// Start starts a system that ends with the test.
func Start(t testing.TB, o Options) *System {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	storeConfig := local.DefaultConfig()
	storeConfig.Dir = t.TempDir()
	storeConfig.Logger = logger
	if o.Store != nil {
		o.Store(&storeConfig)
	}
	db, err := local.Open(t.Context(), storeConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	s := &System{Store: db, Registry: prometheus.NewRegistry(), Faults: &faults.Injector{}}
	s.Timestream = &Switch{next: wire.New(db, wire.Options{MaxBodyBytes: 16 << 20, Logger: logger, Registerer: prometheus.NewRegistry(), Faults: s.Faults})}
	server := httptest.NewServer(s.Timestream)
	t.Cleanup(server.Close)
	s.TimestreamURL = server.URL

	cfg := defaultConfig()
	if o.App != nil {
		o.App(&cfg)
	}
	deps := allinone.Deps{Logger: logger, Registry: s.Registry, Target: server.URL, Writer: db, Querier: db}
	if !o.Direct {
		clientConfig := client.DefaultConfig()
		clientConfig.Endpoint, clientConfig.LocalCredentials = server.URL, true
		writer, err := client.NewWrite(t.Context(), clientConfig)
		if err != nil {
			t.Fatal(err)
		}
		querier, err := client.NewQuery(t.Context(), clientConfig)
		if err != nil {
			t.Fatal(err)
		}
		deps.Writer, deps.Querier = client.NewRecordsWriter(writer, time.Now), client.NewQuerier(querier)
	}
	s.deps = deps
	app, err := launch(t.Context(), cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Stop(); err != nil {
			t.Errorf("tributary ended with: %v", err)
		}
	})
	s.URL = app.URL
	return s
}

// App is gateway, ingest and query over a store.
type App struct {
	// URL is the base URL of its gateway.
	URL string

	stop  context.CancelFunc
	ended chan error
}

// Another starts one more Tributary over the same store; it has metrics and a memory of its own. The caller must Stop it
// before the test ends.
func (s *System) Another(ctx context.Context, change func(*allinone.Config)) (*App, error) {
	deps := s.deps
	deps.Registry = prometheus.NewRegistry()
	cfg := defaultConfig()
	change(&cfg)
	return launch(ctx, cfg, deps)
}

func defaultConfig() allinone.Config {
	cfg := allinone.DefaultConfig()
	cfg.Gateway.ListenAddress, cfg.Gateway.GRPC.ListenAddress = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Gateway.DrainTimeout = 30 * time.Second
	return cfg
}

// launch starts an app and waits until it takes requests.
func launch(ctx context.Context, cfg allinone.Config, deps allinone.Deps) (*App, error) {
	app, err := allinone.New(cfg, deps)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.Background())
	a := &App{URL: app.URL(), stop: stop, ended: make(chan error, 1)}
	go func() { a.ended <- app.Run(running) }()
	ready, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := app.WaitReady(ready); err != nil {
		return nil, errors.Join(err, a.Stop())
	}
	return a, nil
}

// Stop ends the app and returns what it ended with. It must be called once.
func (a *App) Stop() error {
	a.stop()
	return <-a.ended
}

// Switch stands before the store as the network does.
type Switch struct {
	next http.Handler
	mode atomic.Pointer[func(w http.ResponseWriter, r *http.Request, next http.Handler)]
}

// Set puts f between the services and the store; nil takes it away again.
func (s *Switch) Set(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	if f == nil {
		s.mode.Store(nil)
		return
	}
	s.mode.Store(&f)
}

// Away breaks every connection, as a server that is gone does.
func Away(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

// ServeHTTP implements http.Handler.
func (s *Switch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := s.mode.Load(); f != nil {
		(*f)(w, r, s.next)
		return
	}
	s.next.ServeHTTP(w, r)
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(string(b))
	return len(b), nil
}
