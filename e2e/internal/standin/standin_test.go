// SPDX-License-Identifier: Apache-2.0

package standin

import "testing"

func TestCountRecords(t *testing.T) {
	for give, want := range map[string]int64{
		`{"CommonAttributes":{"Dimensions":[{"Name":"a"}]},"Records":[]}`:                          0,
		`{"Records":[{"Dimensions":[{"Name":"]}","Value":"\"{"}]},{"Time":"1"}],"TableName":"x{"}`: 2,
		`{}`: 0,
	} {
		if got := CountRecords([]byte(give)); got != want {
			t.Errorf("%s: got %d, want %d", give, got, want)
		}
	}
}
