// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Lengths in nanoseconds.
const (
	nsSecond int64 = 1e9
	nsMinute       = 60 * nsSecond
	nsHour         = 60 * nsMinute
	nsDay          = 24 * nsHour
	nsWeek         = 7 * nsDay
)

// floorDiv is the quotient rounded towards minus infinity; d is above zero.
func floorDiv(n, d int64) int64 {
	q := n / d
	if n%d < 0 {
		q--
	}
	return q
}

// clock writes times. It keeps the last date, since neighbours mostly share it; the zero clock is ready.
type clock struct {
	day   int64
	text  [10]byte
	valid bool
}

// appendTimestamp appends ns as `2006-01-02 15:04:05.000000000` in UTC, always with nine digits of fraction.
func (c *clock) appendTimestamp(dst []byte, ns int64) []byte {
	day := floorDiv(ns, nsDay)
	dst = c.appendDate(dst, day)
	dst = append(dst, ' ')
	return appendTimeOfDay(dst, ns-day*nsDay)
}

// appendDate appends the day, counted from 1970-01-01, as `2006-01-02`.
func (c *clock) appendDate(dst []byte, day int64) []byte {
	if !c.valid || c.day != day {
		t := time.Unix(day*86400, 0).UTC()
		if y := t.Year(); y < 0 || y > 9999 {
			return t.AppendFormat(dst, time.DateOnly)
		}
		t.AppendFormat(c.text[:0], time.DateOnly)
		c.day, c.valid = day, true
	}
	return append(dst, c.text[:]...)
}

// appendTimeOfDay appends ns within a day as `15:04:05.000000000`.
func appendTimeOfDay(dst []byte, ns int64) []byte {
	s, fraction := ns/nsSecond, ns%nsSecond
	h, m := s/3600, s/60%60
	s %= 60
	n := len(dst)
	dst = append(dst, "00:00:00.000000000"...)
	text := dst[n:]
	text[0] += byte(h / 10)
	text[1] += byte(h % 10)
	text[3] += byte(m / 10)
	text[4] += byte(m % 10)
	text[6] += byte(s / 10)
	text[7] += byte(s % 10)
	for i := 17; fraction > 0; i-- {
		text[i] += byte(fraction % 10)
		fraction /= 10
	}
	return dst
}

// appendDayTime appends an interval as `1 21:00:00.000000000`.
func appendDayTime(dst []byte, ns int64) []byte {
	if ns < 0 {
		dst = append(dst, '-')
		if ns == math.MinInt64 {
			return append(dst, "106751 23:47:16.854775808"...)
		}
		ns = -ns
	}
	dst = strconv.AppendInt(dst, ns/nsDay, 10)
	dst = append(dst, ' ')
	return appendTimeOfDay(dst, ns%nsDay)
}

// appendYearMonth appends an interval of months as `3-11`.
func appendYearMonth(dst []byte, months int64) []byte {
	if months < 0 {
		dst = append(dst, '-')
		months = -months
	}
	dst = strconv.AppendInt(dst, months/12, 10)
	dst = append(dst, '-')
	return strconv.AppendInt(dst, months%12, 10)
}

// parseTimestamp reads `2006-01-02[ 15:04[:05[.000000000]]]` as UTC nanoseconds; a T may stand for the space.
func parseTimestamp(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	datePart, clockPart := s, ""
	if i := strings.IndexAny(s, " T"); i >= 0 {
		datePart, clockPart = s[:i], s[i+1:]
		if clockPart == "" {
			return 0, false
		}
	}
	day, ok := parseDate(datePart)
	if !ok {
		return 0, false
	}
	ns := int64(0)
	if clockPart != "" {
		if ns, ok = parseTimeOfDay(clockPart); !ok {
			return 0, false
		}
	}
	return instant(day, ns)
}

