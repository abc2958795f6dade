// SPDX-License-Identifier: Apache-2.0

// Package remotewrite is the receiving end of Prometheus Remote-Write 1.0 and 2.0 over HTTP: negotiation, and the
// translation of an account of samples into a status code, headers and text. The compressed message is forwarded as it
// came; decoding and storing are left to the ingest service.
//
// The specifications are https://prometheus.io/docs/specs/prw/remote_write_spec/ and …_2_0/; where they leave room, the
// answer is that of Prometheus' own receiver (client_golang, exp/api/remote).
package remotewrite

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/tributary-project/tributary/gateway/internal/account"
	"github.com/tributary-project/tributary/gateway/internal/forward"
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

// vmVersionQuery is the parameter by which a vmagent asks whether a receiver takes VictoriaMetrics' variant of remote write 1.0:
// the same messages, compressed by Zstandard. Newer ones do not ask: they send and fall back when the answer is 400 or 415.
const vmVersionQuery = "get_vm_proto_version"

const (
	mediaType = "application/x-protobuf"
	messageV2 = "io.prometheus.write.v2.Request"
	// mediaTypeV2 is how senders of 2.0 write it.
	mediaTypeV2 = mediaType + ";proto=" + messageV2
)

// Handler answers write requests. All fields are needed.
type Handler struct {
	// Forwarder passes messages on.
	Forwarder *forward.Forwarder
	// Refused is told the reason of each answer that is not a success. It must not block.
	Refused func(reason string)
	// Logger gets what an operator should know.
	Logger *slog.Logger
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	if r.URL.RawQuery != "" && r.URL.Query().Get(vmVersionQuery) != "" {
		_, _ = io.WriteString(w, "1") //nolint:errcheck // the client went away
		return
	}
	m, err := negotiate(w, r)
	if err != nil {
		h.refuse(w, err)
		return
	}
	if m.Type == ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2 {
		setWritten(w.Header(), nil) // until proven otherwise nothing was written, and a 2.0 answer says so
	}
	res, err := h.Forwarder.Write(w, r, m, start)
	if err != nil {
		h.refuse(w, err)
		return
	}
	h.answer(w, m.Type, res)
}

// negotiate looks at headers only: what is wrong with them is answered before the body has come.
func negotiate(w http.ResponseWriter, r *http.Request) (forward.Message, error) {
	// Older vmagents may send messages from their queue under the header of the other encoding (VictoriaMetrics' issue
	// 5301), so the body has the last word.
	m := forward.Message{Type: ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1, Sniff: true}
	if err := payload.CheckMethod(w, r); err != nil {
		return m, err
	}
	media, params, err := payload.CheckType(r, mediaType, mediaTypeV2)
	if err != nil {
		return m, err
	}
	if m.Encoding, err = payload.CheckEncoding(r, ingestv1.Encoding_ENCODING_SNAPPY, ingestv1.Encoding_ENCODING_ZSTD); err != nil {
		return m, err
	}
	switch proto, given := params["proto"]; {
	case media == mediaTypeV2 || proto == messageV2:
		m.Type = ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2
	case !given || proto == "prometheus.WriteRequest":
	default:
		return m, &httperr.Refusal{
			Status: http.StatusUnsupportedMediaType, Reason: "unsupported_content_type", Close: true,
			Text: fmt.Sprintf("message %q is not supported, only prometheus.WriteRequest and "+messageV2, proto),
		}
	}
	return m, nil
}

// answer turns an account into the answer.
func (h *Handler) answer(w http.ResponseWriter, kind ingestv1.MessageType, res *ingestv1.WriteResponse) {
	refusal := account.Refusal(kind, res)
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
