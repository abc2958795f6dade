// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"testing"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"
)

func TestFailure(t *testing.T) {
	for _, tt := range []struct{ give, want string }{
		{"Overflow in addition of INT32 (2147483647 + 1)!", "integer addition overflow: 2147483647 + 1"},
		{"Overflow in subtraction of INT64 (-9223372036854775807 - 5)!", "bigint subtraction overflow: -9223372036854775807 - 5"},
		{"Overflow in multiplication of INT64 (2 * -9223372036854775807)!", "bigint multiplication overflow: 2 * -9223372036854775807"},
		{"Overflow in multiplication of INT64 (2932532 * 86400000000000)!", textOutOfRange},
		{"Overflow in addition of INT16 (1 + 1)!", otherFailure},
		{"Overflow in division of -9223372036854775808 / -1", "bigint division overflow: -9223372036854775808 / -1"},
		{"Overflow in division of -2147483648 / -1", "integer division overflow: -2147483648 / -1"},
		{"Type INT128 with value 9223372036854775808 can't be cast because the value is out of range for the destination type INT64", "bigint addition overflow: 9223372036854775808"},
		{"More than one row returned by a subquery used as an expression - scalar subqueries can only return a single row.", "Scalar sub-query has returned multiple rows"},
		{"Could not convert Timestamp(US) to Timestamp(NS)", "Timestamp is out of range"},
		{sqlfunc.Mark + "Division by zero", "Division by zero"},
		{"Division by zero", otherFailure},
	} {
		if got := Failure(tt.give); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.give, got, tt.want)
		}
	}
}
