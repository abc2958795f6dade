// SPDX-License-Identifier: Apache-2.0

// Package otlp is the receiving end of OTLP metrics over HTTP: negotiation, and the translation of an account of samples
// into the answers that exporters expect. The message is forwarded as it came; translating it into series and storing
// them are left to the ingest service.
//
// The specification is https://opentelemetry.io/docs/specs/otlp/#otlphttp. An exporter sends again after 429, 502, 503 and
// 504, and drops after every other error; a partial success it never sends again.
package otlp

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/tributary-project/tributary/gateway/internal/account"
	"github.com/tributary-project/tributary/gateway/internal/forward"
	"github.com/tributary-project/tributary/gateway/internal/httperr"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// Path is where Prometheus, and so the gateway, takes OTLP metrics.
const Path = "/api/v1/otlp/v1/metrics"

// Paths are all paths of OTLP metrics: that of Prometheus, that of Mimir, and that of an exporter which knows only the address.
func Paths() []string { return []string{Path, "/otlp/v1/metrics", "/v1/metrics"} }

const (
	protobufType = "application/x-protobuf"
	jsonType     = "application/json"
)

// Handler answers export requests. All fields are needed.
type Handler struct {
	// Forwarder passes messages on.
	Forwarder *forward.Forwarder
	// Refused is told the reason of each answer that is not a success, and of each that is only a partial one. It must
	// not block.
	Refused func(reason string)
	// Logger gets what an operator should know.
	Logger *slog.Logger
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	m, err := negotiate(w, r)
	if err != nil {
		h.refuse(w, m, err)
		return
	}
	res, err := h.Forwarder.Write(w, r, m, start)
	if err != nil {
		h.refuse(w, m, err)
		return
	}
	if res.GetDeferredReason() != "" {
		h.refuse(w, m, account.Refusal(m.Type, res))
		return
	}
	out := &collectorv1.ExportMetricsServiceResponse{}
	if n := account.Rejected(res); n > 0 {
		h.Refused("rejected_samples")
		// Of the series that a data point becomes each counts, because exporters show the number only to people.
		out.PartialSuccess = &collectorv1.ExportMetricsPartialSuccess{
			RejectedDataPoints: int64(min(n, 1<<62)), //nolint:gosec // it fits
			ErrorMessage:       account.Text(m.Type, res),
		}
	}
	h.write(w, m, http.StatusOK, out)
}

// negotiate looks at headers only: what is wrong with them is answered before the body has come. It returns a message
// type also with an error: the answer is in the encoding of the request, and in JSON, which people can read, when that is neither.
func negotiate(w http.ResponseWriter, r *http.Request) (forward.Message, error) {
	m := forward.Message{Type: ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS_JSON}
	media, _, err := payload.CheckType(r, protobufType, jsonType)
	if err == nil && media == protobufType {
		m.Type = ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS
	}
	if methodErr := payload.CheckMethod(w, r); methodErr != nil {
		return m, methodErr
	}
	if err != nil {
		return m, err
	}
	m.Encoding, err = payload.CheckEncoding(r, ingestv1.Encoding_ENCODING_UNSPECIFIED, ingestv1.Encoding_ENCODING_GZIP, ingestv1.Encoding_ENCODING_ZSTD)
	return m, err
}

func (h *Handler) refuse(w http.ResponseWriter, m forward.Message, err error) {
	refusal := httperr.FromWrite(err)
	h.Refused(refusal.Reason)
	if refusal.Status >= http.StatusInternalServerError {
		h.Logger.Debug("export refused", "status", refusal.Status, "reason", refusal.Reason, "text", refusal.Text)
	}
	refusal.Begin(w)
	h.write(w, m, refusal.Status, &statuspb.Status{Code: int32(code(refusal.Status)), Message: refusal.Text})
}

// code is the gRPC code for an HTTP answer. Exporters do not act on it.
func code(status int) codes.Code {
	switch status {
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return codes.Unimplemented
	case httperr.StatusClientClosedRequest:
		return codes.Canceled
	case http.StatusInternalServerError:
		return codes.Internal
	case http.StatusServiceUnavailable:
		return codes.Unavailable
	}
	return codes.InvalidArgument
}

// write answers with a message in the encoding of the request.
func (h *Handler) write(w http.ResponseWriter, m forward.Message, status int, answer proto.Message) {
	marshal, media := proto.Marshal, protobufType
	if m.Type == ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS_JSON {
		marshal, media = protojson.Marshal, jsonType // field names in lowerCamelCase and 64-bit numbers as text, as OTLP has them
	}
	body, err := marshal(answer)
	if err != nil { // a text that is not UTF-8: everything that comes here was made valid
		h.Logger.Error("encode answer to an export", "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:errcheck // the client went away
}
