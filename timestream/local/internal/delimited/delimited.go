// SPDX-License-Identifier: Apache-2.0

// Package delimited reads the rows of files of separated values as batch load takes them (Timestream Developer Guide,
// batch-load-preparing-data-file; API reference, CsvConfiguration): one row after another, in memory that depends on the longest row only. A
// row that cannot be read costs no other row.
//
// It leaves to others what the columns mean. encoding/csv would not do: it has no escape character and one kind of quotes.
package delimited

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Options say how a file is written. Characters are single bytes, 0 for none.
type Options struct {
	// Separator stands between fields.
	Separator byte
	// Quote may stand around a field, which then may hold separators and line ends. A quote in it is doubled, or escaped.
	Quote byte
	// Escape takes its meaning from the character behind it, in quotes and outside.
	Escape byte
	// Null is how a field without a value is written. An empty field has none either, in quotes or not.
	Null string
	// Trim takes spaces and tabs off both ends of what is not in quotes.
	Trim bool
	// MaxRow is the longest row in bytes.
	MaxRow int
	// MaxFields is how many fields of a row are kept. A header of more is an error, and a row of more is counted only.
	MaxFields int
}

// Row is one row of a file. Its fields stay as they are.
type Row struct {
	fields []field
	count  int
	text   string
	// First and Last are the numbers of its lines, from 1.
	First, Last int64
	// End is where the next row begins, in bytes from where the file was begun to be read.
	End int64
}

type field struct {
	from, to int
	null     bool
}

// Len is the number of fields, which may be more than are kept.
func (r *Row) Len() int { return r.count }

// Field returns a field that is kept, and whether it has no value.
func (r *Row) Field(i int) (text string, null bool) {
	f := r.fields[i]
	return r.text[f.from:f.to], f.null
}

// RowError is why a row cannot be read; the next one may be.
type RowError struct{ Reason string }

func (e *RowError) Error() string { return e.Reason }

// Errors after which nothing more of a file can be read.
var (
	ErrTooLong = errors.New("a row is too long")
	// ErrTooMany is that the header has too many columns.
	ErrTooMany = errors.New("the file has too many columns")
	// ErrMark is a byte order mark, which the service does not take either (Developer Guide, batch-load-preparing-data-file).
	ErrMark = errors.New("the file begins with a byte order mark: remove it")
	// ErrCompressed is that the file is compressed; the guide knows only files that are not.
	ErrCompressed = errors.New("the file is compressed (gzip): batch load reads plain files")
)

// Reader reads rows.
type Reader struct {
	in   *bufio.Reader
	opts Options
	line int64
	read int64
	// text and fields are those of the row in hand, count is how many fields it has.
	text   []byte
	fields []field
	count  int
}

// NewReader returns a reader of in, whose next line has the number line.
func NewReader(in io.Reader, o Options, line int64) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, 64<<10), opts: o, line: line}
}

// Header reads the first row of a file.
func (r *Reader) Header() (Row, error) {
	start, err := r.in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return Row{}, err
	}
	switch {
	case bytes.Equal(start, []byte{0xef, 0xbb, 0xbf}):
		return Row{}, ErrMark
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return Row{}, ErrCompressed
	}
	row, err := r.Next()
	if err == nil && row.Len() > r.opts.MaxFields {
		err = fmt.Errorf("%w: %d, more than %d", ErrTooMany, row.Len(), r.opts.MaxFields)
	}
	return row, err
}

// Next reads a row; empty lines are none. The error is io.EOF after the last, a RowError for a row that cannot be read, whose lines and end
// the row tells, or one after which there is no reading on.
func (r *Reader) Next() (Row, error) {
	for {
		row := Row{First: r.line}
		bad, err := r.row()
		if err != nil {
			return row, err
		}
		row.Last, row.End = r.line-1, r.read
		if bad == nil && !utf8.Valid(r.text) {
			bad = &RowError{"The row is not UTF-8."}
		}
		if bad != nil {
			return row, bad
		}
		if r.count == 1 && len(r.text) == 0 {
			continue
		}
		row.text = string(r.text)
		row.fields, row.count = append([]field(nil), r.fields...), r.count
		return row, nil
	}
}

