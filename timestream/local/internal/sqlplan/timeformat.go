// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-project/tributary/timestream/tssql"
)

// timeToken is a part of a format of times: a field, or a text that stands for itself.
type timeToken struct {
	// field is one of Joda's letters, or 0 for a text: y year, x year of the week, M month, w week, d day, D day of the year, e day of
	// the week, E its name, a half of the day, H hour (0 to 23), k (1 to 24), K (0 to 11), h (1 to 12), m minute, s second, S
	// fraction of the second, z and Z zone, G era, C century.
	field byte
	// width is how often the letter stands in the format: the least number of digits, or which form of a name.
	width int
	text  string
}

// appendText adds a text, which is one with a text before it: characters may come byte by byte.
func appendText(tokens []timeToken, text string) []timeToken {
	if last := len(tokens) - 1; last >= 0 && tokens[last].field == 0 {
		tokens[last].text += text
		return tokens
	}
	return append(tokens, timeToken{text: text})
}

// maxFieldWidth bounds how often a letter may stand in a pattern: each is a digit of the text.
const maxFieldWidth = 64

// mysqlFormat reads the specifiers of date_format and date_parse, which are MySQL's as Trino has them; what Trino does not take comes back
// as bad.
func mysqlFormat(s string) (tokens []timeToken, bad string) {
	text := func(t string) { tokens = appendText(tokens, t) }
	field := func(f byte, width int) { tokens = append(tokens, timeToken{field: f, width: width}) }
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			text(s[i : i+1])
			continue
		}
		i++
		switch s[i] {
		case 'a':
			field('E', 3)
		case 'W':
			field('E', 4)
		case 'b':
			field('M', 3)
		case 'M':
			field('M', 4)
		case 'c':
			field('M', 1)
		case 'm':
			field('M', 2)
		case 'd':
			field('d', 2)
		case 'e':
			field('d', 1)
		case 'f':
			field('S', 6)
		case 'H':
			field('H', 2)
		case 'k':
			field('H', 1)
		case 'h', 'I':
			field('h', 2)
		case 'l':
			field('h', 1)
		case 'i':
			field('m', 2)
		case 'j':
			field('D', 3)
		case 'p':
			field('a', 1)
		case 'S', 's':
			field('s', 2)
		case 'Y':
			field('y', 4)
		case 'y':
			field('y', 2)
		case 'v':
			field('w', 2)
		case 'x':
			field('x', 4)
		case 'T', 'r':
			hour := byte('H')
			if s[i] == 'r' {
				hour = 'h'
			}
			field(hour, 2)
			text(":")
			field('m', 2)
			text(":")
			field('s', 2)
			if s[i] == 'r' {
				text(" ")
				field('a', 1)
			}
		case 'D', 'U', 'u', 'V', 'w', 'X':
			return nil, s[i-1 : i+1]
		default:
			text(s[i : i+1])
		}
	}
	return tokens, ""
}

// jodaFormat reads a pattern of format_datetime and parse_datetime: Joda's, and of java.time, which the guide's example uses, u for the year and
// L for the month.
func jodaFormat(s string) (tokens []timeToken, bad string) {
	for i := 0; i < len(s); {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		n := 1
		switch {
		case c == '\'':
			// Quoted text; two quotes are one, inside and outside.
			var b strings.Builder
			for i++; ; i++ {
				end := strings.IndexByte(s[i:], '\'')
				if end < 0 {
					b.WriteString(s[i:])
					i = len(s)
					break
				}
				b.WriteString(s[i : i+end])
				i += end + 1
				if i >= len(s) || s[i] != '\'' {
					break
				}
				b.WriteByte('\'')
			}
			t := b.String()
			if t == "" {
				t = "'"
			}
			tokens = appendText(tokens, t)
			continue
		case letter:
			for n = 1; i+n < len(s) && s[i+n] == c; n++ {
			}
			switch c {
			case 'u', 'Y':
				c = 'y'
			case 'L':
				c = 'M'
			}
			if !strings.ContainsRune("yxMwdDeEaHkKhmsSzZGC", rune(c)) || n > maxFieldWidth {
				return nil, "Illegal pattern component: " + s[i:i+n]
			}
			tokens = append(tokens, timeToken{field: c, width: n})
		default:
			tokens = appendText(tokens, s[i:i+1])
		}
		i += n
	}
	if len(tokens) == 0 {
		return nil, "Invalid pattern specification"
	}
	return tokens, ""
}

