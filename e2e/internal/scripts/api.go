// SPDX-License-Identifier: Apache-2.0

package scripts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	jsoniter "github.com/json-iterator/go"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/jsonutil"
	"github.com/prometheus/prometheus/util/stats"
	"google.golang.org/protobuf/encoding/protojson"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// API evaluates expressions through the HTTP API of Prometheus. Its queryables are *Storage, which say where.
//
// Prometheus' JSON leaves out of a histogram all but its buckets. Where an answer has histograms, they are fetched once more
// by the typed API, in full, and have to look in JSON as they did.
type API struct {
	// Client sends the requests.
	Client *http.Client
}

var _ promql.QueryEngine = (*API)(nil)

// NewInstantQuery implements promql.QueryEngine.
func (a *API) NewInstantQuery(_ context.Context, q storage.Queryable, _ promql.QueryOpts, expr string, at time.Time) (promql.Query, error) {
	s, ok := q.(*Storage)
	if !ok {
		return nil, fmt.Errorf("%T has no URL", q)
	}
	return &apiQuery{
		api: a, base: s.URL, path: "/api/v1/query", form: url.Values{"query": {expr}, "time": {seconds(at)}},
		typed: "/api/tributary/v1/query", request: map[string]any{"query": expr, "timeMs": at.UnixMilli()},
	}, nil
}

// NewRangeQuery implements promql.QueryEngine.
func (a *API) NewRangeQuery(_ context.Context, q storage.Queryable, _ promql.QueryOpts, expr string, start, end time.Time, step time.Duration) (promql.Query, error) {
	s, ok := q.(*Storage)
	if !ok {
		return nil, fmt.Errorf("%T has no URL", q)
	}
	return &apiQuery{
		api: a, base: s.URL, path: "/api/v1/query_range",
		form:    url.Values{"query": {expr}, "start": {seconds(start)}, "end": {seconds(end)}, "step": {strconv.FormatInt(step.Milliseconds(), 10) + "ms"}},
		typed:   "/api/tributary/v1/query_range",
		request: map[string]any{"query": expr, "startMs": start.UnixMilli(), "endMs": end.UnixMilli(), "stepMs": step.Milliseconds()},
	}, nil
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// apiQuery is a promql.Query.
type apiQuery struct {
	api         *API
	base        string
	path, typed string
	form        url.Values
	request     map[string]any
}

func (*apiQuery) Close()                      {}
func (*apiQuery) Cancel()                     {}
func (*apiQuery) Statement() parser.Statement { return nil }
func (*apiQuery) Stats() *stats.Statistics    { return nil }
func (q *apiQuery) String() string            { return q.form.Get("query") }

// Exec implements promql.Query.
func (q *apiQuery) Exec(ctx context.Context) *promql.Result {
	answer, err := q.ask(ctx)
	if err != nil {
		return &promql.Result{Err: err}
	}
	var out promql.Result
	for _, w := range answer.Warnings {
		// What PromQL does not warn of is for people who use the product, and no evaluation expects it.
		kind := errors.New("a warning that is not of PromQL")
		if strings.HasPrefix(w, annotations.PromQLWarning.Error()) {
			kind = annotations.PromQLWarning
		}
		out.Warnings.Add(annotation{w, kind})
	}
	for _, i := range answer.Infos {
		out.Warnings.Add(annotation{i, annotations.PromQLInfo})
	}
	out.Value, out.Err = q.value(ctx, answer)
	return &out
}

// annotation is one that came as text. There it ends with its place in the expression, and sometimes with numbers, which an
// engine's has only when it is made a text.
type annotation struct {
	text string
	kind error
}

var place = regexp.MustCompile(`(, from buckets .*, with a max diff of .*)? \(\d+:\d+\)$`)

func (a annotation) Error() string { return place.ReplaceAllString(a.text, "") }
func (a annotation) Unwrap() error { return a.kind }

// apiAnswer is what Prometheus' API answers.
type apiAnswer struct {
	Status    string `json:"status"`
	ErrorType string `json:"errorType"`
	Error     string `json:"error"`
	Data      struct {
		ResultType parser.ValueType `json:"resultType"`
		Result     json.RawMessage  `json:"result"`
	} `json:"data"`
	Warnings []string `json:"warnings"`
	Infos    []string `json:"infos"`
}

func (q *apiQuery) ask(ctx context.Context) (*apiAnswer, error) {
	body, err := q.post(ctx, q.path, "application/x-www-form-urlencoded", strings.NewReader(q.form.Encode()))
	if err != nil {
		return nil, err
	}
	var a apiAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("%s: %w in %.500q", q.path, err, body)
	}
	if a.Status != "success" {
		return nil, errors.New(a.Error)
	}
	return &a, nil
}

func (q *apiQuery) post(ctx context.Context, path, contentType string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, q.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	res, err := q.api.Client.Do(req)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(res.Body)
	return out, errors.Join(err, res.Body.Close())
}

// jsonSeries is an element of a vector or a matrix.
type jsonSeries struct {
	Metric     labels.Labels   `json:"metric"`
	Value      *jsonPoint      `json:"value"`
	Values     []jsonPoint     `json:"values"`
	Histogram  *jsonHistogram  `json:"histogram"`
	Histograms []jsonHistogram `json:"histograms"`
}

// jsonPoint is a time in milliseconds and a number, or a text.
type jsonPoint struct {
	timeMs int64
	text   string
}

func (p *jsonPoint) UnmarshalJSON(b []byte) error {
	parts, ms, err := timed(b)
	if err != nil {
		return err
	}
	p.timeMs = ms
	return json.Unmarshal(parts, &p.text)
}

func (p *jsonPoint) float() (float64, error) { return strconv.ParseFloat(p.text, 64) }

