// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/faults"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// Classes, for the metrics, of calls that are not answered: the connection was ended, or reset, or the caller went away.
const (
	classCut      = "cut"
	classReset    = "reset"
	classCanceled = "canceled"
)

// maxStuck is how long the connection of a call stays open that is never answered: longer than any client waits for one, as the
// service itself answers within a minute (API reference, Query).
const maxStuck = 15 * time.Minute

// answers are the answers of faults. The text of throttling is the service's; the others say where they come from, so
// that nobody looks for the reason elsewhere.
var answers = map[faults.Kind]smithy.GenericAPIError{
	faults.Throttle:        {Code: "ThrottlingException", Message: "Request rate limit exceeded"},
	faults.Rate:            {Code: "ThrottlingException", Message: "Request rate limit exceeded"},
	faults.Error:           {Code: "InternalServerException", Message: "Internal server error, on demand."},
	faults.InvalidEndpoint: {Code: "InvalidEndpointException", Message: "The requested endpoint is not valid, on demand."},
	faults.Validation:      {Code: "ValidationException", Message: "The request is not valid, on demand."},
	faults.AccessDenied:    {Code: "AccessDeniedException", Message: "You are not authorized to perform this action, on demand."},
	faults.NotFound:        {Code: "ResourceNotFoundException", Message: "The operation tried to access a nonexistent resource, on demand."},
	faults.Conflict:        {Code: "ConflictException", Message: "The request conflicts with another one, on demand."},
	faults.Quota:           {Code: "ServiceQuotaExceededException", Message: "The service quota is exceeded, on demand."},
	faults.Execution:       {Code: "QueryExecutionException", Message: "The query failed while it ran, on demand."},
}

// textRefused is the reason that a record refused on demand gets unless a rule has another.
const textRefused = "The record is refused, on demand."

// onDemand serves a call by do, unless a fault takes its place, and answers it as faults want. It returns the class of the error.
func (h *handler) onDemand(w http.ResponseWriter, r *http.Request, name string, body []byte, do func(*faults.Decision) ([]byte, error)) string {
	fault := h.decide(name, body)
	if fault.Delay > 0 && !sleep(r.Context(), fault.Delay) {
		return classCanceled
	}
	if fault.Replaced {
		return h.instead(w, r, fault)
	}
	out, err := do(fault)
	if fault.DelayAfter > 0 && !sleep(r.Context(), fault.DelayAfter) {
		return classCanceled
	}
	switch {
	case fault.StuckAfter:
		return stuck(r)
	case fault.ResetAfter:
		return classReset
	case fault.CutAfter, fault.Lost && fault.LostCut:
		return classCut
	case fault.Lost:
		e := answers[faults.Error]
		return h.error(w, r, &e)
	case err != nil:
		return h.error(w, r, err)
	case fault.Truncate:
		w.Header().Set("Content-Length", strconv.Itoa(len(out)))
		_, _ = w.Write(out[:len(out)/2])          //nolint:errcheck // the connection ends
		_ = http.NewResponseController(w).Flush() //nolint:errcheck // the same
		return classCut
	}
	h.answer(w, out)
	return ""
}

// decide decides about a call and counts the faults.
func (h *handler) decide(name string, body []byte) *faults.Decision {
	if !h.opts.Faults.Active() {
		return h.calm
	}
	d := h.opts.Faults.Decide(faults.Call{Operation: name, Tables: func() []string { return h.tables(body) }})
	d.Count(func(k faults.Kind) { h.faults.WithLabelValues(faults.Short(name), k.String()).Inc() })
	return &d
}

// tables are the tables that a call is about, as database.table, or the database alone.
func (h *handler) tables(body []byte) []string {
	var in struct{ DatabaseName, TableName, TargetDatabaseName, TargetTableName, QueryString, ResourceARN string }
	if json.Unmarshal(body, &in) != nil {
		return nil
	}
	if in.TargetDatabaseName != "" { // of a batch load task
		in.DatabaseName, in.TableName = in.TargetDatabaseName, in.TargetTableName
	}
	switch {
	case in.QueryString != "":
		return h.db.StatementTables(in.QueryString)
	case in.ResourceARN != "":
		_, path, _ := strings.Cut(in.ResourceARN, ":database/")
		return []string{strings.Replace(path, "/table/", ".", 1)}
	case in.DatabaseName == "":
		return nil
	case in.TableName == "":
		return []string{in.DatabaseName}
	}
	return []string{in.DatabaseName + "." + in.TableName}
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

// reset takes the connection from net/http and makes its end a reset, as when a machine goes away. What can only be ended (HTTP/2)
// is left to the caller.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	raw := conn
	if secure, ok := conn.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) //nolint:errcheck // it ends in another way then
	}
	_ = raw.Close() //nolint:errcheck // nothing is to be done about it
}

