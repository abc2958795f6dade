// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
)

func TestRequestsRefusedWhole(t *testing.T) {
	cfg := quick()
	cfg.MaxDecompressedBytes, cfg.MaxSamples = 10_000, 50
	r := newRig(t, cfg)
	good := request(t, rw1, sample("__name__", "m"))
	change := func(f func(*ingestv1.WriteRequest)) *ingestv1.WriteRequest {
		c := &ingestv1.WriteRequest{MessageType: good.MessageType, Encoding: good.Encoding, Payload: good.Payload}
		f(c)
		return c
	}
	for _, c := range []struct {
		name   string
		give   *ingestv1.WriteRequest
		reason string
		text   string
	}{
		{"no type", change(func(r *ingestv1.WriteRequest) { r.MessageType = 0 }), ReasonInvalidRequest, "message_type"},
		{"unknown type", change(func(r *ingestv1.WriteRequest) { r.MessageType = 9 }), ReasonInvalidRequest, "message_type"},
		{"unknown encoding", change(func(r *ingestv1.WriteRequest) { r.Encoding = 9 }), ReasonInvalidRequest, "encoding"},
		{"long caller", change(func(r *ingestv1.WriteRequest) { r.CallerId = strings.Repeat("c", 129) }), ReasonInvalidRequest, "caller_id"},
		{"bad database", change(func(r *ingestv1.WriteRequest) { r.Destination = &ingestv1.Destination{Database: `a"b`} }), ReasonInvalidRequest, "destination.database"},
		{"bad table", change(func(r *ingestv1.WriteRequest) {
			r.Destination = &ingestv1.Destination{Table: strings.Repeat("t", 257)}
		}), ReasonInvalidRequest, "destination.table"},
		{"corrupt", change(func(r *ingestv1.WriteRequest) { r.Payload = r.Payload[:len(r.Payload)-2] }), ReasonCorrupt, "corrupt"},
		{"too large", request(t, rw1, ingesttest.Load(100, 100, 0)...), ReasonTooLarge, "--ingest.max-decompressed-bytes"},
		{"too large, plain", change(func(r *ingestv1.WriteRequest) { r.Encoding, r.Payload = 0, make([]byte, 10_001) }), ReasonTooLarge, "--ingest.max-decompressed-bytes"},
		{"too many", request(t, rw2, ingesttest.Series{Labels: ingesttest.L("__name__", "m"), Samples: make([]prompb.Sample, 51)}), ReasonTooMany, "--ingest.max-samples-per-request"},
	} {
		_, err := r.client.Write(context.Background(), c.give)
		if status.Code(err) != codes.InvalidArgument || reason(err) != c.reason || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v (%s), want %s", c.name, err, reason(err), c.reason)
		}
	}
	if len(r.Calls()) > 0 {
		t.Error("something was written")
	}
	plain := change(func(r *ingestv1.WriteRequest) {
		r.Encoding, r.Payload = 0, ingesttest.V1(t, []ingesttest.Series{sample("__name__", "m")}, 0)
	})
	if res := r.write(t, plain); res.GetLedger().GetSamples().GetStored() != 1 {
		t.Errorf("plain payload: %v", res)
	}
}

func TestTablesThatMayNotBeNamed(t *testing.T) {
	cfg := quick()
	if err := cfg.AllowedTables.Set("metrics.mine,other.m*"); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, cfg)
	for _, c := range []struct {
		give *ingestv1.Destination
		want codes.Code
	}{
		{nil, codes.OK},
		{&ingestv1.Destination{Database: "metrics", Table: "table"}, codes.OK},
		{&ingestv1.Destination{Table: "mine"}, codes.OK},
		{&ingestv1.Destination{Database: "other", Table: "more"}, codes.OK},
		{&ingestv1.Destination{Database: "other"}, codes.PermissionDenied}, // other.table
		{&ingestv1.Destination{Table: "else"}, codes.PermissionDenied},
		{&ingestv1.Destination{Table: "m*"}, codes.InvalidArgument},
	} {
		req := request(t, rw2, sample("__name__", "m"))
		req.Destination = c.give
		before := len(r.Calls())
		_, err := r.client.Write(context.Background(), req)
		if status.Code(err) != c.want || (len(r.Calls()) > before) != (c.want == codes.OK) {
			t.Errorf("%v: got %v, want %s", c.give, err, c.want)
		}
		if c.want == codes.PermissionDenied && (reason(err) != ReasonTableNotAllowed || !strings.Contains(err.Error(), "--allowed-tables")) {
			t.Errorf("%v: got %v (%s)", c.give, err, reason(err))
		}
	}
}

// A record that Timestream calls invalid is found by halving, and its 99 neighbours are stored.
func TestBisection(t *testing.T) {
	r := newRig(t, quick())
	r.OnWrite(func(_ ingesttest.WriteCall, records []ingesttest.Record) ingesttest.Reply {
		for _, x := range records {
			if strings.HasPrefix(x.MeasureName, "poison") {
				return ingesttest.Reply{Class: "ValidationException", Status: 400, Message: "Invalid value for " + x.MeasureName}
			}
		}
		return ingesttest.Reply{}
	})
	load := ingesttest.Load(250, 250, 0)
	for i, n := range []int{0, 77, 123, 249} {
		load[n].Labels[0].Value = fmt.Sprint("poison", i)
	}
	res := r.write(t, request(t, rw2, load...))
	if got := counts(res.GetLedger().GetSamples()); got != "received 250 stored 246 late 0 duplicate 0 rejected 4 deferred 0" || reasons(res) != "samples refused 4" {
		t.Errorf("got %s: %s", got, reasons(res))
	}
	if x := res.GetRejections()[0].GetExamples(); len(x) != 3 || !strings.Contains(x[0], "Invalid value for poison") {
		t.Errorf("examples %q", x)
	}
	if len(r.Stored()) != 246 {
		t.Errorf("%d stored", len(r.Stored()))
	}
}

