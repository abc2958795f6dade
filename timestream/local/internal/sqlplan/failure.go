// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Failure words what DuckDB says of a statement that failed while it ran as Trino does, where that is known; other texts
// stay as they are. The class that DuckDB's text begins with is cut off before.
func Failure(text string) string {
	// Columns have generated names.
	text, _, _ = strings.Cut(text, " when casting from source column ")
	if m := regexp.MustCompile(`^Type DOUBLE with value (\S+) can't be cast because the value is out of range for the destination type INT(32|64)$`).FindStringSubmatch(text); m != nil {
		v, err := strconv.ParseFloat(m[1], 64)
		switch {
		case err != nil:
		case m[2] == "64":
			return "Unable to cast " + string(appendDouble(nil, v)) + " to bigint"
		case v != v:
			return "Cannot cast double NaN to integer"
		default:
			return "Out of range for integer: " + string(appendDouble(nil, v))
		}
	}
	if m := regexp.MustCompile(`^Overflow on abs\((-?\d+)\)$`).FindStringSubmatch(text); m != nil {
		typ := "bigint"
		if m[1] == strconv.Itoa(math.MinInt32) {
			typ = "integer"
		}
		return "Value " + m[1] + " is out of range for abs(" + typ + ")"
	}
	if text == "Could not convert Timestamp(US) to Timestamp(NS)" {
		return textOutOfRange
	}
	// Whole numbers are read otherwise, so this was a timestamp.
	if m := regexp.MustCompile(`^Could not convert string '(.*)' to INT64$`).FindStringSubmatch(text); m != nil {
		return "Value cannot be cast to timestamp: " + m[1]
	}
	m := regexp.MustCompile(`^Overflow in (addition|subtraction|multiplication) of INT(32|64) \((-?\d+) ([-+*]) (-?\d+)\)!$`).FindStringSubmatch(text)
	if m == nil {
		return text
	}
	typ := "bigint"
	if m[2] == "32" {
		typ = "integer"
	}
	return typ + " " + m[1] + " overflow: " + m[3] + " " + m[4] + " " + m[5]
}
