// SPDX-License-Identifier: Apache-2.0

// Package javaregexp searches with regular expressions as Java's Pattern reads them, which the service's are (Timestream Developer Guide,
// regex-functions). What RE2 has too is left to it: RE2 spells a pattern so, for DuckDB's own functions, and Regexp searches with Go's
// engine, which is RE2's. The rest, look-around, back references, atomic groups, possessive quantifiers, classes of classes, is
// searched for by backtracking. That may take any time, so searches have a number of steps that they may take, which does not
// depend on the machine.
//
// Matches follow one another as in Java's Matcher.find: after an empty one the next search begins one character further on.
//
// A library with .NET's expressions was the other way; it numbers groups with names after all others, has other classes, needs every pattern
// respelled, and measures its limit with a clock of its own goroutine.
package javaregexp

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// Steps is what the searches for one chunk of rows may take together by backtracking: about two seconds.
const Steps = 50_000_000

// Regexp is a pattern that was read. It is not changed by its use.
type Regexp struct {
	// fast is nil where backtracking is needed, slow where it never is.
	fast  *regexp.Regexp
	slow  *program
	names map[string]int
	// Groups is the number of groups that capture.
	Groups int
	// empty tells that the empty text may be matched.
	empty bool
}

// Compile reads a pattern.
func Compile(pattern string) (*Regexp, error) {
	if re2, err := RE2(pattern); err == nil {
		fast, err := regexp.Compile(re2)
		if err != nil {
			return nil, invalid(pattern)
		}
		re := &Regexp{fast: fast, Groups: fast.NumSubexp(), names: map[string]int{}}
		for i, name := range fast.SubexpNames() {
			if name != "" {
				re.names[name] = i
			}
		}
		parsed, err := syntax.Parse(re2, syntax.Perl)
		if err != nil {
			return nil, invalid(pattern)
		}
		if re.empty = CanBeEmpty(parsed); !re.empty {
			return re, nil
		}
		// Go's engine cannot begin a search inside of a text, which it has to after an empty match.
		slow, err := parse(pattern)
		if err != nil {
			return nil, err
		}
		re.slow = slow.slow
		return re, nil
	}
	return parse(pattern)
}

// invalid is the dialect's error.
func invalid(pattern string) error {
	return fmt.Errorf("Invalid regular expression: %s", pattern) //nolint:staticcheck // the service's texts begin with a capital
}

// parse reads a pattern for backtracking.
func parse(pattern string) (re *Regexp, err error) {
	p := parser{s: []rune(pattern), names: map[string]int{}}
	defer func() {
		if r := recover(); r != nil {
			if r != errSyntax { //nolint:errorlint // it is thrown as it is
				panic(r)
			}
			re, err = nil, invalid(pattern)
		}
	}()
	tree := p.alternatives()
	if p.more() || slices.ContainsFunc(p.refs, func(n int) bool { return n > p.n }) {
		p.fail()
	}
	pr := &program{groups: p.n}
	pr.start = pr.compile(tree, accept)
	least, _ := width(tree)
	return &Regexp{slow: pr, names: p.names, Groups: p.n, empty: least == 0}, nil
}

// Match tells whether a text has a match.
func (re *Regexp) Match(text string, steps *int) (bool, error) {
	if re.fast != nil {
		return re.fast.MatchString(text), nil
	}
	caps, err := re.slow.find([]rune(text), 0, steps)
	return caps != nil, err
}

// Each calls f with the matches of a text, one after the other, until it answers false: the places, in bytes, where the match and each group begin and
// end, -1 for groups that took no part. They are valid during the call.
func (re *Regexp) Each(text string, steps *int, f func(at []int) bool) error {
	if re.fast != nil && !re.empty {
		for _, at := range re.fast.FindAllStringSubmatchIndex(text, -1) {
			if !f(at) {
				return nil
			}
		}
		return nil
	}
	runes := []rune(text)
	bytes := make([]int, len(runes)+1)
	for i, c := range runes {
		bytes[i+1] = bytes[i] + utf8.RuneLen(c)
	}
	for from := 0; from <= len(runes); {
		at, err := re.slow.find(runes, from, steps)
		if err != nil || at == nil {
			return err
		}
		if from = at[1]; at[0] == at[1] {
			from++
		}
		for i, n := range at {
			if n >= 0 {
				at[i] = bytes[n]
			}
		}
		if !f(at) {
			return nil
		}
	}
	return nil
}

// Template is the text of a replacement that was read: literal texts, and groups by number where the text is empty and the group is not -1.
type Template []Piece

// Piece is a part of a Template.
type Piece struct {
	Text  string
	Group int
}

// Template reads Java's text of a replacement: $1, ${name}, and \ before a character that stands for itself. false for a text that is none.
func (re *Regexp) Template(s string) (Template, bool) {
	var out Template
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			out = append(out, Piece{text.String(), -1})
			text.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			if i++; i == len(s) {
				return nil, false
			}
			text.WriteByte(s[i])
		case s[i] != '$':
			text.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '{':
			name, _, ok := strings.Cut(s[i+2:], "}")
			n, known := re.names[name]
			if !ok || !known {
				return nil, false
			}
			flush()
			out = append(out, Piece{Group: n})
			i += 2 + len(name)
		default:
			// As many digits as make a group's number.
			n, end := -1, i+1
			for ; end < len(s) && '0' <= s[end] && s[end] <= '9' && max(n, 0)*10+int(s[end]-'0') <= re.Groups; end++ {
				n = max(n, 0)*10 + int(s[end]-'0')
			}
			if n < 0 {
				return nil, false
			}
			flush()
			out = append(out, Piece{Group: n})
			i = end - 1
		}
	}
	flush()
	return out, true
}

// Append appends the replacement of one match of a text. A group that took no part is empty.
func (t Template) Append(dst []byte, text string, at []int) []byte {
	for _, p := range t {
		switch {
		case p.Group < 0:
			dst = append(dst, p.Text...)
		case at[2*p.Group] >= 0:
			dst = append(dst, text[at[2*p.Group]:at[2*p.Group+1]]...)
		}
	}
	return dst
}
