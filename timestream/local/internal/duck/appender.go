// SPDX-License-Identifier: Apache-2.0

package duck

import (
	"errors"
	"unsafe"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// Appender writes rows into one table within the connection's transaction. A row is built by one Set or Null per column,
// then EndRow. Nothing is sure to be in the table before Close returned nil.
type Appender struct {
	app      bindings.Appender
	chunk    bindings.DataChunk
	types    []bindings.LogicalType
	vecs     []bindings.Vector
	data     []unsafe.Pointer
	valid    []unsafe.Pointer
	row      int
	capacity int
	closed   bool
}

// NewAppender opens an appender on all columns of a table of the main schema.
func NewAppender(c *Conn, table string) (*Appender, error) { return newAppender(c, "", table) }

// NewTempAppender opens an appender on a temporary table of the connection.
func NewTempAppender(c *Conn, table string) (*Appender, error) { return newAppender(c, "temp", table) }

func newAppender(c *Conn, catalog, table string) (*Appender, error) {
	a := &Appender{capacity: int(bindings.VectorSize())}
	if bindings.AppenderCreateExt(c.conn, catalog, "main", table, &a.app) == bindings.StateError {
		err := errors.New("duckdb: appender on " + table + ": " + bindings.AppenderError(a.app))
		bindings.AppenderDestroy(&a.app)
		return nil, err
	}
	n := int(bindings.AppenderColumnCount(a.app))
	a.types = make([]bindings.LogicalType, n)
	for i := range n {
		a.types[i] = bindings.AppenderColumnType(a.app, bindings.IdxT(i))
	}
	a.vecs = make([]bindings.Vector, n)
	a.data = make([]unsafe.Pointer, n)
	a.valid = make([]unsafe.Pointer, n)
	a.chunk = bindings.CreateDataChunk(a.types)
	a.bind()
	return a, nil
}

// bind looks the vectors' memory up, which a reset of the chunk may move.
func (a *Appender) bind() {
	for i := range a.vecs {
		a.vecs[i] = bindings.DataChunkGetVector(a.chunk, bindings.IdxT(i))
		a.data[i] = bindings.VectorGetData(a.vecs[i])
		a.valid[i] = nil
	}
}

// SetInt64 sets a BIGINT column of the current row.
func (a *Appender) SetInt64(col int, v int64) { *(*int64)(unsafe.Add(a.data[col], a.row*8)) = v }

// SetInt32 sets an INTEGER column of the current row.
func (a *Appender) SetInt32(col int, v int32) { *(*int32)(unsafe.Add(a.data[col], a.row*4)) = v }

// SetFloat64 sets a DOUBLE column of the current row.
func (a *Appender) SetFloat64(col int, v float64) {
	*(*float64)(unsafe.Add(a.data[col], a.row*8)) = v
}

// SetBool sets a BOOLEAN column of the current row.
func (a *Appender) SetBool(col int, v bool) { *(*bool)(unsafe.Add(a.data[col], a.row)) = v }

// SetString sets a VARCHAR column of the current row; the text is copied.
func (a *Appender) SetString(col int, v string) {
	bindings.VectorAssignStringElementLen(a.vecs[col], bindings.IdxT(a.row), unsafe.Slice(unsafe.StringData(v), len(v)))
}

// SetNull sets any column of the current row to NULL.
func (a *Appender) SetNull(col int) {
	if a.valid[col] == nil {
		bindings.VectorEnsureValidityWritable(a.vecs[col])
		a.valid[col] = bindings.VectorGetValidity(a.vecs[col])
	}
	word := (*uint64)(unsafe.Add(a.valid[col], a.row/64*8))
	*word &^= 1 << (uint(a.row) % 64)
}

// EndRow finishes the current row.
func (a *Appender) EndRow() error {
	a.row++
	if a.row < a.capacity {
		return nil
	}
	return a.flushChunk()
}

func (a *Appender) flushChunk() error {
	if a.row == 0 {
		return nil
	}
	bindings.DataChunkSetSize(a.chunk, bindings.IdxT(a.row))
	a.row = 0
	if bindings.AppendDataChunk(a.app, a.chunk) == bindings.StateError {
		return a.failure()
	}
	bindings.DataChunkReset(a.chunk)
	a.bind()
	return nil
}

func (a *Appender) failure() error { return &Error{Text: bindings.AppenderError(a.app)} }

// Flush puts the finished rows into the table, where the transaction's next statements see them.
func (a *Appender) Flush() error {
	if err := a.flushChunk(); err != nil {
		return err
	}
	if bindings.AppenderFlush(a.app) == bindings.StateError {
		return a.failure()
	}
	return nil
}

// Close flushes and frees the appender.
func (a *Appender) Close() error {
	if a.closed {
		return nil
	}
	err := a.Flush()
	a.free()
	return err
}

// Abort frees the appender; rows that were not flushed are dropped as far as DuckDB can. The caller rolls back.
func (a *Appender) Abort() {
	if a.closed {
		return
	}
	bindings.AppenderClear(a.app)
	a.free()
}

func (a *Appender) free() {
	a.closed = true
	bindings.DestroyDataChunk(&a.chunk)
	for i := range a.types {
		bindings.DestroyLogicalType(&a.types[i])
	}
	bindings.AppenderDestroy(&a.app)
}