// Where a reader is in a row.
type place uint8

const (
	atStart  place = iota // of a field, behind space that is trimmed
	inPlain               // in a field without quotes
	inQuotes              // in a field with quotes
	behind                // behind the closing quote
	lost                  // in a row that cannot be read
)

// row reads up to a line end. The second error is one that ends the file.
func (r *Reader) row() (bad *RowError, err error) {
	r.text, r.fields, r.count = r.text[:0], r.fields[:0], 0
	from, at := 0, atStart
	for n := 0; ; n++ {
		b, err := r.in.ReadByte()
		if errors.Is(err, io.EOF) {
			if n == 0 {
				return nil, io.EOF
			}
			r.line++
			switch at {
			case inQuotes:
				return &RowError{"A quoted field has no end."}, nil
			case lost:
				return bad, nil
			}
			r.end(from, at == behind, true)
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		r.read++
		if n == r.opts.MaxRow {
			return nil, fmt.Errorf("%w: line %d has more than %d bytes", ErrTooLong, r.line, r.opts.MaxRow)
		}
		if b == '\n' {
			r.line++
		}
		switch {
		case b == '\n' && at == lost:
			return bad, nil
		case at == lost:
		case at == inQuotes && b == r.opts.Quote && b != r.opts.Escape:
			at = behind
		case b == r.opts.Escape && b != 0 && at != behind && (at == inQuotes || b != r.opts.Quote):
			next, err := r.in.Peek(1)
			if len(next) == 0 {
				if !errors.Is(err, io.EOF) {
					return nil, err
				}
				at, bad = lost, &RowError{"The file ends behind an escape character."}
				continue
			}
			if b == r.opts.Quote && next[0] != b {
				at = behind // it ends the field
				continue
			}
			_, _ = r.in.Discard(1)
			r.read++
			n++
			if next[0] == '\n' {
				r.line++
			}
			r.text = append(r.text, next[0])
			if at == atStart {
				at = inPlain
			}
		case at == inQuotes:
			r.text = append(r.text, b)
		case b == r.opts.Separator:
			r.end(from, at == behind, false)
			from, at = len(r.text), atStart
		case b == '\n':
			r.end(from, at == behind, true)
			return nil, nil
		case b == r.opts.Quote && b != 0 && at == atStart:
			r.text, at = r.text[:from], inQuotes
		case at == behind && b == r.opts.Quote:
			r.text, at = append(r.text, b), inQuotes // it was doubled
		case at == behind && (b == '\r' || r.opts.Trim && blank(b)):
		case at == behind:
			at, bad = lost, &RowError{"There is text behind the closing quote of a field."}
		default:
			r.text = append(r.text, b)
			if at == atStart && (!r.opts.Trim || !blank(b)) {
				at = inPlain
			}
		}
	}
}

func blank(b byte) bool { return b == ' ' || b == '\t' }

// end ends the field that begins at from. The last of a row may have a carriage return before the line end.
func (r *Reader) end(from int, quoted, last bool) {
	f := field{from: from, to: len(r.text)}
	text := r.text[from:]
	if !quoted {
		if last {
			text = bytes.TrimSuffix(text, []byte("\r"))
			f.to = from + len(text)
			r.text = r.text[:f.to]
		}
		f.null = r.opts.Null != "" && string(text) == r.opts.Null
		if r.opts.Trim {
			inner := bytes.Trim(text, " \t")
			f.from += bytes.Index(text, inner)
			f.to = f.from + len(inner)
			f.null = f.null || r.opts.Null != "" && string(inner) == r.opts.Null
		}
	}
	f.null = f.null || f.from == f.to
	// There may be as many separators as a row has bytes, and a field takes some more.
	if r.count++; r.count <= r.opts.MaxFields {
		r.fields = append(r.fields, f)
	}
}
