// SPDX-License-Identifier: Apache-2.0

// Package duck is a thin layer over DuckDB's C interface: a database, its connections, results read chunk by chunk and
// column by column, and a columnar appender. It exists beside the database/sql driver because that one materialises
// results and boxes every value, and the store lives in those two loops.
// It knows nothing of Timestream; what tables there are and what the SQL means is the caller's.
//
// A Conn and what comes from it belong to one goroutine at a time, Conn.Interrupt excepted.
package duck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// Error is what DuckDB said. Kind is DuckDB's error class, ErrorTypeInvalid when it gave none.
type Error struct {
	Kind bindings.ErrorType
	Text string
}

// Error is the text without what DuckDB adds for its own developers: advice and a stack of C++ functions.
func (e *Error) Error() string {
	text, _, _ := strings.Cut(e.Text, "\nThis error signals an assertion failure")
	text, _, _ = strings.Cut(text, "\n\nStack Trace")
	return "duckdb: " + strings.TrimSpace(text)
}

// Database is one open DuckDB database.
type Database struct {
	db    bindings.Database
	stops stops
}

// Open opens or creates the database file at path; an empty path is a database in memory. options are DuckDB's
// configuration options.
func Open(path string, options map[string]string) (*Database, error) {
	fewArenas()
	var config bindings.Config
	if bindings.CreateConfig(&config) == bindings.StateError {
		return nil, errors.New("duckdb: no configuration")
	}
	defer bindings.DestroyConfig(&config)
	for name, value := range options {
		if bindings.SetConfig(config, name, value) == bindings.StateError {
			return nil, fmt.Errorf("duckdb: refused option %s=%s", name, value)
		}
	}
	d := &Database{}
	var text string
	if bindings.OpenExt(path, &d.db, config, &text) == bindings.StateError {
		bindings.Close(&d.db)
		return nil, &Error{Text: text}
	}
	return d, nil
}

// Close closes the database. Every Conn has to be closed before.
func (d *Database) Close() { bindings.Close(&d.db) }

// Connect opens a connection: a session with transactions of its own.
func (d *Database) Connect() (*Conn, error) {
	c := &Conn{stops: &d.stops}
	if bindings.Connect(d.db, &c.conn) == bindings.StateError {
		return nil, errors.New("duckdb: cannot connect")
	}
	var client bindings.ClientContext
	bindings.ConnectionGetClientContext(c.conn, &client)
	defer bindings.DestroyClientContext(&client)
	c.id = uint64(bindings.ClientContextGetConnectionId(client))
	return c, nil
}

// Conn is one connection.
type Conn struct {
	conn  bindings.Connection
	id    uint64
	stops *stops
}

// Close ends the connection; an open transaction is rolled back.
func (c *Conn) Close() { bindings.Disconnect(&c.conn) }

// Interrupt makes the statement that runs on the connection fail soon. It may be called by any goroutine.
func (c *Conn) Interrupt() { bindings.Interrupt(c.conn) }

// Exec runs one or more statements and drops what they return.
func (c *Conn) Exec(sql string) error {
	var res bindings.Result
	defer bindings.DestroyResult(&res)
	if bindings.Query(c.conn, sql, &res) == bindings.StateError {
		return resultError(&res)
	}
	return nil
}

// Commit commits the connection's transaction. DuckDB hands the work to one of its threads, if it has more than one, and
// spins until that has written the log to disk; here the wait is slept through.
func (c *Conn) Commit() error {
	var stmt bindings.PreparedStatement
	defer bindings.DestroyPrepare(&stmt)
	if bindings.Prepare(c.conn, "COMMIT", &stmt) == bindings.StateError {
		return &Error{Text: bindings.PrepareError(stmt)}
	}
	var pending bindings.PendingResult
	defer bindings.DestroyPending(&pending)
	if bindings.PendingPrepared(stmt, &pending) == bindings.StateError {
		return &Error{Text: bindings.PendingError(pending)}
	}
	for nap := minNap; ; {
		switch state := bindings.PendingExecuteTask(pending); {
		case state == bindings.PendingStateError:
			return &Error{Text: bindings.PendingError(pending)}
		case state == bindings.PendingStateNoTasksAvailable:
			time.Sleep(nap)
			nap = min(2*nap, maxNap)
			continue
		case !bindings.PendingExecutionIsFinished(state):
			continue
		}
		var res bindings.Result
		defer bindings.DestroyResult(&res)
		if bindings.ExecutePending(pending, &res) == bindings.StateError {
			return resultError(&res)
		}
		return nil
	}
}

