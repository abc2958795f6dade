// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tributary-project/tributary/internal/fairgate"
	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
)

// What the store makes of an entry while the entry is on its way to Timestream, with what sorting takes: records to be, their
// values and texts. Series that are new have their own account. Found by measuring; a test holds the gate's figures against the heap.
const (
	sampleBytes    = 150
	histogramBytes = 1500
	exemplarBytes  = 700
	metadataBytes  = 1000
	startBytes     = 500
)

// storeBytes is about what the store takes for the valid entries of a decoded request.
func storeBytes(a *ledger.Account) int64 {
	valid := func(k ledger.Kind) int64 { return int64(a.Counts[k].Received - a.Counts[k].Rejected) } //nolint:gosec // counts of one request
	return valid(ledger.Samples)*sampleBytes + valid(ledger.Histograms)*histogramBytes + valid(ledger.Exemplars)*exemplarBytes +
		valid(ledger.Metadata)*metadataBytes + valid(ledger.StartTimestamps)*startBytes
}

// hold is what one request has of the gate. A request counts no more than the gate's bound, so that an empty gate lets each
// in.
type hold struct {
	ticket *fairgate.Ticket
	base   int64 // the payload and the message
	bytes  int64 // with what is made of them
	limit  int64
}

// enter lets a request with a payload and message of so many bytes in. Leave has to be called on the ticket.
func (s *Service) enter(caller string, bytes int64) (*hold, error) {
	h := &hold{limit: int64(s.cfg.MaxInFlightBytes), base: bytes, bytes: min(bytes, int64(s.cfg.MaxInFlightBytes))}
	var err error
	if h.ticket, err = s.gate.Enter(caller, h.bytes); err != nil {
		return nil, overloaded(err)
	}
	return h, nil
}

// room makes sure that the request may hold so many bytes besides its payload and message.
func (h *hold) room(bytes int64) error { return h.more(h.base + bytes - h.bytes) }

// more makes sure that the request may hold so many bytes more.
func (h *hold) more(bytes int64) error {
	more := min(bytes, h.limit-h.bytes)
	if more <= 0 {
		return nil
	}
	if err := h.ticket.Take(more); err != nil {
		return err
	}
	h.bytes += more
	return nil
}

// overloaded is the gRPC error for a full gate.
func overloaded(err error) error {
	return refuse(codes.ResourceExhausted, ReasonOverloaded, err.Error(), &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
}

// full tells whether an error is that of a full gate.
func full(err error) bool {
	var e *fairgate.FullError
	return errors.As(err, &e)
}
