// SPDX-License-Identifier: Apache-2.0

// Package promapi is Prometheus' HTTP API, /api/v1, as Prometheus 3.13 answers it: parameters, status codes, error texts and
// JSON to the byte (https://prometheus.io/docs/prometheus/latest/querying/api/; what that leaves open follows
// web/api/v1 of Prometheus). It reads parameters and writes JSON; finding and evaluating is left to the query service.
package promapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/internal/fairgate"
	"github.com/tributary-project/tributary/internal/nesting"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// Prefix is the path of the API.
const Prefix = "/api/v1/"

// Config is what an API is given. All fields are needed.
type Config struct {
	// Query finds and evaluates.
	Query queryv1.QueryServiceClient
	// Gate bounds requests and the bytes of their bodies, Buffers the bytes of answers that wait for the certainty
	// that they are no errors.
	Gate, Buffers *fairgate.Gate
	// Reader reads the bodies of forms within their limits.
	Reader *payload.Reader
	// Expressions bounds the expressions and selectors that requests have.
	Expressions nesting.Limits
	// Timeout bounds a request until its answer begins, and then again until the answer was taken. TimeoutFlag moves it.
	Timeout     time.Duration
	TimeoutFlag string
	// CORSOrigin is which origins browsers may ask from, as a whole; Origin compiles it.
	CORSOrigin *regexp.Regexp
	// Refused is told the path and the reason of each answer that is not a success. It must not block.
	Refused func(path, reason string)
	// CallerID names who sends a request.
	CallerID func(*http.Request) string
	// Info is what the gateway knows of itself.
	Info Info
	// Logger gets what an operator should know.
	Logger *slog.Logger
}

// API answers requests.
type API struct {
	Config
	parser parser.Parser
}

// New returns an API.
//
// Its parser takes the experimental syntax and functions, whatever the query service has switched on: what it parses
// itself is only formatted, shown, or taken for selectors, and the query service has the last word on the rest.
func New(c Config) *API {
	return &API{Config: c, parser: parser.NewParser(parser.Options{
		EnableExperimentalFunctions:  true,
		ExperimentalDurationExpr:     true,
		EnableExtendedRangeSelectors: true,
		EnableBinopFillModifiers:     true,
	})}
}

// Origin compiles the expression of --web.cors.origin, which is anchored as Prometheus' is.
func Origin(expr string) (*regexp.Regexp, error) { return regexp.Compile("^(?s:" + expr + ")$") }

// Route is one path of the API.
type Route struct {
	// Pattern is a pattern of http.ServeMux without a method.
	Pattern string
	// Handler answers it.
	Handler http.Handler
}

// Routes returns all paths, and last the rest of the prefix, where there is only OPTIONS.
func (a *API) Routes() []Route {
	get, both := []string{http.MethodGet}, []string{http.MethodGet, http.MethodPost}
	route := func(name string, methods []string, answer func(*call) error) Route {
		return Route{Prefix + name, &endpoint{api: a, path: Prefix + name, methods: methods, answer: answer, timeout: a.Timeout}}
	}
	return []Route{
		route("query", both, (*call).query),
		route("query_range", both, (*call).queryRange),
		route("query_exemplars", both, (*call).queryExemplars),
		route("format_query", both, (*call).formatQuery),
		route("parse_query", both, (*call).parseQuery),
		route("series", both, (*call).series),
		route("labels", both, (*call).labelNames),
		route("label/{name}/values", get, (*call).labelValues),
		route("metadata", get, (*call).metadata),
		route("status/buildinfo", get, (*call).buildInfo),
		route("status/runtimeinfo", get, (*call).runtimeInfo),
		route("status/flags", get, (*call).flags),
		route("status/config", get, (*call).config),
		route("rules", get, constant(`{"groups":[]}`)),
		route("alerts", get, constant(`{"alerts":[]}`)),
		route("targets", get, constant(`{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}`)),
		route("alertmanagers", get, constant(`{"activeAlertmanagers":[],"droppedAlertmanagers":[]}`)),
		route("", nil, nil),
	}
}

// constant answers for what the gateway has none of: it neither scrapes nor evaluates rules.
func constant(data string) func(*call) error {
	return func(c *call) error {
		c.begin()
		c.json.WriteRaw(data)
		c.end(nil, nil)
		return nil
	}
}

