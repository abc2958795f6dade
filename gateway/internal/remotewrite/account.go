// SPDX-License-Identifier: Apache-2.0

package remotewrite

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

// maxExampleBytes keeps one long series from hiding the examples of all other reasons.
const maxExampleBytes = 240

// Refusal returns the answer that an account calls for, or nil when the request was a success:
//
//   - Anything deferred: 503. The sender repeats the whole request, which is safe.
//   - Samples or histograms rejected: 400 with counts and reasons. The rest is stored; the sender moves on.
//   - Only exemplars, metadata or start timestamps rejected: a success, because Prometheus never fails a request for
//     them.
func Refusal(res *ingestv1.WriteResponse) *httperr.Refusal {
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
	if l := res.GetLedger(); l.GetSamples().GetRejected() == 0 && l.GetHistograms().GetRejected() == 0 {
		return nil
	}
	return &httperr.Refusal{
		Status: http.StatusBadRequest, Reason: "rejected_samples",
		Text: clip(partialText(res), MaxTextBytes-1), // http.Error adds a newline
	}
}

// partialText says how much of each kind was rejected, then why with counts, then examples: what matters most comes
// before the cut.
func partialText(res *ingestv1.WriteResponse) string {
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

	sep = "; reasons: "
	for _, r := range res.GetRejections() {
		fmt.Fprintf(&b, "%s%s %s %d", sep, r.GetKind(), r.GetReason(), r.GetCount())
		sep = ", "
	}
	sep = "; examples: "
	for i, more := 0, true; more; i++ { // the first example of every reason before the second of any
		more = false
		for _, r := range res.GetRejections() {
			if i < len(r.GetExamples()) {
				more = true
				fmt.Fprintf(&b, "%s%s: %s", sep, r.GetReason(), clip(oneLine(r.GetExamples()[i]), maxExampleBytes))
				sep = " | "
			}
		}
	}
	return b.String()
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
