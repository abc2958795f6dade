// SPDX-License-Identifier: Apache-2.0

// Package remoteread is the answering end of Prometheus' remote read protocol in both of its response types: it decodes
// requests, asks the query service once per query, and passes the answers on without decoding them, as one message of
// samples or as a stream of chunks. Which series match is left to the query service. The protocol is
// https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/.
package remoteread

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/internal/fairgate"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// Tags of the response message: field number << 3 | 2 (length-delimited).
const (
	resultsTag    = 1<<3 | 2 // prometheus.ReadResponse.results
	timeseriesTag = 1<<3 | 2 // prometheus.QueryResult.timeseries
)

// mediaTypes are what readers send: Prometheus the first; Thanos' sidecar the second; the third is the name of the
// streamed response, which some send for the request too.
func mediaTypes() []string {
	return []string{"application/x-protobuf", "application/x-stream-protobuf", "application/x-streamed-protobuf"}
}

// reader is the part of the query service that the handler uses.
type reader interface {
	Read(context.Context, *queryv1.ReadRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[queryv1.ReadResponse], error)
}

// Limits bounds one read request.
type Limits struct {
	// Timeout bounds a request until its answer begins. After that it bounds, for an answer of samples, the time until it is
	// taken; for one of chunks, the time from one message of it to the next and the time until that is taken.
	Timeout time.Duration
	// TimeoutFlag moves Timeout.
	TimeoutFlag string
	// MaxQueries is how many queries one request may hold; Concurrency how many of them run at once when they are answered
	// in samples. In chunks they are answered one after the other.
	MaxQueries, Concurrency int
	// MaxQueriesFlag moves MaxQueries.
	MaxQueriesFlag string
	// MaxResponseBytes bounds an answer of samples before compression, which is what the client will hold.
	MaxResponseBytes     int64
	MaxResponseBytesFlag string
}

// Handler answers read requests.
type Handler struct {
	// Query finds series.
	Query reader
	// Gate bounds requests and the bytes of their bodies, Buffers the bytes of answers of samples that are being put
	// together.
	Gate, Buffers *fairgate.Gate
	// Reader reads bodies within their limits.
	Reader *payload.Reader
	// Limits bounds each request.
	Limits Limits
	// Refused is told the reason of each answer that is not a success. It must not block.
	Refused func(reason string)
	// Logger gets what an operator should know.
	Logger *slog.Logger
	// CallerID names who sends a request.
	CallerID func(*http.Request) string
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil {
		refusal := httperr.From(err)
		h.Refused(refusal.Reason)
		refusal.Write(w)
	}
}

// serve returns an error only when nothing of the answer was written.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	if err := negotiate(w, r); err != nil {
		return err
	}
	ticket, err := h.Gate.Enter(h.CallerID(r), 0)
	if err != nil {
		return payload.Overloaded(err)
	}
	defer ticket.Leave()
	queries, responseType, err := h.decode(w, r, ticket)
	if err != nil {
		return err
	}
	if responseType == prompb.ReadRequest_STREAMED_XOR_CHUNKS {
		return h.chunks(w, r, queries)
	}
	return h.samples(w, r, queries)
}

// samples answers in one message. It returns an error only when nothing of the answer was written.
func (h *Handler) samples(w http.ResponseWriter, r *http.Request, queries []*queryv1.ReadRequest) error {
	ctx, cancel := context.WithTimeout(r.Context(), h.Limits.Timeout)
	defer cancel()
	buffers, err := h.Buffers.Enter(h.CallerID(r), 0)
	if err != nil {
		return payload.Overloaded(err)
	}
	defer buffers.Leave()

	results := make([]block, len(queries))
	limits := &answerBudget{limits: h.Limits, buffers: buffers}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(h.Limits.Concurrency)
	for i, q := range queries {
		g.Go(func() error { return h.read(ctx, q, &results[i], limits) })
	}
	if err := g.Wait(); err != nil {
		return err
	}

	// From here on the answer is whole, and only a client that does not take it can fail it.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.Limits.Timeout)) //nolint:errcheck // a test's recorder has none
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Header().Set("Content-Encoding", "snappy")
	if err := writeBlocks(w, resultsTag, results); err != nil {
		h.Refused("client_gone")
		h.Logger.Debug("read answer not taken", "caller", h.CallerID(r), "err", err)
	}
	return nil
}

