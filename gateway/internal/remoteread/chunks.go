// SPDX-License-Identifier: Apache-2.0

package remoteread

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// chunksType is the type of a stream of chunks: frames of serialised prometheus.ChunkedReadResponse (storage/remote,
// ChunkedWriter). Prometheus' client looks for just this text.
const chunksType = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"

// chunks answers with frames while they arrive. It holds one message of them at a time: a client that is slow slows the
// query service down. Queries are answered one after the other, as Prometheus does; running them ahead would take places of
// the query service's gate for results that nobody takes yet.
//
// It returns an error only when nothing of the answer was written. Later ones cut the connection, so that the client does not
// take the frames that came for the whole result.
func (h *Handler) chunks(w http.ResponseWriter, r *http.Request, queries []*queryv1.ReadRequest) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	timedOut := status.Errorf(codes.DeadlineExceeded, "no part of the result came within %s (--%s)", h.Limits.Timeout, h.Limits.TimeoutFlag)
	out := &frameWriter{w: w, timeout: h.Limits.Timeout, idle: time.AfterFunc(h.Limits.Timeout, func() { cancel(timedOut) })}
	defer out.idle.Stop()
	err := h.passFrames(ctx, queries, out)
	switch {
	case err == nil:
		out.begin() // of a result without series
		return nil
	case out.gone || out.begun && r.Context().Err() != nil:
		h.Refused("client_gone")
		h.Logger.Debug("read answer not taken", "caller", h.CallerID(r), "err", err)
		panic(http.ErrAbortHandler)
	}
	if errors.Is(context.Cause(ctx), timedOut) { // else gRPC says that we have cancelled
		err = timedOut
	}
	if !out.begun {
		return err
	}
	refusal := httperr.From(err)
	h.Refused(refusal.Reason)
	h.Logger.Warn("a read failed after a part of its answer was sent; the connection is cut", "path", r.URL.Path, "caller", h.CallerID(r), "reason", refusal.Reason, "err", err)
	panic(http.ErrAbortHandler)
}

func (h *Handler) passFrames(ctx context.Context, queries []*queryv1.ReadRequest, out *frameWriter) error {
	for _, q := range queries {
		if err := h.passQuery(ctx, q, out); err != nil {
			return err
		}
	}
	return nil
}

// passQuery passes on the frames of one query.
func (h *Handler) passQuery(ctx context.Context, q *queryv1.ReadRequest, out *frameWriter) error {
	return h.query(ctx, q, func(m *queryv1.ReadResponse) error {
		switch m := m.GetMessage().(type) {
		case *queryv1.ReadResponse_Header:
			if t := m.Header.GetResponseType(); t != queryv1.ResponseType_RESPONSE_TYPE_STREAMED_XOR_CHUNKS {
				return status.Errorf(codes.Internal, "the query service answers %s, chunks were asked for", t)
			}
		case *queryv1.ReadResponse_Frames:
			return out.write(m.Frames.GetFrames())
		}
		return nil
	})
}

// writeBytes is about how much goes to the connection in one call.
const writeBytes = 64 << 10

// frameWriter writes frames to a client.
type frameWriter struct {
	w       http.ResponseWriter
	timeout time.Duration // for one message to be taken
	idle    *time.Timer   // runs while the next message is waited for

	buf   []byte
	begun bool
	gone  bool // the client takes no more
}

// begin writes the header.
func (f *frameWriter) begin() {
	if !f.begun {
		f.begun = true
		f.w.Header().Set("Content-Type", chunksType)
		f.w.WriteHeader(http.StatusOK)
	}
}

// write writes the frames of one message and sees them off: each with its length as a varint and its CRC-32 by Castagnoli's
// polynomial, big-endian, before it.
func (f *frameWriter) write(frames [][]byte) error {
	if len(frames) == 0 {
		return nil
	}
	f.idle.Stop()
	control := http.NewResponseController(f.w)
	_ = control.SetWriteDeadline(time.Now().Add(f.timeout)) //nolint:errcheck // a test's recorder has none
	f.begin()
	table := crc32.MakeTable(crc32.Castagnoli) // made once by the package
	for _, data := range frames {
		f.buf = binary.AppendUvarint(f.buf, uint64(len(data)))
		f.buf = binary.BigEndian.AppendUint32(f.buf, crc32.Checksum(data, table))
		if len(f.buf)+len(data) <= writeBytes {
			f.buf = append(f.buf, data...)
			continue
		}
		if err := f.send(f.buf); err != nil {
			return err
		}
		if err := f.send(data); err != nil {
			return err
		}
		f.buf = f.buf[:0]
	}
	if err := f.send(f.buf); err != nil {
		return err
	}
	f.buf = f.buf[:0]
	if err := control.Flush(); err != nil {
		f.gone = true
		return fmt.Errorf("flush: %w", err)
	}
	f.idle.Reset(f.timeout)
	return nil
}

func (f *frameWriter) send(b []byte) error {
	if _, err := f.w.Write(b); err != nil {
		f.gone = true
		return err
	}
	return nil
}
