// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"strings"
	"testing"
	"time"
)

func at(t testing.TB, s string) time.Time {
	t.Helper()
	out, err := time.Parse("2006-01-02 15:04:05", s+":00"[:3*(2-strings.Count(s, ":"))])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The examples of the Developer Guide, scheduledqueries-schedule, and what each wildcard means.
func TestNext(t *testing.T) {
	const never = ""
	for _, tt := range []struct {
		name, expression, after string
		want                    []string
	}{
		{"every day at 10:15", "cron(15 10 * * ? *)", "2024-01-01 10:15", []string{"2024-01-02 10:15", "2024-01-03 10:15"}},
		{"Monday to Friday at 18:00", "cron(0 18 ? * MON-FRI *)", "2024-01-05 17:59", []string{"2024-01-05 18:00", "2024-01-08 18:00"}},
		{"the first of the month at 8:00", "cron(0 8 1 * ? *)", "2024-01-01 08:00", []string{"2024-02-01 08:00", "2024-03-01 08:00"}},
		{"every 10 minutes on weekdays", "cron(0/10 * ? * MON-FRI *)", "2024-01-05 23:45", []string{"2024-01-05 23:50", "2024-01-08 00:00"}},
		{"every 5 minutes between 8:00 and 17:55 on weekdays", "cron(0/5 8-17 ? * MON-FRI *)", "2024-01-05 17:50", []string{"2024-01-05 17:55", "2024-01-08 08:00"}},
		{"every 10th minute from the first", "cron(1/10 * * * ? *)", "2024-01-01 00:51", []string{"2024-01-01 01:01", "2024-01-01 01:11"}},
		{"every minute", "cron(* * * * ? *)", "2024-02-29 23:59", []string{"2024-03-01 00:00"}},
		{"an increment of all", "cron(*/20 * * * ? *)", "2024-01-01 00:00", []string{"2024-01-01 00:20", "2024-01-01 00:40", "2024-01-01 01:00"}},
		{"an increment in a range", "cron(0 1-9/4 * * ? *)", "2024-01-01 00:00", []string{"2024-01-01 01:00", "2024-01-01 05:00", "2024-01-01 09:00", "2024-01-02 01:00"}},
		{"an increment larger than the field", "cron(5/100 * * * ? *)", "2024-01-01 00:00", []string{"2024-01-01 00:05", "2024-01-01 01:05"}},
		{"lists of names in any case", "cron(0 0 1 jan,JUL ? *)", "2024-01-01 00:00", []string{"2024-07-01 00:00", "2025-01-01 00:00"}},
		{"a list in any order", "cron(30,0 12,6 * * ? *)", "2024-01-01 06:30", []string{"2024-01-01 12:00", "2024-01-01 12:30"}},
		{"the last day of the month", "cron(0 0 L * ? *)", "2024-01-31 00:00", []string{"2024-02-29 00:00", "2024-03-31 00:00"}},
		{"the last day of the week", "cron(0 0 ? * L *)", "2024-01-01 00:00", []string{"2024-01-06 00:00", "2024-01-13 00:00"}},
		{"the last Friday of the month", "cron(0 0 ? * 6L *)", "2024-01-01 00:00", []string{"2024-01-26 00:00", "2024-02-23 00:00"}},
		{"the second Tuesday of the month", "cron(0 0 ? * 3#2 *)", "2024-01-01 00:00", []string{"2024-01-09 00:00", "2024-02-13 00:00"}},
		{"the same by name", "cron(0 0 ? * TUE#2 *)", "2024-01-01 00:00", []string{"2024-01-09 00:00"}},
		{"the fifth Thursday, which few months have", "cron(0 0 ? * 5#5 *)", "2024-01-01 00:00", []string{"2024-02-29 00:00", "2024-05-30 00:00"}},
		{"the weekday nearest to the third: itself", "cron(0 0 3W * ? *)", "2024-01-01 00:00", []string{"2024-01-03 00:00"}},
		{"before a Saturday", "cron(0 0 3W * ? *)", "2024-01-04 00:00", []string{"2024-02-02 00:00"}},
		{"after a Sunday", "cron(0 0 3W * ? *)", "2024-02-04 00:00", []string{"2024-03-04 00:00"}},
		{"a first that is a Saturday, in the same month", "cron(0 0 1W * ? *)", "2024-05-31 00:00", []string{"2024-06-03 00:00"}},
		{"a last that is a Sunday, in the same month", "cron(0 0 30W 6 ? *)", "2024-01-01 00:00", []string{"2024-06-28 00:00"}},
		{"months without the day", "cron(0 0 31W * ? *)", "2024-01-31 00:00", []string{"2024-03-29 00:00"}},
		{"the 29th of February", "cron(0 0 29 2 ? *)", "2024-02-29 00:00", []string{"2028-02-29 00:00"}},
		{"a day that is never", "cron(0 0 30 2 ? *)", "2024-01-01 00:00", []string{never}},
		{"years", "cron(0 0 1 1 ? 2024,2030-2031)", "2024-01-01 00:00", []string{"2030-01-01 00:00", "2031-01-01 00:00", never}},
		{"a year that is past", "cron(0 0 1 1 ? 2020)", "2024-01-01 00:00", []string{never}},
		{"the last year", "cron(59 23 31 12 ? *)", "2199-12-31 23:58", []string{"2199-12-31 23:59", never}},
		{"white space", "cron(0  12\t* * ?  *)", "2024-01-01 12:00", []string{"2024-01-02 12:00"}},
		{"seconds are passed over", "cron(* * * * ? *)", "2024-01-01 00:00:59", []string{"2024-01-01 00:01"}},
		{"a rate counts from the creation", "rate(5 minutes)", "2024-01-01 00:00:30", []string{"2024-01-01 00:05:30", "2024-01-01 00:10:30"}},
		{"before the creation", "rate(5 minutes)", "2023-01-01 00:00", []string{"2024-01-01 00:05:30"}},
		{"between two", "rate(1 minute)", "2024-01-01 00:01:40", []string{"2024-01-01 00:02:30"}},
		{"one hour", "rate(1 hour)", "2024-01-01 00:00:30", []string{"2024-01-01 01:00:30"}},
		{"days", "rate(7 days)", "2024-01-08 00:00:30", []string{"2024-01-15 00:00:30"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse(tt.expression)
			if err != nil {
				t.Fatal(err)
			}
			now := at(t, tt.after)
			for _, want := range tt.want {
				got := s.Next(at(t, "2024-01-01 00:00:30"), now)
				if want == never {
					if !got.IsZero() {
						t.Errorf("got %v, want none", got)
					}
					return
				}
				if !got.Equal(at(t, want)) {
					t.Fatalf("after %v: got %v, want %v", now, got, want)
				}
				now = got
			}
		})
	}
}

// The times are UTC's wherever the process is.
func TestNextZone(t *testing.T) {
	s, err := Parse("cron(0 12 * * ? *)")
	if err != nil {
		t.Fatal(err)
	}
	east := at(t, "2024-01-01 11:59").In(time.FixedZone("east", 5*3600))
	if got := s.Next(time.Time{}, east); !got.Equal(at(t, "2024-01-01 12:00")) || got.Location() != time.UTC {
		t.Errorf("got %v", got)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ give, want string }{
		{"", "want rate(value unit) or cron("},
		{"5 minutes", "want rate(value unit) or cron("},
		{"every(5 minutes)", "want rate(value unit) or cron("},
		{"rate(5 minutes", "want rate(value unit) or cron("},
		{"Rate(5 minutes)", "want rate(value unit) or cron("},
		{"rate()", "a rate has a value and a unit, not 0 fields"},
		{"rate(5)", "not 1 fields"},
		{"rate(0 minutes)", `a positive number, not "0"`},
		{"rate(-5 minutes)", `a positive number, not "-5"`},
		{"rate(+5 minutes)", `a positive number, not "+5"`},
		{"rate(1.5 hours)", `a positive number, not "1.5"`},
		{"rate(1 minutes)", `the unit of a rate of 1 is minute, hour or day, not "minutes"`},
		{"rate(5 minute)", `the unit of a rate of 5 is minutes, hours or days, not "minute"`},
		{"rate(30 seconds)", `not "seconds"`},
		{"rate(1000000 days)", "too long"},
		{"cron(* * * * *)", "6 fields, not 5"},
		{"cron(0 0 * * * ? *)", "6 fields, not 7"},
		{"cron(60 * * * ? *)", `minutes: want 0 to 59, not "60"`},
		{"cron(* 24 * * ? *)", `hours: want 0 to 23, not "24"`},
		{"cron(* * 0 * ? *)", `day-of-month: want 1 to 31, not "0"`},
		{"cron(* * * 13 ? *)", `month: want 1 to 12 or JAN to DEC, not "13"`},
		{"cron(* * ? * 8 *)", `day-of-week: want 1 to 7 or SUN to SAT, not "8"`},
		{"cron(* * ? * MOON *)", `day-of-week: want 1 to 7 or SUN to SAT, not "MOON"`},
		{"cron(* * * * ? 2200)", `year: want 1970 to 2199, not "2200"`},
		{"cron(* * * * ? 1969)", `year: want 1970 to 2199, not "1969"`},
		{"cron(? * * * ? *)", `minutes: want 0 to 59, not "?"`},
		{"cron(L * * * ? *)", `minutes: want 0 to 59, not "L"`},
		{"cron(* * ? * ? *)", "something other than ?"},
		{"cron(* * * * * *)", "one of day-of-month and day-of-week has to be ?"},
		{"cron(* * 1 * MON *)", "one of day-of-month and day-of-week has to be ?"},
		{"cron(10-5 * * * ? *)", `minutes: the range "10-5" ends before it begins`},
		{"cron(1- * * * ? *)", `minutes: want 0 to 59, not ""`},
		{"cron(1,,2 * * * ? *)", `minutes: want 0 to 59, not ""`},
		{"cron(*/0 * * * ? *)", `minutes: "*/0" is no increment`},
		{"cron(*/x * * * ? *)", `minutes: "*/x" is no increment`},
		{"cron(*/+5 * * * ? *)", `minutes: "*/+5" is no increment`},
		{"cron(0 0 ? * */2 *)", `day-of-week: "*/2" is no increment that it may have`},
		{"cron(0 0 ? * 3#6 *)", `want 1 to 5 after #`},
		{"cron(0 0 ? * 3#1,6#3 *)", `no other day beside it, not "1,6#3"`},
		{"cron(0 0 W * ? *)", `day-of-month: want 1 to 31, not ""`},
		{"cron(0 0 32W * ? *)", `day-of-month: want 1 to 31, not "32"`},
		{"cron(0 0 1,L * ? *)", `day-of-month: want 1 to 31, not "L"`},
	} {
		if _, err := Parse(tt.give); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.give, err, tt.want)
		}
	}
}

