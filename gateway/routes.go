// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"

	"github.com/tributary-project/tributary/gateway/internal/otlp"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/gateway/internal/promapi"
	"github.com/tributary-project/tributary/gateway/internal/remoteread"
	"github.com/tributary-project/tributary/gateway/internal/remotewrite"
	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/nesting"
	"github.com/tributary-project/tributary/proto/openapi"
)

// jsonPrefix is where the services are offered as JSON.
const jsonPrefix = "/api/tributary/v1/"

// writePaths are those of remote write: Prometheus' own, the awslabs connector's, Cortex' and Mimir's, and Thanos'.
func writePaths() []string {
	return []string{"/api/v1/write", "/write", "/api/v1/push", "/api/v1/receive"}
}

// routes builds the handler of all paths.
func (g *Gateway) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	for _, path := range writePaths() {
		g.handle(mux, path, &remotewrite.Handler{Forwarder: g.forward, Refused: g.metrics.refusedFor(path), Logger: g.logger})
	}
	for _, path := range otlp.Paths() {
		g.handle(mux, path, &otlp.Handler{Forwarder: g.forward, Refused: g.metrics.refusedFor(path), Logger: g.logger})
	}
	for _, path := range []string{"/api/v1/read", "/read"} {
		g.handle(mux, path, &remoteread.Handler{
			Query:   g.query.client,
			Gate:    g.gate,
			Buffers: g.buffers,
			Reader:  g.reader,
			Limits: remoteread.Limits{
				Timeout: g.cfg.ReadTimeout, TimeoutFlag: readTimeoutFlag,
				MaxQueries: g.cfg.MaxReadQueries, MaxQueriesFlag: maxReadQueriesFlag,
				Concurrency:      g.cfg.ReadConcurrency,
				MaxResponseBytes: int64(g.cfg.MaxReadResponseBytes), MaxResponseBytesFlag: maxReadResponseBytesFlag,
			},
			Refused:  g.metrics.refusedFor(path),
			Logger:   g.logger,
			CallerID: httpCaller,
		})
	}
	if err := g.promRoutes(mux); err != nil {
		return nil, err
	}
	json, err := g.jsonHandler()
	if err != nil {
		return nil, err
	}
	g.handle(mux, jsonPrefix, json)
	mux.HandleFunc("GET "+jsonPrefix+"openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openapi.Document) //nolint:errcheck // the client went away
	})
	mux.Handle("GET /{$}", g.statusPage())
	admin.Register(mux, g.cfg.TelemetryPath, g.deps.Registry, g.Ready)
	return g.closeWhileDraining(mux), nil
}

// promRoutes adds the paths of Prometheus' API.
func (g *Gateway) promRoutes(mux *http.ServeMux) error {
	origin, err := promapi.Origin(g.cfg.CORSOrigin)
	if err != nil {
		return err
	}
	api := promapi.New(promapi.Config{
		Query:   g.query.client,
		Gate:    g.gate,
		Buffers: g.buffers,
		Reader: payload.NewReader(payload.Limits{
			MaxBytes: int64(g.cfg.MaxFormBytes), MaxBytesFlag: maxFormBytesFlag,
			Timeout: g.cfg.ReadTimeout, TimeoutFlag: readTimeoutFlag,
		}),
		Expressions: nesting.Limits{MaxBytes: int(g.cfg.MaxExpressionBytes), MaxBytesFlag: maxExpressionBytesFlag},
		Timeout:     g.cfg.ReadTimeout, TimeoutFlag: readTimeoutFlag,
		CORSOrigin: origin,
		Refused:    func(path, reason string) { g.metrics.refusedFor(path)(reason) },
		CallerID:   httpCaller,
		Info:       promapi.Info{Build: g.deps.Build, Settings: g.deps.Settings, Start: g.status.start},
		Logger:     g.logger,
	})
	for _, r := range api.Routes() {
		g.handle(mux, r.Pattern, r.Handler)
	}
	return nil
}

func (g *Gateway) handle(mux *http.ServeMux, path string, h http.Handler) {
	mux.Handle(path, g.metrics.instrument(path, g.logger, h))
}

// closeWhileDraining ends kept connections while their clients can still find another gateway.
func (g *Gateway) closeWhileDraining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
