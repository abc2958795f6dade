// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"
)

// otherFailure stands for what DuckDB says in a way that is not known here: its words are about a statement that the client has not written.
const otherFailure = "The query failed on a value that is out of range or malformed"

// Failure words what DuckDB says of a statement that failed while it ran. The dialect's own texts are marked, the others are worded as Trino does,
// where that is known. The class that DuckDB's text begins with is cut off before.
func Failure(text string) string {
	if own, ok := strings.CutPrefix(text, sqlfunc.Mark); ok {
		return own
	}
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
	if strings.HasPrefix(text, "More than one row returned by a subquery") {
		return "Scalar sub-query has returned multiple rows"
	}
	if m := regexp.MustCompile(`^Type INT(?:128|64) with value (-?\d+) can't be cast because the value is out of range for the destination type INT(32|64)$`).FindStringSubmatch(text); m != nil {
		return map[string]string{"32": "integer", "64": "bigint"}[m[2]] + " addition overflow: " + m[1]
	}
	if m := regexp.MustCompile(`^Overflow in division of (-?\d+) / (-?\d+)$`).FindStringSubmatch(text); m != nil {
		typ := "bigint"
		if m[1] == strconv.Itoa(math.MinInt32) {
			typ = "integer"
		}
		return typ + " division overflow: " + m[1] + " / " + m[2]
	}
	m := regexp.MustCompile(`^Overflow in (addition|subtraction|multiplication) of INT(32|64) \((-?\d+) ([-+*]) (-?\d+)\)!$`).FindStringSubmatch(text)
	if m == nil {
		return otherFailure
	}
	if m[4] == "*" && m[5] == strconv.FormatInt(nsDay, 10) {
		return textOutOfRange // a date that is made a timestamp
	}
	typ := "bigint"
	if m[2] == "32" {
		typ = "integer"
	}
	return typ + " " + m[1] + " overflow: " + m[3] + " " + m[4] + " " + m[5]
}
