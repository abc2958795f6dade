// SPDX-License-Identifier: Apache-2.0

// Package status shows a person what a timestream-local is doing: one page of HTML without scripts or anything from elsewhere,
// and the same as JSON. What is shown comes from the database's statistics and from the process' metrics, never from a scan.
// It leaves graphs and history to those who scrape the metrics.
package status

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/timestream/local"
)

// Store is what is shown; *local.DB is one.
type Store interface {
	Status(ctx context.Context) (*local.Status, error)
}

// Options are what a page is made of.
type Options struct {
	Store Store
	// Gatherer has the metrics of the store and of its wire protocol.
	Gatherer prometheus.Gatherer
	Build    process.Build
	// Settings are the flags in force, without secrets.
	Settings []flags.Setting
	// Faults returns the faults on demand in force, empty for none; nil is none.
	Faults func() string
	// Admin is the base URL of the listener with metrics and health, empty when that is the page's own.
	Admin string
	// Logger may be nil.
	Logger *slog.Logger
	// Now may be nil: time.Now.
	Now func() time.Time
}

// keepFor is how long a page is shown again, so that reloading it costs nothing.
const keepFor = time.Second

// Page is what is shown, and the JSON form of it.
type Page struct {
	Version   string          `json:"version"`
	Revision  string          `json:"revision,omitempty"`
	GoVersion string          `json:"goVersion"`
	Now       time.Time       `json:"now"`
	Started   time.Time       `json:"started"`
	Store     *local.Status   `json:"store"`
	Process   Process         `json:"process"`
	Faults    string          `json:"faults"`
	Settings  []flags.Setting `json:"settings"`
	Admin     string          `json:"-"`
}

// Uptime is how long the process has served.
func (p *Page) Uptime() time.Duration { return p.Now.Sub(p.Started) }

// New returns the handler of GET /. The answer is HTML, or JSON with ?format=json or for an Accept header that asks for it.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &handler{opts: o, started: o.Now()}
}

type handler struct {
	opts    Options
	started time.Time

	mu   sync.Mutex
	last *Page
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page, err := h.page(r.Context())
	if err != nil {
		h.opts.Logger.Error("no status", "err", err)
		http.Error(w, "no status: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept")
	header.Set("X-Content-Type-Options", "nosniff")
	var body bytes.Buffer
	if wantsJSON(r) {
		header.Set("Content-Type", "application/json")
		enc := json.NewEncoder(&body)
		enc.SetIndent("", "  ")
		err = enc.Encode(page)
	} else {
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
		err = pageTemplate.Execute(&body, page)
	}
	if err != nil {
		h.opts.Logger.Error("status not written", "err", err)
		http.Error(w, "status not written", http.StatusInternalServerError)
		return
	}
	if _, err := w.Write(body.Bytes()); err != nil {
		h.opts.Logger.Debug("status not sent", "err", err)
	}
}

// wantsJSON tells whether JSON comes before HTML in what the client accepts; a browser names HTML first.
func wantsJSON(r *http.Request) bool {
	switch r.URL.Query().Get("format") {
	case "json":
		return true
	case "html":
		return false
	}
	for _, kind := range strings.Split(r.Header.Get("Accept"), ",") {
		kind, _, _ = strings.Cut(kind, ";")
		switch strings.TrimSpace(kind) {
		case "application/json":
			return true
		case "text/html":
			return false
		}
	}
	return false
}

// page makes a page, or shows the last again. One is made at a time.
func (h *handler) page(ctx context.Context) (*Page, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.opts.Now()
	if h.last != nil && now.Sub(h.last.Now) < keepFor {
		return h.last, nil
	}
	o := &h.opts
	store, err := o.Store.Status(ctx)
	if err != nil {
		return nil, err
	}
	p := &Page{Version: o.Build.Version, Revision: o.Build.Revision, GoVersion: o.Build.GoVersion, Now: now, Started: h.started, Store: store, Settings: o.Settings, Admin: strings.TrimSuffix(o.Admin, "/")}
	if o.Faults != nil {
		p.Faults = o.Faults()
	}
	if p.Process, err = gather(o.Gatherer, p.Uptime()); err != nil {
		return nil, err
	}
	h.last = p
	return p, nil
}

//go:embed status.html
var pageHTML string

var pageTemplate = template.Must(template.New("status").Funcs(template.FuncMap{
	"bytes": bytesText, "count": countText, "duration": durationText, "seconds": secondsText, "rate": rateText, "utc": utcText, "percent": percent, "short": short, "words": words,
}).Parse(pageHTML))
