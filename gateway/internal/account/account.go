// SPDX-License-Identifier: Apache-2.0

// Package account says what the account of a write means for its sender: whether he has to send again, was refused
// something for good, or is done, and in which words. How that is said in a protocol is left to the protocol's handler.
package account

import (
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tributary-project/tributary/gateway/internal/httperr"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

// MaxTextBytes is how much of an error text Prometheus reads (storage/remote, maxErrMsgLen). Older ones read only the
// first line of it, so the text is one line.
const MaxTextBytes = 1024

// An example gets its part of the text, but at least and at most so much: one long series must not hide the examples of
// all other reasons, and a cut one should still say what is wrong.
const (
	minExampleBytes = 160
	maxExampleBytes = 480
)

// Refusal returns the answer that the account of a message of a type calls for, or nil when the request was a success:
//
//   - Anything deferred: 503. The sender repeats the whole request, which is safe.
//   - Samples or histograms rejected, or what else makes a message of this type fail (ingestv1.FailsRequest): 400 with
//     counts and reasons. The rest is stored; the sender moves on.
//   - Only other exemplars, metadata or start timestamps rejected: a success.
func Refusal(t ingestv1.MessageType, res *ingestv1.WriteResponse) *httperr.Refusal {
	if reason := res.GetDeferredReason(); reason != "" {
		r := &httperr.Refusal{
			Status: http.StatusServiceUnavailable, Reason: "deferred", RetryAfter: true,
			Text: clip("try again: "+oneLine(reason), MaxTextBytes-1),
		}
		if res.GetRetryAfter().IsValid() {
			r.After = res.GetRetryAfter().AsDuration()
		}
		return r
	}
	if !res.Failed(t) {
		return nil
	}
	reason := "rejected_samples"
	if Rejected(res) == 0 {
		reason = "rejected_series" // which had only exemplars or metadata
	}
	return &httperr.Refusal{Status: http.StatusBadRequest, Reason: reason, Text: Text(t, res)}
}

// Rejected is the number of samples and histograms that were refused for good.
func Rejected(res *ingestv1.WriteResponse) uint64 {
	return res.GetLedger().GetSamples().GetRejected() + res.GetLedger().GetHistograms().GetRejected()
}

// Text says what was rejected and why, in one line of less than MaxTextBytes of UTF-8: http.Error adds a newline.
func Text(t ingestv1.MessageType, res *ingestv1.WriteResponse) string {
	return clip(partialText(t, res), MaxTextBytes-1)
}

// partialText says how much of each kind was rejected, then why with counts, then examples: what matters most comes
// before the cut.
func partialText(t ingestv1.MessageType, res *ingestv1.WriteResponse) string {
	var b strings.Builder
	sep := ""
	counts := func(kind string, c *ingestv1.Counts) {
		if c.GetReceived() == 0 && c.GetRejected() == 0 {
			return
		}
		fmt.Fprintf(&b, "%s%s: %d of %d rejected, %d written", sep, kind, c.GetRejected(), c.GetReceived(), c.GetStored()+c.GetDuplicate())
		sep = "; "
	}
	l := res.GetLedger()
	counts("samples", l.GetSamples())
	counts("histograms", l.GetHistograms())
	counts("exemplars", l.GetExemplars())
	counts("metadata", l.GetMetadata())
	counts("start timestamps", l.GetStartTimestamps())

	rejections := failuresFirst(t, res.GetRejections())
	sep = "; reasons: "
	examples := 0
	for _, r := range rejections {
		fmt.Fprintf(&b, "%s%s %s %d", sep, r.GetKind(), r.GetReason(), r.GetCount())
		sep = ", "
		examples += len(r.GetExamples())
	}
	part := min(max((MaxTextBytes-b.Len())/max(1, examples)-32, minExampleBytes), maxExampleBytes)
	sep = "; examples: "
	for i, more := 0, true; more && b.Len() < MaxTextBytes; i++ { // the first example of every reason before the second of any
		more = false
		for _, r := range rejections {
			if i < len(r.GetExamples()) {
				more = true
				fmt.Fprintf(&b, "%s%s: %s", sep, r.GetReason(), clipMiddle(oneLine(r.GetExamples()[i]), part))
				sep = " | "
			}
		}
	}
	return b.String()
}

// failuresFirst moves what made the request fail before what only came with it. The order is otherwise kept.
func failuresFirst(t ingestv1.MessageType, rs []*ingestv1.Rejection) []*ingestv1.Rejection {
	out := make([]*ingestv1.Rejection, 0, len(rs))
	for _, failure := range []bool{true, false} {
		for _, r := range rs {
			if ingestv1.FailsRequest(t, r.GetKind(), r.GetReason()) == failure {
				out = append(out, r)
			}
		}
	}
	return out
}

// oneLine makes valid UTF-8 without control characters of s, so that a label's newline cannot end the line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// clip cuts s to at most n bytes between two runes and marks the cut.
func clip(s string, n int) string {
	const mark = "…"
	if len(s) <= n {
		return s
	}
	n -= len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}

// clipMiddle cuts s to at most n bytes and keeps its end: an example names the series first, and last the limit and what
// to do about it.
func clipMiddle(s string, n int) string {
	if len(s) <= n {
		return s
	}
	tail := s[len(s)-n/2:]
	for len(tail) > 0 && !utf8.RuneStart(tail[0]) {
		tail = tail[1:]
	}
	return clip(s, n-len(tail)) + tail
}
