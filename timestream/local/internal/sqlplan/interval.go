// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// interval reads an interval literal such as 5m.
func interval(at tssql.Pos, count int64, unit string) bound {
	length := int64(0)
	months := int64(0)
	switch strings.ToLower(unit) {
	case "ns", "nanosecond":
		length = 1
	case "us", "microsecond":
		length = 1e3
	case "ms", "millisecond":
		length = 1e6
	case "s", "second":
		length = nsSecond
	case "m", "minute":
		length = nsMinute
	case "h", "hour":
		length = nsHour
	case "d", "day":
		length = nsDay
	case "week":
		length = nsWeek
	case "month":
		months = 1
	case "quarter":
		months = 3
	case "y", "year":
		months = 12
	default:
		fail(at, "Invalid interval unit: %s", unit)
	}
	if months > 0 {
		n, ok := mulInt64(count, months)
		if !ok || n > math.MaxInt32 || n < math.MinInt32 {
			fail(at, "Interval is out of range")
		}
		return constant(YearMonth, n)
	}
	n, ok := mulInt64(count, length)
	if !ok {
		fail(at, "Interval is out of range")
	}
	return constant(DayTime, n)
}

// intervalOf reads INTERVAL 'text' unit, where unit may be a range such as DAY TO SECOND.
func intervalOf(e *tssql.Typed, unit string) bound {
	text := strings.TrimSpace(e.Text)
	digits, negative := strings.CutPrefix(text, "-")
	digits = strings.TrimPrefix(digits, "+")
	sign := int64(1)
	if negative {
		sign = -1
	}
	from, to, several := strings.Cut(unit, " TO ")
	if !several {
		count, err := strconv.ParseInt(digits, 10, 64)
		if ns, ok := fraction(digits); err != nil && ok && unit == "SECOND" {
			return constant(DayTime, sign*ns)
		}
		if err != nil {
			fail(e.Pos, "Invalid interval literal: %s", e.Text)
		}
		return interval(e.Pos, sign*count, unit)
	}
	fields := intervalFields(from, to)
	if fields == nil {
		fail(e.Pos, "Invalid interval unit: %s", unit)
	}
	m := regexp.MustCompile("^" + fieldsPattern(fields) + "$").FindStringSubmatch(digits)
	if m == nil {
		fail(e.Pos, "Invalid interval literal: %s", e.Text)
	}
	total := int64(0)
	sum := bound{}
	for i, field := range fields {
		if ns, ok := fraction(m[i+1]); ok {
			total, sum = total+sign*ns, constant(DayTime, total+sign*ns)
			continue
		}
		count, err := strconv.ParseInt(m[i+1], 10, 64)
		if err != nil {
			fail(e.Pos, "Invalid interval literal: %s", e.Text)
		}
		part := interval(e.Pos, sign*count, field)
		n, ok := addInt64(total, part.k.(int64))
		if !ok || part.typ.isScalar(YearMonth) && n != int64(int32(n)) {
			fail(e.Pos, "Interval is out of range")
		}
		total, sum = n, constant(part.typ.Scalar, n)
	}
	return sum
}

// fraction reads seconds such as 1.5 or 01.123456789 as nanoseconds; false for what has no point.
func fraction(s string) (int64, bool) {
	whole, part, ok := strings.Cut(s, ".")
	if !ok || len(part) > 9 || part == "" {
		return 0, false
	}
	seconds, err := strconv.ParseInt(whole, 10, 64)
	ns, err2 := strconv.ParseInt((part + "000000000")[:9], 10, 64)
	length, ok := mulInt64(seconds, nsSecond)
	if err != nil || err2 != nil || !ok {
		return 0, false
	}
	return addInt64(length, ns)
}

// intervalFields are the units from one to another, nil when that is no range.
func intervalFields(from, to string) []string {
	for _, units := range [][]string{{"YEAR", "MONTH"}, {"DAY", "HOUR", "MINUTE", "SECOND"}} {
		start, end := -1, -1
		for i, u := range units {
			if u == from {
				start = i
			}
			if u == to {
				end = i
			}
		}
		if start >= 0 && end > start {
			return units[start : end+1]
		}
	}
	return nil
}

// fieldsPattern is how a text with these fields looks: `3-11`, `1 02:03:04.005`.
func fieldsPattern(fields []string) string {
	var b strings.Builder
	for i, f := range fields {
		switch {
		case i == 0:
		case f == "MONTH":
			b.WriteString("-")
		case f == "HOUR":
			b.WriteString(" +")
		default:
			b.WriteString(":")
		}
		if f == "SECOND" {
			b.WriteString(`(\d+(?:\.\d+)?)`)
		} else {
			b.WriteString(`(\d+)`)
		}
	}
	return b.String()
}
