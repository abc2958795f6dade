// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/meter"
	"github.com/tributary-project/tributary/timestream/metering"
)

// What is written and stored is counted in the transaction that writes it: each adds rows to cat_cost, whose sums are what was metered, so
// that both are there after a crash or neither. The rest (hours in the stores, queries, compute, requests that stored nothing new) is in
// cat_meters, saved every meterEvery and at a clean end; what came after it is lost with the process. The rows of a table are added
// up when they have become many.
const meterSQL = `
CREATE TABLE IF NOT EXISTS cat_cost (table_id BIGINT, hour BIGINT, hours BIGINT, records BIGINT, value_bytes BIGINT, name_bytes BIGINT,
	requests BIGINT, accepted BIGINT, bytes_guide BIGINT, bytes_announced BIGINT, bytes_least BIGINT, units_guide BIGINT, units_announced BIGINT, units_least BIGINT);
CREATE TABLE IF NOT EXISTS cat_meters (table_id BIGINT, state VARCHAR);
`

const (
	meterEvery = time.Minute
	// metersSaved says in cat_meta that the tables above were kept since the records they are about were written.
	metersSaved = "kept"
	// spareMeterRows is how many rows a table may have beyond twice those that it needs.
	spareMeterRows = 1000
	manyRows       = 1 << 32
	// restID is the number, in cat_meters, of what belongs to no table.
	restID = 0
)

// weigh adds the requests of a transaction to the meters' changes. Records that were rejected do not count, and a request of which nothing was
// accepted does not at all. Neither is documented.
func (w *writer) weigh(jobs []*writeJob) {
	for _, j := range jobs {
		accepted := len(j.recs) - len(j.rejected)
		if j.err != nil || accepted == 0 {
			continue
		}
		sent := j.sent
		for i := range j.rejected {
			p := &j.recs[j.rejected[i].RecordIndex]
			sent.Size.Sub(p.sent.size())
			sent.Repeated -= int64(p.repeated)
		}
		w.tables[j.table].weight.Request(sent, accepted)
	}
}

// meter counts requests that have changed nothing in the file.
func (w *writer) meter(jobs []*writeJob) {
	w.weigh(jobs)
	now := w.db.now()
	for t, tx := range w.tables {
		if !tx.weight.Empty() {
			t.meter.Apply(now, &tx.weight)
			t.own.meterRows += manyRows // they are saved with the next sum
		}
	}
}

// writeMeters brings what the transaction does to the meters into it.
func (w *writer) writeMeters(jobs []*writeJob) error {
	w.weigh(jobs)
	app, err := duck.NewAppender(w.conn, "cat_cost")
	if err != nil {
		return err
	}
	for t, tx := range w.tables {
		if tx.weight.Empty() {
			continue
		}
		rows := meterRows{app: app, table: t.id, written: tx.weight.Written}
		err := tx.weight.Each(func(h int64, s meter.Stored) error { return rows.add(h, 1, s) })
		if err == nil {
			err = rows.end()
		}
		if err != nil {
			app.Abort()
			return err
		}
		t.own.meterRows += rows.n
	}
	return app.Close()
}

// meterRows writes one table's rows of cat_cost. What was written stands in the first of them.
type meterRows struct {
	app     *duck.Appender
	table   int64
	written meter.Written
	n       int
}

func (r *meterRows) add(h, width int64, s meter.Stored) error {
	w := &r.written
	values := [...]int64{r.table, h, width, s.Records, s.Size.Values, s.Size.Names, w.Requests, w.Records,
		w.Bytes[metering.Guide], w.Bytes[metering.Announced], w.Bytes[metering.Least], w.Units[metering.Guide], w.Units[metering.Announced], w.Units[metering.Least]}
	for i, v := range values {
		r.app.SetInt64(i, v)
	}
	r.written = meter.Written{}
	r.n++
	return r.app.EndRow()
}

// end makes sure that what was written stands somewhere.
func (r *meterRows) end() error {
	if r.written == (meter.Written{}) {
		return nil
	}
	return r.add(0, 1, meter.Stored{})
}

// age brings a table's meter up to now.
func (t *table) age(now time.Time) {
	p := t.props.Load()
	t.meter.Age(now, p.memory(), p.oldest(now))
}

