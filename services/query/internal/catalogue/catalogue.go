// SPDX-License-Identifier: Apache-2.0

// Package catalogue knows the columns and measure names of tables, as fresh as the caller asks. It answers from memory
// when it can, asks once for all who wait, and makes do with plain selects where the credentials may do nothing else.
// How fresh an answer has to be is left to the caller.
package catalogue

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tableinfo"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/pages"
)

// runner runs one statement; see pages.Runner.
type runner interface {
	Run(ctx context.Context, kind, statement string, page func(*timestreamquery.QueryOutput) error) (pages.Stats, error)
}

const (
	// maxTables bounds the tables that are remembered.
	maxTables = 64
	// deniedFor is how long a metadata statement is not tried again after it was denied.
	deniedFor = 10 * time.Minute
	// deniedNamesFor is how long a list of measure names stands that had to be selected from the records, which costs.
	deniedNamesFor = 10 * time.Minute
)

// Catalogue remembers what tables look like. It is safe for concurrent use.
type Catalogue struct {
	run    runner
	now    func() time.Time
	logger *slog.Logger

	mu     sync.Mutex
	tables map[tssql.Table]*table
}

// table is one table's entry.
type table struct {
	columns  cell[*Columns]
	measures cell[*Measures]
	used     time.Time // guarded by Catalogue.mu

	mu             sync.Mutex
	describeDenied time.Time // until when
	showDenied     time.Time
	warned         bool
}

// New returns an empty catalogue.
func New(run runner, now func() time.Time, logger *slog.Logger) *Catalogue {
	return &Catalogue{run: run, now: now, logger: logger, tables: map[tssql.Table]*table{}}
}

// Columns returns the table's columns as they were at some moment after the given one; the zero time asks for whatever
// is known.
func (c *Catalogue) Columns(ctx context.Context, t tssql.Table, after time.Time) (*Columns, error) {
	e := c.table(t)
	return e.columns.get(ctx, after, c.now, func(ctx context.Context) (*Columns, error) { return c.readColumns(ctx, t, e) })
}

// Measures returns the table's measure names as they were at some moment after the given one. When they may not be
// listed the answer is not Complete, and older than asked for.
func (c *Catalogue) Measures(ctx context.Context, t tssql.Table, after time.Time) (*Measures, error) {
	e := c.table(t)
	if e.denied(&e.showDenied, c.now()) {
		after = c.now().Add(-deniedNamesFor)
	}
	return e.measures.get(ctx, after, c.now, func(ctx context.Context) (*Measures, error) { return c.readMeasures(ctx, t, e) })
}

// KnownMeasures returns the measure names last read, or nil.
func (c *Catalogue) KnownMeasures(t tssql.Table) *Measures { return c.table(t).measures.peek() }

// table returns the entry of a table. When there are too many, the one not used for longest is forgotten.
func (c *Catalogue) table(t tssql.Table) *table {
	t.Pos = tssql.Pos{}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.tables[t]
	if !ok {
		if len(c.tables) >= maxTables {
			var oldest tssql.Table
			first := true
			for k, v := range c.tables {
				if first || v.used.Before(c.tables[oldest].used) {
					oldest, first = k, false
				}
			}
			delete(c.tables, oldest)
		}
		e = &table{}
		c.tables[t] = e
	}
	e.used = c.now()
	return e
}

func (e *table) denied(until *time.Time, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return now.Before(*until)
}

// deny remembers a denial; the first of a table is logged.
func (c *Catalogue) deny(t tssql.Table, e *table, until *time.Time, statement string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	*until = c.now().Add(deniedFor)
	if !e.warned {
		e.warned = true
		c.logger.Warn("the credentials may not read the table's catalogue; selects will do instead, which Timestream charges for. Allow timestream:DescribeTable and timestream:ListMeasures to avoid this",
			"database", t.Database, "table", t.Name, "statement", statement, "err", err)
	}
}

func (c *Catalogue) readColumns(ctx context.Context, t tssql.Table, e *table) (*Columns, error) {
	if !e.denied(&e.describeDenied, c.now()) {
		cols, err := tableinfo.Describe(ctx, c.statement, t)
		if !pages.IsClass(err, pages.Denied) {
			return columns(cols, err)
		}
		c.deny(t, e, &e.describeDenied, "DESCRIBE", err)
	}
	return columns(tableinfo.Probe(ctx, c.statement, t))
}

// columns takes what may be an attribute for a dimension: attributes that are not of our layout are NULL in every record
// that is read, so that taking them for labels does no harm.
func columns(cols tableinfo.Columns, err error) (*Columns, error) {
	if err != nil {
		return nil, err
	}
	return NewColumns(append(cols.Dimensions, cols.Unclear...), cols.Values), nil
}

func (c *Catalogue) readMeasures(ctx context.Context, t tssql.Table, e *table) (*Measures, error) {
	if !e.denied(&e.showDenied, c.now()) {
		list, err := tableinfo.Measures(ctx, c.statement, t)
		if !pages.IsClass(err, pages.Denied) {
			return measures(list, err, false)
		}
		c.deny(t, e, &e.showDenied, "SHOW MEASURES", err)
	}
	// The layout's own names tell a newer layout; the others only make statements narrower, and would cost more to find.
	list, err := tableinfo.RecentMeasures(ctx, c.statement, t, promschema.Prefix)
	return measures(list, err, true)
}

func measures(list []Measure, err error, partial bool) (*Measures, error) {
	if err != nil {
		return nil, err
	}
	return NewMeasures(list, partial), nil
}

// statement implements tableinfo.Run.
func (c *Catalogue) statement(ctx context.Context, kind, statement string, page func(*timestreamquery.QueryOutput) error) error {
	_, err := c.run.Run(ctx, kind, statement, page)
	return err
}
