// SPDX-License-Identifier: Apache-2.0

package javaregexp

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
)

// maxRepeat bounds {n}, as RE2 does; maxDepth how deep groups and classes stand in each other.
const (
	maxRepeat = 1000
	maxDepth  = 250
	endless   = 1 << 30
	// charsPerStep is how much of a class's text is looked through in about the time of a step.
	charsPerStep = 16
)

// flags are those of (?imsux).
type flags struct {
	fold, multiline, dotAll, unicode, comments, unixLines, unicodeClass bool
}

// node is a part of a pattern.
type node interface{}

type (
	// one is a character of a set. cost is how many steps it takes to look into it, beyond one: that of a class depends on its length.
	one struct {
		set  set
		cost int
	}
	// text is several characters in a row.
	text struct {
		runes []rune
		fold  func(a, b rune) bool
	}
	concat    []node
	alternate []node
	// group is a pair of parentheses; n is its number, 0 for one that captures nothing.
	group struct {
		n int
		x node
	}
	// repeat is a quantifier.
	repeat struct {
		x         node
		min, max  int
		lazy      bool
		possesive bool
	}
	// atomic is (?>x).
	atomic struct{ x node }
	// look is a condition on what follows or, backwards, on what stands before.
	look struct {
		x        node
		not      bool
		behind   bool
		min, max int
	}
	// backref is the text of a group again.
	backref struct {
		n    int
		fold func(a, b rune) bool
	}
	// anchor is a place: ^ $ \A \z \Z \b \B \G with flags.
	anchor struct {
		kind      rune
		multiline bool
		unixLines bool
	}
)

var errSyntax = errors.New("not a regular expression")

type parser struct {
	s     []rune
	i     int
	depth int
	f     flags
	names map[string]int
	n     int
	// refs are the back references by number, to see at the end that there are such groups.
	refs []int
}

func (p *parser) fail() { panic(errSyntax) }

func (p *parser) more() bool { return p.i < len(p.s) }

func (p *parser) peek(s string) bool {
	return strings.HasPrefix(string(p.s[p.i:min(len(p.s), p.i+len(s))]), s)
}

func (p *parser) accept(s string) bool {
	if p.peek(s) {
		p.i += len([]rune(s))
		return true
	}
	return false
}

func (p *parser) next() rune {
	if !p.more() {
		p.fail()
	}
	p.i++
	return p.s[p.i-1]
}

// alternatives reads up to a closing parenthesis or the end. Flags that are set inside end with it.
func (p *parser) alternatives() node {
	if p.depth++; p.depth > maxDepth {
		p.fail()
	}
	outside := p.f
	out := alternate{p.sequence()}
	for p.accept("|") {
		out = append(out, p.sequence())
	}
	p.f = outside
	p.depth--
	if len(out) == 1 {
		return out[0]
	}
	return out
}

func (p *parser) sequence() node {
	var out concat
	for p.more() && !p.peek("|") && !p.peek(")") {
		if p.f.comments && p.skipComment() {
			continue
		}
		x := p.atom()
		if x == nil {
			continue // flags, or an empty quotation
		}
		if last, ok := x.(text); ok && len(last.runes) > 1 {
			// A quantifier is of the last character alone.
			head := last
			head.runes = last.runes[:len(last.runes)-1]
			out = append(out, head)
			x = text{last.runes[len(last.runes)-1:], last.fold}
		}
		out = append(out, p.quantified(x))
	}
	return join(out)
}

