// SPDX-License-Identifier: Apache-2.0

package joda

import (
	"fmt"
	"time"
)

// Lengths in nanoseconds.
const (
	nsSecond int64 = 1e9
	nsMinute       = 60 * nsSecond
	nsHour         = 60 * nsMinute
	nsDay          = 24 * nsHour
)

// floorDiv is the quotient rounded towards minus infinity; d is above zero.
func floorDiv(n, d int64) int64 {
	q := n / d
	if n%d < 0 {
		q--
	}
	return q
}

// local is a time while its fields are being set: days since 1970-01-01 and nanoseconds of the day.
type local struct{ days, clock int64 }

func (l local) date() (y, m, d int) {
	t := time.Unix(l.days*86400, 0).UTC()
	return t.Year(), int(t.Month()), t.Day()
}

func (l *local) setDate(y, m, d int) {
	l.days = floorDiv(time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC).Unix(), 86400)
}

// weekday is 0 on a Monday.
func (l local) weekday() int64 { return l.days + 3 - floorDiv(l.days+3, 7)*7 }

func (l local) isoWeek() (y, w int) { return time.Unix(l.days*86400, 0).UTC().ISOWeek() }

// The last year that a text may have is beyond all times there are; the years of times are checked at the end.
const maxYear = 292278993

func daysIn(y, m int) int { return time.Date(y, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day() }

func isLeap(y int) bool { return daysIn(y, 2) == 29 }

// weeksIn is the number of weeks of a weekyear: the 28th of December is in the last.
func weeksIn(y int) int {
	_, w := time.Date(y, 12, 28, 0, 0, 0, 0, time.UTC).ISOWeek()
	return w
}

// name is Joda's of a field, for errors.
func (k kind) name() string {
	return [...]string{
		era: "era", century: "centuryOfEra", weekyear: "weekyear", year: "year", yearOfEra: "yearOfEra", month: "monthOfYear", week: "weekOfWeekyear",
		dayOfYear: "dayOfYear", day: "dayOfMonth", dayOfWeek: "dayOfWeek", halfday: "halfdayOfDay", hour: "hourOfDay", clockhour: "clockhourOfDay",
		hourOfHalf: "hourOfHalfday", clockhourOfHalf: "clockhourOfHalfday", minute: "minuteOfHour", second: "secondOfMinute", fraction: "millisOfSecond",
	}[k]
}

// rank orders the fields as Joda sets them: by the length of what they are a part of, the longest first, then by their own.
func (k kind) rank() int {
	switch k {
	case yearOfEra, weekyear:
		return int(year)
	case clockhour:
		return int(hour)
	case clockhourOfHalf:
		return int(hourOfHalf)
	}
	return int(k)
}

// set gives a field a value, and says where it has no such one.
func (l *local) set(k kind, v int) error {
	within := func(low, high int) error {
		if v < low || v > high {
			return fmt.Errorf("Value %d for %s must be in the range [%d,%d]", v, k.name(), low, high) //nolint:staticcheck // Joda's text
		}
		return nil
	}
	// part sets a part of the day of some units of which there are so many in the next larger one.
	part := func(unit int64, count int64, value int) {
		l.clock += (int64(value) - l.clock/unit%count) * unit
	}
	var err error
	switch k {
	case era:
		if v%2 == 0 {
			err = ErrRange // before Christ
		}
	case century:
		if err = within(0, maxYear/100); err == nil {
			y, _, _ := l.date()
			l.setYear(v*100 + y%100)
		}
	case year:
		if err = within(-maxYear, maxYear); err == nil {
			l.setYear(v)
		}
	case yearOfEra:
		if err = within(1, maxYear); err == nil {
			l.setYear(v)
		}
	case weekyear:
		if err = within(-maxYear, maxYear); err == nil {
			from, w := l.isoWeek()
			l.setWeek(v, min(w, weeksIn(from), weeksIn(v)))
		}
	case month:
		if err = within(1, 12); err == nil {
			y, _, d := l.date()
			l.setDate(y, v, min(d, daysIn(y, v)))
		}
	case week:
		y, w := l.isoWeek()
		if err = within(1, max(52, min(weeksIn(y), v))); err == nil {
			l.days += int64(v-w) * 7
		}
	case dayOfYear:
		y, _, _ := l.date()
		most := 365
		if isLeap(y) && (v > 365 || v < 1) {
			most = 366
		}
		if err = within(1, most); err == nil {
			l.setDate(y, 1, v)
		}
	case day:
		y, m, _ := l.date()
		if err = within(1, daysIn(y, m)); err == nil {
			l.setDate(y, m, v)
		}
	case dayOfWeek:
		if err = within(1, 7); err == nil {
			l.days += int64(v-1) - l.weekday()
		}
	case halfday:
		part(12*nsHour, 2, v)
	case hour:
		if err = within(0, 23); err == nil {
			part(nsHour, 24, v)
		}
	case clockhour:
		if err = within(1, 24); err == nil {
			part(nsHour, 24, v%24)
		}
	case hourOfHalf:
		if err = within(0, 11); err == nil {
			part(nsHour, 12, v)
		}
	case clockhourOfHalf:
		if err = within(1, 12); err == nil {
			part(nsHour, 12, v%12)
		}
	case minute:
		if err = within(0, 59); err == nil {
			part(nsMinute, 60, v)
		}
	case second:
		if err = within(0, 59); err == nil {
			part(nsSecond, 60, v)
		}
	case fraction:
		part(1, nsSecond, v)
	}
	return err
}

// setYear keeps the month and the day; the 29th of February becomes the 28th.
func (l *local) setYear(to int) {
	_, m, d := l.date()
	l.setDate(to, m, min(d, daysIn(to, m)))
}

// setWeek goes to a week of a weekyear and keeps the day of the week.
func (l *local) setWeek(y, w int) {
	weekday := l.weekday()
	// The fourth of January is in the first week.
	l.setDate(y, 1, 4)
	l.days += int64(w-1)*7 + weekday - l.weekday()
}

// floor drops what is smaller than a field.
func (l *local) floor(k kind) {
	y, m, _ := l.date()
	unit := nsDay
	switch k {
	case era:
		l.setDate(1, 1, 1)
	case century:
		l.setDate(y/100*100, 1, 1)
	case year, yearOfEra:
		l.setDate(y, 1, 1)
	case weekyear:
		wy, _ := l.isoWeek()
		l.days -= l.weekday()
		l.setWeek(wy, 1)
	case month:
		l.setDate(y, m, 1)
	case week:
		l.days -= l.weekday()
	case halfday:
		unit = 12 * nsHour
	case hour, clockhour, hourOfHalf, clockhourOfHalf:
		unit = nsHour
	case minute:
		unit = nsMinute
	case second:
		unit = nsSecond
	case fraction:
		unit = 1
	}
	l.clock -= l.clock % unit
}
