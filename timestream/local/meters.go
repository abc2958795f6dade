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

// What is written and stored is counted in the transaction that writes it, or under load in one within a second: it adds a row to cat_cost, whose
// sums are what was metered. The rest (hours in the stores, queries, compute, requests that stored nothing new) is in
// cat_meters, saved every meterEvery and at a clean end; what came after it is lost with the process. The rows of a table are added
// up when they have become many. A row is a text of numbers, because it is columns that make a row of DuckDB's expensive to write: first what was
// written (requests, records, bytes and units by rule), then for some hours the first, how many, records, bytes of values and of names.
const meterSQL = `
CREATE TABLE IF NOT EXISTS cat_cost (table_id BIGINT, change VARCHAR);
CREATE TABLE IF NOT EXISTS cat_meters (table_id BIGINT, state VARCHAR);
`

const (
	meterEvery = time.Minute
	// logEvery is how long a change waits for a transaction that writes it down, meterGap how long transactions of several requests write none.
	logEvery = time.Second
	meterGap = 50 * time.Millisecond
	// metersSaved says in cat_meta that the tables above were kept since the records they are about were written.
	metersSaved = "kept"
	// spareMeterRows is how many rows a table may have before they are added up; those that it needs are less than a tenth.
	spareMeterRows = 1000
	manyRows       = 1 << 32
	// restID is the number, in cat_meters, of what belongs to no table.
	restID = 0
)

// weigh adds the requests of a transaction to the meters' changes. Records that were rejected do not count, and a request of which nothing was
// accepted does not at all. Neither is documented.
func (w *writer) weigh(jobs []*writeJob) {
	for _, j := range jobs {
		if sent, accepted := j.accepted(); j.err == nil && accepted > 0 {
			w.tables[j.table].weight.Request(sent, accepted)
		}
	}
}

