// SPDX-License-Identifier: Apache-2.0

package javaregexp

import (
	"errors"
	"slices"
	"unicode"
)

// ErrSteps is that a search took more steps than it may: backtracking can take a time that doubles with each character.
var ErrSteps = errors.New("The regular expression takes too many steps") //nolint:staticcheck // an answer of the dialect

// maxNested bounds how deep steps stand in each other, so that the stack does not grow without bound: up to some 200 bytes for each. Go ends the
// process whose stack is too large.
const maxNested = 250_000

// step matches from place i of a text on, with all that follows in the pattern. What it changes in m it puts back before it answers false.
type step func(m *matcher, i int) bool

// loop is the state of a repetition of a group: how many rounds were begun, and where the last one was.
type loop struct{ rounds, start int }

// matcher is one search in a text.
type matcher struct {
	runes []rune
	// caps are the places of the groups' begins and ends, -1 for those that took no part.
	caps  []int
	loops []loop
	// end is where an accepted match ended, until where a look behind has to end, from where the search began.
	end, until, from int
	// left is how many steps remain; nested counts those that stand in each other.
	left   *int
	nested int
}

// exhausted leaves a search without an answer.
type exhausted struct{}

func (m *matcher) enter() {
	m.deeper()
	m.took(1)
}

func (m *matcher) leave() { m.nested-- }

func (m *matcher) deeper() {
	if m.nested++; m.nested > maxNested {
		panic(exhausted{})
	}
}

// follow goes on with the next step, in which this one stands still.
func (m *matcher) follow(next step, i int) bool {
	m.deeper()
	ok := next(m, i)
	m.nested--
	return ok
}

// took counts steps.
func (m *matcher) took(n int) {
	if *m.left -= n; *m.left < 0 {
		panic(exhausted{})
	}
}

// saved is a copy of the groups' places.
func (m *matcher) saved() []int {
	m.took(len(m.caps) / 4)
	return slices.Clone(m.caps)
}

func accept(m *matcher, i int) bool { m.end = i; return true }

// program is a pattern as steps.
type program struct {
	start  step
	groups int
	loops  int
}

func (pr *program) compile(x node, next step) step {
	switch x := x.(type) {
	case one:
		return func(m *matcher, i int) bool {
			m.took(1 + x.cost)
			return i < len(m.runes) && x.set(m.runes[i]) && m.follow(next, i+1)
		}
	case text:
		return func(m *matcher, i int) bool {
			m.took(1)
			if len(m.runes)-i < len(x.runes) {
				return false
			}
			for k, c := range x.runes {
				if d := m.runes[i+k]; d != c && (x.fold == nil || !x.fold(c, d)) {
					m.took(k)
					return false
				}
			}
			m.took(len(x.runes))
			return m.follow(next, i+len(x.runes))
		}
	case concat:
		for _, y := range slices.Backward(x) {
			next = pr.compile(y, next)
		}
		return next
	case alternate:
		branches := make([]step, len(x))
		for k, y := range x {
			branches[k] = pr.compile(y, next)
		}
		return func(m *matcher, i int) bool {
			m.enter()
			defer m.leave()
			for _, b := range branches {
				if b(m, i) {
					return true
				}
			}
			return false
		}
	case group:
		if x.n == 0 {
			return pr.compile(x.x, next)
		}
		return pr.capture(x, next)
	case atomic:
		return pr.atomic(x.x, next)
	case repeat:
		if x.possesive {
			x.possesive = false
			return pr.atomic(x, next)
		}
		if l, most := width(x.x); l == 1 && most == 1 {
			if _, ok := x.x.(group); !ok {
				return pr.simple(x, next)
			}
		}
		return pr.repeat(x, next)
	case look:
		return pr.look(x, next)
	case backref:
		return func(m *matcher, i int) bool {
			from, to := m.caps[2*x.n], m.caps[2*x.n+1]
			m.took(1)
			if from < 0 || len(m.runes)-i < to-from {
				return false
			}
			m.took(to - from)
			for k := range to - from {
				if a, b := m.runes[from+k], m.runes[i+k]; a != b && (x.fold == nil || !x.fold(a, b)) {
					return false
				}
			}
			return m.follow(next, i+to-from)
		}
	case anchor:
		at := x.condition()
		return func(m *matcher, i int) bool {
			m.took(1)
			return at(m, i) && m.follow(next, i)
		}
	}
	return next
}

// capture notes where a group begins and ends. The begin counts once the end is known: a reference inside of it is to the round before.
func (pr *program) capture(x group, next step) step {
	pr.loops++
	place := pr.loops - 1
	inner := pr.compile(x.x, func(m *matcher, i int) bool {
		from, to := m.caps[2*x.n], m.caps[2*x.n+1]
		m.caps[2*x.n], m.caps[2*x.n+1] = m.loops[place].start, i
		if next(m, i) {
			return true
		}
		m.caps[2*x.n], m.caps[2*x.n+1] = from, to
		return false
	})
	return func(m *matcher, i int) bool {
		before := m.loops[place]
		m.loops[place].start = i
		m.enter()
		ok := inner(m, i)
		m.leave()
		m.loops[place] = before
		return ok
	}
}