// A COMMIT takes from 100 µs to some milliseconds.
const (
	minNap = 20 * time.Microsecond
	maxNap = 200 * time.Microsecond
)

// Read is Query in a read-only transaction of its own, which Rows.Close ends. A statement must not be planned in one
// snapshot and run in a later one while others write: DuckDB plans joins by the ranges of keys that it saw, and drops
// rows whose keys came since.
func (c *Conn) Read(ctx context.Context, sql string) (*Rows, error) {
	if err := c.Exec("BEGIN TRANSACTION READ ONLY"); err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, sql)
	if err != nil {
		return nil, errors.Join(err, c.Exec("ROLLBACK"))
	}
	rows.ownTx = true
	return rows, nil
}

// ReadEach is Read of several statements, one after the other in one snapshot. plan makes them of the rows of the last of first, none of which are
// the caller's: it returns what returns the next statement, one at least and then none, "". The rows of all come as those of one
// statement, so they must have the same columns. Those of first may make temporary tables, which end with the snapshot.
func (c *Conn) ReadEach(ctx context.Context, first []string, plan func(*Rows) (next func() string)) (*Rows, error) {
	if err := c.Exec("BEGIN TRANSACTION READ ONLY"); err != nil {
		return nil, err
	}
	rows, err := c.readEach(ctx, first, plan)
	if err != nil {
		return nil, errors.Join(err, c.Exec("ROLLBACK"))
	}
	rows.ownTx = true
	return rows, nil
}

