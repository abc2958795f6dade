// SPDX-License-Identifier: Apache-2.0

// Package forward passes a write message on to the ingest service as it came: through the gate, within limits and
// deadline, unread but for the length that its compression declares. Negotiation and answers are left to the handlers of
// the protocols.
package forward

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway/internal/payload"
	"github.com/tributary-project/tributary/internal/fairgate"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// Ingest is the part of the ingest service that writing uses. When Write returns without an error, and its context has
// not ended, nobody keeps anything of the request.
type Ingest interface {
	Write(context.Context, *ingestv1.WriteRequest, ...grpc.CallOption) (*ingestv1.WriteResponse, error)
}

// Forwarder passes messages on. All fields are needed.
type Forwarder struct {
	// Ingest stores.
	Ingest Ingest
	// Gate bounds requests and bytes in flight.
	Gate *fairgate.Gate
	// Reader reads bodies within their limits.
	Reader *payload.Reader
	// Timeout bounds the whole request; it is passed on as the deadline of the call.
	Timeout time.Duration
	// CallerID names who sends a request.
	CallerID func(*http.Request) string
}

// Message is what the headers say about a body.
type Message struct {
	Type     ingestv1.MessageType
	Encoding ingestv1.Encoding
	// Sniff is for senders whose header may name the wrong one of snappy and Zstandard: the body decides.
	Sniff bool
}

// Write reads the body of r and calls the ingest service with it. start is when the request came. The error is a
// *httperr.Refusal or that of the call.
func (f *Forwarder) Write(w http.ResponseWriter, r *http.Request, m Message, start time.Time) (*ingestv1.WriteResponse, error) {
	caller := f.CallerID(r)
	ticket, err := f.Gate.Enter(caller, 0)
	if err != nil {
		return nil, payload.Overloaded(err)
	}
	defer ticket.Leave()
	body, err := f.Reader.Read(w, r, ticket)
	if err != nil {
		return nil, err
	}
	if m.Sniff {
		m.Encoding = ingestv1.Encoding_ENCODING_SNAPPY
		if payload.IsZstd(body.Bytes) {
			m.Encoding = ingestv1.Encoding_ENCODING_ZSTD
		}
	}
	if err := f.Reader.CheckDeclared(m.Encoding, body.Bytes); err != nil {
		body.Free()
		return nil, err
	}
	ctx, cancel := context.WithDeadline(r.Context(), start.Add(f.Timeout))
	defer cancel()
	res, err := f.Ingest.Write(ctx, &ingestv1.WriteRequest{
		MessageType: m.Type,
		Encoding:    m.Encoding,
		Payload:     body.Bytes,
		CallerId:    caller,
	})
	if status.Code(err) == codes.Canceled && r.Context().Err() == nil {
		// The other side, or something on the way to it, gave the call up while the sender waits: 499 would make it drop the samples.
		err = status.Error(codes.Unavailable, status.Convert(err).Message())
	}
	if err == nil && ctx.Err() == nil {
		// The other side has read the message to its end, or it could not have answered. After an error it may not have:
		// a transport may still hold the payload, and in this process a service may still read it. That buffer is left to
		// the garbage collector, or the next sender's samples would appear in this one's request.
		body.Free()
	}
	return res, err
}
