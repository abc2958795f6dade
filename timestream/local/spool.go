// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"slices"

	"github.com/tributary-project/tributary/timestream/result"
)

const (
	// spoolMemory is how many bytes of rows are kept in memory; more go to a file.
	spoolMemory = 512 << 10
	// spoolBytes is how many bytes of rows are taken from DuckDB at a time.
	spoolBytes = 64 << 20
)

// spool keeps rows, in memory while they are few, else in a file that has no name. Rows are written, then read once.
type spool struct {
	dir   string
	kinds []result.Kind
	// text is what is not in the file, size all of it.
	text []byte
	size int64
	file *os.File
	// frame and row are that of the row being read.
	frame []byte
	row   result.Row
}

func newSpool(dir string, kinds []result.Kind) *spool {
	return &spool{dir: dir, kinds: kinds, row: make(result.Row, len(kinds))}
}

// add appends a row: its length in four bytes, then the cells.
func (s *spool) add(row result.Row) error {
	at := len(s.text)
	b := append(s.text, 0, 0, 0, 0)
	for i := range row {
		c := &row[i]
		switch {
		case c.Null:
			b = append(b, 0)
		case s.kinds[i] == result.Doubles:
			b = binary.AppendUvarint(b, uint64(len(c.Points))+1)
			b = slices.Grow(b, 16*len(c.Points))
			for _, p := range c.Points {
				b = binary.LittleEndian.AppendUint64(b, uint64(p.T))
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p.V))
			}
		case s.kinds[i] == result.Texts:
			b = binary.AppendUvarint(b, uint64(len(c.Texts))+1)
			for _, p := range c.Texts {
				b = binary.AppendUvarint(binary.LittleEndian.AppendUint64(b, uint64(p.T)), uint64(len(p.Text)))
				b = append(b, p.Text...)
			}
		default:
			b = append(binary.AppendUvarint(b, uint64(len(c.Text))+1), c.Text...)
		}
	}
	if len(b)-at-4 > math.MaxInt32 {
		return errors.New("a row is larger than 2 GB")
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	s.size += int64(len(b) - at)
	s.text = b
	if len(s.text) < spoolMemory {
		return nil
	}
	return s.flush()
}

// flush writes what is in memory to the file.
func (s *spool) flush() (err error) {
	if s.file == nil {
		if s.file, err = os.CreateTemp(s.dir, "rows-*"); err != nil {
			return err
		}
		// Nobody else needs it, and the end of the process is the end of it.
		if err := os.Remove(s.file.Name()); err != nil {
			return err
		}
	}
	_, err = s.file.Write(s.text)
	s.text = s.text[:0]
	return err
}

// each calls give with each row, in order. A row is valid until give returns.
func (s *spool) each(give func(result.Row) error) error {
	from := io.Reader(bytes.NewReader(s.text))
	if s.file != nil {
		if err := s.flush(); err != nil {
			return err
		}
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		from = bufio.NewReaderSize(s.file, 64<<10)
	}
	for left := s.size; left > 0; left -= 4 + int64(len(s.frame)) {
		var head [4]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return err
		}
		n := int(binary.LittleEndian.Uint32(head[:]))
		s.frame = slices.Grow(s.frame[:0], n)[:n]
		if _, err := io.ReadFull(from, s.frame); err != nil {
			return err
		}
		s.decode()
		if err := give(s.row); err != nil {
			return err
		}
	}
	return nil
}

// decode reads the row of the frame, which add wrote.
func (s *spool) decode() {
	b := s.frame
	count := func() int {
		n, w := binary.Uvarint(b)
		b = b[w:]
		return int(n)
	}
	number := func() uint64 {
		v := binary.LittleEndian.Uint64(b)
		b = b[8:]
		return v
	}
	text := func(n int) []byte {
		t := b[:n:n]
		b = b[n:]
		return t
	}
	for i := range s.row {
		c := &s.row[i]
		c.Text, c.Points, c.Texts = nil, c.Points[:0], c.Texts[:0]
		n := count() - 1
		if c.Null = n < 0; c.Null {
			continue
		}
		switch s.kinds[i] {
		case result.Doubles:
			c.Points = slices.Grow(c.Points, n)[:n]
			for k := range c.Points {
				c.Points[k] = result.Point{T: int64(binary.LittleEndian.Uint64(b[16*k:])), V: math.Float64frombits(binary.LittleEndian.Uint64(b[16*k+8:]))}
			}
			b = b[16*n:]
		case result.Texts:
			for range n {
				t := int64(number())
				c.Texts = append(c.Texts, result.TextPoint{T: t, Text: text(count())})
			}
		default:
			c.Text = text(n)
		}
	}
}

// reset empties the spool.
func (s *spool) reset() error {
	s.text, s.size = s.text[:0], 0
	return s.close()
}

// close frees the file; it may be called twice.
func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}
