// SPDX-License-Identifier: Apache-2.0

// Package joda writes and reads times by a format, as Trino's date_format and date_parse, which have MySQL's specifiers, and its
// format_datetime and parse_datetime do, which have the patterns of Joda-Time's DateTimeFormat. All four are Joda's formatters underneath, so
// what is read, how fields that are missing or that contradict each other are resolved, and the texts of errors are Joda's.
//
// Times are nanoseconds since 1970-01-01 UTC, where Joda has milliseconds: fractions keep nine digits. Names are English. What functions of SQL
// there are, and what they do with NULL, is the callers'.
package joda

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// kind says what a field of a format is.
type kind byte

const (
	literal kind = iota
	era
	century
	weekyear
	year
	yearOfEra
	month
	week
	dayOfYear
	day
	dayOfWeek
	halfday
	hour      // 0 to 23
	clockhour // 1 to 24
	hourOfHalf
	clockhourOfHalf
	minute
	second
	fraction
	zoneName
	zoneOffset
	zoneID
)

// field is a part of a format: a field of a time, or a text that stands for itself.
type field struct {
	kind kind
	// least and most are numbers of digits.
	least, most int
	// text is a literal's; long and short are names in the place of numbers.
	text        string
	long, short bool
	// twoDigits is a year without its century; strict is one that takes no other number of digits.
	twoDigits, strict bool
}

// Format is a format that was read. It is not changed by its use.
type Format struct {
	fields []field
	// pivot is the year around which years of two digits are.
	pivot int
	// unread is what keeps the format from reading, as Joda says it.
	unread string
}

// maxWidth bounds how often a letter may stand in a pattern: each is a digit of the text.
const maxWidth = 64

// mysqlPivot is that of Trino's date_parse.
const mysqlPivot = 2020

// MySQL reads the format of date_format and date_parse.
func MySQL(format string) (*Format, error) {
	f := &Format{pivot: mysqlPivot}
	add := func(x field) { f.fields = append(f.fields, x) }
	number := func(k kind, least, most int) { add(field{kind: k, least: least, most: max(least, most)}) }
	text := func(s string) { add(field{kind: literal, text: s}) }
	escaped := false
	for _, c := range format {
		if !escaped {
			if escaped = c == '%'; !escaped {
				text(string(c))
			}
			continue
		}
		escaped = false
		switch c {
		case 'a':
			add(field{kind: dayOfWeek, short: true})
		case 'W':
			add(field{kind: dayOfWeek, long: true})
		case 'b':
			add(field{kind: month, short: true})
		case 'M':
			add(field{kind: month, long: true})
		case 'c':
			number(month, 1, 2)
		case 'm':
			number(month, 2, 2)
		case 'd':
			number(day, 2, 2)
		case 'e':
			number(day, 1, 2)
		case 'f':
			number(fraction, 6, 9)
		case 'H':
			number(hour, 2, 2)
		case 'k':
			number(hour, 1, 2)
		case 'h', 'I':
			number(clockhourOfHalf, 2, 2)
		case 'l':
			number(clockhourOfHalf, 1, 2)
		case 'i':
			number(minute, 2, 2)
		case 'j':
			number(dayOfYear, 3, 3)
		case 'p':
			add(field{kind: halfday, long: true})
		case 'S', 's':
			number(second, 2, 2)
		case 'v':
			number(week, 2, 2)
		case 'x':
			number(weekyear, 4, 4)
		case 'Y':
			number(year, 4, 4)
		case 'y':
			add(field{kind: year, twoDigits: true, strict: true})
		case 'T', 'r':
			k := hour
			if c == 'r' {
				k = clockhourOfHalf
			}
			number(k, 2, 2)
			text(":")
			number(minute, 2, 2)
			text(":")
			number(second, 2, 2)
			if c == 'r' {
				text(" ")
				add(field{kind: halfday, long: true})
			}
		case 'D', 'U', 'u', 'V', 'w', 'X':
			return nil, fmt.Errorf("%%%c not supported in date format string", c)
		default:
			text(string(c))
		}
	}
	return f, nil
}

// Pattern reads the pattern of format_datetime and parse_datetime at a time, around whose year those of two digits are. Besides
// Joda's letters it takes two of java.time's, which the guide's examples have: u for the year and L for the month.
func Pattern(pattern string, now time.Time) (*Format, error) {
	if pattern == "" {
		return nil, errors.New("Invalid pattern specification") //nolint:staticcheck // Joda's text
	}
	f := &Format{pivot: now.UTC().Year() - 30}
	tokens := tokensOf(pattern)
	for i, t := range tokens {
		if t.letter == 0 {
			f.fields = append(f.fields, field{kind: literal, text: t.text})
			continue
		}
		n := len(t.text)
		numericNext := i+1 < len(tokens) && tokens[i+1].numeric()
		number := func(k kind, most int) field { return field{kind: k, least: n, most: max(n, most)} }
		name := func(k kind) field { return field{kind: k, long: n >= 4, short: n < 4} }
		var x field
		switch {
		case n > maxWidth:
			return nil, fmt.Errorf("Illegal pattern component: %s", t.text) //nolint:staticcheck // Joda's text
		case t.letter == 'G':
			x = field{kind: era, long: true}
		case t.letter == 'C':
			x = number(century, n)
		case strings.ContainsRune("xyYu", rune(t.letter)):
			k := map[byte]kind{'x': weekyear, 'y': year, 'u': year, 'Y': yearOfEra}[t.letter]
			switch {
			case n == 2:
				if k == yearOfEra {
					k = year
				}
				x = field{kind: k, twoDigits: true, strict: numericNext}
			case numericNext:
				x = number(k, n)
			default:
				x = number(k, 9)
			}
		case t.letter == 'M' || t.letter == 'L':
			if x = number(month, 2); n > 2 {
				x = name(month)
			}
		case t.letter == 'd':
			x = number(day, 2)
		case t.letter == 'a':
			x = field{kind: halfday, long: true}
		case t.letter == 'h':
			x = number(clockhourOfHalf, 2)
		case t.letter == 'H':
			x = number(hour, 2)
		case t.letter == 'k':
			x = number(clockhour, 2)
		case t.letter == 'K':
			x = number(hourOfHalf, 2)
		case t.letter == 'm':
			x = number(minute, 2)
		case t.letter == 's':
			x = number(second, 2)
		case t.letter == 'S':
			x = number(fraction, n)
		case t.letter == 'e':
			x = number(dayOfWeek, 1)
		case t.letter == 'E':
			x = name(dayOfWeek)
		case t.letter == 'D':
			x = number(dayOfYear, 3)
		case t.letter == 'w':
			x = number(week, 2)
		case t.letter == 'z':
			if x = name(zoneName); x.long {
				f.unread = "Parsing not supported"
			}
		case t.letter == 'Z' && n < 3:
			x = field{kind: zoneOffset, long: n == 2}
		case t.letter == 'Z':
			x = field{kind: zoneID}
		default:
			return nil, fmt.Errorf("Illegal pattern component: %s", t.text) //nolint:staticcheck // Joda's text
		}
		f.fields = append(f.fields, x)
	}
	return f, nil
}

