// SPDX-License-Identifier: Apache-2.0

package pagejson

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// errEnd says that a document ends too early.
var errEnd = errors.New("the JSON breaks off")

// lexer reads JSON from front to back.
type lexer struct {
	b []byte
	i int
	// text holds strings that are not in b as they are meant. Its owner empties it when they are no longer needed; when it
	// grows, the strings stay where they were.
	text []byte
}

// space skips white space.
func (l *lexer) space() {
	for l.i < len(l.b) {
		switch l.b[l.i] {
		case ' ', '\n', '\r', '\t':
			l.i++
		default:
			return
		}
	}
}

// peek returns the next byte that is no white space; 0 at the end.
func (l *lexer) peek() byte {
	l.space()
	if l.i == len(l.b) {
		return 0
	}
	return l.b[l.i]
}

func (l *lexer) unexpected(want string) error {
	if l.i >= len(l.b) {
		return errEnd
	}
	return fmt.Errorf("byte %d is %q where %s is wanted", l.i, l.b[l.i], want)
}

// take reads one byte after white space.
func (l *lexer) take(c byte) error {
	if l.peek() != c {
		return l.unexpected(string([]byte{'\'', c, '\''}))
	}
	l.i++
	return nil
}

// literal reads s if it comes next, and tells whether it does.
func (l *lexer) literal(s string) bool {
	if len(l.b)-l.i < len(s) || string(l.b[l.i:l.i+len(s)]) != s {
		return false
	}
	l.i += len(s)
	return true
}

// null reads a null if there is one.
func (l *lexer) null() bool {
	l.space()
	return l.literal("null")
}

// element goes to the next element of an array, or of the members of an object, whose first bracket has been read; more is
// false when the closing one was read instead.
func (l *lexer) element(first bool, closing byte) (more bool, err error) {
	c := l.peek()
	if c == closing {
		l.i++
		return false, nil
	}
	if first {
		return true, nil
	}
	if c != ',' {
		return false, l.unexpected("a comma or the end of the list")
	}
	l.i++
	if l.peek() == closing {
		return false, l.unexpected("an element")
	}
	return true, nil
}

// member reads the name of the next member of an object and its colon.
func (l *lexer) member(first bool) (name []byte, more bool, err error) {
	if more, err = l.element(first, '}'); err != nil || !more {
		return nil, false, err
	}
	if name, err = l.str(); err != nil {
		return nil, false, err
	}
	return name, true, l.take(':')
}

const (
	lowBits  = 0x01_01_01_01_01_01_01_01
	highBits = 0x80_80_80_80_80_80_80_80
)

// str reads a string. The result is a part of the document or of text. As in encoding/json, what is no UTF-8 becomes
// U+FFFD.
func (l *lexer) str() ([]byte, error) {
	if err := l.take('"'); err != nil {
		return nil, err
	}
	return l.rest()
}

// rest is str after the first quote.
func (l *lexer) rest() ([]byte, error) {
	b, i := l.b, l.i
	var foreign uint64 // has high bits when bytes beyond ASCII were seen
	for ; len(b)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^('"'*lowBits), x^('\\'*lowBits)
		// The lowest bit that is set marks a quote, a backslash or a control character; a borrow can only mark bytes after it.
		stop := ((x-0x20*lowBits)&^x | (quote-lowBits)&^quote | (slash-lowBits)&^slash) & highBits
		if stop != 0 {
			n := bits.TrailingZeros64(stop) / 8
			foreign |= x & (1<<(8*n) - 1)
			i += n
			break
		}
		foreign |= x
	}
	for ; i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20; i++ {
		foreign |= uint64(b[i])
	}
	if i == len(b) {
		return nil, errEnd
	}
	s := b[l.i:i]
	if b[i] == '"' && (foreign&highBits == 0 || utf8.Valid(s)) {
		l.i = i + 1
		return s, nil
	}
	return l.unescape()
}

// unescape reads the rest of a string into text.
func (l *lexer) unescape() ([]byte, error) {
	from := len(l.text)
	for l.i < len(l.b) {
		switch c := l.b[l.i]; {
		case c == '"':
			l.i++
			return l.text[from:len(l.text):len(l.text)], nil
		case c < 0x20:
			return nil, l.unexpected("no control character in a string")
		case c == '\\':
			if err := l.escape(); err != nil {
				return nil, err
			}
		case c < utf8.RuneSelf:
			l.text = append(l.text, c)
			l.i++
		default:
			r, n := utf8.DecodeRune(l.b[l.i:])
			l.text = utf8.AppendRune(l.text, r)
			l.i += n
		}
	}
	return nil, errEnd
}

// escape reads one escape sequence, or two that are a surrogate pair.
func (l *lexer) escape() error {
	l.i++ // the backslash
	if l.i == len(l.b) {
		return errEnd
	}
	c := l.b[l.i]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, err := l.unit()
		if err != nil {
			return err
		}
		if utf16.IsSurrogate(r) {
			back := l.i
			second := rune(-1)
			if l.literal(`\`) && l.i < len(l.b) && l.b[l.i] == 'u' {
				if second, err = l.unit(); err != nil {
					return err
				}
			}
			if r = utf16.DecodeRune(r, second); r == utf8.RuneError {
				l.i = back // the first was alone
			}
		}
		l.text = utf8.AppendRune(l.text, r)
		return nil
	default:
		return l.unexpected("the letter of an escape sequence")
	}
	l.text = append(l.text, c)
	l.i++
	return nil
}

// unit reads uXXXX.
func (l *lexer) unit() (rune, error) {
	if len(l.b)-l.i < 5 {
		return 0, errEnd
	}
	var r rune
	for range 4 {
		l.i++
		c := l.b[l.i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, l.unexpected("a hexadecimal digit")
		}
		r = r<<4 | rune(c)
	}
	l.i++
	return r, nil
}

// skip reads any value. Of what it holds only strings and brackets are looked at.
func (l *lexer) skip() error {
	var open []byte // closing brackets that are waited for
	for {
		switch c := l.peek(); c {
		case '{', '[':
			if len(open) == maxDepth {
				return fmt.Errorf("more than %d brackets in each other at byte %d", maxDepth, l.i)
			}
			open = append(open, c+2) // ASCII: the closing bracket is the second after the opening one
			l.i++
			continue
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return l.unexpected("a value")
			}
			open = open[:len(open)-1]
			l.i++
		case ',', ':':
			if len(open) == 0 {
				return l.unexpected("a value")
			}
			l.i++
			continue
		case '"':
			l.i++
			if err := l.skipString(); err != nil {
				return err
			}
		case 0:
			return l.unexpected("a value")
		default:
			from := l.i
			for l.i < len(l.b) && isWord(l.b[l.i]) {
				l.i++
			}
			if l.i == from {
				return l.unexpected("a value")
			}
		}
		if len(open) == 0 {
			return nil
		}
	}
}

// maxDepth bounds how deep brackets are in each other; the service's own answers need nine.
const maxDepth = 100

// isWord tells whether c is part of a number, true, false or null.
func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == 'E' || c == '+' || c == '-' || c == '.'
}

// skipString reads the rest of a string and leaves its text unread.
func (l *lexer) skipString() error {
	for ; l.i < len(l.b); l.i++ {
		switch l.b[l.i] {
		case '"':
			l.i++
			return nil
		case '\\':
			l.i++
		}
	}
	return errEnd
}