// endpoint is one path.
type endpoint struct {
	api     *API
	path    string
	methods []string // besides OPTIONS; none for a path that is not there
	answer  func(*call) error
	timeout time.Duration
}

// ServeHTTP implements http.Handler.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodOptions && !slices.Contains(e.methods, r.Method) {
		e.refuseMethod(w)
		return
	}
	w.Header().Add("Vary", "Accept-Encoding")
	e.api.setCORS(w.Header(), r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err := e.serve(w, r); err != nil {
		refusal := toError(err)
		e.api.Refused(e.path, refusal.typ)
		refusal.write(w, r)
	}
}

// refuseMethod answers as the router of Prometheus does: in plain text, and without CORS.
func (e *endpoint) refuseMethod(w http.ResponseWriter) {
	if len(e.methods) == 0 {
		e.api.Refused(e.path, "not_found")
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	e.api.Refused(e.path, "method_not_allowed")
	allowed := append([]string{http.MethodOptions}, e.methods...)
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
}

// setCORS lets scripts of other origins read the answer, as Prometheus' httputil.SetCORS does.
func (a *API) setCORS(h http.Header, r *http.Request) {
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin")
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	h.Set("Access-Control-Expose-Headers", "Date")
	if a.CORSOrigin.MatchString(origin) {
		h.Set("Access-Control-Allow-Origin", origin)
	}
}

// serve answers a request, or returns an error when nothing of the answer was sent. It cuts the connection when it fails
// after that.
func (e *endpoint) serve(w http.ResponseWriter, r *http.Request) error {
	a := e.api
	ticket, err := a.Gate.Enter(a.CallerID(r), 0)
	if err != nil {
		return payload.Overloaded(err)
	}
	defer ticket.Leave()
	free, err := a.readForm(w, r, ticket)
	if err != nil {
		return err
	}
	defer free()
	buffers, err := a.Buffers.Enter(a.CallerID(r), 0)
	if err != nil {
		return payload.Overloaded(err)
	}
	defer buffers.Leave()

	// The answer has to begin within the time-out, and be taken within the same time again.
	ctx, cancel := context.WithTimeout(r.Context(), 2*e.timeout)
	defer cancel()
	ctx, late := context.WithCancelCause(ctx)
	defer late(nil)
	timer := time.AfterFunc(e.timeout, func() { late(errLate) })
	defer timer.Stop()

	c := &call{api: a, path: e.path, req: r.WithContext(ctx), caller: a.CallerID(r)}
	c.answer = newAnswer(w, r, buffers, func() {
		timer.Stop()
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(e.timeout)) //nolint:errcheck // a test's recorder has none
	})
	err = e.answer(c)
	if err == nil && c.empty {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err == nil {
		err = c.finish()
	}
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), errLate) {
		err = a.timedOut()
	}
	if !c.begun {
		return err
	}
	reason := "aborted"
	if c.takeErr != nil || r.Context().Err() != nil {
		reason = "client_gone"
	}
	a.Refused(e.path, reason)
	a.Logger.Warn("an answer was cut off in the middle", "path", e.path, "caller", c.caller, "reason", reason, "err", err)
	panic(http.ErrAbortHandler) // or it would look whole
}

// errLate is why a context ended whose answer did not begin in time.
var errLate = errors.New("late")

// readForm replaces the body of a form by one in memory; free gives it back. Anything else is not looked at, as in
// Prometheus.
func (a *API) readForm(w http.ResponseWriter, r *http.Request, ticket *fairgate.Ticket) (free func(), err error) {
	if r.Method != http.MethodPost {
		return func() {}, nil
	}
	body, err := a.Reader.Read(w, r, ticket)
	if err != nil {
		return nil, err
	}
	// Parsed it is there once more, and every parameter has a head.
	if err := ticket.Take(3 * int64(len(body.Bytes))); err != nil {
		body.Free()
		return nil, payload.Overloaded(err)
	}
	// Without a MaxBytesReader net/http has a limit of its own, which it does not tell of.
	r.Body = http.MaxBytesReader(w, readCloser{bytes.NewReader(body.Bytes)}, int64(len(body.Bytes))+1)
	return body.Free, nil
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// call is one request and the answer to it.
type call struct {
	api    *API
	path   string
	req    *http.Request
	caller string
	// empty asks for an answer without content.
	empty bool
	*answer
}