// token is a run of one letter, or a text, which has no letter.
type token struct {
	letter byte
	text   string
}

// numeric tells whether digits may follow one another across the border to this token.
func (t token) numeric() bool {
	return strings.IndexByte("cCxyYudhHmsSeDFwWkK", t.letter) >= 0 && t.letter != 0 || (t.letter == 'M' || t.letter == 'L') && len(t.text) <= 2
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// tokensOf cuts a pattern: quotes keep letters from being fields, and two of them are one.
func tokensOf(s string) []token {
	var out []token
	for i := 0; i < len(s); {
		start := i
		if isLetter(s[i]) {
			for i < len(s) && s[i] == s[start] {
				i++
			}
			out = append(out, token{s[start], s[start:i]})
			continue
		}
		var text strings.Builder
		for quoted := false; i < len(s) && (quoted || !isLetter(s[i])); i++ {
			switch {
			case s[i] != '\'':
				text.WriteByte(s[i])
			case i+1 < len(s) && s[i+1] == '\'':
				i++
				text.WriteByte('\'')
			default:
				quoted = !quoted
			}
		}
		out = append(out, token{text: text.String()})
	}
	return out
}

// Append appends a time as the format writes it.
func (f *Format) Append(dst []byte, ns int64) []byte {
	days := floorDiv(ns, nsDay)
	clock := ns - days*nsDay
	t := time.Unix(days*86400, 0).UTC()
	hours := clock / nsHour
	for _, x := range f.fields {
		switch x.kind {
		case literal:
			dst = append(dst, x.text...)
		case era:
			dst = append(dst, "AD"...)
		case century:
			dst = appendPadded(dst, int64(t.Year()/100), x.least)
		case year, yearOfEra:
			dst = x.appendYear(dst, t.Year())
		case weekyear:
			y, _ := t.ISOWeek()
			dst = x.appendYear(dst, y)
		case month:
			dst = x.append(dst, int64(t.Month()), t.Month().String())
		case week:
			_, w := t.ISOWeek()
			dst = appendPadded(dst, int64(w), x.least)
		case dayOfYear:
			dst = appendPadded(dst, int64(t.YearDay()), x.least)
		case day:
			dst = appendPadded(dst, int64(t.Day()), x.least)
		case dayOfWeek:
			dst = x.append(dst, int64((t.Weekday()+6)%7)+1, t.Weekday().String())
		case halfday:
			dst = append(dst, [...]string{"AM", "PM"}[hours/12]...)
		case hour:
			dst = appendPadded(dst, hours, x.least)
		case clockhour:
			dst = appendPadded(dst, (hours+23)%24+1, x.least)
		case hourOfHalf:
			dst = appendPadded(dst, hours%12, x.least)
		case clockhourOfHalf:
			dst = appendPadded(dst, (hours+11)%12+1, x.least)
		case minute:
			dst = appendPadded(dst, clock/nsMinute%60, x.least)
		case second:
			dst = appendPadded(dst, clock/nsSecond%60, x.least)
		case fraction:
			dst = appendFraction(dst, clock%nsSecond, x.least)
		case zoneName:
			if x.long {
				dst = append(dst, "Coordinated Universal Time"...)
				continue
			}
			dst = append(dst, "UTC"...)
		case zoneOffset:
			if x.long {
				dst = append(dst, "+00:00"...)
				continue
			}
			dst = append(dst, "+0000"...)
		case zoneID:
			dst = append(dst, "UTC"...)
		}
	}
	return dst
}

// append appends a number, or its name.
func (x *field) append(dst []byte, n int64, name string) []byte {
	switch {
	case x.long:
		return append(dst, name...)
	case x.short:
		return append(dst, name[:3]...)
	}
	return appendPadded(dst, n, x.least)
}

func (x *field) appendYear(dst []byte, y int) []byte {
	if x.twoDigits {
		return appendPadded(dst, int64(y%100), 2)
	}
	return appendPadded(dst, int64(y), x.least)
}

func appendPadded(dst []byte, n int64, width int) []byte {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits); i < width; i++ {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

// appendFraction appends as many digits of a fraction of a second as are asked for; there are nine.
func appendFraction(dst []byte, ns int64, width int) []byte {
	start := len(dst)
	dst = appendPadded(dst, ns, 9)
	for len(dst)-start < width {
		dst = append(dst, '0')
	}
	return dst[:start+width]
}