// join puts characters together.
func join(in concat) node {
	var out concat
	var runes []rune // what was put together last
	for _, x := range in {
		if t, ok := x.(text); ok && t.fold == nil {
			if len(runes) > 0 {
				runes = append(runes, t.runes...)
				out[len(out)-1] = text{runes, nil}
				continue
			}
			runes = append(make([]rune, 0, len(t.runes)), t.runes...)
			x = text{runes, nil}
		} else {
			runes = nil
		}
		out = append(out, x)
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}

func (p *parser) skipComment() bool {
	switch c := p.s[p.i]; {
	case strings.ContainsRune(" \t\n\v\f\r", c):
		p.i++
	case c == '#':
		for p.more() && p.s[p.i] != '\n' {
			p.i++
		}
	default:
		return false
	}
	return true
}

// quantified reads the quantifiers behind x.
func (p *parser) quantified(x node) node {
	for p.more() {
		r := repeat{x: x}
		switch {
		case p.f.comments && p.skipComment():
			continue
		case p.accept("?"):
			r.max = 1
		case p.accept("*"):
			r.max = endless
		case p.accept("+"):
			r.min, r.max = 1, endless
		case p.accept("{"):
			r.min = p.number()
			r.max = r.min
			if p.accept(",") {
				if r.max = endless; !p.peek("}") {
					r.max = p.number()
				}
			}
			if !p.accept("}") || r.max < r.min {
				p.fail()
			}
		default:
			return x
		}
		r.lazy = p.accept("?")
		if !r.lazy && p.accept("+") {
			r.possesive = true
		}
		x = r
		if p.more() && strings.ContainsRune("?*+{", p.s[p.i]) {
			p.fail()
		}
	}
	return x
}

func (p *parser) number() int {
	start := p.i
	for p.more() && '0' <= p.s[p.i] && p.s[p.i] <= '9' && p.i-start < 5 {
		p.i++
	}
	n, err := strconv.Atoi(string(p.s[start:p.i]))
	if err != nil || n > maxRepeat {
		p.fail()
	}
	return n
}

// char is a node for one character.
func (p *parser) char(c rune) node { return text{[]rune{c}, p.folding()} }

// folding compares without regard to case where the flags say so: of ASCII, or of all letters.
func (p *parser) folding() func(a, b rune) bool {
	switch {
	case !p.f.fold:
		return nil
	case p.f.unicode:
		return foldAll
	}
	return foldASCII
}

func foldASCII(a, b rune) bool {
	lower := func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}
	return lower(a) == lower(b)
}

func foldAll(a, b rune) bool {
	return a == b || unicode.ToLower(unicode.ToUpper(a)) == unicode.ToLower(unicode.ToUpper(b))
}

// atom reads one part; nil for what matches nothing of its own.
func (p *parser) atom() node {
	switch c := p.next(); c {
	case '(':
		return p.parenthesis()
	case '[':
		start := p.i
		s := p.folded(p.class())
		return one{s, (p.i - start) / charsPerStep}
	case '.':
		return one{set: p.dot()}
	case '^':
		return anchor{'^', p.f.multiline, p.f.unixLines}
	case '$':
		return anchor{'$', p.f.multiline, p.f.unixLines}
	case '?', '*', '+', '{':
		p.fail()
	case '\\':
		return p.escape()
	default:
		return p.char(c)
	}
	return nil
}

func (p *parser) dot() set {
	switch {
	case p.f.dotAll:
		return func(rune) bool { return true }
	case p.f.unixLines:
		return func(c rune) bool { return c != '\n' }
	}
	return func(c rune) bool { return !isLineEnd(c) }
}

func isLineEnd(c rune) bool {
	return c == '\n' || c == '\r' || c == '\u0085' || c == '\u2028' || c == '\u2029'
}

// parenthesis reads a group behind its parenthesis.
func (p *parser) parenthesis() node {
	var out func(x node) node
	switch {
	case p.accept("?:"):
		out = func(x node) node { return group{0, x} }
	case p.accept("?>"):
		out = func(x node) node { return atomic{x} }
	case p.accept("?="), p.peek("?!"):
		not := p.accept("?!")
		out = func(x node) node { return look{x: x, not: not} }
	case p.accept("?<="), p.peek("?<!"):
		not := p.accept("?<!")
		out = func(x node) node {
			least, most := width(x)
			if most >= endless {
				p.fail() // as Java: there is no obvious maximum length
			}
			return look{x: x, not: not, behind: true, min: least, max: most}
		}
	case p.accept("?<"):
		name := p.groupName()
		if _, twice := p.names[name]; twice {
			p.fail()
		}
		p.n++
		p.names[name] = p.n
		n := p.n
		out = func(x node) node { return group{n, x} }
	case p.accept("?"):
		inner := p.setFlags(p.f)
		if p.accept(")") {
			p.f = inner // until the group around ends
			return nil
		}
		if !p.accept(":") {
			p.fail()
		}
		outside := p.f
		p.f = inner
		out = func(x node) node { p.f = outside; return group{0, x} }
	default:
		p.n++
		n := p.n
		out = func(x node) node { return group{n, x} }
	}
	x := p.alternatives()
	if !p.accept(")") {
		p.fail()
	}
	return out(x)
}

