// SPDX-License-Identifier: Apache-2.0

package ingestv1_test

import (
	"testing"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
)

func TestFailed(t *testing.T) {
	const v1, v2 = ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1, ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2
	const otlp, otlpJSON = ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS, ingestv1.MessageType_MESSAGE_TYPE_OTLP_METRICS_JSON
	all := []ingestv1.MessageType{v1, v2, otlp, otlpJSON}
	tests := []struct {
		kind, reason string
		want         []ingestv1.MessageType
	}{
		{"samples", "conflict", all},
		{"samples", "missing_metric_name", all},
		{"histograms", "histogram_too_large", all},
		{"exemplars", "missing_metric_name", []ingestv1.MessageType{v2}},
		{"exemplars", "empty_label_set", []ingestv1.MessageType{v2}},
		{"exemplars", "empty_label_name", []ingestv1.MessageType{v2}},
		{"exemplars", "duplicate_label_name", []ingestv1.MessageType{v2}},
		{"exemplars", "invalid_utf8", []ingestv1.MessageType{v2}},
		{"exemplars", "invalid_symbols", []ingestv1.MessageType{v2}},
		{"exemplars", "invalid_exemplar", nil},
		{"exemplars", "exemplar_too_large", nil},
		{"exemplars", "labels_too_large", nil},
		{"exemplars", "out_of_range", nil},
		{"exemplars", "conflict", nil},
		{"exemplars", "refused", nil},
		{"metadata", "missing_metric_name", []ingestv1.MessageType{v2}},
		{"metadata", "invalid_symbols", []ingestv1.MessageType{v2}},
		{"metadata", "invalid_metadata", nil},
		{"metadata", "metadata_too_large", nil},
		{"start_timestamps", "missing_metric_name", nil},
		{"start_timestamps", "out_of_range", nil},
	}
	for _, tt := range tests {
		for _, m := range all {
			res := &ingestv1.WriteResponse{Ledger: &ingestv1.Ledger{}, Rejections: []*ingestv1.Rejection{
				{Kind: "exemplars", Reason: "exemplar_too_large", Count: 3}, {Kind: tt.kind, Reason: tt.reason, Count: 1},
			}}
			want := false
			for _, x := range tt.want {
				want = want || x == m
			}
			if got := res.Failed(m); got != want {
				t.Errorf("%s %s in %s: got %v", tt.kind, tt.reason, m, got)
			}
		}
	}
	// The counts suffice, should a list of reasons not be there.
	for name, l := range map[string]*ingestv1.Ledger{"samples": {Samples: &ingestv1.Counts{Rejected: 1}}, "histograms": {Histograms: &ingestv1.Counts{Rejected: 1}}} {
		if !(&ingestv1.WriteResponse{Ledger: l}).Failed(v1) {
			t.Errorf("rejected %s do not fail", name)
		}
	}
	if (&ingestv1.WriteResponse{}).Failed(v2) {
		t.Error("nothing fails")
	}
}
