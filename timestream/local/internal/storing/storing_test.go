// SPDX-License-Identifier: Apache-2.0

package storing

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// target answers requests by the values of their records.
type target struct {
	throttle int
	requests []int
}

func (s *target) Write(_ context.Context, r *record.Request) (records, bytes int64, err error) {
	if s.throttle--; s.throttle >= 0 {
		return 0, 0, &wtypes.ThrottlingException{}
	}
	s.requests = append(s.requests, len(r.Records))
	rejected := &wtypes.RejectedRecordsException{}
	for i := range r.Records {
		switch r.Records[i].MeasureValue {
		case "invalid":
			reason := "it is invalid"
			return 0, 0, &wtypes.ValidationException{Message: &reason}
		case "rejected":
			reason := "it is rejected"
			rejected.RejectedRecords = append(rejected.RejectedRecords, wtypes.RejectedRecord{RecordIndex: int32(i), Reason: &reason})
		case "lost":
			return 0, 0, &wtypes.ResourceNotFoundException{}
		}
	}
	n := int64(len(r.Records) - len(rejected.RejectedRecords))
	if len(rejected.RejectedRecords) > 0 {
		return n, 1024 * n, rejected
	}
	return n, 1024 * n, nil
}

// What is wrong with one record costs no other, and a target that has too much to do is asked again.
func TestWriter(t *testing.T) {
	records := make([]record.Record, 250)
	for i := range records {
		records[i].MeasureValue = strconv.Itoa(i)
	}
	records[7].MeasureValue, records[8].MeasureValue, records[249].MeasureValue = "invalid", "rejected", "invalid"
	var refused, invalid []string
	s := &target{throttle: 2}
	w := Writer{Target: s, Refused: func(r *record.Record, reason string) { refused = append(refused, r.MeasureValue+": "+reason) }}
	if err := w.Write(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	if want := []string{"invalid: it is invalid", "rejected: it is rejected", "invalid: it is invalid"}; !slices.Equal(refused, want) || w.Records != 247 || w.Bytes != 247*1024 {
		t.Errorf("refused %q, %d records, %d bytes", refused, w.Records, w.Bytes)
	}
	if s.requests[0] != 100 || s.throttle >= 0 {
		t.Errorf("requests of %v records", s.requests)
	}
	refused = nil
	w.Invalid = func(r *record.Record, reason string) { invalid = append(invalid, r.MeasureValue+": "+reason) }
	if err := w.Write(t.Context(), records[7:9]); err != nil || !slices.Equal(refused, []string{"rejected: it is rejected"}) || !slices.Equal(invalid, []string{"invalid: it is invalid"}) {
		t.Errorf("refused %q, invalid %q, %v", refused, invalid, err)
	}
	records[100].MeasureValue = "lost"
	before := len(s.requests)
	var missing *wtypes.ResourceNotFoundException
	if err := w.Write(t.Context(), records[100:]); !errors.As(err, &missing) || len(s.requests) != before+1 {
		t.Errorf("got %v after %d requests", err, len(s.requests)-before)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	s.throttle = 1 << 20
	if err := w.Write(ended, records[:1]); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSentence(t *testing.T) {
	for give, want := range map[string]string{"": "", "the row": "The row.", "Done.": "Done.", "ünder: 1": "Ünder: 1.", "cut…": "Cut…", "\xff": "\uFFFD."} {
		if got := Sentence(give); got != want {
			t.Errorf("%q: got %q, want %q", give, got, want)
		}
	}
}
