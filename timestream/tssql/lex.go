// SPDX-License-Identifier: Apache-2.0

package tssql

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	kEOF kind = iota
	kWord
	kQuoted
	kString
	kInt
	kNumber
	kInterval
	kParameter
	kOp
	// kBad is text that begins no token; the parser reports it where it stands.
	kBad
)

// token is one lexical element. text is a name or a string without its quotes, a parameter's name without the @, and otherwise the
// source text; an interval literal has its digits in text and its unit in unit.
type token struct {
	kind kind
	pos  Pos
	text string
	unit string
}

// is tells whether t is the keyword or the operator s (upper case).
func (t token) is(s string) bool {
	return (t.kind == kWord && strings.EqualFold(t.text, s)) || (t.kind == kOp && t.text == s)
}

// reserved are the words that have to be quoted to be names (Timestream Developer Guide, ts-limits, "Reserved keywords").
func reserved(word string) bool {
	switch strings.ToUpper(word) {
	case "ALTER", "AND", "AS", "BETWEEN", "BY", "CASE", "CAST", "CONSTRAINT", "CREATE", "CROSS", "CUBE", "CURRENT_DATE",
		"CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_USER", "DEALLOCATE", "DELETE", "DESCRIBE", "DISTINCT", "DROP",
		"ELSE", "END", "ESCAPE", "EXCEPT", "EXECUTE", "EXISTS", "EXTRACT", "FALSE", "FOR", "FROM", "FULL", "GROUP",
		"GROUPING", "HAVING", "IN", "INNER", "INSERT", "INTERSECT", "INTO", "IS", "JOIN", "LEFT", "LIKE", "LOCALTIME",
		"LOCALTIMESTAMP", "NATURAL", "NORMALIZE", "NOT", "NULL", "ON", "OR", "ORDER", "OUTER", "PREPARE", "RECURSIVE",
		"RIGHT", "ROLLUP", "SELECT", "TABLE", "THEN", "TRUE", "UESCAPE", "UNION", "UNNEST", "USING", "VALUES", "WHEN",
		"WHERE", "WITH":
		return true
	}
	return false
}

// intervalUnit tells whether unit may follow a count in an interval literal (Timestream Developer Guide,
// supported-data-types and date-time-functions).
func intervalUnit(unit string) bool {
	switch strings.ToLower(unit) {
	case "ns", "us", "ms", "s", "m", "h", "d", "y", "nanosecond", "microsecond", "millisecond", "second", "minute", "hour",
		"day", "month", "year":
		return true
	}
	return false
}

type lexer struct {
	src       string
	off       int
	line, col int
}

// lex splits src into tokens; the last one is kEOF.
func lex(src string) []token {
	l := &lexer{src: src, line: 1, col: 1}
	tokens := make([]token, 0, len(src)/4+1)
	for {
		t := l.next()
		tokens = append(tokens, t)
		if t.kind == kEOF || t.kind == kBad {
			return tokens
		}
	}
}

// peek returns the byte n places ahead, 0 past the end.
func (l *lexer) peek(n int) byte {
	if l.off+n < len(l.src) {
		return l.src[l.off+n]
	}
	return 0
}

// advance moves over the next n bytes, which end on a character's border, and keeps the position.
func (l *lexer) advance(n int) {
	for _, r := range l.src[l.off : l.off+n] {
		if r == '\n' {
			l.line++
			l.col = 1
		} else {
			l.col++
		}
	}
	l.off += n
}

// space skips white space and comments; a comment without an end is left in place.
func (l *lexer) space() {
	for l.off < len(l.src) {
		rest := l.src[l.off:]
		switch {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			l.advance(1)
		case strings.HasPrefix(rest, "--"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			l.advance(n)
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return
			}
			l.advance(n + 4)
		default:
			return
		}
	}
}

func (l *lexer) next() token {
	l.space()
	t := token{pos: Pos{l.line, l.col}}
	if l.off == len(l.src) {
		return t
	}
	rest := l.src[l.off:]
	c := rest[0]
	switch {
	case c == '\'':
		return l.quoted(t, kString)
	case c == '"':
		return l.quoted(t, kQuoted)
	case isDigit(c) || (c == '.' && isDigit(l.peek(1))):
		return l.number(t)
	}
	if n := wordLen(rest); n > 0 {
		t.kind, t.text = kWord, rest[:n]
		l.advance(n)
		return t
	}
	if n := wordLen(rest[1:]); c == '@' && n > 0 {
		t.kind, t.text = kParameter, rest[1:1+n]
		l.advance(1 + n)
		return t
	}
	for _, op := range [...]string{"<>", "!=", "<=", ">=", "||", "->", "/*"} {
		if strings.HasPrefix(rest, op) {
			if op == "/*" {
				t.kind = kBad
				return t
			}
			t.kind, t.text = kOp, op
			l.advance(len(op))
			return t
		}
	}
	if strings.IndexByte("=<>+-*/%(),.;[]?", c) >= 0 {
		t.kind, t.text = kOp, rest[:1]
		l.advance(1)
		return t
	}
	t.kind = kBad
	return t
}

// quoted reads a string or a quoted identifier: its quote is doubled inside, a backslash is an ordinary character.
func (l *lexer) quoted(t token, k kind) token {
	rest := l.src[l.off:]
	quote := rest[:1]
	for i := 1; ; {
		n := strings.Index(rest[i:], quote)
		if n < 0 {
			t.kind = kBad
			return t
		}
		i += n + 1
		if i < len(rest) && rest[i] == quote[0] {
			i++
			continue
		}
		t.kind, t.text = k, strings.ReplaceAll(rest[1:i-1], quote+quote, quote)
		l.advance(i)
		if k == kQuoted && t.text == "" {
			t.kind = kBad
		}
		return t
	}
}

// number reads 1, 1.5, .5, 1., 1e9, and interval literals such as 5m.
func (l *lexer) number(t token) token {
	rest := l.src[l.off:]
	digits := func(i int) int {
		for i < len(rest) && isDigit(rest[i]) {
			i++
		}
		return i
	}
	n := digits(0)
	t.kind = kInt
	if w := wordLen(rest[n:]); w > 0 && intervalUnit(rest[n:n+w]) {
		t.kind, t.text, t.unit = kInterval, rest[:n], rest[n:n+w]
		l.advance(n + w)
		return t
	}
	if n < len(rest) && rest[n] == '.' {
		t.kind = kNumber
		n = digits(n + 1)
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		i := n + 1
		if i < len(rest) && (rest[i] == '+' || rest[i] == '-') {
			i++
		}
		if end := digits(i); end > i {
			t.kind, n = kNumber, end
		}
	}
	if wordLen(rest[n:]) > 0 {
		t.kind = kBad
		return t
	}
	t.text = rest[:n]
	l.advance(n)
	return t
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// wordLen returns how many bytes at the start of s are an unquoted name. As in Presto's older grammar a name may hold
// ':' and '@' after its first character, which is what makes `measure_value::double` one name.
func wordLen(s string) int {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '_' || unicode.IsLetter(r):
		case i > 0 && (r == ':' || r == '@' || unicode.IsDigit(r)):
		default:
			return i
		}
		i += size
	}
	return len(s)
}

// plainName tells whether a name can be written without quotes.
func plainName(s string) bool { return s != "" && wordLen(s) == len(s) && !reserved(s) }

func parseCount(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
