// SPDX-License-Identifier: Apache-2.0

package account

import (
	"fmt"
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

func TestClipMiddle(t *testing.T) {
	tests := []struct {
		give string
		n    int
		want string
	}{
		{"abc", 3, "abc"},
		{"abcdefghij", 8, "a…ghij"},
		{"aüüüüüüü", 11, "aü…üü"},
	}
	for _, tt := range tests {
		if got := clipMiddle(tt.give, tt.n); got != tt.want || len(got) > tt.n {
			t.Errorf("clipMiddle(%q, %d): got %q, want %q", tt.give, tt.n, got, tt.want)
		}
	}
}

// TestText: counts first, then what made the request fail, and of a long example the end too, where the limit and the
// remedy are.
func TestText(t *testing.T) {
	long := "{path=\"" + strings.Repeat("x", 2000) + "\"}: labels have 2100 bytes, the limit is 2048; drop a label"
	tests := []struct {
		name    string
		message ingestv1.MessageType
		give    *ingestv1.WriteResponse
		want    []string // in this order
	}{
		{
			"one reason", ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2,
			&ingestv1.WriteResponse{
				Ledger:     &ingestv1.Ledger{Samples: &ingestv1.Counts{Received: 9, Stored: 6, Duplicate: 1, Rejected: 2}},
				Rejections: []*ingestv1.Rejection{{Kind: "samples", Reason: "labels_too_large", Count: 2, Examples: []string{long, long}}},
			},
			[]string{"samples: 2 of 9 rejected, 7 written; reasons: samples labels_too_large 2; examples: labels_too_large: {path=", "…", "the limit is 2048; drop a label", " | labels_too_large: {path=", "drop a label"},
		},
		{
			"several kinds", ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1,
			&ingestv1.WriteResponse{
				Ledger: &ingestv1.Ledger{
					Samples: &ingestv1.Counts{Received: 9, Stored: 9}, Histograms: &ingestv1.Counts{Received: 3, Stored: 1, Rejected: 2},
					Exemplars: &ingestv1.Counts{Received: 50, Rejected: 50}, Metadata: &ingestv1.Counts{Received: 4, Stored: 3, Rejected: 1},
					StartTimestamps: &ingestv1.Counts{Received: 1, Rejected: 1},
				},
				Rejections: []*ingestv1.Rejection{
					{Kind: "exemplars", Reason: "exemplar_too_large", Count: 50, Examples: []string{"a{}: " + long}},
					{Kind: "histograms", Reason: "invalid_histogram", Count: 1, Examples: []string{"b{}: " + long}},
					{Kind: "histograms", Reason: "conflict", Count: 1, Examples: []string{"c{}: another value is stored"}},
					{Kind: "metadata", Reason: "metadata_too_large", Count: 1},
					{Kind: "start_timestamps", Reason: "out_of_range", Count: 1},
				},
			},
			[]string{
				"samples: 0 of 9 rejected, 9 written; histograms: 2 of 3 rejected, 1 written; exemplars: 50 of 50 rejected, 0 written; metadata: 1 of 4 rejected, 3 written; start timestamps: 1 of 1 rejected, 0 written; " +
					"reasons: histograms invalid_histogram 1, histograms conflict 1, exemplars exemplar_too_large 50, metadata metadata_too_large 1, start_timestamps out_of_range 1; examples: ",
				"invalid_histogram: b{}: {path=", "drop a label | conflict: c{}: another value is stored | exemplar_too_large: a{}: ", "drop a label",
			},
		},
		{
			"what makes 2.0 fail", ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2, extras(),
			[]string{"exemplars: 9 of 9 rejected, 0 written; metadata: 1 of 1 rejected, 0 written; reasons: metadata invalid_symbols 1, exemplars exemplar_too_large 9"},
		},
		{
			"what makes 2.0 fail, in OTLP", ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS, extras(),
			[]string{"exemplars: 9 of 9 rejected, 0 written; metadata: 1 of 1 rejected, 0 written; reasons: exemplars exemplar_too_large 9, metadata invalid_symbols 1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Text(tt.message, tt.give)
			if len(got) >= MaxTextBytes || !utf8.ValidString(got) {
				t.Errorf("got %d bytes of text", len(got))
			}
			rest := got
			for i, want := range tt.want {
				_, after, found := strings.Cut(rest, want)
				if !found || i == 0 && !strings.HasPrefix(got, want) {
					t.Fatalf("got %q, want %q in it", got, want)
				}
				rest = after
			}
		})
	}
}

// extras is an account of a request without samples.
func extras() *ingestv1.WriteResponse {
	return &ingestv1.WriteResponse{
		Ledger: &ingestv1.Ledger{Exemplars: &ingestv1.Counts{Received: 9, Rejected: 9}, Metadata: &ingestv1.Counts{Received: 1, Rejected: 1}},
		Rejections: []*ingestv1.Rejection{
			{Kind: "exemplars", Reason: "exemplar_too_large", Count: 9}, {Kind: "metadata", Reason: "invalid_symbols", Count: 1},
		},
	}
}

// TestRefusalWithoutSamples: what is wrong with exemplars and metadata fails a request of 2.0 alone, and not whatever it is.
func TestRefusalWithoutSamples(t *testing.T) {
	large := extras()
	large.Rejections[1].Reason = "metadata_too_large"
	for _, tt := range []struct {
		message ingestv1.MessageType
		give    *ingestv1.WriteResponse
		want    string // status and reason
	}{
		{ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2, extras(), "400 rejected_series"},
		{ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1, extras(), ""},
		{ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS, extras(), ""},
		{ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS_JSON, extras(), ""},
		{ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2, large, ""},
	} {
		got := ""
		if r := Refusal(tt.message, tt.give); r != nil {
			got = fmt.Sprint(r.Status, " ", r.Reason)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.message, got, tt.want)
		}
	}
}

// FuzzRefusal: whatever a service says, the text fits into what senders read and is one line of valid UTF-8.
func FuzzRefusal(f *testing.F) {
	f.Add("missing_metric_name", "{a=\"b\"}\n", "", uint64(1))
	f.Add("x", "\xff\u2028\x7f", "throttled\nby\r", uint64(0))
	f.Add(strings.Repeat("ü", 600), strings.Repeat("é", 600), strings.Repeat("€", 600), uint64(1<<63))
	f.Fuzz(func(t *testing.T, reason, example, deferred string, n uint64) {
		r := Refusal(ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2, &ingestv1.WriteResponse{
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
