// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// ErrSyntax is wrapped by every error of Decode: the body is not the JSON of a WriteRecords request.
var ErrSyntax = errors.New("malformed request body")

// maxDepth bounds the nesting of members that are skipped.
const maxDepth = 64

// Decode reads the JSON of a WriteRecords request (API reference, WriteRecords, request syntax). Unknown members and null
// are ignored, as AWS services do. The request's strings point into body, which must not change while r is in use.
func Decode(body []byte, r *Request) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("%w: not UTF-8", ErrSyntax)
	}
	r.reset()
	d := decoder{b: body, r: r, at: -1}
	records := false
	err := d.object(0, func(name string) error {
		switch name {
		case "DatabaseName":
			return d.text(&r.Database, nil, 0)
		case "TableName":
			return d.text(&r.Table, nil, 0)
		case "CommonAttributes":
			d.at = -1
			return d.record(&r.Common)
		case "Records":
			records = !d.isNull()
			return d.array(1, func() error {
				d.at = len(r.Records)
				r.Records = append(r.Records, Record{})
				return d.record(&r.Records[d.at])
			})
		}
		return d.skip(1)
	})
	if err != nil {
		return err
	}
	if d.space(); d.i != len(d.b) {
		return d.fail("text after the end")
	}
	if !records {
		r.Missing = append(r.Missing, MissingRecords)
	}
	return nil
}

type decoder struct {
	b []byte
	i int
	r *Request
	// at is the number of the record that is read, -1 for the common attributes.
	at int
}

func (d *decoder) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrSyntax, what, d.i)
}

func (d *decoder) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

// take consumes c after white space.
func (d *decoder) take(c byte) bool {
	d.space()
	if d.i < len(d.b) && d.b[d.i] == c {
		d.i++
		return true
	}
	return false
}

// isNull tells whether the word null follows white space.
func (d *decoder) isNull() bool {
	d.space()
	return bytes.HasPrefix(d.b[d.i:], []byte("null"))
}

// null consumes the word null after white space.
func (d *decoder) null() bool {
	if d.isNull() {
		d.i += 4
		return true
	}
	return false
}

// object reads an object or null and calls member for each name; member has to consume the value.
func (d *decoder) object(depth int, member func(name string) error) error {
	if d.null() {
		return nil
	}
	if depth > maxDepth {
		return d.fail("nested too deeply")
	}
	if !d.take('{') {
		return d.fail("want an object")
	}
	if d.take('}') {
		return nil
	}
	for {
		name, err := d.str()
		if err != nil {
			return err
		}
		if !d.take(':') {
			return d.fail("want a colon")
		}
		if err := member(name); err != nil {
			return err
		}
		if d.take(',') {
			continue
		}
		if d.take('}') {
			return nil
		}
		return d.fail("want a comma or the end of the object")
	}
}

// array reads an array or null and calls element for each; element has to consume the value.
func (d *decoder) array(depth int, element func() error) error {
	if d.null() {
		return nil
	}
	if depth > maxDepth {
		return d.fail("nested too deeply")
	}
	if !d.take('[') {
		return d.fail("want an array")
	}
	if d.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if d.take(',') {
			continue
		}
		if d.take(']') {
			return nil
		}
		return d.fail("want a comma or the end of the array")
	}
}

// text reads a string or null into *out and notes its presence.
func (d *decoder) text(out *string, has *Field, f Field) error {
	if d.null() {
		return nil
	}
	s, err := d.str()
	if err != nil {
		return err
	}
	*out = s
	if has != nil {
		*has |= f
	}
	return nil
}

func (d *decoder) record(r *Record) error {
	return d.object(2, func(name string) error {
		switch name {
		case "Dimensions":
			start := len(d.r.dims)
			err := d.array(3, func() error { return d.dimension(len(d.r.dims) - start) })
			r.Dimensions = d.r.dims[start:len(d.r.dims):len(d.r.dims)]
			return err
		case "MeasureValues":
			start := len(d.r.attrs)
			err := d.array(3, func() error { return d.attribute(len(d.r.attrs) - start) })
			r.Attributes = d.r.attrs[start:len(d.r.attrs):len(d.r.attrs)]
			return err
		case "MeasureName":
			return d.text(&r.MeasureName, &r.Has, MeasureName)
		case "MeasureValue":
			return d.text(&r.MeasureValue, &r.Has, MeasureValue)
		case "MeasureValueType":
			return d.text(&r.MeasureValueType, &r.Has, MeasureValueType)
		case "Time":
			return d.text(&r.Time, &r.Has, Time)
		case "TimeUnit":
			return d.text(&r.TimeUnit, &r.Has, TimeUnit)
		case "Version":
			if d.null() {
				return nil
			}
			v, err := d.integer()
			if err != nil {
				return err
			}
			r.Version, r.Has = v, r.Has|Version
			return nil
		}
		return d.skip(3)
	})
}

// The required members of the elements of lists.
const (
	hasName Field = 1 << iota
	hasValue
	hasType
)

