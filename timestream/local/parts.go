// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// The records of one kind are in several physical tables, the parts. One of them is live: it takes all new records, in the
// order of arrival. When it has grown large it is sealed, another takes its place, and it is rewritten into a run in the
// background (rewrite.go). Readers see one view over all parts, which is replaced in the transaction that changes them; so
// a statement, planned and run in one snapshot, sees each record once whatever happens to the parts.

type partState string

const (
	// partLive takes new records; partSealed takes none any more, but may lose some to updates and retention, as may
	// partRun, which is sorted and encoded. partBuilding is a run that is not finished: no reader sees it.
	partLive     partState = "live"
	partSealed   partState = "sealed"
	partRun      partState = "run"
	partBuilding partState = "building"
)

// part is one physical table. It belongs to the writer goroutine; what the rewrite needs of one does not change.
type part struct {
	id    int64
	kind  kind
	state partState
	// columns is how many of the table's attributes it has columns for.
	columns int
	// unit is the number of nanoseconds in a unit of its times.
	unit int64
	// rows is how many records were written to it; first and last bound their times.
	rows, first, last int64
	// floor is the time before which its records have expired; they go with the part or when it is rewritten.
	floor int64
}

func newPart(id int64, k kind) *part {
	return &part{id: id, kind: k, state: partLive, unit: 1, first: math.MaxInt64, last: math.MinInt64, floor: math.MinInt64}
}

// overlaps tells whether the part may have records at times from first to last.
func (p *part) overlaps(first, last int64) bool { return p.first <= last && p.last >= first }

// grown notes a record that is about to be written.
func (p *part) grown(at int64) {
	p.rows++
	p.first, p.last = min(p.first, at), max(p.last, at)
}

func (t *table) physical(suffix string) string {
	return "t" + strconv.FormatInt(t.id, 10) + "_" + suffix
}

// partTable is the physical table of a part.
func (t *table) partTable(p *part) string {
	return t.physical(kindInfo[p.kind].lower + "_p" + strconv.FormatInt(p.id, 10))
}

// partMarks holds the first and the last time of each series of a run.
func (t *table) partMarks(p *part) string { return t.partTable(p) + "_marks" }

// sampleView is what readers read: sid, t, ver, and v or a1, a2, …
func (t *table) sampleView(k kind) string { return t.physical(kindInfo[k].lower + "_all") }

// sampleTable is the live part, to which records are written.
func (t *table) sampleTable(k kind) string { return t.partTable(t.own.live[k]) }

// parts are all parts of a kind that readers see.
func (s *tableState) parts(k kind) []*part {
	if s.live[k] == nil {
		return nil
	}
	return append(append([]*part(nil), s.settled[k]...), s.live[k])
}

// DuckDB takes 0.0 and -0.0 for one where it finds that values repeat, so of a part with both one may come back as the other. NaN, which is
// no value of a record, stands for -0.0 where doubles are kept as such. In a run -0.0 is beside no 0.0.
func decodeZero(column string) string {
	return "CASE WHEN isnan(" + column + ") THEN '-0.0'::DOUBLE ELSE " + column + " END"
}

// storedDouble is what is kept of a double outside runs, readDouble the double again, whichever way it was kept.
func storedDouble(v float64) float64 {
	if v == 0 && math.Signbit(v) {
		return math.NaN()
	}
	return v
}

func readDouble(v float64) float64 {
	if math.IsNaN(v) {
		return math.Copysign(0, -1)
	}
	return v
}

// A double in a run is three columns: e says how it is kept. DuckDB has no compression for doubles in blocks of our size,
// and compresses integers well: counters by their differences. Most of what is measured is a whole number or has a few
// decimals, and is kept as n = v·10^e; the encoding is used for a value only if its decoding gives the same bits.
const (
	decodeDouble = "CASE e WHEN 0 THEN n::DOUBLE WHEN 3 THEN n / 1000 WHEN 6 THEN n / 1000000 ELSE d END"
	// encodeScale is e of v, encodeDouble n and d.
	encodeScale = "(CASE WHEN v = 0 AND signbit(v) THEN -1 WHEN v = TRY_CAST(v AS BIGINT)::DOUBLE THEN 0" +
		" WHEN TRY_CAST(round(v * 1000) AS BIGINT) / 1000 = v THEN 3 WHEN TRY_CAST(round(v * 1000000) AS BIGINT) / 1000000 = v THEN 6 ELSE -1 END)::TINYINT"
	encodeDouble = "CASE e WHEN 0 THEN TRY_CAST(v AS BIGINT) WHEN 3 THEN TRY_CAST(round(v * 1000) AS BIGINT) WHEN 6 THEN TRY_CAST(round(v * 1000000) AS BIGINT) ELSE 0 END AS n" +
		", e, CASE WHEN e < 0 THEN v END AS d"
)