// negotiate looks at headers only: what is wrong with them is answered before the body has come.
func negotiate(w http.ResponseWriter, r *http.Request) error {
	if err := payload.CheckMethod(w, r); err != nil {
		return err
	}
	if _, _, err := payload.CheckType(r, mediaTypes()...); err != nil {
		return err
	}
	_, err := payload.CheckEncoding(r, ingestv1.Encoding_ENCODING_SNAPPY)
	return err
}

// decode reads the request, translates its queries, and chooses the response type.
func (h *Handler) decode(w http.ResponseWriter, r *http.Request, ticket *fairgate.Ticket) ([]*queryv1.ReadRequest, prompb.ReadRequest_ResponseType, error) {
	req, err := h.receive(w, r, ticket)
	if err != nil {
		return nil, 0, err
	}
	if n := len(req.Queries); n > h.Limits.MaxQueries {
		return nil, 0, badRequest("too_many_queries", fmt.Sprintf("%d queries in one request, the limit is %d (--%s)", n, h.Limits.MaxQueries, h.Limits.MaxQueriesFlag))
	}
	responseType, err := chooseType(req.AcceptedResponseTypes)
	if err != nil {
		return nil, 0, err
	}
	caller := h.CallerID(r)
	out := make([]*queryv1.ReadRequest, len(req.Queries))
	for i, q := range req.Queries {
		if out[i], err = translate(q); err != nil {
			return nil, 0, badRequest("invalid_matcher", fmt.Sprintf("query %d: %v", i, err))
		}
		out[i].CallerId, out[i].QueryIndex = caller, int64(i)
		if responseType == prompb.ReadRequest_STREAMED_XOR_CHUNKS {
			out[i].ResponseType = queryv1.ResponseType_RESPONSE_TYPE_STREAMED_XOR_CHUNKS
		}
	}
	return out, responseType, nil
}

// chooseType returns the first of the accepted response types that is known, as Prometheus does; samples when there is no
// list (prompb/remote.proto, accepted_response_types).
func chooseType(accepted []prompb.ReadRequest_ResponseType) (prompb.ReadRequest_ResponseType, error) {
	if len(accepted) == 0 {
		return prompb.ReadRequest_SAMPLES, nil
	}
	for _, t := range accepted {
		switch t {
		case prompb.ReadRequest_SAMPLES, prompb.ReadRequest_STREAMED_XOR_CHUNKS:
			return t, nil
		}
	}
	return 0, badRequest("unsupported_response_type", fmt.Sprintf("none of the accepted response types %v is supported; supported: [SAMPLES STREAMED_XOR_CHUNKS]", accepted))
}

// receive reads the request within its limits.
func (h *Handler) receive(w http.ResponseWriter, r *http.Request, ticket *fairgate.Ticket) (*prompb.ReadRequest, error) {
	body, err := h.Reader.Read(w, r, ticket)
	if err != nil {
		return nil, err
	}
	defer body.Free()
	if err := h.Reader.CheckSnappy(body.Bytes); err != nil {
		return nil, err
	}
	// A block holds at least one byte per 64 of its content or so; one that claims more than it can hold is refused
	// before memory is taken for the claim.
	n, err := snappy.DecodedLen(body.Bytes)
	if err != nil || n > len(body.Bytes)*maxExpansion {
		return nil, badRequest("corrupt_snappy", "the body is not a snappy block: it is shorter than what it claims to hold")
	}
	if err := ticket.Take(int64(n)); err != nil {
		return nil, payload.Overloaded(err)
	}
	plain, err := snappy.Decode(nil, body.Bytes)
	if err != nil {
		return nil, badRequest("corrupt_snappy", "the body is not a snappy block: "+err.Error())
	}
	var req prompb.ReadRequest
	if err := req.Unmarshal(plain); err != nil {
		return nil, badRequest("undecodable", "the body is not a prometheus.ReadRequest: "+err.Error())
	}
	return &req, nil
}

// maxExpansion is above what snappy can expand: a copy element of three bytes makes at most 64 bytes.
const maxExpansion = 64

func badRequest(reason, text string) error {
	return &httperr.Refusal{Status: http.StatusBadRequest, Reason: reason, Text: text}
}

