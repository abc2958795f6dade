// SPDX-License-Identifier: Apache-2.0

// Package adminport is timestream-local's second listener: what operates a server, rather than uses it, has a port of its own, so
// that whoever may call the API need not be able to make its calls fail. It serves metrics, health, readiness and profiles, and
// whatever a process registers with Handle. Without an address of its own all of that is on the API's listener. What the paths do
// is left to those who register them.
package adminport

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/internal/admin"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/internal/tlsconfig"
)

// Options are the listener's settings.
type Options struct {
	// Address is where it listens; empty: the API's listener serves its paths.
	Address string
	// TLS is its side of TLS.
	TLS tlsconfig.Server

	// prefix begins the names of the flags.
	prefix string
}

// DefaultOptions returns the defaults: loopback, beside the API's port.
func DefaultOptions() Options { return Options{Address: "127.0.0.1:9232"} }

// RegisterFlags registers <prefix>admin.listen-address and the listener's TLS flags, with the present values as defaults.
func (o *Options) RegisterFlags(fs *flag.FlagSet, prefix string) {
	o.prefix = prefix + "admin."
	fs.StringVar(&o.Address, o.prefix+"listen-address", o.Address, "Address for what operates the server: /faults, /snapshot, /cost, /metrics, /-/healthy, /-/ready and /debug/pprof. Nobody is asked for a password: keep it to trusted clients. Empty: the API's listener serves all of it.")
	o.TLS.RegisterFlags(fs, o.prefix, "admin")
}

// Deps are what a listener is made of.
type Deps struct {
	// API is what the API's listener serves.
	API *http.ServeMux
	// Registry is shown at /metrics.
	Registry *prometheus.Registry
	// Ready is what /-/ready answers.
	Ready admin.ReadyFunc
	// Drain is how long requests in flight may take at the end.
	Drain  time.Duration
	Logger *slog.Logger
}

// Listener serves the paths.
type Listener struct {
	api, own *http.ServeMux
	server   *process.HTTPServer
	// paths are those that it serves, for whoever asks for another.
	paths []string
}

// New listens, if there is an address, and serves metrics, health and profiles there. Errors name the flag.
func New(o Options, d Deps) (*Listener, error) {
	l := &Listener{api: d.API}
	if o.Address == "" {
		if o.TLS.Enabled() {
			return nil, process.UsageError{Err: fmt.Errorf("--%stls-…: need --%slisten-address", o.prefix, o.prefix)}
		}
		return l, nil
	}
	tls, err := o.TLS.Config()
	if err != nil {
		return nil, process.UsageError{Err: err}
	}
	l.own = http.NewServeMux()
	admin.Register(l.own, "/metrics", d.Registry, d.Ready)
	l.paths = []string{"/metrics", "/-/healthy", "/-/ready", "/debug/pprof/"}
	api := "--" + strings.TrimSuffix(o.prefix, "admin.") + "listen-address"
	l.own.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.Method+" "+r.URL.Path+": this is the admin listener of timestream-local. It serves "+strings.Join(l.paths, ", ")+"; the Write and Query APIs and the status page are on the API's ("+api+").", http.StatusNotFound)
	})
	l.server, err = process.NewHTTPServer(o.prefix+"listen-address", o.Address, tls, l.own, d.Drain, d.Logger)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Handle registers a path by a pattern of http.ServeMux. On the API's listener such a path answers where it is to be found now.
func (l *Listener) Handle(pattern string, h http.Handler) {
	if l.own == nil {
		l.api.Handle(pattern, h)
		return
	}
	l.own.Handle(pattern, h)
	if !strings.HasSuffix(pattern, "/") {
		l.paths = append(l.paths, pattern)
	}
	l.api.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, strings.TrimSuffix(r.URL.Path, "/")+" is on the admin listener: "+l.URL(), http.StatusNotFound)
	})
}

// URL is the listener's base URL, empty without an address of its own.
func (l *Listener) URL() string {
	if l.server == nil {
		return ""
	}
	return l.server.URL()
}

// Serve is an actor: it serves until ctx ends. Without an address of its own it returns at once.
func (l *Listener) Serve(ctx context.Context) error {
	if l.server == nil {
		return nil
	}
	return l.server.Serve(ctx)
}

// Close releases the listener of one that was never served.
func (l *Listener) Close() error {
	if l.server == nil {
		return nil
	}
	return l.server.Close()
}
