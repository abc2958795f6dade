// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/faults"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// classCut is the class, for the metrics, of a call whose connection is ended instead of an answer.
const classCut = "cut"

// onDemand are the answers of faults. The text of throttling is the service's; the others say where they come from, so
// that nobody looks for the reason elsewhere.
var onDemand = map[faults.Kind]*smithy.GenericAPIError{
	faults.Throttle:        {Code: "ThrottlingException", Message: "Request rate limit exceeded"},
	faults.Error:           {Code: "InternalServerException", Message: "Internal server error, on demand."},
	faults.InvalidEndpoint: {Code: "InvalidEndpointException", Message: "The requested endpoint is not valid, on demand."},
	faults.Validation:      {Code: "ValidationException", Message: "The request is not valid, on demand."},
}

// textRefused is the reason that a record refused on demand gets.
const textRefused = "The record is refused, on demand."

// decide decides about a call and counts the faults.
func (h *handler) decide(name string) faults.Decision {
	operation := faults.Write
	switch name {
	case "WriteRecords":
	case "Query":
		operation = faults.Query
	default:
		return faults.Decision{}
	}
	d := h.opts.Faults.Decide(operation)
	count := func(happens bool, k faults.Kind) {
		if happens {
			h.faults.WithLabelValues(operation.String(), k.String()).Inc()
		}
	}
	count(d.Replaced, d.Instead)
	count(d.Reject, faults.Reject)
	count(d.Late, faults.Late)
	count(d.Lost, faults.LostAnswer)
	return d
}

// sleep tells whether the time passed before the caller left.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// instead answers a call that is not carried out and returns the class of the error.
func (h *handler) instead(w http.ResponseWriter, r *http.Request, kind faults.Kind) string {
	switch kind {
	case faults.Cut:
		return classCut
	case faults.Unavailable:
		w.Header().Del("Content-Type")
		w.WriteHeader(http.StatusServiceUnavailable)
		return "unavailable"
	}
	return h.error(w, r, onDemand[kind])
}

// lose drops the answer of a call that was carried out and returns the class of what the caller gets in its place.
func (h *handler) lose(w http.ResponseWriter, r *http.Request, d faults.Decision) string {
	if d.LostCut {
		return classCut
	}
	return h.error(w, r, onDemand[faults.Error])
}

// write stores a request, but for a record that is refused on demand.
func (h *handler) write(ctx context.Context, req *record.Request, d faults.Decision) (wtypes.RecordsIngested, error) {
	refused := -1
	if n := len(req.Records); d.Reject && n > 0 && n <= timestream.MaxRecordsPerWrite {
		refused = int(d.Pick * float64(n))
		req.Records = slices.Delete(req.Records, refused, refused+1)
	}
	var n wtypes.RecordsIngested
	var err error
	if refused < 0 || len(req.Records) > 0 {
		n, err = h.db.Write(ctx, req)
	}
	if d.Late {
		n.MemoryStore, n.MagneticStore = 0, n.Total
	}
	if refused < 0 {
		return n, err
	}
	var others *wtypes.RejectedRecordsException
	if err != nil && !errors.As(err, &others) {
		return n, err
	}
	reason := textRefused
	rejected := []wtypes.RejectedRecord{{RecordIndex: int32(refused), Reason: &reason}}
	if others != nil {
		for _, o := range others.RejectedRecords {
			if int(o.RecordIndex) >= refused {
				o.RecordIndex++
			}
			rejected = append(rejected, o)
		}
	}
	slices.SortFunc(rejected, func(a, b wtypes.RejectedRecord) int { return int(a.RecordIndex - b.RecordIndex) })
	text := "One or more records have been rejected. See RejectedRecords for details."
	return n, &wtypes.RejectedRecordsException{Message: &text, RejectedRecords: rejected}
}
