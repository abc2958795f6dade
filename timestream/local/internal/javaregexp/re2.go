// SPDX-License-Identifier: Apache-2.0

package javaregexp

import (
	"errors"
	"regexp/syntax"
	"slices"
	"strings"
)

// errOther is that RE2 does not have a pattern, or reads it otherwise than Java.
var errOther = errors.New("the pattern is not one of RE2's")

// RE2 turns a pattern of the service's regular expressions, which are Java's (Timestream Developer Guide,
// regex-functions), into one of RE2, which DuckDB has. Named groups are respelled. What RE2 does not have is refused
// (look-around, back references, possessive quantifiers, \R, \h, \X, flags d, x and u), and so is what both have with
// another meaning: nested classes and && in a class, POSIX names in brackets, (?U), (?P<name>).
//
// These differences remain, all of them rare in label values:
//   - `$` matches only at the end; Java also takes the place before a final line terminator. `\z` is the same in both.
//   - `.` without (?s) stops at \n; Java's also at \r, \u0085, \u2028 and \u2029.
//   - (?i) folds case for all letters; Java's for ASCII unless (?u) is set.
//   - `\s` does not take the vertical tab.
func RE2(pattern string) (string, error) {
	var out strings.Builder
	depth := 0 // inside [...]
	classStart := false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		rest := pattern[i:]
		start := classStart
		classStart = false
		switch {
		case c == '\\' && i+1 < len(pattern):
			if rest[1] == 'Q' {
				end := strings.Index(rest, `\E`)
				if end < 0 {
					end = len(rest) - 2
				}
				out.WriteString(rest[:end+2])
				i += end + 1
				continue
			}
			if strings.IndexByte("CZGv123456789", rest[1]) >= 0 {
				return "", errOther
			}
			out.WriteString(rest[:2])
			i++
			continue
		case depth > 0 && c == '[':
			return "", errOther
		case depth > 0 && strings.HasPrefix(rest, "&&"):
			return "", errOther
		case depth > 0 && c == ']' && !start:
			depth--
		case depth > 0 && c == '^' && start && pattern[i-1] == '[':
			classStart = true
		case depth == 0 && c == '[':
			depth, classStart = 1, true
		case depth == 0 && (strings.HasPrefix(rest, "(?P<") || strings.HasPrefix(rest, "(?P=")):
			return "", errOther
		case depth == 0 && strings.HasPrefix(rest, "(?<") && !strings.HasPrefix(rest, "(?<=") && !strings.HasPrefix(rest, "(?<!"):
			if len(rest) < 4 || !isLetter(rest[3]) {
				return "", errOther
			}
			out.WriteString("(?P<")
			i += 2
			continue
		case depth == 0 && c == '{' && !isCount(rest):
			return "", errOther
		case depth == 0 && strings.HasPrefix(rest, "(?"):
			flags := rest[2:]
			if end := strings.IndexAny(flags, ":)<=!>"); end >= 0 && strings.ContainsRune(flags[:end], 'U') {
				return "", errOther
			}
		}
		out.WriteByte(c)
	}
	translated := out.String()
	// Go's syntax is RE2's, so what it refuses DuckDB would refuse while the query runs.
	parsed, err := syntax.Parse(translated, syntax.Perl)
	if err != nil {
		return "", errOther
	}
	names := parsed.CapNames()
	for i, name := range names {
		if name != "" && slices.Contains(names[:i], name) {
			return "", errOther
		}
	}
	if anchoredInside(parsed) {
		// DuckDB turns simple patterns into LIKE, and takes an anchor for the end of the pattern wherever it stands: it
		// finds "ab" by `a^b`. What is added holds everywhere and is not simple.
		translated = `(?:` + translated + `)(?:\b|\B)`
	}
	return translated, nil
}

// isCount tells whether a text begins with {n}, {n,} or {n,m}. RE2 takes other braces for themselves, Java does not.
func isCount(s string) bool {
	count, _, ok := strings.Cut(s[1:], "}")
	least, most, _ := strings.Cut(count, ",")
	return ok && least != "" && strings.Trim(least+most, "0123456789") == ""
}

// anchoredInside tells whether a sequence has an anchor other than at its own ends.
func anchoredInside(re *syntax.Regexp) bool {
	parts := sequence(nil, re)
	for i, part := range parts {
		switch part.Op {
		case syntax.OpBeginText, syntax.OpBeginLine:
			if i > 0 {
				return true
			}
		case syntax.OpEndText, syntax.OpEndLine:
			if i < len(parts)-1 {
				return true
			}
		}
	}
	return false
}

// sequence appends what follows one another in a pattern, through groups that capture nothing.
func sequence(parts []*syntax.Regexp, re *syntax.Regexp) []*syntax.Regexp {
	if re.Op != syntax.OpConcat {
		return append(parts, re)
	}
	for _, sub := range re.Sub {
		parts = sequence(parts, sub)
	}
	return parts
}

// CanBeEmpty tells whether a pattern may match the empty text.
func CanBeEmpty(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune) == 0
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL, syntax.OpNoMatch:
		return false
	case syntax.OpCapture, syntax.OpPlus:
		return CanBeEmpty(re.Sub[0])
	case syntax.OpRepeat:
		return re.Min == 0 || CanBeEmpty(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !CanBeEmpty(sub) {
				return false
			}
		}
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if CanBeEmpty(sub) {
				return true
			}
		}
		return false
	}
	return true
}
