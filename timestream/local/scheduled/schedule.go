// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule says when a query runs, to the minute and in UTC (Developer Guide, scheduledqueries-schedule).
type Schedule struct {
	// period is that of a rate; zero for a cron expression.
	period time.Duration
	cron   *cron
}

// maxPeriod bounds a rate: the years of a cron expression end there, too.
const maxPeriod = 200 * 366 * 24 * time.Hour

// Parse reads `rate(value unit)` or `cron(minutes hours day-of-month month day-of-week year)`. An error says which part is wrong and
// what it may be.
func Parse(expression string) (*Schedule, error) {
	kind, rest, ok := strings.Cut(expression, "(")
	body, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed || kind != "rate" && kind != "cron" {
		return nil, errors.New("want rate(value unit) or cron(minutes hours day-of-month month day-of-week year)")
	}
	fields := strings.Fields(body)
	if kind == "rate" {
		return parseRate(fields)
	}
	c, err := parseCron(fields)
	if err != nil {
		return nil, err
	}
	return &Schedule{cron: c}, nil
}

// parseRate reads the two fields of a rate. A unit is singular for a value of 1 and plural for others, by the letter of the guide.
func parseRate(fields []string) (*Schedule, error) {
	if len(fields) != 2 {
		return nil, fmt.Errorf("a rate has a value and a unit, not %d fields", len(fields))
	}
	n, err := strconv.ParseUint(fields[0], 10, 31)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("the value of a rate is a positive number, not %q", fields[0])
	}
	singular := fields[1]
	if n > 1 {
		var plural bool
		if singular, plural = strings.CutSuffix(singular, "s"); !plural {
			return nil, badUnit(n, fields[1])
		}
	}
	unit, ok := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}[singular]
	if !ok {
		return nil, badUnit(n, fields[1])
	}
	if n > uint64(maxPeriod/unit) {
		return nil, fmt.Errorf("a rate of %d %s is too long", n, fields[1])
	}
	return &Schedule{period: time.Duration(n) * unit}, nil
}

func badUnit(n uint64, unit string) error {
	if n == 1 {
		return fmt.Errorf("the unit of a rate of 1 is minute, hour or day, not %q", unit)
	}
	return fmt.Errorf("the unit of a rate of %d is minutes, hours or days, not %q", n, unit)
}

// Next returns the first time after a time that the schedule has, zero when there is none any more. Those of a rate begin one period
// after it was created.
func (s *Schedule) Next(created, after time.Time) time.Time {
	if s.cron != nil {
		return s.cron.next(after.UTC())
	}
	created = created.UTC()
	if after.Before(created) {
		after = created
	}
	return created.Add((after.Sub(created)/s.period + 1) * s.period)
}

// Latest returns the last time after from and not after now, zero when there is none, and whether there are others.
func (s *Schedule) Latest(created, from, now time.Time) (latest time.Time, others bool) {
	first := s.Next(created, from)
	if first.IsZero() || first.After(now) {
		return time.Time{}, false
	}
	latest = first
	// A look at the last hour, then at the last day, and so on: the times between are few where there are none in a shorter one.
	for _, d := range [...]time.Duration{time.Hour, 24 * time.Hour, 32 * 24 * time.Hour, 366 * 24 * time.Hour, maxPeriod} {
		if start := now.Add(-d); start.After(from) {
			if t := s.Next(created, start); t.IsZero() || t.After(now) {
				continue
			}
			from = start
		}
		for t := s.Next(created, from); !t.IsZero() && !t.After(now); t = s.Next(created, t) {
			latest = t
		}
		break
	}
	return latest, !latest.Equal(first)
}
