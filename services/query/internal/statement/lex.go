// SPDX-License-Identifier: Apache-2.0

package statement

import (
	"fmt"
	"strings"
)

type kind uint8

const (
	end      kind = iota
	word          // a keyword or a name; text in upper case
	name          // a name in quotes; text without them
	literal       // a string or a number
	operator      // one character; text is the character
)

// token is a lexical element. A word has its spelling in source.
type token struct {
	kind         kind
	text, source string
	offset       int
}

// is tells whether t is the word or the operator.
func (t token) is(text string) bool {
	return (t.kind == word || t.kind == operator) && t.text == text
}

// isName tells whether t may be a name, as far as can be told without the list of reserved words.
func (t token) isName() bool { return t.kind == word || t.kind == name }

// spelling is the name that t stands for.
func (t token) spelling() string {
	if t.kind == word {
		return t.source
	}
	return t.text
}

// scanner splits a statement into tokens. What could be read in two ways is an error, because the service might read it in
// the other: nothing that this package takes for a comment or a string may be a table there. So it takes no lone carriage
// return, no comment within a comment, no characters outside of quotes that have no meaning in the dialect, letters beyond ASCII
// among them.
type scanner struct {
	src string
	at  int
}

// scan returns the tokens of src; the last one is of kind end.
func scan(src string) ([]token, error) {
	s := scanner{src: src}
	tokens := make([]token, 0, len(src)/5+2)
	for {
		if err := s.space(); err != nil {
			return nil, err
		}
		t, err := s.next()
		if err != nil {
			return nil, err
		}
		if tokens = append(tokens, t); t.kind == end {
			return tokens, nil
		}
	}
}

// errorf is an error at an offset, which it tells by line and column as the service does.
func (s *scanner) errorf(offset int, format string, args ...any) error {
	line, column := place(s.src, offset)
	return &Error{Text: fmt.Sprintf("line %d:%d: ", line, column) + fmt.Sprintf(format, args...)}
}

// place counts lines and columns from 1, columns in characters.
func place(src string, offset int) (line, column int) {
	before := src[:offset]
	last := strings.LastIndexByte(before, '\n')
	return 1 + strings.Count(before, "\n"), 1 + len([]rune(before[last+1:]))
}

// space skips white space and comments.
func (s *scanner) space() error {
	for s.at < len(s.src) {
		rest := s.src[s.at:]
		switch {
		case rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\n':
			s.at++
		case strings.HasPrefix(rest, "\r\n"):
			s.at += 2
		case strings.HasPrefix(rest, "--"):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			if i := strings.IndexByte(strings.TrimSuffix(rest[:n], "\r"), '\r'); i >= 0 {
				return s.errorf(s.at+i, "a carriage return in a comment that is not the end of a line")
			}
			s.at += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return s.errorf(s.at, "a comment that does not end")
			}
			if i := strings.Index(rest[2:2+n], "/*"); i >= 0 {
				return s.errorf(s.at+2+i, "a comment within a comment")
			}
			s.at += 2 + n + 2
		default:
			return nil
		}
	}
	return nil
}

func (s *scanner) next() (token, error) {
	t := token{offset: s.at}
	if s.at == len(s.src) {
		return t, nil
	}
	rest := s.src[s.at:]
	c := rest[0]
	switch {
	case c == '\'' || c == '"':
		return s.quoted(t, c)
	case isLetter(c):
		n := 1
		for n < len(rest) && isWordByte(rest[n]) {
			n++
		}
		t.kind, t.source = word, rest[:n]
		t.text = strings.ToUpper(t.source)
		s.at += n
		return t, nil
	case isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]):
		return s.number(t)
	case strings.IndexByte("=<>!+-*/%(),.;[]?", c) >= 0:
		t.kind, t.text = operator, rest[:1]
		s.at++
		return t, nil
	case strings.HasPrefix(rest, "||"):
		t.kind, t.text = operator, "||"
		s.at += 2
		return t, nil
	case c >= 0x80:
		return t, s.errorf(s.at, "%q: names with other characters than A-Z a-z 0-9 _ have to be in double quotes", []rune(rest[:min(len(rest), 4)])[0])
	}
	return t, s.errorf(s.at, "%q has no meaning here", c)
}

// number reads 1, 1.5, .5, 1., 1e-9, and intervals such as 5m. A word right after a number is an error: it may be part of the
// number for one reader and a word, FROM for instance, for the other.
func (s *scanner) number(t token) (token, error) {
	rest := s.src[s.at:]
	run := func(i int, is func(byte) bool) int {
		for i < len(rest) && is(rest[i]) {
			i++
		}
		return i
	}
	n := run(0, isDigit)
	if u := run(n, isWordByte); n > 0 && intervalUnit(rest[n:u]) {
		n = u
	} else {
		if n < len(rest) && rest[n] == '.' {
			n = run(n+1, isDigit)
		}
		if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
			i := n + 1
			if i < len(rest) && (rest[i] == '+' || rest[i] == '-') {
				i++
			}
			if end := run(i, isDigit); end > i {
				n = end
			}
		}
		if n < len(rest) && isWordByte(rest[n]) {
			return t, s.errorf(s.at+n, "a word right after a number; a space between them makes it clear")
		}
	}
	t.kind, t.text = literal, rest[:n]
	s.at += n
	return t, nil
}

// intervalUnit tells whether unit may follow a count in an interval (Timestream Developer Guide, supported-data-types and
// date-time-functions).
func intervalUnit(unit string) bool {
	switch strings.ToLower(unit) {
	case "ns", "us", "ms", "s", "m", "h", "d", "y", "nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day", "month", "year":
		return true
	}
	return false
}

// quoted reads a string or a name: its quote is doubled inside, a backslash is an ordinary character.
func (s *scanner) quoted(t token, quote byte) (token, error) {
	rest := s.src[s.at:]
	for i := 1; ; {
		n := strings.IndexByte(rest[i:], quote)
		if n < 0 {
			return t, s.errorf(s.at, "%c that is not closed", quote)
		}
		i += n + 1
		if i < len(rest) && rest[i] == quote {
			i++
			continue
		}
		q := string(quote)
		t.text = strings.ReplaceAll(rest[1:i-1], q+q, q)
		t.kind = literal
		if quote == '"' {
			if t.kind = name; t.text == "" {
				return t, s.errorf(s.at, "a name without characters")
			}
		}
		s.at += i
		return t, nil
	}
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }

// isWordByte tells whether c may follow in a word; `measure_value::double` is one.
func isWordByte(c byte) bool { return isLetter(c) || isDigit(c) || c == ':' || c == '@' }