// A metric whose name the table has bound to another type goes to the extension, in this request and all later ones.
func TestTypeConflictIsEncodedAgain(t *testing.T) {
	for _, whole := range []bool{false, true} {
		r := newRig(t, quick())
		refuse := func(_ ingesttest.WriteCall, records []ingesttest.Record) ingesttest.Reply {
			var out ingesttest.Reply
			for i, x := range records {
				if x.MeasureName == "bound" {
					const text = "The measure name 'bound' already has the type MULTI in the table."
					if whole {
						return ingesttest.Reply{Class: "ValidationException", Status: 400, Message: text}
					}
					out.Rejected = append(out.Rejected, ingesttest.Rejected{RecordIndex: i, Reason: text})
				}
			}
			return out
		}
		r.OnWrite(refuse)
		send := func() *ingestv1.WriteResponse {
			return r.write(t, request(t, rw2, sample("__name__", "bound", "job", "a"), sample("__name__", "free", "job", "a"), sample("__name__", "bound", "job", "a")))
		}
		if res := send(); counts(res.GetLedger().GetSamples()) != "received 3 stored 2 late 0 duplicate 1 rejected 0 deferred 0" {
			t.Errorf("got %v", res)
		}
		before := len(r.Calls())
		if res := send(); res.GetLedger().GetSamples().GetStored() != 2 || len(r.Calls()) != before+1 {
			t.Errorf("the next request: %d calls, %v", len(r.Calls())-before, res)
		}
		if len(r.Stored()) != 2 {
			t.Errorf("stored %v", r.Stored())
		}
	}
}

// A table that has no room for new columns gets the labels packed.
func TestFullTableIsEncodedAgain(t *testing.T) {
	r := newRig(t, quick())
	r.OnQuery(func(statement string) ([]string, [][]string, ingesttest.Reply) {
		if strings.HasPrefix(statement, "DESCRIBE") {
			return []string{"Column", "Type", "Timestream attribute type"}, [][]string{{"job", "varchar", "DIMENSION"}, {"__tributary_labels_1", "varchar", "DIMENSION"}}, ingesttest.Reply{}
		}
		return []string{"measure_name", "data_type"}, [][]string{{"m", "double"}}, ingesttest.Reply{}
	})
	r.OnWrite(func(_ ingesttest.WriteCall, records []ingesttest.Record) ingesttest.Reply {
		var out ingesttest.Reply
		for i, x := range records {
			for _, d := range x.Dimensions {
				if d.Name == "new" {
					out.Rejected = append(out.Rejected, ingesttest.Rejected{RecordIndex: i, Reason: "The table has reached the maximum of 128 dimensions."})
				}
			}
		}
		return out
	})
	send := func() *ingestv1.WriteResponse {
		return r.write(t, request(t, rw2, sample("__name__", "m", "job", "a", "new", "n"), sample("__name__", "m", "job", "a")))
	}
	if res := send(); counts(res.GetLedger().GetSamples()) != "received 2 stored 2 late 0 duplicate 0 rejected 0 deferred 0" {
		t.Errorf("got %v", res)
	}
	before := len(r.Calls())
	if res := send(); res.GetLedger().GetSamples().GetStored() != 2 || len(r.Calls()) != before+1 {
		t.Errorf("the next request: %d calls, %v", len(r.Calls())-before, res)
	}
	// A limit that no encoding avoids is final after one more try.
	r.OnWrite(func(_ ingesttest.WriteCall, records []ingesttest.Record) ingesttest.Reply {
		return ingesttest.Reply{Rejected: []ingesttest.Rejected{{RecordIndex: 0, Reason: "The record exceeds the limit."}}}
	})
	before = len(r.Calls())
	if res := r.write(t, request(t, rw2, sample("__name__", "m", "job", "b"))); reasons(res) != "samples limit_exceeded 1" || len(r.Calls()) != before+1 {
		t.Errorf("%d calls, %v", len(r.Calls())-before, res)
	}
}

func TestOutOfWindow(t *testing.T) {
	r := newRig(t, quick())
	r.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		return ingesttest.Reply{Rejected: []ingesttest.Rejected{{RecordIndex: 0, Reason: "The record timestamp is outside the time range [2023-02-13T19:22:45.051Z, 2023-02-20T20:02:45.051Z) of the memory store."}}}
	})
	res := r.write(t, request(t, rw1, sample("__name__", "m", "job", "a")))
	if reasons(res) != "samples out_of_window 1" || !strings.Contains(res.GetRejections()[0].GetExamples()[0], `m{job="a"}: 1 at 1790000000000 ms: Timestream: The record timestamp is outside`) {
		t.Errorf("got %v", res)
	}
}

func TestFailOnFlags(t *testing.T) {
	cfg := quick()
	cfg.FailOnLongLabel, cfg.FailOnInvalidSampleValue = true, true
	r := newRig(t, cfg)
	res := r.write(t, request(t, rw1, sample("__name__", strings.Repeat("n", 257)), ingesttest.One(ingesttest.L("__name__", "m"), ms, math.NaN()), sample("__name__", "good")))
	if got := reasons(res); got != "samples metric_name_too_long 1, samples non_finite_value 1" || len(r.Stored()) != 1 {
		t.Errorf("got %s, %d stored", got, len(r.Stored()))
	}
}
