// SPDX-License-Identifier: Apache-2.0

// Package nesting bounds the shape of an expression before a parser sees it: its bytes, how deep its brackets are nested,
// and its terms. Parsers whose work grows with the square of these, and which nothing can cancel, are so kept to a moment.
// Whether the text is an expression at all is left to the parser.
package nesting

import "fmt"

const (
	// MaxDepth bounds how many brackets may be open at a place. People nest a dozen.
	MaxDepth = 250
	// MaxTerms bounds the terms of an expression: a chain of n operators has 2n+1, whose tree may be n deep.
	MaxTerms = 3000
)

// Limits bounds expressions. The bounds on shape are constants, for no expression that people or tools write is near.
type Limits struct {
	// MaxBytes bounds the length; MaxBytesFlag moves it.
	MaxBytes     int
	MaxBytesFlag string
}

// Check returns an error when an expression is beyond a limit. It tells what, where and which limit.
func (l Limits) Check(text string) error {
	if len(text) > l.MaxBytes {
		return fmt.Errorf("the expression has %d bytes, the limit is %d (--%s)", len(text), l.MaxBytes, l.MaxBytesFlag)
	}
	s := scan(text)
	if s.tooDeepAt >= 0 {
		return fmt.Errorf("the expression is nested %d brackets deep at byte %d, the limit is %d (fixed, whatever --%s allows)", s.depth, s.tooDeepAt, MaxDepth, l.MaxBytesFlag)
	}
	if s.terms > MaxTerms {
		return fmt.Errorf("the expression has %d names, numbers, texts and operators, the limit is %d (fixed, whatever --%s allows)", s.terms, MaxTerms, l.MaxBytesFlag)
	}
	return nil
}

// shape is what a scan has found.
type shape struct {
	depth     int // the most brackets that are open at a place
	tooDeepAt int // the first byte beyond MaxDepth; -1 when there is none
	terms     int
}

// scan looks at a text without parsing it. Brackets are (, [ and {; one that closes none is passed over. Texts are in
// one of three quotes, in two of them a backslash takes the next byte along; a comment goes from # to the end of its line.
// Terms are words, quoted texts, opened braces and the bytes of operators; within braces nothing is counted, because
// what is listed there does not nest. A text that no quote ends goes to the end: a parser stops there too.
func scan(text string) shape {
	s := shape{tooDeepAt: -1}
	var open int
	var braces, word bool
	term := func() {
		if !braces {
			s.terms++
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if isWord(c) {
			if !word {
				term()
			}
			word = true
			continue
		}
		word = false
		switch c {
		case '"', '\'', '`':
			term()
			i = endOfText(text, i)
		case '#':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case '(', '[', '{':
			if c == '{' {
				term()
				braces = true
			}
			open++
			s.depth = max(s.depth, open)
			if open > MaxDepth && s.tooDeepAt < 0 {
				s.tooDeepAt = i
			}
		case ')', ']', '}':
			if c == '}' {
				braces = false
			}
			open = max(open-1, 0)
		case '+', '-', '*', '/', '%', '^', '<', '>', '=', '!', '@':
			term()
		}
	}
	return s
}

// endOfText returns where the quoted text ends that begins at i; the last byte when nothing ends it.
func endOfText(text string, i int) int {
	quote := text[i]
	for i++; i < len(text); i++ {
		switch {
		case text[i] == quote:
			return i
		case text[i] == '\\' && quote != '`':
			i++
		}
	}
	return len(text) - 1
}

// isWord tells whether a byte belongs to a name or a number. Bytes beyond ASCII do, as parts of letters.
func isWord(c byte) bool {
	return c == '_' || c == ':' || c == '.' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