// dimension reads element k of a list.
func (d *decoder) dimension(k int) error {
	var x Dimension
	var has Field
	err := d.object(4, func(name string) error {
		switch name {
		case "Name":
			return d.text(&x.Name, &has, hasName)
		case "Value":
			return d.text(&x.Value, &has, hasValue)
		case "DimensionValueType":
			return d.text(&x.Type, nil, 0)
		}
		return d.skip(5)
	})
	d.r.dims = append(d.r.dims, x)
	d.r.missing(d.at, listDimensions, k, has&hasName != 0, has&hasValue != 0, true)
	return err
}

// attribute reads element k of a list.
func (d *decoder) attribute(k int) error {
	var x Attribute
	var has Field
	err := d.object(4, func(name string) error {
		switch name {
		case "Name":
			return d.text(&x.Name, &has, hasName)
		case "Value":
			return d.text(&x.Value, &has, hasValue)
		case "Type":
			return d.text(&x.Type, &has, hasType)
		}
		return d.skip(5)
	})
	d.r.attrs = append(d.r.attrs, x)
	d.r.missing(d.at, listValues, k, has&hasName != 0, has&hasValue != 0, has&hasType != 0)
	return err
}

// number consumes a JSON number and returns its text.
func (d *decoder) number() ([]byte, error) {
	d.space()
	start := d.i
	for d.i < len(d.b) && bytes.IndexByte([]byte("0123456789+-.eE"), d.b[d.i]) >= 0 {
		d.i++
	}
	// Its grammar has enough corners (01, 1., +1) to leave it to the library; numbers are rare here.
	if s := d.b[start:d.i]; len(s) > 0 && json.Valid(s) {
		return s, nil
	}
	d.i = start
	return nil, d.fail("want a value")
}

func (d *decoder) integer() (int64, error) {
	s, err := d.number()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(string(s), 10, 64)
	if err == nil {
		return v, nil
	}
	// Some clients send every number as a float.
	f, ferr := strconv.ParseFloat(string(s), 64)
	if ferr != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return 0, d.fail("want an integer")
	}
	return int64(f), nil
}

// skip consumes any value.
func (d *decoder) skip(depth int) error {
	d.space()
	if d.i >= len(d.b) {
		return d.fail("want a value")
	}
	switch d.b[d.i] {
	case '{':
		return d.object(depth, func(string) error { return d.skip(depth + 1) })
	case '[':
		return d.array(depth, func() error { return d.skip(depth + 1) })
	case '"':
		_, err := d.str()
		return err
	case 't', 'f', 'n':
		for _, word := range [...]string{"true", "false", "null"} {
			if bytes.HasPrefix(d.b[d.i:], []byte(word)) {
				d.i += len(word)
				return nil
			}
		}
		return d.fail("want a value")
	}
	_, err := d.number()
	return err
}

// str reads a string. Without escapes, which is nearly always, the result points into the body.
func (d *decoder) str() (string, error) {
	if !d.take('"') {
		return "", d.fail("want a string")
	}
	start := d.i
	for i := start; i < len(d.b); i++ {
		switch c := d.b[i]; {
		case c == '"':
			d.i = i + 1
			return view(d.b[start:i]), nil
		case c == '\\':
			d.i = i
			return d.escaped(start)
		case c < 0x20:
			d.i = i
			return "", d.fail("control character in a string")
		}
	}
	d.i = len(d.b)
	return "", d.fail("unterminated string")
}

// escaped goes on with a string whose first escape is at d.i; the result lives in the request's own memory.
func (d *decoder) escaped(start int) (string, error) {
	out := append(d.r.text, d.b[start:d.i]...)
	from := len(d.r.text)
	for d.i < len(d.b) {
		c := d.b[d.i]
		switch {
		case c == '"':
			d.i++
			d.r.text = out
			return view(out[from:len(out):len(out)]), nil
		case c < 0x20:
			return "", d.fail("control character in a string")
		case c != '\\':
			out = append(out, c)
			d.i++
			continue
		}
		if d.i+1 >= len(d.b) {
			break
		}
		c = d.b[d.i+1]
		d.i += 2
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, err := d.hex4()
			if err != nil {
				return "", err
			}
			if utf16.IsSurrogate(r) {
				// A lone surrogate becomes U+FFFD, as in encoding/json.
				low := rune(utf8.RuneError)
				if d.i+1 < len(d.b) && d.b[d.i] == '\\' && d.b[d.i+1] == 'u' {
					back := d.i
					d.i += 2
					if low, err = d.hex4(); err != nil {
						return "", err
					}
					if utf16.DecodeRune(r, low) == utf8.RuneError {
						d.i = back
					}
				}
				r = utf16.DecodeRune(r, low)
			}
			out = utf8.AppendRune(out, r)
		default:
			return "", d.fail("unknown escape")
		}
	}
	return "", d.fail("unterminated string")
}

func (d *decoder) hex4() (rune, error) {
	if d.i+4 > len(d.b) {
		return 0, d.fail("unterminated string")
	}
	v, err := strconv.ParseUint(string(d.b[d.i:d.i+4]), 16, 16)
	if err != nil {
		return 0, d.fail("malformed \\u escape")
	}
	d.i += 4
	return rune(v), nil
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