// jsonHistogram is a time and a histogram as it was written.
type jsonHistogram struct {
	timeMs int64
	text   string
}

func (h *jsonHistogram) UnmarshalJSON(b []byte) error {
	text, ms, err := timed(b)
	h.timeMs, h.text = ms, string(text)
	return err
}

// timed splits a pair of seconds and something.
func timed(b []byte) (json.RawMessage, int64, error) {
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return nil, 0, err
	}
	if len(pair) != 2 {
		return nil, 0, fmt.Errorf("%s is no pair", b)
	}
	s, err := strconv.ParseFloat(string(pair[0]), 64)
	return pair[1], int64(math.Round(s * 1000)), err
}

// value returns the value of an answer.
func (q *apiQuery) value(ctx context.Context, a *apiAnswer) (parser.Value, error) {
	switch a.Data.ResultType {
	case parser.ValueTypeScalar, parser.ValueTypeString:
		var p jsonPoint
		if err := json.Unmarshal(a.Data.Result, &p); err != nil {
			return nil, err
		}
		if a.Data.ResultType == parser.ValueTypeString {
			return promql.String{T: p.timeMs, V: p.text}, nil
		}
		v, err := p.float()
		return promql.Scalar{T: p.timeMs, V: v}, err
	case parser.ValueTypeVector, parser.ValueTypeMatrix:
	default:
		return nil, fmt.Errorf("the result is a %q", a.Data.ResultType)
	}
	var all []jsonSeries
	if err := json.Unmarshal(a.Data.Result, &all); err != nil {
		return nil, err
	}
	var full map[string][]prompb.Histogram
	if slices.ContainsFunc(all, func(s jsonSeries) bool { return s.Histogram != nil || len(s.Histograms) > 0 }) {
		var err error
		if full, err = q.histograms(ctx); err != nil {
			return nil, err
		}
	}
	vector, matrix := promql.Vector{}, promql.Matrix{}
	for _, s := range all {
		one := promql.Series{Metric: s.Metric}
		if s.Value != nil {
			s.Values = append(s.Values, *s.Value)
		}
		if s.Histogram != nil {
			s.Histograms = append(s.Histograms, *s.Histogram)
		}
		for _, p := range s.Values {
			v, err := p.float()
			if err != nil {
				return nil, err
			}
			one.Floats = append(one.Floats, promql.FPoint{T: p.timeMs, F: v})
		}
		hs := full[string(s.Metric.Bytes(nil))]
		if len(hs) != len(s.Histograms) {
			return nil, fmt.Errorf("%s has %d histograms in JSON and %d in full", s.Metric, len(s.Histograms), len(hs))
		}
		for i, h := range s.Histograms {
			fh := hs[i].ToFloatHistogram()
			if text := asJSON(fh); text != h.text || h.timeMs != hs[i].Timestamp {
				return nil, fmt.Errorf("%s at %d ms is %s in JSON, and at %d ms %s in full", s.Metric, h.timeMs, h.text, hs[i].Timestamp, text)
			}
			one.Histograms = append(one.Histograms, promql.HPoint{T: h.timeMs, H: fh})
		}
		switch {
		case a.Data.ResultType == parser.ValueTypeMatrix:
			matrix = append(matrix, one)
		case len(one.Floats) == 1 && len(one.Histograms) == 0:
			vector = append(vector, promql.Sample{Metric: one.Metric, T: one.Floats[0].T, F: one.Floats[0].F})
		case len(one.Floats) == 0 && len(one.Histograms) == 1:
			vector = append(vector, promql.Sample{Metric: one.Metric, T: one.Histograms[0].T, H: one.Histograms[0].H})
		default:
			return nil, fmt.Errorf("%s has %d numbers and %d histograms in a vector", one.Metric, len(one.Floats), len(one.Histograms))
		}
	}
	if a.Data.ResultType == parser.ValueTypeMatrix {
		return matrix, nil
	}
	return vector, nil
}

func asJSON(h *histogram.FloatHistogram) string {
	stream := jsoniter.NewStream(jsoniter.ConfigDefault, nil, 256)
	jsonutil.MarshalHistogram(h, stream)
	return string(stream.Buffer())
}

// histograms asks the typed API the same, and returns the histograms of each series.
func (q *apiQuery) histograms(ctx context.Context) (map[string][]prompb.Histogram, error) {
	request, err := json.Marshal(q.request)
	if err != nil {
		return nil, err
	}
	body, err := q.post(ctx, q.typed, "application/json", bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	out := map[string][]prompb.Histogram{}
	whole := false
	for decoder := json.NewDecoder(bytes.NewReader(body)); decoder.More(); {
		var message struct {
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := decoder.Decode(&message); err != nil {
			return nil, fmt.Errorf("%s: %w in %.500q", q.typed, err, body)
		}
		if message.Error != nil {
			return nil, fmt.Errorf("%s: %s", q.typed, message.Error)
		}
		// The answers to instant and range queries have the same fields here.
		var m queryv1.QueryResponse
		if err := protojson.Unmarshal(message.Result, &m); err != nil {
			return nil, fmt.Errorf("%s: %w", q.typed, err)
		}
		whole = whole || m.GetTrailer() != nil
		for _, b := range m.GetSeries().GetTimeSeries() {
			var ts prompb.TimeSeries
			if err := ts.Unmarshal(b); err != nil {
				return nil, err
			}
			builder := labels.NewScratchBuilder(len(ts.Labels))
			ls := ts.ToLabels(&builder, nil)
			out[string(ls.Bytes(nil))] = ts.Histograms
		}
	}
	if !whole {
		return nil, fmt.Errorf("%s: no trailer", q.typed)
	}
	return out, nil
}
