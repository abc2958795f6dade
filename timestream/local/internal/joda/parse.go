// SPDX-License-Identifier: Apache-2.0

package joda

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
)

// ErrRange is that a text is a time that 64 bits of nanoseconds do not hold (1677 to 2262).
var ErrRange = errors.New("Timestamp is out of range") //nolint:staticcheck // what all of the dialect says then

// saved is a field that was read.
type saved struct {
	kind  kind
	value int
}

// bucket collects what is read of a text, whose places are counted as Java does, in units of UTF-16.
type bucket struct {
	text  []uint16
	saved []saved
	// offset is that from UTC in seconds, zone one whose offset depends on the time; the later one counts.
	offset int64
	zone   *time.Location
}

// Parse reads a text. The error is Joda's: where the text differs from the format, or which field has a value that it cannot have.
func (f *Format) Parse(text string, zones *Zones) (ns int64, err error) {
	if f.unread != "" {
		return 0, errors.New(f.unread)
	}
	b := bucket{text: utf16.Encode([]rune(text))}
	at := 0
	for i := range f.fields {
		next, ok := b.read(&f.fields[i], at, f.pivot, zones)
		if !ok {
			return 0, b.malformed(next)
		}
		at = next
	}
	if at < len(b.text) {
		return 0, b.malformed(at)
	}
	l, err := b.resolve()
	if err != nil {
		return 0, fmt.Errorf("Cannot parse \"%s\": %w", text, err) //nolint:staticcheck // Joda's text
	}
	seconds := l.days*86400 - b.offset
	if b.zone != nil {
		var ok bool
		if seconds, ok = inZone(l, b.zone); !ok {
			return 0, fmt.Errorf("Cannot parse \"%s\": Illegal instant due to time zone offset transition (%s)", text, b.zone) //nolint:staticcheck // Joda's text
		}
	}
	return nanoseconds(seconds, l.clock)
}

// nanoseconds joins seconds, less than 2^40 of them, and nanoseconds of up to a day.
func nanoseconds(seconds, clock int64) (int64, error) {
	seconds += clock / nsSecond
	if clock %= nsSecond; seconds < 0 && clock > 0 {
		seconds, clock = seconds+1, clock-nsSecond // the first second of the range is a part of one
	}
	const most = math.MaxInt64 / nsSecond
	if seconds > most || seconds < -most {
		return 0, ErrRange
	}
	ns := seconds * nsSecond
	if clock > 0 && ns > math.MaxInt64-clock || clock < 0 && ns < math.MinInt64-clock {
		return 0, ErrRange
	}
	return ns + clock, nil
}

// inZone finds the second that a zone's clocks show; of two the earlier one. false if there is none.
func inZone(l local, zone *time.Location) (int64, bool) {
	want := l.days * 86400
	second := want + l.clock/nsSecond
	// Offsets are less than a day, and change less often than every two days.
	for _, near := range [...]int64{second - 86400, second + 86400} {
		_, offset := time.Unix(near, 0).In(zone).Zone()
		if _, is := time.Unix(second-int64(offset), 0).In(zone).Zone(); is == offset {
			return want - int64(offset), true
		}
	}
	return 0, false
}

// malformed is Joda's FormatUtils.createErrorMessage.
func (b *bucket) malformed(at int) error {
	const sample = 32
	text := func(x []uint16) string { return string(utf16.Decode(x)) }
	shown, rest := text(b.text), ""
	if at < len(b.text) {
		rest = text(b.text[at:])
	}
	if len(b.text) > at+sample+3 {
		shown, rest = text(b.text[:at+sample])+"...", text(b.text[at:at+sample])+"..."
	}
	switch {
	case at <= 0:
		return fmt.Errorf("Invalid format: \"%s\"", shown) //nolint:staticcheck // Joda's text
	case at >= len(b.text):
		return fmt.Errorf("Invalid format: \"%s\" is too short", shown) //nolint:staticcheck // Joda's text
	}
	return fmt.Errorf("Invalid format: \"%s\" is malformed at \"%s\"", shown, rest) //nolint:staticcheck // Joda's text
}

