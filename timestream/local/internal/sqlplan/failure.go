// SPDX-License-Identifier: Apache-2.0

package sqlplan

import "regexp"

// Failure words what DuckDB says of a statement that failed while it ran as Trino does, where that is known; other texts
// stay as they are. The class that DuckDB's text begins with is cut off before.
func Failure(text string) string {
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