// timeFormat binds date_format, date_parse, format_datetime and parse_datetime.
func (b *binder) timeFormat(c *tssql.Call, args []bound) bound {
	name := strings.ToLower(c.Name)
	format := name == "date_format" || name == "format_datetime"
	from := ScalarOf(Varchar)
	if format {
		from = ScalarOf(Timestamp)
	}
	if len(args) != 2 || !coercible(args[0].typ, from) || !textual(args[1]) {
		mismatch(c, args, name+"("+from.String()+", varchar)")
	}
	x := coerce(args[0], from, c.Args[0].Position())
	at := c.Args[1].Position()
	s, ok := args[1].k.(string)
	if !ok {
		fail(at, "%s: a format that is not a literal is not supported", name)
	}
	tokens, bad := jodaFormat(s)
	pivot := time.Unix(0, b.co.now).UTC().Year() - 30
	if strings.HasPrefix(name, "date_") {
		if tokens, bad = mysqlFormat(s); bad != "" {
			bad += " not supported in date format string"
		}
		pivot = 2020
	}
	if bad != "" {
		fail(at, "%s", bad)
	}
	if format {
		return bound{sql: b.let(x, func(x string) string { return formatTime(x, tokens) }), typ: ScalarOf(Varchar)}
	}
	re, text := timePattern(tokens)
	if text != "" {
		fail(at, "%s: %s cannot be read", name, text)
	}
	return b.readTime(x, re, tokens, pivot)
}

// formatTime prints a timestamp's text.
func formatTime(x string, tokens []timeToken) string {
	micros := "make_timestamp(" + floorQuotient(x, 1000) + ")"
	number := func(width int, sql string) string { return "printf('%0" + strconv.Itoa(width) + "d', " + sql + ")" }
	field := func(width int, part string) string {
		return number(width, "CAST(date_part('"+part+"', "+micros+") AS BIGINT)")
	}
	short := func(width int, part string) string {
		if width == 2 {
			return number(2, "CAST(date_part('"+part+"', "+micros+") AS BIGINT) % 100")
		}
		return field(width, part)
	}
	named := func(width int, long, short string) string {
		if width > 3 {
			short = long
		}
		return "strftime(" + micros + ", '" + short + "')"
	}
	hour := "CAST(date_part('hour', " + micros + ") AS BIGINT)"
	parts := make([]string, 0, len(tokens)+1)
	for _, t := range tokens {
		sql := ""
		switch t.field {
		case 0:
			sql = quote(t.text)
		case 'y':
			sql = short(t.width, "year")
		case 'x':
			sql = short(t.width, "isoyear")
		case 'M':
			if t.width > 2 {
				sql = named(t.width, "%B", "%b")
			} else {
				sql = field(t.width, "month")
			}
		case 'w':
			sql = field(t.width, "week")
		case 'd':
			sql = field(t.width, "day")
		case 'D':
			sql = field(t.width, "doy")
		case 'e':
			sql = field(t.width, "isodow")
		case 'E':
			sql = named(t.width, "%A", "%a")
		case 'a':
			sql = "strftime(" + micros + ", '%p')"
		case 'H':
			sql = number(t.width, hour)
		case 'k':
			sql = number(t.width, "("+hour+" + 23) % 24 + 1")
		case 'K':
			sql = number(t.width, hour+" % 12")
		case 'h':
			sql = number(t.width, "("+hour+" + 11) % 12 + 1")
		case 'm':
			sql = field(t.width, "minute")
		case 's':
			sql = number(t.width, "("+floorQuotient(x, nsSecond)+" % 60 + 60) % 60")
		case 'S':
			sql = "rpad(left(printf('%09d', " + floorRemainder(x, "1000000000") + "), " + strconv.Itoa(t.width) + "), " + strconv.Itoa(t.width) + ", '0')"
		case 'z':
			sql = "'UTC'"
			if t.width > 3 {
				sql = "'Coordinated Universal Time'"
			}
		case 'Z':
			sql = []string{"'+0000'", "'+00:00'", "'UTC'"}[min(t.width, 3)-1]
		case 'G':
			sql = "'AD'"
		case 'C':
			sql = number(t.width, "CAST(date_part('year', "+micros+") AS BIGINT) // 100")
		}
		parts = append(parts, sql)
	}
	if len(parts) == 0 {
		parts = append(parts, "''")
	}
	return "(CASE WHEN " + x + " IS NOT NULL THEN concat(" + strings.Join(parts, ", ") + ") END)"
}