// read reads a field from a place on, and returns where it ends; or, and false, where it is not to be read.
func (b *bucket) read(x *field, at, pivot int, zones *Zones) (int, bool) {
	switch {
	case x.kind == literal:
		end := at
		for _, c := range utf16.Encode([]rune(x.text)) {
			if end >= len(b.text) || !same(b.text[end], c) {
				return at, false
			}
			end++
		}
		return end, true
	case x.kind == era:
		return b.name(x.kind, at, []string{"BC", "AD", "BCE", "CE"}, 0)
	case x.kind == halfday:
		return b.name(x.kind, at, []string{"AM", "PM"}, 0)
	case x.kind == month && (x.long || x.short):
		return b.name(x.kind, at, monthNames(), 1)
	case x.kind == dayOfWeek && (x.long || x.short):
		return b.name(x.kind, at, dayNames(), 1)
	case x.kind == zoneName:
		return b.zoneByName(at, zones)
	case x.kind == zoneID:
		return b.zoneByID(at, zones)
	case x.kind == zoneOffset:
		return b.zoneByOffset(at)
	case x.kind == fraction:
		return b.fraction(x, at)
	case x.twoDigits:
		return b.twoDigits(x, at, pivot)
	}
	return b.number(x, at)
}

// same tells whether two characters differ in case only.
func same(a, b uint16) bool {
	x, y := unicode.ToUpper(rune(a)), unicode.ToUpper(rune(b))
	return x == y || unicode.ToLower(x) == unicode.ToLower(y)
}

func monthNames() []string {
	out := make([]string, 12)
	for i := range out {
		out[i] = time.Month(i + 1).String()
	}
	return out
}

func dayNames() []string {
	out := make([]string, 7)
	for i := range out {
		out[i] = time.Weekday((i + 1) % 7).String()
	}
	return out
}

// name reads the longest of some names, or of their first three letters: as they are, in capitals or in small letters. The value is the place among
// the names, from `from` on.
func (b *bucket) name(k kind, at int, names []string, from int) (int, bool) {
	best, value := 0, 0
	for i, n := range names {
		for _, form := range [...]string{n, n[:min(3, len(n))]} {
			for _, s := range [...]string{form, strings.ToUpper(form), strings.ToLower(form)} {
				if len(s) > best && b.has(at, s) {
					best, value = len(s), i
				}
			}
		}
	}
	if best == 0 {
		return at, false
	}
	b.saved = append(b.saved, saved{k, value + from})
	return at + best, true
}

// has tells whether an ASCII text stands at a place.
func (b *bucket) has(at int, s string) bool {
	if len(b.text)-at < len(s) {
		return false
	}
	for i := range len(s) {
		if b.text[at+i] != uint16(s[i]) {
			return false
		}
	}
	return true
}

// digit is the digit at a place, -1 for none.
func (b *bucket) digit(at int) int {
	if at < len(b.text) && '0' <= b.text[at] && b.text[at] <= '9' {
		return int(b.text[at] - '0')
	}
	return -1
}

// number reads up to the most digits of a field; a year may have a sign, which is not counted.
func (b *bucket) number(x *field, at int) (int, bool) {
	signed := x.kind == year || x.kind == weekyear || x.kind == century
	i, end, negative := at, min(len(b.text), at+x.most), false
	if signed && i < end && (b.text[i] == '-' || b.text[i] == '+') {
		if i+1 >= end || b.digit(i+1) < 0 {
			return at, false
		}
		negative = b.text[i] == '-'
		i++
		end = min(end+1, len(b.text))
	}
	start := i
	value := 0
	for ; i < end && b.digit(i) >= 0; i++ {
		if value = value*10 + b.digit(i); value > math.MaxInt32 {
			return at, false
		}
	}
	if i == start {
		return at, false
	}
	if negative {
		value = -value
	}
	b.saved = append(b.saved, saved{x.kind, value})
	return i, true
}

// fraction reads digits of a fraction. Where six are asked for nine are read: MySQL's %f, and java.time's SSSSSS.
func (b *bucket) fraction(x *field, at int) (int, bool) {
	most := x.most
	if most == 6 {
		most = 9
	}
	i, value, unit := at, 0, int(nsSecond)
	for ; i < at+most && b.digit(i) >= 0; i++ {
		unit /= 10
		value += b.digit(i) * unit
	}
	if i == at {
		return at, false
	}
	b.saved = append(b.saved, saved{fraction, value})
	return i, true
}

