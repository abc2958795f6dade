// SPDX-License-Identifier: Apache-2.0

package ingestv1

// FailsRequest tells whether a write of a type fails when entries of a kind are refused for good for a reason, as
// Prometheus 3.13 has it:
//
//   - Samples and histograms always make it fail.
//   - Exemplars and metadata make one of remote write 2.0 fail when the labels of their series or their own references to
//     symbols are malformed, which is a bug of the sender. What does not fit, or the store refuses, does not.
//   - Start timestamps never do.
//
// Kind and reason are those of a Rejection.
func FailsRequest(t MessageType, kind, reason string) bool {
	switch kind {
	case "samples", "histograms":
		return true
	case "exemplars", "metadata":
	default:
		return false
	}
	if t != MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2 {
		return false
	}
	switch reason {
	case "missing_metric_name", "empty_label_set", "empty_label_name", "duplicate_label_name", "invalid_utf8", "invalid_symbols":
		return true
	}
	return false
}

// Failed tells whether something of a write of a type was refused for good that makes it fail. An answer that defers has no
// rejections.
func (x *WriteResponse) Failed(t MessageType) bool {
	l := x.GetLedger()
	if l.GetSamples().GetRejected()+l.GetHistograms().GetRejected() > 0 {
		return true
	}
	for _, r := range x.GetRejections() {
		if FailsRequest(t, r.GetKind(), r.GetReason()) {
			return true
		}
	}
	return false
}