// instant joins a day and the nanoseconds in it; false outside of what 64 bits of nanoseconds hold (1677 to 2262).
func instant(day, ns int64) (int64, bool) {
	if day < 0 {
		// The first day of the range is a partial one: count it from its end.
		day, ns = day+1, ns-nsDay
	}
	base, ok := mulInt64(day, nsDay)
	if !ok {
		return 0, false
	}
	return addInt64(base, ns)
}

// parseDate reads `2006-1-2` as days since 1970-01-01.
func parseDate(s string) (int64, bool) {
	parts := strings.Split(s, "-")
	if len(parts) != 3 || len(parts[0]) != 4 {
		return 0, false
	}
	var n [3]int
	for i, p := range parts {
		v, ok := digits(p)
		if !ok || (i > 0 && len(p) > 2) {
			return 0, false
		}
		n[i] = v
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], 0, 0, 0, 0, time.UTC)
	if t.Day() != n[2] || int(t.Month()) != n[1] {
		return 0, false
	}
	return t.Unix() / 86400, true
}

// parseTimeOfDay reads `15:04[:05[.000000000]]` as nanoseconds.
func parseTimeOfDay(s string) (int64, bool) {
	fraction := ""
	if i := strings.IndexByte(s, '.'); i >= 0 {
		s, fraction = s[:i], s[i+1:]
		if fraction == "" || len(fraction) > 9 || strings.Count(s, ":") != 2 {
			return 0, false
		}
	}
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, false
	}
	ns := int64(0)
	for i, unit := range []int64{nsHour, nsMinute, nsSecond}[:len(parts)] {
		v, ok := digits(parts[i])
		if !ok || len(parts[i]) > 2 || v > 59 || (i == 0 && v > 23) {
			return 0, false
		}
		ns += int64(v) * unit
	}
	if fraction != "" {
		v, ok := digits((fraction + "000000000")[:9])
		if !ok {
			return 0, false
		}
		ns += int64(v)
	}
	return ns, true
}

// parseISO8601 reads an ISO 8601 timestamp with an optional offset; without one it is UTC.
func parseISO8601(s string) (int64, bool) {
	offset := int64(0)
	body := s
	if strings.HasSuffix(s, "Z") {
		body = s[:len(s)-1]
	} else if i := strings.LastIndexAny(s, "+-"); i > strings.IndexByte(s, 'T') && strings.Contains(s, "T") {
		zone := strings.ReplaceAll(s[i+1:], ":", "")
		v, ok := digits(zone)
		if !ok || (len(zone) != 2 && len(zone) != 4) {
			return 0, false
		}
		if len(zone) == 2 {
			v *= 100
		}
		offset = int64(v/100)*nsHour + int64(v%100)*nsMinute
		if s[i] == '-' {
			offset = -offset
		}
		body = s[:i]
	}
	if strings.Contains(body, " ") {
		return 0, false
	}
	ns, ok := parseTimestamp(body)
	if !ok {
		return 0, false
	}
	return addInt64(ns, -offset)
}

// digits reads an unsigned decimal number of at most nine digits.
func digits(s string) (int, bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// addMonths moves a timestamp by months; a day that the month does not have becomes its last one.
func addMonths(ns, months int64) (int64, bool) {
	day := floorDiv(ns, nsDay)
	t := time.Unix(day*86400, 0).UTC()
	y, m, d := t.Date()
	total := int64(y)*12 + int64(m) - 1 + months
	y, m = int(floorDiv(total, 12)), time.Month(total-floorDiv(total, 12)*12)+1
	if y < 1 || y > 9999 {
		return 0, false
	}
	last := time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
	return instant(time.Date(y, m, min(d, last), 0, 0, 0, 0, time.UTC).Unix()/86400, ns-day*nsDay)
}

// addInt64 and mulInt64 are false where the result does not fit.
func addInt64(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

func mulInt64(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	p := a * b
	return p, p/b == a && (a != -1 || b != math.MinInt64) && (b != -1 || a != math.MinInt64)
}
