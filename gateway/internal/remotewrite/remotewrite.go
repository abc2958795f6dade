// SPDX-License-Identifier: Apache-2.0

// Package remotewrite is the receiving end of Prometheus Remote-Write 1.0 and 2.0 over HTTP: negotiation, limits, and the
// translation of an account of samples into a status code, headers and text. The compressed message is forwarded as it
// came; decoding and storing are left to the ingest service.
//
// The specifications are https://prometheus.io/docs/specs/prw/remote_write_spec/ and …_2_0/; where they leave room, the
// answer is that of Prometheus' own receiver (client_golang, exp/api/remote).
package remotewrite

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway/internal/gate"
	"github.com/tributary-project/tributary/gateway/internal/httperr"
	"github.com/tributary-project/tributary/gateway/internal/payload"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// The answer to a Remote-Write 2.0 request says how much of it was written.
const (
	samplesHeader    = "X-Prometheus-Remote-Write-Samples-Written"
	histogramsHeader = "X-Prometheus-Remote-Write-Histograms-Written"
	exemplarsHeader  = "X-Prometheus-Remote-Write-Exemplars-Written"
)

const mediaType = "application/x-protobuf"

// writer is the part of the ingest service that the handler uses. Write returns after the store has answered, and then
// keeps nothing of the request; or it returns because its context ended.
type writer interface {
	Write(context.Context, *ingestv1.WriteRequest, ...grpc.CallOption) (*ingestv1.WriteResponse, error)
}

// Handler answers write requests.
type Handler struct {
	// Ingest stores.
	Ingest writer
	// Gate bounds requests and bytes in flight.
	Gate *gate.Gate
	// Reader reads bodies within their limits.
	Reader *payload.Reader
	// Timeout bounds the whole request; it is passed on as the deadline of the call.
	Timeout time.Duration
	// Refused is told the reason of each answer that is not a success. It must not block.
	Refused func(reason string)
	// Logger gets what an operator should know.
	Logger *slog.Logger
	// CallerID names who sends a request.
	CallerID func(*http.Request) string
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	kind, err := negotiate(w, r)
	if err != nil {
		h.refuse(w, err)
		return
	}
	if kind == ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2 {
		setWritten(w.Header(), nil) // until proven otherwise nothing was written, and a 2.0 answer says so
	}
	res, err := h.forward(w, r, kind, start)
	if err != nil {
		h.refuse(w, err)
		return
	}
	h.answer(w, kind, res)
}

// negotiate looks at headers only: what is wrong with them is answered before the body has come.
func negotiate(w http.ResponseWriter, r *http.Request) (ingestv1.MessageType, error) {
	const none = ingestv1.MessageType_MESSAGE_TYPE_UNSPECIFIED
	if err := payload.CheckMethod(w, r); err != nil {
		return none, err
	}
	params, err := payload.CheckType(r, mediaType)
	if err != nil {
		return none, err
	}
	if err := payload.CheckEncoding(r); err != nil {
		return none, err
	}
	switch proto, given := params["proto"]; {
	case !given || proto == "prometheus.WriteRequest":
		return ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1, nil
	case proto == "io.prometheus.write.v2.Request":
		return ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2, nil
	default:
		return none, &httperr.Refusal{
			Status: http.StatusUnsupportedMediaType, Reason: "unsupported_content_type", Close: true,
			Text: fmt.Sprintf("message %q is not supported, only prometheus.WriteRequest and io.prometheus.write.v2.Request", proto),
		}
	}
}

func (h *Handler) forward(w http.ResponseWriter, r *http.Request, kind ingestv1.MessageType, start time.Time) (*ingestv1.WriteResponse, error) {
	ticket, err := h.Gate.Enter()
	if err != nil {
		return nil, payload.Overloaded(err)
	}
	defer ticket.Leave()
	body, err := h.Reader.Read(w, r, ticket)
	if err != nil {
		return nil, err
	}
	if err := h.Reader.CheckSnappy(body.Bytes); err != nil {
		body.Free()
		return nil, err
	}
	ctx, cancel := context.WithDeadline(r.Context(), start.Add(h.Timeout))
	defer cancel()
	res, err := h.Ingest.Write(ctx, &ingestv1.WriteRequest{
		MessageType: kind,
		Encoding:    ingestv1.Encoding_ENCODING_SNAPPY,
		Payload:     body.Bytes,
		CallerId:    h.CallerID(r),
	})
	if status.Code(err) == codes.Canceled && r.Context().Err() == nil {
		// The other side, or something on the way to it, gave the call up while the sender waits: 499 would make it drop the samples.
		err = status.Error(codes.Unavailable, status.Convert(err).Message())
	}
	if ctx.Err() == nil {
		// A call whose context ended may return while its other side, in this process, still reads the payload: that
		// buffer is left to the garbage collector, or the next sender's samples would appear in this one's request.
		body.Free()
	}
	return res, err
}

// answer turns an account into the answer.
func (h *Handler) answer(w http.ResponseWriter, kind ingestv1.MessageType, res *ingestv1.WriteResponse) {
	refusal := Refusal(res)
	if kind == ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2 && res.GetDeferredReason() == "" {
		// A sender adds these up over its attempts, so an attempt that has to be repeated counts for nothing.
		setWritten(w.Header(), res.GetLedger())
	}
	if refusal != nil {
		h.refuse(w, refusal)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func setWritten(header http.Header, l *ingestv1.Ledger) {
	header.Set(samplesHeader, written(l.GetSamples()))
	header.Set(histogramsHeader, written(l.GetHistograms()))
	header.Set(exemplarsHeader, written(l.GetExemplars()))
}

func written(c *ingestv1.Counts) string {
	return strconv.FormatUint(c.GetStored()+c.GetDuplicate(), 10)
}

func (h *Handler) refuse(w http.ResponseWriter, err error) {
	refusal := httperr.FromWrite(err)
	h.Refused(refusal.Reason)
	if refusal.Status >= http.StatusInternalServerError {
		h.Logger.Debug("write refused", "status", refusal.Status, "reason", refusal.Reason, "text", refusal.Text)
	}
	refusal.Write(w)
}