func translate(q *prompb.Query) (*queryv1.ReadRequest, error) {
	out := &queryv1.ReadRequest{
		Matchers:     make([]*queryv1.LabelMatcher, len(q.GetMatchers())),
		StartMs:      q.GetStartTimestampMs(),
		EndMs:        q.GetEndTimestampMs(),
		ResponseType: queryv1.ResponseType_RESPONSE_TYPE_SAMPLES,
	}
	for i, m := range q.GetMatchers() {
		t, err := matcherType(m.GetType())
		if err != nil {
			return nil, err
		}
		// What is none cannot be sent on, and is in no label.
		if !utf8.ValidString(m.GetName()) || !utf8.ValidString(m.GetValue()) {
			return nil, fmt.Errorf("matcher %d, %q with %q, is not UTF-8, which labels are", i, m.GetName(), m.GetValue())
		}
		out.Matchers[i] = &queryv1.LabelMatcher{Type: t, Name: m.GetName(), Value: m.GetValue()}
	}
	if h := q.GetHints(); h != nil {
		for _, text := range append([]string{h.Func}, h.Grouping...) {
			if !utf8.ValidString(text) {
				return nil, fmt.Errorf("hint %q is not UTF-8", text)
			}
		}
		out.Hints = &queryv1.ReadHints{
			StepMs: h.StepMs, Func: h.Func, StartMs: h.StartMs, EndMs: h.EndMs,
			Grouping: h.Grouping, By: h.By, RangeMs: h.RangeMs,
		}
	}
	return out, nil
}

func matcherType(t prompb.LabelMatcher_Type) (queryv1.LabelMatcher_Type, error) {
	switch t {
	case prompb.LabelMatcher_EQ:
		return queryv1.LabelMatcher_TYPE_EQUAL, nil
	case prompb.LabelMatcher_NEQ:
		return queryv1.LabelMatcher_TYPE_NOT_EQUAL, nil
	case prompb.LabelMatcher_RE:
		return queryv1.LabelMatcher_TYPE_REGEX_MATCH, nil
	case prompb.LabelMatcher_NRE:
		return queryv1.LabelMatcher_TYPE_REGEX_NO_MATCH, nil
	}
	return 0, fmt.Errorf("unknown matcher type %d", int32(t))
}

// query runs one query and hands on what comes before its trailer. A result counts only with that.
func (h *Handler) query(ctx context.Context, q *queryv1.ReadRequest, part func(*queryv1.ReadResponse) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the stream when the client is gone, or the answer is refused
	defer cancel()
	stream, err := h.Query.Read(ctx, q)
	if err != nil {
		return err
	}
	var trailer *queryv1.ReadTrailer
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if t := m.GetTrailer(); t != nil {
			trailer = t
		} else if err := part(m); err != nil {
			return err
		}
	}
	if trailer == nil {
		return status.Error(codes.Unavailable, "the query service ended its answer early")
	}
	for _, warning := range trailer.GetWarnings() {
		h.Logger.Warn("remote read", "warning", warning)
	}
	return nil
}

// read runs one query and collects its series.
func (h *Handler) read(ctx context.Context, q *queryv1.ReadRequest, into *block, limits budget) error {
	err := h.query(ctx, q, func(m *queryv1.ReadResponse) error {
		switch m := m.GetMessage().(type) {
		case *queryv1.ReadResponse_Header:
			if t := m.Header.GetResponseType(); t != queryv1.ResponseType_RESPONSE_TYPE_SAMPLES && t != queryv1.ResponseType_RESPONSE_TYPE_UNSPECIFIED {
				return status.Errorf(codes.Internal, "the query service answers %s, samples were asked for", t)
			}
		case *queryv1.ReadResponse_TimeSeries:
			return into.addField(timeseriesTag, m.TimeSeries, limits)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return into.finish(limits)
}

// answerBudget is the budget of one answer.
type answerBudget struct {
	limits     Limits
	buffers    *fairgate.Ticket
	plainBytes atomic.Int64
}

func (b *answerBudget) plain(n int64) error {
	if b.plainBytes.Add(n) > b.limits.MaxResponseBytes {
		return responseTooLarge(b.limits.MaxResponseBytes, b.limits.MaxResponseBytesFlag)
	}
	return nil
}

func (b *answerBudget) held(n int64) error {
	if err := b.buffers.Take(n); err != nil {
		r := payload.Overloaded(err)
		r.Close = false // the request was read to its end
		return r
	}
	return nil
}
