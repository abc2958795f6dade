// SPDX-License-Identifier: Apache-2.0

// Package pagejson reads the JSON of Timestream's answers to Query: what a page says of the query, and its rows as
// result.Row, without an object in memory for each value. It takes the shapes of Datum that samples come in, which are
// scalars and time series, and is fast for the exact form in which the service writes them. Asking for pages is left to
// others.
package pagejson

import (
	"bytes"
	"fmt"
	"strconv"
)

// Page is what an answer says, its rows unread.
type Page struct {
	// QueryID is the name of the query.
	QueryID string
	// NextToken asks for the next page; empty on the last one.
	NextToken string
	// MeteredBytes is what the service charges for up to this page.
	MeteredBytes int64

	// rows is the array of the rows, nil without any; with open it is the rest of the document, which begins with them.
	rows []byte
	open bool
}

// HasRows tells whether the page has rows.
func (p *Page) HasRows() bool { return p.rows != nil }

// Parse reads a page. The rows are not looked at, unless members stand after them: the service writes the members in the
// order of their names, and Rows is the last.
func Parse(body []byte) (Page, error) {
	var p Page
	l := lexer{b: body}
	if err := p.parse(&l); err != nil {
		return Page{}, fmt.Errorf("page: %w", err)
	}
	return p, nil
}

func (p *Page) parse(l *lexer) error {
	if err := l.take('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		name, more, err := l.member(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		switch {
		case l.null():
		case string(name) == "QueryId":
			p.QueryID, err = text(l)
		case string(name) == "NextToken":
			p.NextToken, err = text(l)
		case string(name) == "QueryStatus":
			err = p.status(l)
		case string(name) == "Rows":
			if l.peek() != '[' {
				return l.unexpected("an array of rows")
			}
			from := l.i
			if p.rows, p.open = l.b[from:], nothingAfter(l.b[from:]); !p.open {
				err = l.skip()
				p.rows = l.b[from:l.i]
			}
			if ahead := (lexer{b: p.rows, i: 1}); ahead.peek() == ']' {
				p.rows = nil
			}
			if p.open {
				return nil
			}
		default:
			err = l.skip()
		}
		if err != nil {
			return err
		}
	}
	if l.peek() != 0 || l.i < len(l.b) {
		return l.unexpected("the end of the document")
	}
	return nil
}

// nothingAfter tells whether of the members that matter none stands after the rows, which rest begins with: the document
// ends in brackets that close rows and document, and the name of none occurs (nobody writes these names with escape
// sequences). Where one occurs it may be part of a text.
func nothingAfter(rest []byte) bool {
	end, ok := bytes.CutSuffix(bytes.TrimRight(rest, blanks), []byte{'}'})
	if !ok || !bytes.HasSuffix(bytes.TrimRight(end, blanks), []byte{']'}) {
		return false
	}
	for _, name := range []string{`NextToken"`, `QueryId"`, `QueryStatus"`} {
		if bytes.Contains(end, []byte(name)) {
			return false
		}
	}
	return true
}

const blanks = " \n\r\t"

// text reads a string that is kept.
func text(l *lexer) (string, error) {
	s, err := l.str()
	return string(s), err
}

// status reads QueryStatus.
func (p *Page) status(l *lexer) error {
	if err := l.take('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		name, more, err := l.member(first)
		if err != nil || !more {
			return err
		}
		switch {
		case l.null():
		case string(name) == "CumulativeBytesMetered":
			p.MeteredBytes, err = number(l)
		default:
			err = l.skip()
		}
		if err != nil {
			return err
		}
	}
}

// number reads an integer.
func number(l *lexer) (int64, error) {
	l.space()
	from := l.i
	if err := l.skip(); err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(l.b[from:l.i]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a number of bytes: %w", err)
	}
	return n, nil
}
