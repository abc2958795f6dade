// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// bytesText writes a size with three significant digits.
func bytesText(n int64) string {
	v, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, next
	}
	switch {
	case unit == "B" || v >= 100:
		return fmt.Sprintf("%.0f %s", v, unit)
	case v >= 10:
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.2f %s", v, unit)
}

// countText groups digits by three, with narrow spaces that do not break.
func countText(v any) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// durationText writes the two largest units of a duration.
func durationText(d time.Duration) string {
	units := []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		s := fmt.Sprintf("%d %s", d/u.size, u.name)
		if rest := d % u.size; i+1 < len(units) && rest >= units[i+1].size {
			s += fmt.Sprintf(" %d %s", rest/units[i+1].size, units[i+1].name)
		}
		return s
	}
	return "0 s"
}

// secondsText writes a latency.
func secondsText(s float64) string {
	switch {
	case s == 0:
		return "–"
	case s < 1:
		return strconv.FormatFloat(s*1000, 'g', 3, 64) + " ms"
	}
	return strconv.FormatFloat(s, 'g', 3, 64) + " s"
}

// rateText writes a rate with about three digits.
func rateText(v float64) string {
	switch {
	case v >= 100:
		return countText(int64(math.Round(v)))
	case v >= 0.01 || v == 0:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return "< 0.01"
}

// utcText writes a time to the second.
func utcText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// percent is a part of a whole, from 0 to 100.
func percent(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return min(100, part*100/whole)
}

// short is enough of a revision to find it.
func short(revision string) string { return revision[:min(len(revision), 12)] }

// words writes the name of a label's value as people would.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }
