// SPDX-License-Identifier: Apache-2.0

package local

import (
	"math"
	"slices"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/meter"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/metering"
)

// charge is what one statement is charged for. What the service scans is not documented in detail; here it is an estimate, made when the
// statement begins: the metered size of the records in the time range and of the measure names that its WHERE clauses name, whole
// records whatever columns are used, as often as a table stands in it. A statement that is cancelled or fails while it runs is
// charged for all of that.
type charge struct {
	db *DB
	// scanned is the estimate, metered what is paid for where queries are paid by bytes.
	scanned, metered int64
	// records is an estimate of how many records are read.
	records int64
	parts   []chargedTable
	// counted tells that the tables' meters know of it.
	counted bool
}

// chargedTable is a table's part, the rest's if it is no table's.
type chargedTable struct {
	meter   *meter.Table
	scanned int64
}

// charge estimates what a plan is charged for; metadata statements, and those about costs, are free.
func (db *DB) charge(plan *sqlplan.Plan) *charge {
	c := &charge{db: db}
	if !plan.Metered || len(plan.Reads) > 0 && !slices.ContainsFunc(plan.Reads, func(r sqlplan.Read) bool { return !isSystem(r.Table) }) {
		return c
	}
	for _, r := range plan.Reads {
		t, _ := db.cat.table(r.Database, r.Name)
		if t == nil {
			continue // a table of the system, or one that was deleted meanwhile
		}
		stored := t.meter.Scanned(r.From, r.To, r.Measures)
		c.records += stored.Records
		n := db.cfg.Cost.Rule.Of(stored.Size)
		c.scanned += n
		i := slices.IndexFunc(c.parts, func(p chargedTable) bool { return p.meter == t.meter })
		if i < 0 {
			i = len(c.parts)
			c.parts = append(c.parts, chargedTable{meter: t.meter})
		}
		c.parts[i].scanned += n
	}
	if len(c.parts) == 0 {
		c.parts = []chargedTable{{meter: db.meters.rest}}
	}
	c.metered = metering.Query(c.scanned)
	return c
}

// underestimated notes that there was no memory for as many records as there seemed to be, so that the statement is read in slices where it can be; false
// if it was noted before.
func (c *charge) underestimated() bool {
	if c.records == math.MaxInt64 {
		return false
	}
	c.records = math.MaxInt64
	return true
}

// begin notes that the statement occupies compute from now on, until the function that it returns is called. Its tables share what it is
// charged for by what is scanned of each, and its time evenly.
func (c *charge) begin() (end func()) {
	if len(c.parts) == 0 {
		return func() {}
	}
	start := c.db.now()
	c.db.meters.compute.Begin(start, int(c.db.account.Load().MaxQueryTCU))
	return func() {
		now := c.db.now()
		c.db.meters.compute.End(now)
		busy := max(0, now.Sub(start)) / time.Duration(len(c.parts))
		left := c.metered
		for i, p := range c.parts {
			r := meter.Read{Busy: busy}
			if !c.counted {
				part := left
				if i < len(c.parts)-1 {
					part = c.metered / int64(len(c.parts))
					if c.scanned > 0 {
						part = int64(float64(c.metered) * (float64(p.scanned) / float64(c.scanned)))
					}
				}
				left -= part
				r.Queries, r.Scanned, r.Metered = 1, p.scanned, part
			}
			p.meter.Read(r)
		}
		c.counted = true
	}
}
