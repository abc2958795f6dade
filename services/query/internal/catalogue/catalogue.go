// SPDX-License-Identifier: Apache-2.0

// Package catalogue knows the columns and measure names of tables, as fresh as the caller asks. It answers from memory
// when it can, asks once for all who wait, and makes do with plain selects where the credentials may do nothing else.
// How fresh an answer has to be is left to the caller.
package catalogue

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
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
	// namesLookback is how far back that select looks.
	namesLookback = 24
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
		cols, err := c.describe(ctx, t)
		if !pages.IsClass(err, pages.Denied) {
			return cols, err
		}
		c.deny(t, e, &e.describeDenied, "DESCRIBE", err)
	}
	return c.probe(ctx, t)
}

// describe reads the columns by DESCRIBE, which is not metered.
func (c *Catalogue) describe(ctx context.Context, t tssql.Table) (*Columns, error) {
	var dimensions, values []string
	_, err := c.run.Run(ctx, "describe", tssql.Print(&tssql.Describe{Table: t}), func(out *timestreamquery.QueryOutput) error {
		for _, r := range out.Rows {
			name, attribute := scalar(r, 0), scalar(r, 2)
			switch attribute {
			case "DIMENSION":
				dimensions = append(dimensions, name)
			case "MEASURE_NAME", "TIMESTAMP":
			default:
				values = append(values, name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return NewColumns(dimensions, values), nil
}

// probe reads the columns from the description of a result without rows. This is the one place that selects *: what
// is wanted are the names of all columns, and no record is older than 1970, so that nothing is read. Dimensions and
// varchar attributes look alike here; those of our layout are known by name, and those of others are NULL in every
// record that is read, so that taking them for labels does no harm.
func (c *Catalogue) probe(ctx context.Context, t tssql.Table) (*Columns, error) {
	one := int64(1)
	q := &tssql.Query{Limit: &one, Body: &tssql.Select{
		Items: []tssql.Item{{Star: true}},
		From:  &tssql.TableRef{Table: t},
		Where: &tssql.Binary{Op: "<", L: &tssql.Column{Name: timestream.ColumnTime}, R: &tssql.Call{Name: "from_milliseconds", Args: []tssql.Expr{&tssql.Int{}}}},
	}}
	var dimensions, values []string
	seen := false
	_, err := c.run.Run(ctx, "probe", tssql.Print(q), func(out *timestreamquery.QueryOutput) error {
		if seen {
			return nil
		}
		for _, info := range out.ColumnInfo {
			seen = true
			name := aws.ToString(info.Name)
			switch {
			case name == timestream.ColumnMeasureName, name == timestream.ColumnTime:
			case info.Type != nil && info.Type.ScalarType == types.ScalarTypeVarchar && !strings.HasPrefix(name, timestream.ColumnMeasureValue) && name != promschema.KindAttribute:
				dimensions = append(dimensions, name)
			default:
				values = append(values, name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return NewColumns(dimensions, values), nil
}

func (c *Catalogue) readMeasures(ctx context.Context, t tssql.Table, e *table) (*Measures, error) {
	if !e.denied(&e.showDenied, c.now()) {
		m, err := c.show(ctx, t)
		if !pages.IsClass(err, pages.Denied) {
			return m, err
		}
		c.deny(t, e, &e.showDenied, "SHOW MEASURES", err)
	}
	return c.distinct(ctx, t)
}

// show reads the measure names by SHOW MEASURES, which is not metered.
func (c *Catalogue) show(ctx context.Context, t tssql.Table) (*Measures, error) {
	var list []Measure
	_, err := c.run.Run(ctx, "measures", tssql.Print(&tssql.Show{What: tssql.ShowMeasures, From: t}), func(out *timestreamquery.QueryOutput) error {
		for _, r := range out.Rows {
			m := Measure{Name: scalar(r, 0), Double: scalar(r, 1) == "double", Dimensions: []string{}}
			if len(r.Data) > 2 {
				for _, d := range r.Data[2].ArrayValue {
					if d.RowValue != nil {
						m.Dimensions = append(m.Dimensions, scalar(*d.RowValue, 0))
					}
				}
			}
			list = append(list, m)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return NewMeasures(list, false), nil
}

// distinct looks for the layout's own measure names among the records of the last day: it is asked where measures may
// not be listed, to find a newer layout.
func (c *Catalogue) distinct(ctx context.Context, t tssql.Table) (*Measures, error) {
	name := &tssql.Column{Name: timestream.ColumnMeasureName}
	q := &tssql.Query{Body: &tssql.Select{
		Distinct: true,
		Items:    []tssql.Item{{Expr: name}},
		From:     &tssql.TableRef{Table: t},
		Where: &tssql.Binary{Op: "AND",
			L: &tssql.Binary{Op: ">", L: &tssql.Column{Name: timestream.ColumnTime}, R: &tssql.Call{Name: "ago", Args: []tssql.Expr{&tssql.Interval{Count: namesLookback, Unit: "h"}}}},
			R: &tssql.Like{X: name, Pattern: &tssql.String{Value: strings.ReplaceAll(promschema.Prefix, "_", `\_`) + "%"}, Escape: &tssql.String{Value: `\`}},
		},
	}}
	var list []Measure
	_, err := c.run.Run(ctx, "probe", tssql.Print(q), func(out *timestreamquery.QueryOutput) error {
		for _, r := range out.Rows {
			list = append(list, Measure{Name: scalar(r, 0), Double: true})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return NewMeasures(list, true), nil
}

// scalar returns the text of a column, empty when it is NULL or missing.
func scalar(r types.Row, i int) string {
	if i >= len(r.Data) {
		return ""
	}
	return aws.ToString(r.Data[i].ScalarValue)
}