func (p *parser) groupName() string {
	start := p.i
	for p.more() && p.s[p.i] != '>' {
		c := p.s[p.i]
		letter := c < 0x80 && isLetter(byte(c))
		if digit := '0' <= c && c <= '9' && p.i > start; !letter && !digit {
			p.fail()
		}
		p.i++
	}
	name := string(p.s[start:p.i])
	if name == "" || !p.accept(">") {
		p.fail()
	}
	return name
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func (p *parser) setFlags(f flags) flags {
	on := true
	for p.more() && p.s[p.i] != ')' && p.s[p.i] != ':' {
		switch p.next() {
		case '-':
			on = false
		case 'i':
			f.fold = on
		case 'm':
			f.multiline = on
		case 's':
			f.dotAll = on
		case 'u':
			f.unicode = on
		case 'x':
			f.comments = on
		case 'd':
			f.unixLines = on
		case 'U':
			f.unicodeClass, f.unicode = on, on
		default:
			p.fail()
		}
	}
	return f
}

// escape reads what follows a backslash outside of a class.
func (p *parser) escape() node {
	switch c := p.next(); c {
	case 'b', 'B', 'A', 'z', 'Z', 'G':
		return anchor{c, p.f.multiline, p.f.unixLines}
	case 'Q':
		var runes []rune
		for p.more() && !p.accept(`\E`) {
			runes = append(runes, p.next())
		}
		if runes == nil {
			return nil
		}
		return text{runes, p.folding()}
	case 'E':
		return nil
	case 'R':
		end := one{set: func(c rune) bool { return isLineEnd(c) || c == '\v' || c == '\f' }}
		return atomic{alternate{text{[]rune("\r\n"), nil}, end}}
	case 'k':
		if !p.accept("<") {
			p.fail()
		}
		n, ok := p.names[p.groupName()]
		if !ok {
			p.fail()
		}
		return backref{n, p.folding()}
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		// As many digits as there are groups so far.
		n := int(c - '0')
		for p.more() && '0' <= p.s[p.i] && p.s[p.i] <= '9' && n*10+int(p.s[p.i]-'0') <= p.n {
			n = n*10 + int(p.next()-'0')
		}
		p.refs = append(p.refs, n)
		return backref{n, p.folding()}
	default:
		if s := p.namedSet(c); s != nil {
			return one{set: s}
		}
		return p.char(p.escaped(c))
	}
}

// escaped is the character that an escape stands for.
func (p *parser) escaped(c rune) rune {
	hex := func(n int) rune {
		v, err := strconv.ParseUint(string(p.s[p.i:min(len(p.s), p.i+n)]), 16, 32)
		if err != nil || p.i+n > len(p.s) {
			p.fail()
		}
		p.i += n
		return rune(v)
	}
	switch c {
	case 't':
		return '\t'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 'f':
		return '\f'
	case 'a':
		return '\a'
	case 'e':
		return '\x1b'
	case 'c':
		return p.next() ^ 64
	case 'x':
		if p.accept("{") {
			n := 0
			for p.i+n < len(p.s) && p.s[p.i+n] != '}' && n < 8 {
				n++
			}
			v := hex(n)
			if v > unicode.MaxRune || !p.accept("}") {
				p.fail()
			}
			return v
		}
		return hex(2)
	case 'u':
		high := hex(4)
		if 0xd800 <= high && high < 0xdc00 && p.accept(`\u`) {
			return (high-0xd800)<<10 + (hex(4) - 0xdc00) + 0x10000
		}
		return high
	case '0':
		v, n := rune(0), 0
		for p.more() && n < 3 && '0' <= p.s[p.i] && p.s[p.i] <= '7' && v*8+p.s[p.i]-'0' <= 0o377 {
			v = v*8 + p.next() - '0'
			n++
		}
		if n == 0 {
			p.fail()
		}
		return v
	}
	if c < 0x80 && isLetter(byte(c)) {
		p.fail() // Java keeps the other letters for itself
	}
	return c
}

// width is how many characters a part takes at least and at most.
func width(x node) (least, most int) {
	switch x := x.(type) {
	case one:
		return 1, 1
	case text:
		return len(x.runes), len(x.runes)
	case concat:
		for _, y := range x {
			l, m := width(y)
			least, most = least+l, min(most+m, endless)
		}
	case alternate:
		least = endless
		for _, y := range x {
			l, m := width(y)
			least, most = min(least, l), max(most, m)
		}
	case group:
		return width(x.x)
	case atomic:
		return width(x.x)
	case repeat:
		l, m := width(x.x)
		least = min(l*x.min, endless)
		if most = endless; m == 0 {
			most = 0
		} else if x.max < endless && m < endless {
			most = min(m*x.max, endless)
		}
	case backref:
		return 0, endless
	}
	return least, most
}
