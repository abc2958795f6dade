// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// cron is a cron expression: sets of bits for the fields, and what a set cannot say of days.
type cron struct {
	minutes, hours, months uint64
	years                  [lastYear - firstYear + 1]bool
	// days are those of the month, weekdays those of the week, 1 for Sunday; the one that is not given is empty.
	days, weekdays uint64
	// lastDay is the last day of the month; nearest, if it is not zero, the day whose nearest weekday of the month is meant.
	lastDay bool
	nearest int
	// nth is which of the weekdays of the month is meant, -1 for the last, 0 for all.
	nth int
}

const (
	firstYear = 1970
	lastYear  = 2199
)

// field is what is allowed in a field of a cron expression (Developer Guide, scheduledqueries-schedule).
type field struct {
	name        string
	least, most int
	// names are those of least and those that follow it.
	names []string
	// steps tells that the field may have increments.
	steps bool
}

var (
	monthNames   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	weekdayNames = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

// anyDay is what stands in the one of the two fields of days that says nothing.
const anyDay = "?"

func parseCron(fields []string) (*cron, error) {
	if len(fields) != 6 {
		return nil, fmt.Errorf("a cron expression has 6 fields, not %d: minutes hours day-of-month month day-of-week year", len(fields))
	}
	var c cron
	var err error
	set := func(f field, text string) uint64 {
		var bits uint64
		if e := f.each(text, func(n int) { bits |= 1 << n }); e != nil && err == nil {
			err = e
		}
		return bits
	}
	c.minutes = set(field{name: "minutes", most: 59, steps: true}, fields[0])
	c.hours = set(field{name: "hours", most: 23, steps: true}, fields[1])
	c.months = set(field{name: "month", least: 1, most: 12, names: monthNames, steps: true}, fields[3])
	if e := (field{name: "year", least: firstYear, most: lastYear, steps: true}).each(fields[5], func(n int) { c.years[n-firstYear] = true }); e != nil && err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	switch dom, dow := fields[2], fields[4]; {
	case dom == anyDay && dow == anyDay:
		return nil, errors.New("one of day-of-month and day-of-week has to say something other than ?")
	case dom != anyDay && dow != anyDay:
		return nil, errors.New("one of day-of-month and day-of-week has to be ?")
	case dom != anyDay:
		err = c.parseDays(dom)
	default:
		err = c.parseWeekdays(dow)
	}
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// parseDays reads the field day-of-month.
func (c *cron) parseDays(text string) error {
	f := field{name: "day-of-month", least: 1, most: 31, steps: true}
	if text == "L" {
		c.lastDay = true
		return nil
	}
	if day, ok := strings.CutSuffix(text, "W"); ok {
		n, err := f.number(day)
		c.nearest = n
		return err
	}
	return f.each(text, func(n int) { c.days |= 1 << n })
}

// parseWeekdays reads the field day-of-week, which has no increments.
func (c *cron) parseWeekdays(text string) error {
	f := field{name: "day-of-week", least: 1, most: 7, names: weekdayNames}
	switch day, nth, numbered := strings.Cut(text, "#"); {
	case text == "L":
		c.weekdays = 1 << 7 // the last of the week
		return nil
	case numbered:
		n, err := f.number(day)
		if err != nil {
			return err
		}
		if c.nth, err = strconv.Atoi(nth); err != nil || c.nth < 1 || c.nth > 5 || len(nth) != 1 {
			return fmt.Errorf("day-of-week: want 1 to 5 after #, and no other day beside it, not %q", nth)
		}
		c.weekdays = 1 << n
		return nil
	}
	if day, ok := strings.CutSuffix(text, "L"); ok {
		n, err := f.number(day)
		c.weekdays, c.nth = 1<<n, -1
		return err
	}
	return f.each(text, func(n int) { c.weekdays |= 1 << n })
}

// each calls add with every number that a field names.
func (f field) each(text string, add func(int)) error {
	for _, item := range strings.Split(text, ",") {
		span, by, stepped := strings.Cut(item, "/")
		step := 1
		if stepped {
			n, err := strconv.Atoi(by)
			if !f.steps || err != nil || n < 1 || by[0] == '+' {
				return fmt.Errorf("%s: %q is no increment that it may have", f.name, item)
			}
			step = n
		}
		from, to := f.least, f.most
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			var err error
			if from, err = f.number(first); err != nil {
				return err
			}
			switch {
			case ranged:
				if to, err = f.number(last); err != nil {
					return err
				}
				if to < from {
					return fmt.Errorf("%s: the range %q ends before it begins", f.name, span)
				}
			case !stepped:
				to = from
			}
		}
		for n := from; n <= to; n += step {
			add(n)
			if step > f.most {
				break
			}
		}
	}
	return nil
}

// number reads one value of a field.
func (f field) number(s string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(s, name) {
			return f.least + i, nil
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < f.least || n > f.most || s[0] == '+' || s[0] == '-' {
		what := ""
		if len(f.names) > 0 {
			what = fmt.Sprintf(" or %s to %s", f.names[0], f.names[len(f.names)-1])
		}
		return 0, fmt.Errorf("%s: want %d to %d%s, not %q", f.name, f.least, f.most, what, s)
	}
	return n, nil
}

// next returns the first time after t, which is in UTC, zero when there is none.
func (c *cron) next(t time.Time) time.Time {
	t = t.Truncate(time.Minute).Add(time.Minute)
	if t.Year() < firstYear {
		t = time.Date(firstYear, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	for t.Year() <= lastYear {
		year, month, day := t.Date()
		switch {
		case !c.years[year-firstYear]:
			t = time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC)
		case c.months>>month&1 == 0:
			t = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
		case !c.onDay(year, month, day):
			t = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
		case c.hours>>t.Hour()&1 == 0:
			t = t.Truncate(time.Hour).Add(time.Hour)
		case c.minutes>>t.Minute()&1 == 0:
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

// onDay tells whether the expression is about a day.
func (c *cron) onDay(year int, month time.Month, day int) bool {
	last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
	weekday := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Weekday()
	switch {
	case c.lastDay:
		return day == last
	case c.nearest > 0:
		return c.nearest <= last && day == nearestWeekday(year, month, c.nearest, last)
	case c.weekdays == 0:
		return c.days>>day&1 == 1
	case c.weekdays>>(weekday+1)&1 == 0:
		return false
	case c.nth > 0:
		return (day+6)/7 == c.nth
	case c.nth < 0:
		return day+7 > last
	}
	return true
}

// nearestWeekday returns the day from Monday to Friday, in the same month, that is nearest to a day.
func nearestWeekday(year int, month time.Month, day, last int) int {
	switch time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if day == 1 {
			return 3
		}
		return day - 1
	case time.Sunday:
		if day == last {
			return day - 2
		}
		return day + 1
	}
	return day
}
