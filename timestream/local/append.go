// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// What a transaction has decided (apply.go) is written down here: new columns, new series, and the rows, appended to the live parts.
// How updates replace stored rows is late.go's.

// write brings the decisions into the open transaction.
func (tx *tableTx) write(w *writer) error {
	if tx.schemaChanged {
		if err := tx.writeSchema(w.conn); err != nil {
			return err
		}
	}
	if err := tx.writeSeries(w.conn); err != nil {
		return err
	}
	for k := range tx.rows {
		if err := tx.writeRows(w.conn, kind(k), tx.rows[k]); err != nil {
			return err
		}
	}
	if len(tx.late) > 0 {
		if err := tx.lookUp(w); err != nil {
			return err
		}
		for _, l := range tx.late {
			p := &l.job.recs[l.i]
			tx.settleLate(l.job, l.i, l.slot, tx.pending[recordKey{tx.t.own.marks[l.slot].sid, p.time}])
		}
	}
	if err := tx.writePending(w); err != nil {
		return err
	}
	return tx.writeHidden(w)
}

func (t *table) seriesTable() string { return t.physical("series") }
func dimColumn(i int) string         { return "d" + strconv.Itoa(i+1) }
func attrColumn(i int) string        { return "a" + strconv.Itoa(i+1) }

// writeSchema adds what is new in the schema to the catalogue and to the physical tables.
func (tx *tableTx) writeSchema(c *duck.Conn) error {
	t, now, old := tx.t, &tx.t.own.schema, &tx.before
	var sql strings.Builder
	for i := len(old.dims); i < len(now.dims); i++ {
		fmt.Fprintf(&sql, "ALTER TABLE %s ADD COLUMN %s VARCHAR;", t.seriesTable(), dimColumn(i))
		writeColumn(&sql, t.id, "dimension", i, now.dims[i], "varchar")
	}
	for i := len(old.kinds); i < len(now.kinds); i++ {
		k := now.kinds[i]
		p := newPart(t.own.nextPart, k)
		t.own.nextPart++
		t.own.live[k] = p
		sql.WriteString("CREATE TABLE " + t.partTable(p) + " (" + p.columnsSQL(nil) + ");" + t.insertPartSQL(p) + t.viewSQL(k, t.own.parts(k), nil))
		writeColumn(&sql, t.id, "kind", i, "", kindInfo[k].lower)
	}
	for i := len(old.attrs); i < len(now.attrs); i++ {
		a := now.attrs[i]
		fmt.Fprintf(&sql, "ALTER TABLE %s ADD COLUMN %s %s;", t.sampleTable(kindMulti), attrColumn(i), kindInfo[a.kind].duck)
		writeColumn(&sql, t.id, "attribute", i, a.name, kindInfo[a.kind].lower)
	}
	if len(now.attrs) > len(old.attrs) {
		t.own.live[kindMulti].columns = len(now.attrs)
		sql.WriteString(t.viewSQL(kindMulti, t.own.parts(kindMulti), now.attrs))
	}
	if sql.Len() > 0 {
		if err := c.Exec(sql.String()); err != nil {
			return err
		}
	}
	if len(now.measures) == len(old.measures) {
		return nil
	}
	app, err := duck.NewAppender(c, "cat_measures")
	if err != nil {
		return err
	}
	for i := len(old.measures); i < len(now.measures); i++ {
		app.SetInt64(0, t.id)
		app.SetInt32(1, int32(i))
		app.SetString(2, now.measures[i].name)
		app.SetString(3, kindInfo[now.measures[i].kind].lower)
		if err := app.EndRow(); err != nil {
			app.Abort()
			return err
		}
	}
	return app.Close()
}

func writeColumn(sql *strings.Builder, table int64, role string, i int, name, typ string) {
	fmt.Fprintf(sql, "INSERT INTO cat_columns VALUES (%d, '%s', %d, %s, '%s');", table, role, i, literal(name), typ)
}

// literal quotes a string for DuckDB: the one way by which a text of a user reaches SQL.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func (tx *tableTx) writeSeries(c *duck.Conn) error {
	if len(tx.series) == 0 {
		return nil
	}
	own := &tx.t.own
	app, err := duck.NewAppender(c, tx.t.seriesTable())
	if err != nil {
		return err
	}
	set := make([]int64, len(own.schema.dims)) // the series that last set the column
	for _, s := range tx.series {
		app.SetInt64(0, s.sid)
		app.SetString(1, s.rec.measure)
		for _, dims := range [2][]record.Dimension{s.rec.common, s.rec.own} {
			for i := range dims {
				di := own.dims[dims[i].Name]
				app.SetString(2+di, dims[i].Value)
				set[di] = s.sid
			}
		}
		for di, sid := range set {
			if sid != s.sid {
				app.SetNull(2 + di)
			}
		}
		if err := app.EndRow(); err != nil {
			app.Abort()
			return err
		}
	}
	return app.Close()
}

func (tx *tableTx) writeRows(c *duck.Conn, k kind, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	app, err := duck.NewAppender(c, tx.t.sampleTable(k))
	if err != nil {
		return err
	}
	var set []int
	if k == kindMulti {
		set = make([]int, len(tx.t.own.schema.attrs))
	}
	live := tx.t.own.live[k]
	for n, r := range rows {
		p := r.rec
		live.grown(p.time)
		app.SetInt64(0, r.sid)
		app.SetInt64(1, p.time)
		app.SetInt64(2, p.ver)
		switch k {
		case kindMulti:
			for i := range p.values {
				v := &p.values[i]
				setValue(app, 3+v.column, v.kind, v.bits, v.str)
				set[v.column] = n + 1
			}
			for i := range set {
				if set[i] != n+1 {
					app.SetNull(3 + i)
				}
			}
		default:
			setValue(app, 3, k, p.bits, p.str)
		}
		if err := app.EndRow(); err != nil {
			app.Abort()
			return err
		}
	}
	return app.Close()
}

func setValue(app *duck.Appender, column int, k kind, bits uint64, str string) {
	switch k {
	case kindDouble:
		app.SetFloat64(column, storedDouble(math.Float64frombits(bits)))
	case kindVarchar:
		app.SetString(column, str)
	case kindBoolean:
		app.SetBool(column, bits == 1)
	default:
		app.SetInt64(column, int64(bits))
	}
}