// encoded tells whether the part's values are kept in three columns.
func (p *part) encoded() bool {
	return p.kind == kindDouble && (p.state == partRun || p.state == partBuilding)
}

// value is the column of values of a part of single-measure records, decoded.
func (p *part) value() string {
	if p.encoded() {
		return decodeDouble
	}
	if p.kind == kindDouble {
		return decodeZero("v")
	}
	return "v"
}

// time is the column of times in nanoseconds.
func (p *part) time() string {
	if p.unit == 1 {
		return "t"
	}
	return "t * " + strconv.FormatInt(p.unit, 10)
}

// unexpired is the condition that leaves out what is below the floor, with its keyword, or nothing.
func (p *part) unexpired(keyword string) string {
	if p.floor <= p.first {
		return ""
	}
	return fmt.Sprintf(" %s t >= %d", keyword, ceilDiv(p.floor, p.unit))
}

func ceilDiv(a, b int64) int64 {
	q := a / b
	if a%b > 0 {
		q++
	}
	return q
}

// columnsSQL declares the columns of a new part.
func (p *part) columnsSQL(attrs []attribute) string {
	var b strings.Builder
	b.WriteString("sid BIGINT, t BIGINT, ver BIGINT")
	switch {
	case p.encoded():
		b.WriteString(", n BIGINT, e TINYINT, d DOUBLE")
	case p.kind != kindMulti:
		b.WriteString(", v " + kindInfo[p.kind].duck)
	default:
		for i := range p.columns {
			b.WriteString(", " + attrColumn(i) + " " + kindInfo[attrs[i].kind].duck)
		}
	}
	return b.String()
}

// viewSQL makes the view over parts.
func (t *table) viewSQL(k kind, parts []*part, attrs []attribute) string {
	var b strings.Builder
	b.WriteString("CREATE OR REPLACE VIEW " + t.sampleView(k) + " AS ")
	for i, p := range parts {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		b.WriteString("SELECT sid, " + p.time() + " AS t, ver")
		if k != kindMulti {
			b.WriteString(", " + p.value() + " AS v")
		} else {
			for i, a := range attrs {
				switch {
				case i < p.columns && a.kind == kindDouble:
					b.WriteString(", " + decodeZero(attrColumn(i)) + " AS " + attrColumn(i))
				case i < p.columns:
					b.WriteString(", " + attrColumn(i))
				default:
					b.WriteString(", NULL::" + kindInfo[a.kind].duck + " AS " + attrColumn(i))
				}
			}
		}
		b.WriteString(" FROM " + t.partTable(p) + p.unexpired("WHERE"))
	}
	b.WriteString(";")
	return b.String()
}

func (t *table) insertPartSQL(p *part) string {
	return fmt.Sprintf("INSERT INTO cat_parts VALUES (%d, '%s', %d, '%s', %d, %d, %d, %d, %d, %d);",
		t.id, kindInfo[p.kind].lower, p.id, p.state, p.columns, p.unit, p.rows, p.first, p.last, p.floor)
}

// updatePartSQL writes down what has become of a part.
func (t *table) updatePartSQL(p *part) string {
	return t.forgetPartSQL(p) + t.insertPartSQL(p)
}

func (t *table) forgetPartSQL(p *part) string {
	return fmt.Sprintf("DELETE FROM cat_parts WHERE table_id = %d AND id = %d;", t.id, p.id)
}

// dropPartSQL removes a part.
func (t *table) dropPartSQL(p *part) string {
	sql := t.forgetPartSQL(p) + "DROP TABLE " + t.partTable(p) + ";"
	if p.state == partRun || p.state == partBuilding {
		sql += "DROP TABLE " + t.partMarks(p) + ";"
	}
	return sql
}

// dropSQL removes all parts of the table.
func (t *table) dropSQL() string {
	own := &t.own
	var b strings.Builder
	for _, k := range own.schema.kinds {
		b.WriteString("DROP VIEW " + t.sampleView(k) + ";")
		for _, p := range own.parts(k) {
			b.WriteString(t.dropPartSQL(p))
		}
	}
	if own.building != nil {
		b.WriteString(t.dropPartSQL(own.building.out))
	}
	return b.String()
}