const monthNames = "January|February|March|April|May|June|July|August|September|October|November|December|" +
	"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Oct|Nov|Dec"

// timePattern makes the regular expression of a format, with one group for each field in order. A field that Joda does not read
// comes back as bad.
func timePattern(tokens []timeToken) (pattern, bad string) {
	var re strings.Builder
	re.WriteString("(?i)")
	numeric := func(i int) bool {
		return i < len(tokens) && strings.IndexByte("yxwdDeHkKhmsS", tokens[i].field) >= 0 || i < len(tokens) && tokens[i].field == 'M' && tokens[i].width < 3
	}
	digits := func(most int) { re.WriteString("([0-9]{1," + strconv.Itoa(most) + "})") }
	for i, t := range tokens {
		switch t.field {
		case 0:
			re.WriteString(regexp.QuoteMeta(t.text))
		case 'y', 'x':
			switch {
			case t.width == 2:
				re.WriteString("([0-9]{2}|[0-9]{4})")
			case numeric(i + 1):
				digits(t.width)
			default:
				digits(9)
			}
		case 'M':
			if t.width > 2 {
				re.WriteString("(" + monthNames + ")")
			} else {
				digits(2)
			}
		case 'D':
			digits(3)
		case 'e':
			digits(1)
		case 'w', 'd', 'H', 'k', 'K', 'h', 'm', 's':
			digits(2)
		case 'E':
			re.WriteString("(Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|Mon|Tue|Wed|Thu|Fri|Sat|Sun)")
		case 'a':
			re.WriteString("(AM|PM)")
		case 'S':
			digits(min(max(t.width, 1), 9))
			if t.width == 6 {
				// MySQL's %f, and java.time's SSSSSS, take nanoseconds too.
				re.WriteString("([0-9]{0,3})")
			}
		case 'z':
			re.WriteString("(UTC|UT|GMT|[ECMP][SD]T)")
		case 'Z':
			re.WriteString("(Z|UTC|[+-][0-9]{2}:?[0-9]{2})")
		default:
			return "", strings.Repeat(string(t.field), t.width)
		}
	}
	return re.String(), ""
}

// readTime reads a text by the pattern of a format. What is not in the format is that of 1970-01-01, as in Joda, but for the year of a
// month or a day, which is 2000.
func (b *binder) readTime(x bound, re string, tokens []timeToken, pivot int) bound {
	return bound{sql: b.let(x, func(x string) string { return b.timeOf(x, re, tokens, pivot) }), typ: ScalarOf(Timestamp)}
}

