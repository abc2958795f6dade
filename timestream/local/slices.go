// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"strconv"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// DuckDB keeps what it aggregates in memory until it has read the last sample, and cannot put lists on disk: an hour of 20,000 series
// takes 400 MB, and 20 million samples do not fit at all, least of all sorted. So a statement that aggregates by series is run for some series
// after others, all in one snapshot. Where it has no order, series are taken by number, by which runs are sorted; else in the order in which their
// rows come. Either way a slice reads only what lies between the numbers of its series.

// bytesPerSample is what a sample in a list takes while it is aggregated, with what DuckDB doubles lists by.
const bytesPerSample = 64

// sliceShare is the part of DuckDB's memory that one slice may take, orderedShare the same where its rows are sorted: statements run beside each
// other, and what is sorted is held until its last row is read. Since a statement takes some 10 ms before it reads a row, a sorted slice is not below
// leastOrdered samples, or 128 MiB of memory would make a large read three times as slow.
const (
	sliceShare   = 8
	orderedShare = 32
	leastOrdered = 64 << 10
)

// sliceSamples is how many samples a slice has, but for what must be read together and has more.
func (c *Config) sliceSamples(ordered bool) int64 {
	switch {
	case c.slice > 0:
		return c.slice
	case ordered:
		return max(c.databaseMemory()/orderedShare/bytesPerSample, leastOrdered)
	}
	return c.databaseMemory() / sliceShare / bytesPerSample
}

// read starts a plan's statement, as a whole or in slices.
func (db *DB) read(ctx context.Context, conn *duck.Conn, plan *sqlplan.Plan, c *charge) (*duck.Rows, error) {
	s := plan.Slices
	if s == nil || c.records <= db.cfg.sliceSamples(false) {
		return conn.Read(ctx, plan.SQL)
	}
	cut := &cutter{limit: db.cfg.sliceSamples(s.Ordered), ordered: s.Ordered}
	first := []string{"SELECT sid, n FROM (" + s.Counts + ") ORDER BY sid"}
	if s.Ordered {
		// It is the connection's own, and ends with the transaction.
		first = []string{"CREATE TEMP TABLE " + sliceTable + " AS " + s.Counts, "SELECT sid, n, place, tie FROM " + sliceTable + " ORDER BY place"}
	}
	return conn.ReadEach(ctx, first, func(rows *duck.Rows) func() string {
		for rows.Next() {
			columns := rows.Columns()
			for i := range rows.Size() {
				x := slice{from: columns[0].Int64(i), n: columns[1].Int64(i)}
				x.to, x.low, x.high = x.from, x.from, x.from
				var tie int64
				if s.Ordered {
					x.from = columns[2].Int64(i)
					x.to, tie = x.from, columns[3].Int64(i)
				}
				cut.add(x, tie)
			}
		}
		list := cut.end()
		if len(list) < 2 {
			list = list[:0]
		}
		whole := len(list) == 0
		return func() string {
			if whole {
				whole = false
				return plan.SQL
			}
			if len(list) == 0 {
				return ""
			}
			x := list[0]
			list = list[1:]
			condition := between("sid", x.low, x.high)
			if s.Ordered { // DuckDB leaves out much of what lies between them when it is told twice
				condition += " AND sid IN (SELECT sid FROM " + sliceTable + " WHERE " + between("place", x.from, x.to) + ")"
			}
			return s.SQL(condition, condition)
		}
	})
}

// sliceTable has a row for each series of a statement that is ordered.
const sliceTable = "temp.slices"

func between(column string, from, to int64) string {
	return column + " BETWEEN " + strconv.FormatInt(from, 10) + " AND " + strconv.FormatInt(to, 10)
}

// slice is the series from one place to another, with n samples; their numbers are in [low, high].
type slice struct{ from, to, low, high, n int64 }

func (s *slice) join(next slice) {
	s.to, s.n = next.to, s.n+next.n
	s.low, s.high = min(s.low, next.low), max(s.high, next.high)
}

// cutter makes slices of series that come one after the other.
type cutter struct {
	limit   int64
	ordered bool
	out     []slice
	// tied are the last series, which stay together.
	tied slice
	tie  int64
}

// add adds a series. Where rows are ordered, those with the same tie stay together.
func (c *cutter) add(s slice, tie int64) {
	if c.ordered && c.tied.n > 0 && c.tie == tie {
		c.tied.join(s)
		return
	}
	c.close()
	c.tied, c.tie = s, tie
}

// close puts the last series into a slice.
func (c *cutter) close() {
	if c.tied.n == 0 {
		return
	}
	if last := len(c.out) - 1; last >= 0 && c.out[last].n+c.tied.n <= c.limit {
		c.out[last].join(c.tied)
	} else {
		c.out = append(c.out, c.tied)
	}
}

func (c *cutter) end() []slice {
	c.close()
	return c.out
}
