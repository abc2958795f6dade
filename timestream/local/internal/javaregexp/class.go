// SPDX-License-Identifier: Apache-2.0

package javaregexp

import (
	"strings"
	"unicode"
)

// set tells whether a character belongs to it.
type set func(c rune) bool

func not(s set) set { return func(c rune) bool { return !s(c) } }

func anyOf(sets ...set) set {
	return func(c rune) bool {
		for _, s := range sets {
			if s(c) {
				return true
			}
		}
		return false
	}
}

func between(low, high rune) set { return func(c rune) bool { return low <= c && c <= high } }

func chars(s string) set { return func(c rune) bool { return strings.ContainsRune(s, c) } }

func in(table *unicode.RangeTable) set { return func(c rune) bool { return unicode.Is(table, c) } }

// folded is s without regard to case, where the flags say so.
func (p *parser) folded(s set) set {
	switch {
	case !p.f.fold:
		return s
	case p.f.unicode:
		return func(c rune) bool { return s(c) || s(unicode.ToUpper(c)) || s(unicode.ToLower(c)) }
	}
	return func(c rune) bool {
		if s(c) || c >= 0x80 || !isLetter(byte(c)) {
			return s(c)
		}
		return s(c ^ 0x20)
	}
}

// class reads [...] behind its bracket: characters, ranges and classes; what && separates has to hold at once.
func (p *parser) class() set {
	if p.depth++; p.depth > maxDepth {
		p.fail()
	}
	negated := p.accept("^")
	var all []set // what && joins
	var parts []set
	for first := true; ; first = false {
		switch {
		case p.f.comments && p.more() && p.skipComment():
			continue
		case p.peek("]") && !first:
			p.i++
			p.depth--
			if parts != nil {
				all = append(all, anyOf(parts...))
			}
			if all == nil {
				p.fail()
			}
			s := func(c rune) bool {
				for _, s := range all {
					if !s(c) {
						return false
					}
				}
				return true
			}
			if negated {
				return not(s)
			}
			return s
		case p.accept("&&"):
			if parts != nil {
				all = append(all, anyOf(parts...))
				parts = nil
			}
		case p.accept("["):
			parts = append(parts, p.class())
		default:
			parts = append(parts, p.classPart())
		}
	}
}

// classPart is a character, a range, or a class with a name.
func (p *parser) classPart() set {
	c := p.next()
	if c == '\\' {
		e := p.next()
		if e == 'Q' {
			var runes []rune
			for p.more() && !p.accept(`\E`) {
				runes = append(runes, p.next())
			}
			return chars(string(runes))
		}
		if s := p.namedSet(e); s != nil {
			return s
		}
		c = p.escaped(e)
	}
	if p.peek("-") && p.i+1 < len(p.s) && p.s[p.i+1] != ']' && p.s[p.i+1] != '[' {
		p.i++
		high := p.next()
		if high == '\\' {
			high = p.escaped(p.next())
		}
		if high < c {
			p.fail()
		}
		return between(c, high)
	}
	return between(c, c)
}

// namedSet is the class of an escape such as \d or \p{L}; nil for other escapes.
func (p *parser) namedSet(c rune) set {
	u := p.f.unicodeClass
	ascii := func(a, b set) set {
		if u {
			return b
		}
		return a
	}
	horizontal := chars(" \t\u00a0\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000")
	vertical := chars("\n\v\f\r\u0085\u2028\u2029")
	switch c {
	case 'd', 'D', 'w', 'W', 's', 'S', 'h', 'H', 'v', 'V':
		var s set
		switch unicode.ToLower(c) {
		case 'd':
			s = ascii(between('0', '9'), unicode.IsDigit)
		case 'w':
			s = ascii(isWord, func(c rune) bool {
				return unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.Is(unicode.M, c) || unicode.Is(unicode.Pc, c)
			})
		case 's':
			s = ascii(chars(" \t\n\v\f\r"), unicode.IsSpace)
		case 'h':
			s = horizontal
		case 'v':
			s = vertical
		}
		if unicode.IsUpper(c) {
			return not(s)
		}
		return s
	case 'p', 'P':
		name := string(p.next())
		if name == "{" {
			start := p.i
			for p.more() && p.s[p.i] != '}' {
				p.i++
			}
			name = string(p.s[start:p.i])
			p.next()
		}
		s := property(name)
		if s == nil {
			p.fail()
		}
		if c == 'P' {
			return not(s)
		}
		return s
	}
	return nil
}

func isWord(c rune) bool { return c < 0x80 && (isLetter(byte(c)) || '0' <= c && c <= '9' || c == '_') }

// property is the class of \p{name}: POSIX names of ASCII, Java's own, Unicode's categories and scripts; nil for no such name.
func property(name string) set {
	switch name {
	case "Lower":
		return between('a', 'z')
	case "Upper":
		return between('A', 'Z')
	case "ASCII":
		return between(0, 0x7f)
	case "Alpha":
		return anyOf(between('a', 'z'), between('A', 'Z'))
	case "Digit":
		return between('0', '9')
	case "Alnum":
		return anyOf(between('a', 'z'), between('A', 'Z'), between('0', '9'))
	case "Punct":
		return chars("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
	case "Graph":
		return between('!', '~')
	case "Print":
		return between(' ', '~')
	case "Blank":
		return chars(" \t")
	case "Cntrl":
		return anyOf(between(0, 0x1f), between(0x7f, 0x7f))
	case "XDigit":
		return anyOf(between('0', '9'), between('a', 'f'), between('A', 'F'))
	case "Space":
		return chars(" \t\n\v\f\r")
	case "javaLowerCase", "IsLowercase":
		return unicode.IsLower
	case "javaUpperCase", "IsUppercase":
		return unicode.IsUpper
	case "javaWhitespace", "IsWhite_Space", "IsWhiteSpace":
		return unicode.IsSpace
	case "javaLetter", "IsAlphabetic":
		return unicode.IsLetter
	case "javaDigit", "IsDigit":
		return unicode.IsDigit
	case "javaLetterOrDigit":
		return anyOf(unicode.IsLetter, unicode.IsDigit)
	case "IsPunctuation":
		return unicode.IsPunct
	}
	short := strings.TrimPrefix(strings.TrimPrefix(name, "Is"), "general_category=")
	if key, value, ok := strings.Cut(name, "="); ok && (key == "sc" || key == "script") {
		short = value
	}
	if t := unicode.Categories[short]; t != nil {
		return in(t)
	}
	if short != name {
		for script, t := range unicode.Scripts {
			if strings.EqualFold(script, short) {
				return in(t)
			}
		}
	}
	return nil
}