// saveMeters writes down what is not written with the records, and adds up the rows of tables that have many. The writer calls it in a
// transaction; should that fail, the next one does it again.
func (db *DB) saveMeters(c *duck.Conn) error {
	now := db.now()
	if err := c.Exec("DELETE FROM cat_meters"); err != nil {
		return err
	}
	states, err := duck.NewAppender(c, "cat_meters")
	if err != nil {
		return err
	}
	save := func(id int64, state any) error {
		b, err := json.Marshal(state)
		if err != nil {
			return err
		}
		states.SetInt64(0, id)
		states.SetString(1, string(b))
		return states.EndRow()
	}
	err = save(restID, restState{db.meters.rest.Usage(now), db.meters.compute.UnitTime(now)})
	var many []*table
	for _, t := range db.tables() {
		t.age(now)
		buckets := 0
		state, _ := t.meter.State(now, func(int64, int64, meter.Stored) { buckets++ })
		if err == nil {
			err = save(t.id, state)
		}
		if t.own.meterRows > 2*buckets+spareMeterRows {
			many = append(many, t)
		}
	}
	if err != nil {
		states.Abort()
		return err
	}
	if err := states.Close(); err != nil {
		return err
	}
	for _, t := range many {
		if err := t.sumMeters(c, now); err != nil {
			return err
		}
	}
	return nil
}

// sumMeters writes a table's rows of cat_cost anew.
func (t *table) sumMeters(c *duck.Conn, now time.Time) error {
	if err := c.Exec("DELETE FROM cat_cost WHERE table_id = " + strconv.FormatInt(t.id, 10)); err != nil {
		return err
	}
	app, err := duck.NewAppender(c, "cat_cost")
	if err != nil {
		return err
	}
	rows := meterRows{app: app, table: t.id}
	type bucket struct {
		h, width int64
		s        meter.Stored
	}
	var all []bucket
	_, rows.written = t.meter.State(now, func(h, width int64, s meter.Stored) { all = append(all, bucket{h, width, s}) })
	for _, b := range all {
		if err == nil {
			err = rows.add(b.h, b.width, b.s)
		}
	}
	if err == nil {
		err = rows.end()
	}
	if err != nil {
		app.Abort()
		return err
	}
	if err := app.Close(); err != nil {
		return err
	}
	t.own.summed = rows.n
	return nil
}

// noteSummed notes that a transaction that saved the meters has ended well.
func (db *DB) noteSummed() {
	for _, d := range db.cat.databases {
		for _, t := range d.tables {
			if t.own.summed > 0 {
				t.own.meterRows, t.own.summed = t.own.summed, 0
			}
		}
	}
}

// restState is the row of cat_meters that is about no table.
type restState struct {
	Rest    meter.Usage
	Compute time.Duration
}

// loadMeters reads what was metered. A file in which it was not kept is measured.
func (db *DB) loadMeters(ctx context.Context, kept string) error {
	now := db.now()
	db.meters.rest.Restore(now, meter.State{Since: now})
	byID := map[int64]*table{}
	for _, t := range db.tables() {
		byID[t.id] = t
		t.meter.Restore(now, meter.State{Since: now})
	}
	if kept != metersSaved {
		for _, t := range byID {
			if err := db.measure(ctx, t, func(h int64, s meter.Stored) { t.meter.RestoreStored(h, 1, s) }); err != nil {
				return err
			}
			if err := t.sumMeters(db.writer.conn, now); err != nil {
				return err
			}
			t.own.meterRows, t.own.summed = t.own.summed, 0
			t.age(now)
		}
		return db.writer.conn.Exec("INSERT INTO cat_meta VALUES ('meters', '" + metersSaved + "')")
	}
	err := db.each(ctx, "SELECT table_id, state FROM cat_meters", func(c []duck.Column, i int) error {
		if c[0].Int64(i) == restID {
			var s restState
			if err := json.Unmarshal(c[1].Bytes(i), &s); err != nil {
				return err
			}
			db.meters.rest.Absorb(&s.Rest)
			db.meters.compute.Reset(now, s.Compute)
			return nil
		}
		t := byID[c[0].Int64(i)]
		if t == nil {
			return nil
		}
		var s meter.State
		if err := json.Unmarshal(c[1].Bytes(i), &s); err != nil {
			return err
		}
		t.meter.Restore(now, s)
		return nil
	})
	if err != nil {
		return err
	}
	err = db.each(ctx, `SELECT table_id, hour, hours, sum(records)::BIGINT, sum(value_bytes)::BIGINT, sum(name_bytes)::BIGINT, sum(requests)::BIGINT, sum(accepted)::BIGINT,
		sum(bytes_guide)::BIGINT, sum(bytes_announced)::BIGINT, sum(bytes_least)::BIGINT, sum(units_guide)::BIGINT, sum(units_announced)::BIGINT, sum(units_least)::BIGINT, count(*)
		FROM cat_cost GROUP BY table_id, hour, hours`, func(c []duck.Column, i int) error {
		t := byID[c[0].Int64(i)]
		if t == nil {
			return nil
		}
		n := func(col int) int64 { return c[col].Int64(i) }
		t.meter.RestoreWritten(meter.Written{Requests: n(6), Records: n(7), Bytes: [metering.Rules]int64{n(8), n(9), n(10)}, Units: [metering.Rules]int64{n(11), n(12), n(13)}})
		if s := (meter.Stored{Records: n(3), Size: metering.Size{Values: n(4), Names: n(5)}}); s != (meter.Stored{}) {
			t.meter.RestoreStored(n(1), n(2), s)
		}
		t.own.meterRows += int(n(14))
		return nil
	})
	for _, t := range byID {
		t.age(now)
	}
	return err
}

