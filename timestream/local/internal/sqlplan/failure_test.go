// SPDX-License-Identifier: Apache-2.0

package sqlplan

import "testing"

func TestFailure(t *testing.T) {
	for _, tt := range []struct{ give, want string }{
		{"Overflow in addition of INT32 (2147483647 + 1)!", "integer addition overflow: 2147483647 + 1"},
		{"Overflow in subtraction of INT64 (-9223372036854775807 - 5)!", "bigint subtraction overflow: -9223372036854775807 - 5"},
		{"Overflow in multiplication of INT64 (2 * -9223372036854775807)!", "bigint multiplication overflow: 2 * -9223372036854775807"},
		{"Overflow in addition of INT16 (1 + 1)!", "Overflow in addition of INT16 (1 + 1)!"},
		{"Could not convert Timestamp(US) to Timestamp(NS)", "Timestamp is out of range"},
		{"Division by zero", "Division by zero"},
	} {
		if got := Failure(tt.give); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.give, got, tt.want)
		}
	}
}