// atomic matches x by itself: what follows cannot make it try anything else.
func (pr *program) atomic(x node, next step) step {
	alone := pr.compile(x, accept)
	return func(m *matcher, i int) bool {
		before := m.saved()
		m.enter()
		ok := alone(m, i)
		m.leave()
		if ok && m.follow(next, m.end) {
			return true
		}
		copy(m.caps, before)
		return false
	}
}

// simple repeats what takes one character, without a step in a step for each.
func (pr *program) simple(x repeat, next step) step {
	single := pr.compile(x.x, accept)
	return func(m *matcher, i int) bool {
		m.enter()
		defer m.leave()
		n := 0
		takes := func() bool { return single(m, i+n) }
		for ; n < x.min; n++ {
			if !takes() {
				return false
			}
		}
		if x.lazy {
			for ; !next(m, i+n); n++ {
				if n >= x.max || !takes() {
					return false
				}
			}
			return true
		}
		for n < x.max && takes() {
			n++
		}
		for ; n >= x.min; n-- {
			if next(m, i+n) {
				return true
			}
			m.took(1)
		}
		return false
	}
}

// repeat repeats a group. A round that takes nothing is the last one.
func (pr *program) repeat(x repeat, next step) step {
	pr.loops++
	place := pr.loops - 1
	var body step
	again := func(m *matcher, i int) bool {
		m.enter()
		defer m.leave()
		before := m.loops[place]
		if before.rounds > x.min && before.start == i {
			return next(m, i)
		}
		round := func() bool {
			if before.rounds >= x.max {
				return false
			}
			m.loops[place] = loop{before.rounds + 1, i}
			if body(m, i) {
				return true
			}
			m.loops[place] = before
			return false
		}
		switch {
		case before.rounds < x.min:
			return round()
		case x.lazy:
			return next(m, i) || round()
		}
		return round() || next(m, i)
	}
	body = pr.compile(x.x, again)
	return func(m *matcher, i int) bool {
		before := m.loops[place]
		m.loops[place] = loop{0, -1}
		ok := again(m, i)
		m.loops[place] = before
		return ok
	}
}

func (pr *program) look(x look, next step) step {
	last := step(accept)
	if x.behind {
		last = func(m *matcher, i int) bool { return i == m.until }
	}
	inner := pr.compile(x.x, last)
	found := func(m *matcher, i int) bool {
		if !x.behind {
			return inner(m, i)
		}
		until := m.until
		m.until = i
		defer func() { m.until = until }()
		for n := x.min; n <= x.max && n <= i; n++ {
			m.enter()
			ok := inner(m, i-n)
			m.leave()
			if ok {
				return true
			}
		}
		return false
	}
	return func(m *matcher, i int) bool {
		before := m.saved()
		m.enter()
		ok := found(m, i)
		m.leave()
		if x.not {
			copy(m.caps, before)
			return !ok && m.follow(next, i)
		}
		if ok && m.follow(next, i) {
			return true
		}
		copy(m.caps, before)
		return false
	}
}

// condition tells whether a place is what the anchor says.
func (x anchor) condition() func(m *matcher, i int) bool {
	ends := isLineEnd
	if x.unixLines {
		ends = func(c rune) bool { return c == '\n' }
	}
	// within is the middle of a line's end of two characters.
	within := func(m *matcher, i int) bool {
		return !x.unixLines && i > 0 && i < len(m.runes) && m.runes[i-1] == '\r' && m.runes[i] == '\n'
	}
	lastEnd := func(m *matcher, i int) bool {
		n := len(m.runes)
		return i == n || i == n-1 && ends(m.runes[i]) && !within(m, i) || !x.unixLines && i == n-2 && m.runes[i] == '\r' && m.runes[i+1] == '\n'
	}
	word := func(m *matcher, i int) bool {
		if i < 0 || i >= len(m.runes) {
			return false
		}
		c := m.runes[i]
		return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c)
	}
	switch x.kind {
	case '^':
		if x.multiline {
			return func(m *matcher, i int) bool {
				return i == 0 || i < len(m.runes) && ends(m.runes[i-1]) && !within(m, i)
			}
		}
		fallthrough
	case 'A':
		return func(_ *matcher, i int) bool { return i == 0 }
	case '$':
		if x.multiline {
			return func(m *matcher, i int) bool {
				return i == len(m.runes) || ends(m.runes[i]) && !within(m, i)
			}
		}
		return lastEnd
	case 'Z':
		return lastEnd
	case 'z':
		return func(m *matcher, i int) bool { return i == len(m.runes) }
	case 'G':
		return func(m *matcher, i int) bool { return i == m.from }
	case 'B':
		return func(m *matcher, i int) bool { return word(m, i-1) == word(m, i) }
	}
	return func(m *matcher, i int) bool { return word(m, i-1) != word(m, i) }
}

// find finds the first match from a place on: the places of the groups, nil for none.
func (pr *program) find(runes []rune, from int, left *int) (caps []int, err error) {
	m := &matcher{runes: runes, caps: make([]int, 2*(pr.groups+1)), loops: make([]loop, pr.loops), left: left, from: from}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exhausted); !ok {
				panic(r)
			}
			caps, err = nil, ErrSteps
		}
	}()
	for i := from; i <= len(runes); i++ {
		m.took(1 + len(m.caps)/4)
		for k := range m.caps {
			m.caps[k] = -1
		}
		if pr.start(m, i) {
			m.caps[0], m.caps[1] = i, m.end
			return m.caps, nil
		}
	}
	return nil, nil
}