func (b *binder) timeOf(x, re string, tokens []timeToken, pivot int) string {
	// group finds the text of a field: the last token of it counts, as a later one overwrites in Joda.
	var names []string
	group := map[byte]string{}
	width := map[byte]int{}
	for _, t := range tokens {
		if t.field == 0 {
			continue
		}
		name := "g" + strconv.Itoa(len(names))
		names = append(names, "'"+name+"'")
		group[t.field], width[t.field] = name, t.width
		if t.field == 'S' && t.width == 6 {
			names = append(names, "'"+name+"x'")
		}
	}
	invalid := b.raiseSQL("'Invalid format: \"' || " + x + " || '\"'")
	if names == nil {
		return "(CASE WHEN regexp_full_match(" + x + ", " + quote(re) + ") THEN CAST(0 AS BIGINT) WHEN " + x + " IS NOT NULL THEN " + invalid + " END)"
	}
	m := b.co.param()
	has := func(f byte) bool { return group[f] != "" }
	number := func(f byte) string { return "CAST(" + m + "." + group[f] + " AS BIGINT)" }
	either := func(other string, fields ...byte) string {
		for _, f := range fields {
			if has(f) {
				return number(f)
			}
		}
		return other
	}
	// within collects what a field may be.
	var bounds []string
	within := func(f byte, low, high string) {
		if has(f) {
			bounds = append(bounds, number(f)+" BETWEEN "+low+" AND "+high)
		}
	}
	within('H', "0", "23")
	within('k', "1", "24")
	within('K', "0", "11")
	within('h', "1", "12")
	within('m', "0", "59")
	within('s', "0", "59")
	within('D', "1", "366")
	within('w', "1", "53")
	within('e', "1", "7")
	year := func(f byte) string {
		if width[f] != 2 {
			return number(f)
		}
		// Two digits are within 50 years before the pivot and 49 after it.
		low := strconv.Itoa(pivot - 50)
		return "(CASE WHEN length(" + m + "." + group[f] + ") > 2 THEN " + number(f) + " ELSE " + low + " + (" + number(f) + " + 1000 - " + low + " % 100) % 100 END)"
	}
	month := either("1", 'M')
	if has('M') && width['M'] > 2 {
		month = "(list_position(['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'], lower(left(" + m + "." + group['M'] + ", 3))))"
	}
	y := "1970"
	switch {
	case has('y'):
		y = year('y')
	case has('M') || has('d'):
		y = "2000"
	}
	var days string
	date := func(y, m, d string) string {
		return "CAST(make_date(" + y + ", " + m + ", " + d + ") - DATE '1970-01-01' AS BIGINT)"
	}
	switch {
	case has('x') || has('w'):
		w := "1970"
		if has('x') {
			w = year('x')
		}
		// The fourth of January is in the first week, which begins on a Monday.
		fourth := date(w, "1", "4")
		dow := either("1", 'e')
		if has('E') && !has('e') {
			dow = "list_position(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], lower(left(" + m + "." + group['E'] + ", 3)))"
		}
		days = "(" + fourth + " - (" + fourth + " + 3) % 7 + (" + either("1", 'w') + " - 1) * 7 + " + dow + " - 1)"
	case has('D'):
		days = "(" + date(y, "1", "1") + " + " + number('D') + " - 1)"
	default:
		d := either("1", 'd')
		days = date(y, month, d)
		bounds = append(bounds, isDay(y, month, d))
	}
	hour := either("0", 'H')
	if has('k') {
		hour = "(" + number('k') + " % 24)"
	}
	if has('h') || has('K') {
		hour = "(" + either("0", 'K', 'h') + " % 12)"
		if has('a') {
			hour = "(" + hour + " + CASE WHEN upper(" + m + "." + group['a'] + ") = 'PM' THEN 12 ELSE 0 END)"
		}
	}
	fraction := "0"
	if has('S') {
		text := m + "." + group['S']
		if width['S'] == 6 {
			text = "(" + text + " || " + text + "x)"
		}
		fraction = "CAST(rpad(" + text + ", 9, '0') AS BIGINT)"
	}
	offset := "0"
	if has('z') {
		// The names that Joda reads, in hours from UTC.
		offset = "(CASE upper(" + m + "." + group['z'] + ") WHEN 'EDT' THEN -4 WHEN 'EST' THEN -5 WHEN 'CDT' THEN -5 WHEN 'CST' THEN -6 WHEN 'MDT' THEN -6 WHEN 'MST' THEN -7" +
			" WHEN 'PDT' THEN -7 WHEN 'PST' THEN -8 ELSE 0 END * 3600)"
	}
	if has('Z') {
		zone := "replace(" + m + "." + group['Z'] + ", ':', '')"
		offset = "(CASE WHEN length(" + zone + ") = 5 THEN (CAST(substring(" + zone + ", 2, 2) AS BIGINT) * 3600 + CAST(substring(" + zone + ", 4, 2) AS BIGINT) * 60) * CASE WHEN left(" +
			zone + ", 1) = '-' THEN -1 ELSE 1 END ELSE 0 END)"
	}
	ns := "((" + days + " * 86400 + " + hour + " * 3600 + " + either("0", 'm') + " * 60 + " + either("0", 's') + " - " + offset + ") * 1000000000 + " + fraction + ")"
	if bounds != nil {
		ns = "(CASE WHEN " + strings.Join(bounds, " AND ") + " THEN " + ns + " ELSE " + invalid + " END)"
	}
	list := "[" + strings.Join(names, ", ") + "]"
	sql := "list_transform([regexp_extract(" + x + ", " + quote("^(?:"+re+")$") + ", " + list + ")], lambda " + m + ": " + ns + ")[1]"
	return "(CASE WHEN regexp_full_match(" + x + ", " + quote(re) + ") THEN " + sql + " WHEN " + x + " IS NOT NULL THEN " + invalid + " END)"
}

// isDay prints whether a month has a day; make_date would end the query with a text of DuckDB's.
func isDay(y, m, d string) string {
	return "(CASE WHEN " + m + " BETWEEN 1 AND 12 THEN " + d + " BETWEEN 1 AND date_part('day', last_day(make_date(" + y + ", " + m + ", 1))) ELSE FALSE END)"
}