func (c *Conn) readEach(ctx context.Context, first []string, plan func(*Rows) (next func() string)) (*Rows, error) {
	var next func() string
	for i, sql := range first {
		rows, err := c.Query(ctx, sql)
		if err != nil {
			return nil, err
		}
		if i == len(first)-1 {
			next = plan(rows)
		} else {
			for rows.Next() {
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	rows, err := c.Query(ctx, next())
	if err != nil {
		return nil, err
	}
	rows.next = next
	return rows, nil
}

// Query starts one statement, in the connection's transaction if one is open; otherwise nobody else may be writing, see
// Read. Its rows are produced while they are read, so the result is never whole in memory, but the statement's snapshot
// stays open until Rows.Close. The context governs the whole life of the Rows.
func (c *Conn) Query(ctx context.Context, sql string) (*Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rows := &Rows{conn: c, ctx: ctx}
	if err := rows.start(sql); err != nil {
		rows.Close()
		return nil, err
	}
	return rows, nil
}

// start runs a statement whose rows are the next.
func (r *Rows) start(sql string) error {
	if bindings.Prepare(r.conn.conn, sql, &r.stmt) == bindings.StateError {
		return &Error{Text: bindings.PrepareError(r.stmt)}
	}
	var pending bindings.PendingResult
	return r.guard(func() error {
		defer bindings.DestroyPending(&pending)
		if bindings.PendingPreparedStreaming(r.stmt, &pending) == bindings.StateError {
			return &Error{Text: bindings.PendingError(pending)}
		}
		r.hasResult = true
		if bindings.ExecutePending(pending, &r.res) == bindings.StateError {
			return resultError(&r.res)
		}
		return nil
	})
}

// end frees the statement that runs.
func (r *Rows) end() {
	if r.chunk.Ptr != nil {
		bindings.DestroyDataChunk(&r.chunk)
	}
	if r.hasResult {
		bindings.DestroyResult(&r.res)
		r.hasResult = false
	}
	bindings.DestroyPrepare(&r.stmt)
}

func resultError(res *bindings.Result) error {
	return &Error{Kind: bindings.ResultErrorType(res), Text: bindings.ResultError(res)}
}

// interruptEvery is how often a statement is interrupted again after its context ended: DuckDB clears the mark when a
// statement's next phase begins.
const interruptEvery = 50 * time.Millisecond

// Rows is a result being read.
//
//	for rows.Next() { … rows.Size(), rows.Column(i) … }
//	err := rows.Err()
type Rows struct {
	conn      *Conn
	ctx       context.Context
	stmt      bindings.PreparedStatement
	res       bindings.Result
	hasResult bool
	ownTx     bool
	// next returns the statement whose rows follow; it may be nil. pauses tells that Next does not begin it.
	next   func() string
	pauses bool
	chunk  bindings.DataChunk
	size   int
	cols   []Column
	err    error
	closed bool
}

// guard runs f and interrupts it when the context ends.
func (r *Rows) guard(f func() error) error {
	if r.ctx.Done() == nil {
		return f()
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	stop := context.AfterFunc(r.ctx, func() {
		defer wg.Done()
		r.conn.stops.set(r.conn.id, true)
		defer r.conn.stops.set(r.conn.id, false)
		t := time.NewTicker(interruptEvery)
		defer t.Stop()
		for {
			r.conn.Interrupt()
			select {
			case <-done:
				return
			case <-t.C:
			}
		}
	})
	wg.Add(1)
	err := f()
	close(done)
	if stop() {
		wg.Done()
	}
	// A late interrupt would hit the connection's next statement.
	wg.Wait()
	// What came without an error may be wrong by then: functions fail, and TRY takes that for an answer.
	if r.ctx.Err() != nil {
		return errors.Join(r.ctx.Err(), err)
	}
	return err
}

// Next fetches the next chunk that has rows. The previous chunk's columns are invalid after it.
func (r *Rows) Next() bool {
	for !r.closed && r.err == nil {
		if r.chunk.Ptr != nil {
			bindings.DestroyDataChunk(&r.chunk)
		}
		if r.err = r.ctx.Err(); r.err != nil || !r.hasResult {
			return false
		}
		r.err = r.guard(func() error {
			r.chunk = bindings.FetchChunk(r.res)
			if r.chunk.Ptr == nil {
				if text := bindings.ResultError(&r.res); text != "" {
					return resultError(&r.res)
				}
			}
			return nil
		})
		if r.err != nil {
			return false
		}
		if r.chunk.Ptr == nil {
			r.end()
			if r.pauses || !r.Resume() {
				return false
			}
			continue
		}
		if r.size = int(bindings.DataChunkGetSize(r.chunk)); r.size == 0 {
			continue
		}
		n := int(bindings.DataChunkGetColumnCount(r.chunk))
		if r.cols == nil {
			r.cols = make([]Column, n)
		}
		for i := range r.cols {
			if err := r.cols[i].init(bindings.DataChunkGetVector(r.chunk, bindings.IdxT(i))); err != nil {
				r.err = fmt.Errorf("duckdb: column %d: %w", i, err)
				return false
			}
		}
		return true
	}
	return false
}

// Pauses makes Next return false also between two of several statements (ReadEach), with nothing of the one that has ended in memory. Resume begins the
// following one.
func (r *Rows) Pauses() { r.pauses = true }

// Resume begins the following statement; false if there is none, or if it failed, see Err.
func (r *Rows) Resume() bool {
	if r.closed || r.err != nil || r.next == nil {
		return false
	}
	sql := r.next()
	if sql == "" {
		r.next = nil
		return false
	}
	r.err = r.start(sql)
	return r.err == nil
}

// Size is the number of rows in the current chunk.
func (r *Rows) Size() int { return r.size }

// Columns returns the current chunk's columns. They are valid until the next Next or Close.
func (r *Rows) Columns() []Column { return r.cols }

// Err returns what ended the rows early, nil at their regular end.
func (r *Rows) Err() error { return r.err }

// Close frees the result and ends its snapshot. It may be called twice.
func (r *Rows) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.end()
	if r.ownTx {
		// Nothing was written; the only failure is that the transaction ended by itself, after an error.
		_ = r.conn.Exec("ROLLBACK")
	}
}