func TestLatest(t *testing.T) {
	for _, tt := range []struct {
		name, expression, from, now, want string
		others                            bool
	}{
		{"nothing yet", "rate(5 minutes)", "2024-01-01 00:00", "2024-01-01 00:05:29", "", false},
		{"the first", "rate(5 minutes)", "2024-01-01 00:00", "2024-01-01 00:05:30", "2024-01-01 00:05:30", false},
		{"late", "rate(5 minutes)", "2024-01-01 00:00", "2024-01-01 00:09:30", "2024-01-01 00:05:30", false},
		{"the last of many", "rate(5 minutes)", "2024-01-01 00:00", "2024-06-01 00:07", "2024-06-01 00:05:30", true},
		{"every minute of years", "cron(* * * * ? *)", "2024-01-01 00:00", "2034-06-01 00:07:10", "2034-06-01 00:07", true},
		{"daily, missed for a week", "cron(0 12 * * ? *)", "2024-01-01 12:00", "2024-01-08 11:59", "2024-01-07 12:00", true},
		{"once in four years", "cron(0 0 29 2 ? *)", "2024-01-01 00:00", "2027-01-01 00:00", "2024-02-29 00:00", false},
		{"never again", "cron(0 0 1 1 ? 2024)", "2024-01-01 00:00", "2034-01-01 00:00", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Parse(tt.expression)
			if err != nil {
				t.Fatal(err)
			}
			got, others := s.Latest(at(t, "2024-01-01 00:00:30"), at(t, tt.from), at(t, tt.now))
			var want time.Time
			if tt.want != "" {
				want = at(t, tt.want)
			}
			if !got.Equal(want) || others != tt.others {
				t.Errorf("got %v, %v, want %v, %v", got, others, tt.want, tt.others)
			}
		})
	}
}

// Whatever is read as a schedule has times that grow, and the last of them until one is that one.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"rate(5 minutes)", "rate(1 day)", "cron(0/5 8-17 ? * MON-FRI *)", "cron(0 0 L * ? *)", "cron(0 0 3W * ? 2024-2030/2)", "cron(0 0 ? * 3#2 *)", "cron(1,2,3 */7 29 FEB ? *)"} {
		f.Add(s, int64(1_700_000_000))
	}
	f.Fuzz(func(t *testing.T, expression string, seconds int64) {
		s, err := Parse(expression)
		if err != nil {
			return
		}
		created := time.Unix(((seconds%4e9)+4e9)%4e9, 0).UTC()
		now := created
		for range 3 {
			next := s.Next(created, now)
			if next.IsZero() {
				return
			}
			if !next.After(now) || s.cron != nil && next.Second() != 0 {
				t.Fatalf("%s: %v comes after %v", expression, next, now)
			}
			if latest, _ := s.Latest(created, now, next); !latest.Equal(next) {
				t.Fatalf("%s: the latest until %v is %v", expression, next, latest)
			}
			now = next
		}
	})
}
