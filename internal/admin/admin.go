// SPDX-License-Identifier: Apache-2.0

// Package admin serves the paths that every process has: metrics, health, readiness and profiles. What readiness means
// is left to the process.
package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ErrUnknownRole is what a ReadyFunc wraps for a role that the process neither has nor reaches.
var ErrUnknownRole = errors.New("no such role")

// ReadyFunc reports why the process, or the given role of it, is not ready; nil means ready. The role is empty when
// the caller did not ask for one.
type ReadyFunc func(role string) error

// Register adds `metricsPath`, /-/healthy, /-/ready[?role=…] and /debug/pprof/ to mux.
func Register(mux *http.ServeMux, metricsPath string, reg *prometheus.Registry, ready ReadyFunc) {
	mux.Handle("GET "+metricsPath, promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Healthy.")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, r *http.Request) {
		err := ready(r.URL.Query().Get("role"))
		if errors.Is(err, ErrUnknownRole) { // a slip in a probe must not look like an outage
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err != nil {
			http.Error(w, "Not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "Ready.")
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// NewRegistry returns a registry with the Go runtime and process collectors.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}
