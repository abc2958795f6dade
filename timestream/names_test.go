// SPDX-License-Identifier: Apache-2.0

package timestream

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		give      string
		dimension bool
		measure   bool
	}{
		{"job", true, true},
		{"video_startup_time", true, true},
		{"地区", true, true},
		{"1", true, true},
		{"Time", true, true},
		{"__name__", true, true},
		{strings.Repeat("d", 60), true, true},
		{strings.Repeat("d", 61), false, true},
		{strings.Repeat("é", 31), false, true},
		{strings.Repeat("m", 256), false, true},
		{strings.Repeat("m", 257), false, false},
		{"", false, false},
		{"time", false, false},
		{"ts_x", false, false},
		{"ts_non_existent_col", false, false},
		{"measure_name", false, false},
		{"measure_name_x", false, false},
		{"measure_value", false, false},
		{"measure_value::double", false, false},
		{"a:b", false, false},
		{`a"b`, false, false},
		{"a\nb", false, false},
		{"a\x1f", false, false},
		{"a\u2028", false, false},
		{"a\u2029", false, false},
	} {
		if got := ValidDimensionName(c.give); got != c.dimension {
			t.Errorf("dimension %q: got %v", c.give, got)
		}
		if got := ValidMeasureName(c.give); got != c.measure {
			t.Errorf("measure %q: got %v", c.give, got)
		}
	}
}