// sealFull seals the live parts of the table that have grown large. It runs between two transactions. While pages of a
// result are being fetched it is put off for a while: DuckDB folds no log into its file while a statement is open that
// began before a table was created.
func (w *writer) sealFull(t *table) {
	if t.dropped.Load() {
		return
	}
	for _, k := range t.own.schema.kinds {
		p := t.own.live[k]
		limit := w.db.cfg.rewrite.sealRows
		if p.rows < limit || p.rows < 4*limit && w.db.queries.paging() {
			continue
		}
		if err := w.seal(t, k); err != nil {
			w.db.log.Warn("a full part could not be sealed; it goes on growing", "database", t.database, "table", t.name, "err", err)
			return
		}
		w.db.rewriter.wakeUp()
	}
}

// seal puts an empty live part in the place of the present one.
func (w *writer) seal(t *table, k kind) error {
	own := &t.own
	sealed, live := *own.live[k], newPart(own.nextPart, k)
	own.nextPart++
	sealed.state = partSealed
	settled := append(append([]*part(nil), own.settled[k]...), &sealed)
	attrs := own.schema.attrs
	if k == kindMulti {
		sealed.columns, live.columns = len(attrs), len(attrs)
	}
	err := w.inTx(func() error {
		return w.conn.Exec("CREATE TABLE " + t.partTable(live) + " (" + live.columnsSQL(attrs) + ");" +
			t.updatePartSQL(&sealed) + t.insertPartSQL(live) +
			t.viewSQL(k, append(append([]*part(nil), settled...), live), attrs))
	})
	if err != nil {
		return err
	}
	own.settled[k], own.live[k] = settled, live
	return nil
}

// loadParts reads which parts there are, and drops those that were being built. A file from before there were parts has one
// of each kind.
func (db *DB) loadParts(ctx context.Context, upgrade bool) error {
	byID := map[int64]*table{}
	for _, d := range db.cat.databases {
		for _, t := range d.tables {
			byID[t.id] = t
		}
	}
	var sql strings.Builder
	if upgrade {
		for _, t := range byID {
			sql.WriteString("DROP TABLE IF EXISTS " + t.physical("marks") + ";")
			for _, k := range t.own.schema.kinds {
				p := newPart(t.own.nextPart, k)
				t.own.nextPart++
				if k == kindMulti {
					p.columns = len(t.own.schema.attrs)
				}
				t.own.live[k] = p
				sql.WriteString("ALTER TABLE " + t.physical(kindInfo[k].lower) + " RENAME TO " + t.partTable(p) + ";" + t.insertPartSQL(p) + t.viewSQL(k, t.own.parts(k), t.own.schema.attrs))
			}
		}
		return db.writer.conn.Exec("BEGIN;" + sql.String() + "UPDATE cat_meta SET v = '" + formatVersion + "' WHERE k = 'format'; DELETE FROM cat_meta WHERE k = 'marks'; COMMIT")
	}
	err := db.each(ctx, "SELECT table_id, kind, id, state, columns, unit, n, first, last, floor FROM cat_parts ORDER BY id", func(c []duck.Column, i int) error {
		k, ok := kindFromLower(c[1].String(i))
		t := byID[c[0].Int64(i)]
		if !ok || t == nil {
			return fmt.Errorf("part %d of table %d has the unknown kind %s", c[2].Int64(i), c[0].Int64(i), c[1].String(i))
		}
		p := &part{id: c[2].Int64(i), kind: k, state: partState(c[3].String(i)), columns: int(c[4].Int64(i)), unit: c[5].Int64(i),
			rows: c[6].Int64(i), first: c[7].Int64(i), last: c[8].Int64(i), floor: c[9].Int64(i)}
		own := &t.own
		own.nextPart = max(own.nextPart, p.id+1)
		switch p.state {
		case partLive:
			p.rows, p.first, p.last = 0, math.MaxInt64, math.MinInt64 // counted by scanMarks
			if k == kindMulti {
				p.columns = len(own.schema.attrs)
			}
			own.live[k] = p
		case partBuilding:
			sql.WriteString(t.dropPartSQL(p))
		case partSealed, partRun:
			own.settled[k] = append(own.settled[k], p)
		default:
			return fmt.Errorf("part %d of table %d has the unknown state %s", p.id, t.id, p.state)
		}
		return nil
	})
	if err != nil || sql.Len() == 0 {
		return err
	}
	return db.writer.conn.Exec("BEGIN;" + sql.String() + "COMMIT")
}
