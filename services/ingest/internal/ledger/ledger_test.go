// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestAccount(t *testing.T) {
	var a Account
	a.Receive(Samples, 10)
	a.Receive(Exemplars, 2)
	a.Store(Samples, 4)
	a.Counts[Samples].Duplicate++
	for i := range 5 {
		reason := OutOfRange
		if i == 0 {
			reason = InvalidUTF8
		}
		a.Reject(Samples, reason, 1, func() string { return fmt.Sprint("example ", i) })
	}
	a.Reject(Samples, Conflict, 0, func() string { t.Error("no example of nothing"); return "" })
	a.Reject(Exemplars, ExemplarTooLarge, 2, nil)
	for k, c := range a.Counts {
		if !c.Balanced() {
			t.Errorf("%v: %+v", Kind(k), c)
		}
	}
	res := a.Response()
	var got []string
	for _, r := range res.GetRejections() {
		got = append(got, fmt.Sprint(r.GetKind(), " ", r.GetReason(), " ", r.GetCount(), " ", r.GetExamples()))
	}
	want := "[samples out_of_range 4 [example 1 example 2 example 3] exemplars exemplar_too_large 2 [] samples invalid_utf8 1 [example 0]]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if res.GetDeferredReason() != "" || res.GetRetryAfter() != nil {
		t.Errorf("deferred without a reason: %v", res)
	}

	a.Defer(Deferral{Cause: "throttled", Text: "slow down", RetryAfter: 2 * time.Second})
	res = a.Response()
	s := res.GetLedger().GetSamples()
	if s.GetStored() != 4 || s.GetDuplicate() != 1 || s.GetRejected() != 0 || s.GetDeferred() != 5 || res.GetLedger().GetExemplars().GetDeferred() != 2 {
		t.Errorf("deferred: %v", res)
	}
	if len(res.GetRejections()) != 0 || res.GetDeferredReason() != "slow down" || res.GetRetryAfter().AsDuration() != 2*time.Second {
		t.Errorf("deferred: %v", res)
	}
}

func TestTotals(t *testing.T) {
	totals := NewTotals(prometheus.NewRegistry())
	var ok, again Account
	ok.Receive(Samples, 3)
	ok.Store(Samples, 2)
	ok.Counts[Samples].StoredLate = 1
	ok.Reject(Samples, Conflict, 1, nil)
	again.Receive(Samples, 5)
	again.Defer(Deferral{Cause: "throttled"})
	totals.Add(&ok)
	totals.Add(&again)
	if got, want := totals.Counts()[Samples], (Counts{Received: 8, Stored: 2, StoredLate: 1, Rejected: 1, Deferred: 5}); got != want || !got.Balanced() {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := testutil.ToFloat64(totals.rejected.WithLabelValues("samples", "conflict")); n != 1 {
		t.Errorf("rejected %v", n)
	}
	if n := testutil.ToFloat64(totals.deferred.WithLabelValues("throttled")); n != 1 {
		t.Errorf("deferred %v", n)
	}
}

func TestBalanced(t *testing.T) {
	for give, want := range map[Counts]bool{
		{}: true,
		{Received: 4, Stored: 1, Duplicate: 1, Rejected: 1, Deferred: 1, StoredLate: 1}: true,
		{Received: 1}:                           false,
		{Received: 1, Stored: 1, StoredLate: 2}: false,
		{Stored: 1}:                             false,
	} {
		if got := give.Balanced(); got != want {
			t.Errorf("%+v: got %v", give, got)
		}
	}
}