// measure finds what a table stores, by the hours since 1970.
func (db *DB) measure(ctx context.Context, t *table, found func(h int64, s meter.Stored)) error {
	s := &t.own.schema
	var values, names strings.Builder
	fmt.Fprintf(&values, "%d", metering.TimeBytes)
	names.WriteString("strlen(m)")
	for i, d := range s.dims {
		fmt.Fprintf(&values, " + coalesce(strlen(%s), 0)", dimColumn(i))
		fmt.Fprintf(&names, " + CASE WHEN %s IS NULL THEN 0 ELSE %d END", dimColumn(i), len(d))
	}
	for _, k := range s.kinds {
		value, name := "0", "0"
		if k != kindMulti {
			value = valueBytesSQL("x.v", k)
		}
		for i, a := range s.attrs {
			if k == kindMulti {
				value += fmt.Sprintf(" + CASE WHEN x.%s IS NULL THEN 0 ELSE %s END", attrColumn(i), valueBytesSQL("x."+attrColumn(i), a.kind))
				name += fmt.Sprintf(" + CASE WHEN x.%s IS NULL THEN 0 ELSE %d END", attrColumn(i), len(a.name))
			}
		}
		sql := fmt.Sprintf("SELECT x.t // %d, count(*), sum(s.v + %s)::BIGINT, sum(s.n + %s)::BIGINT FROM %s x JOIN (SELECT sid, %s AS v, %s AS n FROM %s) s ON s.sid = x.sid GROUP BY 1",
			time.Hour.Nanoseconds(), value, name, t.sampleView(k), &values, &names, t.seriesTable())
		err := db.each(ctx, sql, func(c []duck.Column, i int) error {
			found(c[0].Int64(i), meter.Stored{Records: c[1].Int64(i), Size: metering.Size{Values: c[2].Int64(i), Names: c[3].Int64(i)}})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func valueBytesSQL(column string, k kind) string {
	switch k {
	case kindVarchar:
		return "strlen(" + column + ")"
	case kindBoolean:
		return strconv.Itoa(metering.BooleanBytes)
	}
	return strconv.Itoa(metering.NumberBytes)
}

// tables returns all tables, in the order of their creation.
func (db *DB) tables() []*table {
	db.cat.mu.RLock()
	defer db.cat.mu.RUnlock()
	var all []*table
	for _, d := range db.cat.databases {
		for _, t := range d.tables {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *table) int { return cmp.Compare(a.id, b.id) })
	return all
}

// meters is what is metered beside the tables.
type meters struct {
	// rest is what belongs to no table: statements that read none, and tables that were deleted.
	rest    *meter.Table
	compute meter.Compute
}

// keepMeters brings the meters up to the present and saves them.
func (db *DB) keepMeters(ctx context.Context) error {
	return db.writer.control(ctx, db.saveMeters, db.noteSummed)
}

// ResetCost begins to count anew what the workload would cost; what is stored stays.
func (db *DB) ResetCost(ctx context.Context) error {
	return db.writer.control(ctx, func(c *duck.Conn) error {
		now := db.now()
		db.meters.rest.Reset(now)
		db.meters.compute.Reset(now, 0)
		for _, t := range db.tables() {
			t.meter.Reset(now)
			t.own.meterRows += manyRows // sums them up
		}
		return db.saveMeters(c)
	}, db.noteSummed)
}