// isoPattern reads what Joda's parsers of ISO 8601 read: a date by month, week or day of the year, the time of day to the second and its
// fraction, an offset.
const isoPattern = `(?:([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?|([0-9]{4})-W([0-9]{1,2})(?:-([1-7]))?|([0-9]{4})-([0-9]{3}))`

const isoClock = `(?:T([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2})(?:[.,]([0-9]{1,9}))?)?)?)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?`

// fromISO8601 binds from_iso8601_timestamp and from_iso8601_date.
func (b *binder) fromISO8601(c *tssql.Call, args []bound) bound {
	name := strings.ToLower(c.Name)
	if len(args) != 1 || !textual(args[0]) {
		mismatch(c, args, name+"(varchar)")
	}
	date := name == "from_iso8601_date"
	if s, ok := args[0].k.(string); ok {
		// The usual forms are constants, with which the time column can be compared in a scan.
		if day, ok := parseDate(s); date && ok {
			return constant(Date, day)
		}
		if ns, ok := parseISO8601(s); !date && ok {
			return constant(Timestamp, ns)
		}
	}
	typ := Timestamp
	if date {
		typ = Date
	}
	x := coerce(args[0], ScalarOf(Varchar), c.Pos)
	return bound{sql: b.let(x, func(x string) string { return b.isoTime(x, date) }), typ: ScalarOf(typ)}
}

// isoTime prints the nanoseconds, or the days, of a text.
func (b *binder) isoTime(x string, date bool) string {
	pattern, names := isoPattern, "['y', 'm', 'd', 'wy', 'w', 'e', 'oy', 'o'"
	if !date {
		pattern += isoClock
		names += ", 'hh', 'mm', 'ss', 'f', 'z'"
	}
	p := b.co.param()
	number := func(field, otherwise string) string {
		return "CAST(coalesce(nullif(" + p + "." + field + ", ''), '" + otherwise + "') AS BIGINT)"
	}
	days := func(y, m, d string) string {
		return "CAST(make_date(" + y + ", " + m + ", " + d + ") - DATE '1970-01-01' AS BIGINT)"
	}
	fourth := days(number("wy", "1970"), "1", "4")
	y, m, d := number("y", "1970"), number("m", "1"), number("d", "1")
	day := "CASE WHEN " + p + ".y <> '' THEN CASE WHEN " + isDay(y, m, d) + " THEN " + days(y, m, d) + " END" +
		" WHEN " + p + ".wy <> '' THEN " + fourth + " - (" + fourth + " + 3) % 7 + (" + number("w", "1") + " - 1) * 7 + " + number("e", "1") + " - 1" +
		" ELSE " + days(number("oy", "1970"), "1", "1") + " + " + number("o", "1") + " - 1 END"
	out := "CAST(" + day + " AS INTEGER)"
	if !date {
		zone := "replace(replace(" + p + ".z, ':', ''), 'Z', '')"
		offset := "(CASE WHEN " + zone + " = '' THEN 0 ELSE (CAST(substring(" + zone + ", 2, 2) AS BIGINT) * 60 + CAST(substring(" + zone + " || '00', 4, 2) AS BIGINT)) * " +
			"CASE WHEN left(" + zone + ", 1) = '-' THEN -60 ELSE 60 END END)"
		out = "(CASE WHEN " + number("hh", "0") + " < 24 AND " + number("mm", "0") + " < 60 AND " + number("ss", "0") + " < 60 THEN (" + day + ") * 86400 + " + number("hh", "0") + " * 3600 + " +
			number("mm", "0") + " * 60 + " + number("ss", "0") + " - " + offset + " END) * 1000000000 + CAST(rpad(" + p + ".f, 9, '0') AS BIGINT)"
	}
	invalid := b.raiseSQL("'Invalid format: \"' || " + x + " || '\"'")
	sql := "list_transform([regexp_extract(" + x + ", " + quote("^(?:"+pattern+")$") + ", " + names + "])], lambda " + p + ": " + out + ")[1]"
	return "(CASE WHEN regexp_full_match(" + x + ", " + quote(pattern) + ") THEN coalesce(" + sql + ", " + invalid + ") WHEN " + x + " IS NOT NULL THEN " + invalid + " END)"
}
