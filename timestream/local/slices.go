// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// DuckDB keeps what it aggregates in memory until it has read the last sample, and cannot put lists on disk: an hour of 20,000 series
// takes 400 MB. So a statement that aggregates by series and orders nothing is run for some series after others, all in one
// snapshot. Each of them finds its samples by their number, by which runs are sorted.

// bytesPerSample is what a sample in a list takes while it is aggregated, with what DuckDB doubles lists by.
const bytesPerSample = 64

// sliceShare is the part of DuckDB's memory that one slice may take; statements run beside each other.
const sliceShare = 8

// sliceSamples is how many samples a slice has, but for a series that has more.
func (c *Config) sliceSamples() int64 {
	if c.slice > 0 {
		return c.slice
	}
	return c.databaseMemory() / sliceShare / bytesPerSample
}

// read starts a plan's statement, as a whole or in slices.
func (db *DB) read(ctx context.Context, conn *duck.Conn, plan *sqlplan.Plan, c *charge) (*duck.Rows, error) {
	limit := db.cfg.sliceSamples()
	if plan.Counts == "" || c.records <= limit {
		return conn.Read(ctx, plan.SQL)
	}
	return conn.ReadEach(ctx, plan.Counts, func(rows *duck.Rows) func() string {
		var ends []int64 // the greatest numbers of the slices
		var n int64
		for rows.Next() {
			columns := rows.Columns()
			for i := range rows.Size() {
				sid, count := columns[0].Int64(i), columns[1].Int64(i)
				if n += count; n > limit || len(ends) == 0 {
					ends, n = append(ends, sid), count
				}
				ends[len(ends)-1] = sid
			}
		}
		if len(ends) == 0 {
			ends = []int64{0} // no series has this number
		}
		from := int64(0)
		return func() string {
			if len(ends) == 0 {
				return ""
			}
			sql := plan.Slice(from, ends[0])
			from, ends = ends[0]+1, ends[1:]
			return sql
		}
	})
}