// accepted is the weight of a request without the records that were rejected, and how many there are of the others.
func (j *writeJob) accepted() (sent metering.Request, records int) {
	sent = j.sent
	for i := range j.rejected {
		p := &j.recs[j.rejected[i].RecordIndex]
		sent.Size.Sub(p.sent.size())
		sent.Repeated -= int64(p.repeated)
	}
	return sent, len(j.recs) - len(j.rejected)
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

// writeMeters brings what the transaction does to the meters into it. A row takes DuckDB a third of a millisecond, as much as ten records, so
// when requests come together it is left to a later transaction unless meterGap has passed.
func (w *writer) writeMeters(jobs []*writeJob) error {
	w.weigh(jobs)
	now := time.Now()
	if w.meters = len(jobs) == 1 || now.Sub(w.meterAt) >= meterGap; !w.meters {
		return nil
	}
	w.meterAt = now
	app, err := duck.NewAppender(w.conn, "cat_cost")
	if err != nil {
		return err
	}
	for t, tx := range w.tables {
		if err := w.addChange(app, t, &tx.weight); err != nil {
			app.Abort()
			return err
		}
	}
	return app.Close()
}

// noteMeters takes over what a transaction has done, once it is committed.
func (w *writer) noteMeters(tx *tableTx) {
	tx.t.meter.Apply(w.db.now(), &tx.weight)
	if w.meters {
		tx.t.own.unlogged.Reset()
		return
	}
	tx.t.own.unlogged.Add(&tx.weight)
	w.unlogged.Store(true)
}

// addChange writes what no row has of a table, and one change more.
func (w *writer) addChange(app *duck.Appender, t *table, d *meter.Delta) error {
	if t.own.unlogged.Empty() && d.Empty() {
		return nil
	}
	written := t.own.unlogged.Written
	written.Add(&d.Written)
	w.meterText = appendWritten(w.meterText[:0], &written)
	stored := func(h int64, s meter.Stored) { w.meterText = appendStored(w.meterText, h, 1, s) }
	t.own.unlogged.Each(stored)
	d.Each(stored)
	t.own.meterRows++
	return addMeterRow(app, t.id, w.meterText)
}

// logMeters writes what no row has.
func (db *DB) logMeters(c *duck.Conn) error {
	app, err := duck.NewAppender(c, "cat_cost")
	if err != nil {
		return err
	}
	for _, t := range db.tables() {
		if err := db.writer.addChange(app, t, &meter.Delta{}); err != nil {
			app.Abort()
			return err
		}
	}
	return app.Close()
}

// noteLogged notes that logMeters has ended well.
func (db *DB) noteLogged() {
	for _, d := range db.cat.databases {
		for _, t := range d.tables {
			t.own.unlogged.Reset()
		}
	}
}

// keepLog writes what no row has, if there is anything.
func (db *DB) keepLog(ctx context.Context) error {
	if !db.writer.unlogged.Swap(false) {
		return nil
	}
	err := db.writer.control(ctx, db.logMeters, db.noteLogged)
	if err != nil {
		db.writer.unlogged.Store(true)
	}
	return err
}

func addMeterRow(app *duck.Appender, table int64, change []byte) error {
	app.SetInt64(0, table)
	app.SetString(1, string(change))
	return app.EndRow()
}

// writtenNumbers and storedNumbers are how many numbers each part of a row has.
const (
	writtenNumbers = 2 + 2*int(metering.Rules)
	storedNumbers  = 5
)

func appendWritten(b []byte, w *meter.Written) []byte {
	b = appendNumbers(b, w.Requests, w.Records)
	b = appendNumbers(b, w.Bytes[:]...)
	return appendNumbers(b, w.Units[:]...)
}

func appendStored(b []byte, h, width int64, s meter.Stored) []byte {
	return appendNumbers(b, h, width, s.Records, s.Size.Values, s.Size.Names)
}

func appendNumbers(b []byte, numbers ...int64) []byte {
	for _, n := range numbers {
		b = append(strconv.AppendInt(b, n, 10), ' ')
	}
	return b
}

// restoreChange adds a row of cat_cost to a meter.
func (t *table) restoreChange(change string) error {
	fields := strings.Fields(change)
	numbers := make([]int64, len(fields))
	for i, f := range fields {
		var err error
		if numbers[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return err
		}
	}
	if len(numbers) < writtenNumbers || (len(numbers)-writtenNumbers)%storedNumbers != 0 {
		return fmt.Errorf("a row of %d numbers", len(numbers))
	}
	w := meter.Written{Requests: numbers[0], Records: numbers[1]}
	copy(w.Bytes[:], numbers[2:])
	copy(w.Units[:], numbers[2+metering.Rules:])
	t.meter.RestoreWritten(w)
	for n := numbers[writtenNumbers:]; len(n) > 0; n = n[storedNumbers:] {
		t.meter.RestoreStored(n[0], n[1], meter.Stored{Records: n[2], Size: metering.Size{Values: n[3], Names: n[4]}})
	}
	return nil
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
	if err := db.logMeters(c); err != nil {
		return err
	}
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
		state, _ := t.meter.State(now, func(int64, int64, meter.Stored) {})
		if err == nil {
			err = save(t.id, state)
		}
		if t.own.meterRows > spareMeterRows {
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
	// A row of all hours would be large.
	const hoursPerRow = 1000
	t.own.summed = 0
	var stored []byte
	n := 0
	flush := func(change []byte) {
		if err == nil {
			err = addMeterRow(app, t.id, change)
		}
		t.own.summed++
		n = 0
	}
	nothing := appendWritten(nil, &meter.Written{})
	_, written := t.meter.State(now, func(h, width int64, s meter.Stored) {
		if n == 0 {
			stored = append(stored[:0], nothing...)
		}
		stored = appendStored(stored, h, width, s)
		if n++; n == hoursPerRow {
			flush(stored)
		}
	})
	if n > 0 {
		flush(stored)
	}
	flush(appendWritten(nil, &written))
	if err != nil {
		app.Abort()
		return err
	}
	return app.Close()
}

// noteSummed notes that a transaction that saved the meters has ended well.
func (db *DB) noteSummed() {
	db.noteLogged()
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
	err = db.each(ctx, "SELECT table_id, change FROM cat_cost", func(c []duck.Column, i int) error {
		t := byID[c[0].Int64(i)]
		if t == nil {
			return nil
		}
		t.own.meterRows++
		return t.restoreChange(c[1].String(i))
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