// twoDigits reads a year without its century, or, where it may have another length, a whole one.
func (b *bucket) twoDigits(x *field, at, pivot int) (int, bool) {
	if !x.strict {
		i := at
		signed := i < len(b.text) && (b.text[i] == '-' || b.text[i] == '+')
		if signed {
			i++
		}
		start, value := i, 0
		for ; b.digit(i) >= 0; i++ {
			if value = value*10 + b.digit(i); value > math.MaxInt32 {
				return at, false
			}
		}
		if i == start {
			return at, false
		}
		if signed || i-start != 2 {
			if b.text[at] == '-' {
				value = -value
			}
			b.saved = append(b.saved, saved{x.kind, value})
			return i, true
		}
	}
	if b.digit(at) < 0 || b.digit(at+1) < 0 {
		return at, false
	}
	// Two digits are within 50 years before the pivot and 49 after it.
	low := pivot - 50
	value := low + (b.digit(at)*10+b.digit(at+1)-low%100+100)%100
	b.saved = append(b.saved, saved{x.kind, value})
	return at + 2, true
}

// zoneByOffset reads Z, or a sign, hours, and perhaps minutes, seconds and a fraction, all of them with separators or none.
func (b *bucket) zoneByOffset(at int) (int, bool) {
	if at < len(b.text) && same(b.text[at], 'Z') {
		b.offset, b.zone = 0, nil
		return at + 1, true
	}
	if at+1 >= len(b.text) || b.text[at] != '+' && b.text[at] != '-' {
		return at, false
	}
	two := func(at int) int {
		if b.digit(at) < 0 || b.digit(at+1) < 0 {
			return -1
		}
		return b.digit(at)*10 + b.digit(at+1)
	}
	i := at + 1
	hours := two(i)
	if hours < 0 {
		return i, false
	}
	if hours > 23 {
		return i, false
	}
	i += 2
	offset := int64(hours) * 3600
	separated := i < len(b.text) && b.text[i] == ':'
	for _, unit := range [...]int64{60, 1} {
		if i >= len(b.text) || separated && b.text[i] != ':' || !separated && b.digit(i) < 0 {
			break
		}
		if separated {
			i++
		}
		v := two(i)
		if v < 0 || v > 59 {
			return i, false
		}
		offset += int64(v) * unit
		i += 2
	}
	if b.text[at] == '-' {
		offset = -offset
	}
	b.offset, b.zone = offset, nil
	return i, true
}

// zoneByName reads one of the names that Joda knows.
func (b *bucket) zoneByName(at int, zones *Zones) (int, bool) {
	best, id := "", ""
	for _, n := range [...][2]string{
		{"UT", "UTC"}, {"UTC", "UTC"}, {"GMT", "UTC"}, {"EST", "America/New_York"}, {"EDT", "America/New_York"}, {"CST", "America/Chicago"}, {"CDT", "America/Chicago"},
		{"MST", "America/Denver"}, {"MDT", "America/Denver"}, {"PST", "America/Los_Angeles"}, {"PDT", "America/Los_Angeles"},
	} {
		if len(n[0]) > len(best) && b.has(at, n[0]) {
			best, id = n[0], n[1]
		}
	}
	if best == "" {
		return at, false
	}
	b.zone = zones.find(id)
	return at + len(best), b.zone != nil
}

// zoneByID reads the longest name of the time zone database.
func (b *bucket) zoneByID(at int, zones *Zones) (int, bool) {
	var id strings.Builder
	for i := at; i < len(b.text) && id.Len() < maxZoneID; i++ {
		c := b.text[i]
		if c >= 0x80 || !isLetter(byte(c)) && b.digit(i) < 0 && !strings.ContainsRune("/_+-", rune(c)) {
			break
		}
		id.WriteByte(byte(c))
	}
	for s := id.String(); s != ""; s = s[:len(s)-1] {
		if zone := zones.find(s); zone != nil {
			b.zone = zone
			return at + len(s), true
		}
	}
	return at, false
}

// resolve makes a time of the fields, as Joda's DateTimeParserBucket.computeMillis: all are set twice, the largest first, first with what is smaller
// dropped. What is missing is that of 1970-01-01, but for the year of a month, a week or a day, which is 2000.
func (b *bucket) resolve() (local, error) {
	var l local
	fields := b.saved
	slices.SortStableFunc(fields, func(x, y saved) int { return x.kind.rank() - y.kind.rank() })
	if len(fields) > 0 && fields[0].kind >= month && fields[0].kind <= dayOfWeek {
		fields = append([]saved{{year, 2000}}, fields...)
	}
	for round := range 2 {
		for i, x := range fields {
			if err := l.set(x.kind, x.value); err != nil {
				return l, err
			}
			if round == 0 || i == len(fields)-1 {
				l.floor(x.kind)
			}
		}
	}
	return l, nil
}