// stuck waits until the caller has had enough.
func stuck(r *http.Request) string {
	if sleep(r.Context(), maxStuck) {
		return classCut
	}
	return classCanceled
}

// instead answers a call that is not carried out and returns the class of the error.
func (h *handler) instead(w http.ResponseWriter, r *http.Request, d *faults.Decision) string {
	switch d.Instead {
	case faults.Cut:
		return classCut
	case faults.Reset:
		return classReset
	case faults.Stuck:
		return stuck(r)
	case faults.Unavailable:
		w.Header().Del("Content-Type")
		w.WriteHeader(http.StatusServiceUnavailable)
		return "unavailable"
	}
	e := answers[d.Instead]
	e.Message = cmp.Or(d.Text, e.Message)
	return h.error(w, r, &e)
}

// write stores a request, but for records that are refused on demand.
func (h *handler) write(ctx context.Context, req *record.Request, d *faults.Decision) (wtypes.RecordsIngested, error) {
	req.Hide = d.Hide
	rejected := h.refuse(req, d)
	var n wtypes.RecordsIngested
	var err error
	if rejected == nil || len(req.Records) > 0 {
		n, err = h.db.Write(ctx, req)
	}
	if d.Late {
		n.MemoryStore, n.MagneticStore = 0, n.Total
	}
	if rejected == nil {
		return n, err
	}
	var others *wtypes.RejectedRecordsException
	if err != nil && !errors.As(err, &others) {
		return n, err
	}
	if others != nil {
		// The indexes of those that were left count from where they were before.
		refused := make([]int32, len(rejected))
		for i := range rejected {
			refused[i] = rejected[i].RecordIndex
		}
		for _, o := range others.RejectedRecords {
			for _, at := range refused {
				if o.RecordIndex >= at {
					o.RecordIndex++
				}
			}
			rejected = append(rejected, o)
		}
	}
	slices.SortFunc(rejected, func(a, b wtypes.RejectedRecord) int { return int(a.RecordIndex - b.RecordIndex) })
	text := "One or more records have been rejected. See RejectedRecords for details."
	return n, &wtypes.RejectedRecordsException{Message: &text, RejectedRecords: rejected}
}

// refuse takes the records that are refused on demand out of a request and returns what is said of them, in the order of their places;
// nil for none.
func (h *handler) refuse(req *record.Request, d *faults.Decision) []wtypes.RejectedRecord {
	n := len(req.Records)
	if !d.Reject && d.RejectShare == 0 || n == 0 || n > timestream.MaxRecordsPerWrite {
		return nil
	}
	one := -1
	if d.Reject {
		one = int(d.Pick * float64(n))
	}
	draw := rand.New(rand.NewPCG(d.RejectSeed, 0)) //nolint:gosec // it is to be repeated
	var rejected []wtypes.RejectedRecord
	left := req.Records[:0]
	for i := range req.Records {
		if i == one || draw.Float64() < d.RejectShare {
			rejected = append(rejected, h.refusal(req, i, d.Reason))
		} else {
			left = append(left, req.Records[i])
		}
	}
	clear(req.Records[len(left):])
	req.Records = left
	return rejected
}

// refusals are the short names of reasons.
var refusals = map[string]local.Refusal{
	faults.ReasonVersion: local.RefusedVersion, faults.ReasonLowerVersion: local.RefusedLowerVersion,
	faults.ReasonWindow: local.RefusedWindow, faults.ReasonDimensions: local.RefusedDimensions,
}

// refusal is what is said of a record that is refused for a reason.
func (h *handler) refusal(req *record.Request, i int, reason string) wtypes.RejectedRecord {
	out := wtypes.RejectedRecord{RecordIndex: int32(i)}
	if why, ok := refusals[reason]; ok {
		version := max(1, cmp.Or(req.Records[i].Version, req.Common.Version))
		var existing int64
		if reason, existing = h.db.Refusal(why, req.Database, req.Table, version); existing > 0 {
			out.ExistingVersion = &existing
		}
	}
	reason = cmp.Or(reason, textRefused)
	out.Reason = &reason
	return out
}
