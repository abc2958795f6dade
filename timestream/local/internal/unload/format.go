// SPDX-License-Identifier: Apache-2.0

package unload

import (
	"compress/gzip"
	"io"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/parquet"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// The formats of UNLOAD's files.

// csvRows writes CSV. The fields of a row are quoted where they hold the delimiter, a quote or a line end; a quote and the escape character have
// the escape character before them. NULL is nothing, and an empty text two quotes, for which there is no documentation.
type csvRows struct {
	u    *sqlplan.Unload
	to   io.Writer
	zip  *gzip.Writer
	line []byte
}

func newCSVRows(w *Writer, to io.Writer) (*csvRows, error) {
	c := &csvRows{u: w.u, to: to}
	if w.u.GZIP {
		// There may be a hundred at one time, and a writer of the best compression has a megabyte of tables.
		c.zip, _ = gzip.NewWriterLevel(to, gzip.BestSpeed) //nolint:errcheck // the level is right
		c.to = c.zip
	}
	if w.u.Header {
		return c, c.header(w)
	}
	return c, nil
}

func (c *csvRows) header(w *Writer) error {
	c.line = c.line[:0]
	for k, column := range c.u.Query.Columns[:len(c.u.Query.Columns)-c.u.Partitions] {
		if k > 0 {
			c.line = append(c.line, c.u.Delimiter)
		}
		w.text = append(w.text[:0], column.Name...)
		c.field(w.text)
	}
	return c.write()
}

func (c *csvRows) row(w *Writer, columns []duck.Column, i int) error {
	c.line = c.line[:0]
	for k := range columns[:len(columns)-c.u.Partitions] {
		if k > 0 {
			c.line = append(c.line, c.u.Delimiter)
		}
		var null bool
		var err error
		if w.text, null, err = c.u.AppendText(w.text[:0], columns, k, i); err != nil {
			return err
		}
		if !null {
			c.field(w.text)
		}
	}
	return c.write()
}

func (c *csvRows) write() error {
	c.line = append(c.line, '\n')
	_, err := c.to.Write(c.line)
	return err
}

func (c *csvRows) field(text []byte) {
	quoted := len(text) == 0
	for _, b := range text {
		quoted = quoted || b == c.u.Delimiter || b == '"' || b == '\n' || b == '\r'
	}
	if quoted {
		c.line = append(c.line, '"')
	}
	for _, b := range text {
		if b == '"' || b == c.u.Escape {
			c.line = append(c.line, c.u.Escape)
		}
		c.line = append(c.line, b)
	}
	if quoted {
		c.line = append(c.line, '"')
	}
}

func (c *csvRows) end() error {
	if c.zip == nil {
		return nil
	}
	return c.zip.Close()
}

// parquetRows writes Parquet.
type parquetRows struct {
	to     *parquet.Writer
	values []any
}

// Of all files of a statement together as much is in memory as one group of rows may have; of a single file no less than the second.
const (
	maxParquetGroup = 16 << 20
	minParquetGroup = 256 << 10
)

func newParquetRows(u *sqlplan.Unload, to io.Writer) (*parquetRows, error) {
	columns := u.ParquetColumns()
	w, err := parquet.NewWriter(to, columns, u.GZIP)
	return &parquetRows{to: w, values: make([]any, len(columns))}, err
}

func (p *parquetRows) row(w *Writer, columns []duck.Column, i int) error {
	for k := range p.values {
		var err error
		if p.values[k], err = w.u.ParquetValue(columns, k, i); err != nil {
			return err
		}
	}
	if err := p.to.Row(p.values); err != nil {
		return err
	}
	// A file may be larger than it should be by one group.
	if p.to.Buffered() < min(int(w.u.MaxFileBytes/8), max(minParquetGroup, maxParquetGroup/len(w.folders))) {
		return nil
	}
	return p.to.Flush()
}

func (p *parquetRows) end() error { return p.to.Close() }
