// SPDX-License-Identifier: Apache-2.0

package remotewrite

import (
	"strings"
	"testing"
	"unicode/utf8"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

func TestClip(t *testing.T) {
	tests := []struct {
		give string
		n    int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcdef", 5, "ab…"},
		{"aüüü", 6, "aü…"},  // the cut falls between runes
		{"aüüüü", 7, "aü…"}, // and into one
	}
	for _, tt := range tests {
		if got := clip(tt.give, tt.n); got != tt.want || len(got) > tt.n {
			t.Errorf("clip(%q, %d): got %q, want %q", tt.give, tt.n, got, tt.want)
		}
	}
}

// FuzzRefusal: whatever a service says, the text fits into what senders read and is one line of valid UTF-8.
func FuzzRefusal(f *testing.F) {
	f.Add("missing_metric_name", "{a=\"b\"}\n", "", uint64(1))
	f.Add("x", "\xff\u2028\x7f", "throttled\nby\r", uint64(0))
	f.Add(strings.Repeat("ü", 600), strings.Repeat("é", 600), strings.Repeat("€", 600), uint64(1<<63))
	f.Fuzz(func(t *testing.T, reason, example, deferred string, n uint64) {
		r := Refusal(&ingestv1.WriteResponse{
			Ledger:         &ingestv1.Ledger{Samples: &ingestv1.Counts{Received: n, Rejected: n}},
			DeferredReason: deferred,
			Rejections:     []*ingestv1.Rejection{{Kind: "samples", Reason: "r", Count: n, Examples: []string{example, reason, example, reason, example}}},
		})
		if deferred == "" && n == 0 {
			if r != nil {
				t.Errorf("refused for nothing: %v", r)
			}
			return
		}
		if want := map[bool]int{true: 400, false: 503}[deferred == ""]; r.Status != want {
			t.Errorf("got %d, want %d", r.Status, want)
		}
		if len(r.Text) >= MaxTextBytes || !utf8.ValidString(r.Text) || strings.ContainsAny(r.Text, "\n\r\x00\u2028") {
			t.Errorf("got %d bytes: %q", len(r.Text), r.Text)
		}
	})
}
