// SPDX-License-Identifier: Apache-2.0

package rows

import (
	"fmt"
	"strconv"
	"time"
)

// clock reads timestamps. It remembers the last day, because neighbours share it.
type clock struct {
	day   string
	dayMs int64
}

// millis reads `YYYY-MM-DD HH:MM:SS.fffffffff`, in UTC, with up to nine digits after the point or none (Timestream
// writes nine), as milliseconds since 1970, rounded down.
func (c *clock) millis(s string) (int64, error) {
	if len(s) < 19 || s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return 0, badTime(s)
	}
	if s[:10] != c.day {
		t, err := time.Parse(time.DateOnly, s[:10])
		if err != nil {
			return 0, badTime(s)
		}
		c.day, c.dayMs = s[:10], t.UnixMilli()
	}
	h, okH := twoDigits(s[11], s[12])
	m, okM := twoDigits(s[14], s[15])
	sec, okS := twoDigits(s[17], s[18])
	if !okH || !okM || !okS || h > 23 || m > 59 || sec > 59 {
		return 0, badTime(s)
	}
	ms := int64(0)
	if len(s) > 19 {
		fraction := s[20:]
		if s[19] != '.' || len(fraction) < 1 || len(fraction) > 9 {
			return 0, badTime(s)
		}
		for i := range fraction {
			d := fraction[i] - '0'
			if d > 9 {
				return 0, badTime(s)
			}
			if i < 3 {
				ms = ms*10 + int64(d)
			}
		}
		for i := len(fraction); i < 3; i++ {
			ms *= 10
		}
	}
	return c.dayMs + (h*3600+m*60+sec)*1000 + ms, nil
}

func twoDigits(a, b byte) (int64, bool) {
	a, b = a-'0', b-'0'
	return int64(a)*10 + int64(b), a <= 9 && b <= 9
}

func badTime(s string) error {
	return fmt.Errorf("timestamp %.40q: want YYYY-MM-DD HH:MM:SS.fffffffff", s)
}

// double reads a DOUBLE as Java's Double.toString writes it: 1.0, 1.6554878837710001E9, NaN, Infinity, -Infinity.
func double(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("double %.40q: %w", s, err)
	}
	return v, nil
}
