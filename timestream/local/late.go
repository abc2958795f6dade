// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"math"
	"slices"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// fillProbe puts record keys into a temporary table on the writer's connection. Joined with a table of samples it deletes the rows of many
// keys in one statement; the joins prune by the ranges of both columns, so recent keys touch recent row groups only.
func fillProbe(c *duck.Conn, keys []recordKey) error {
	if err := c.Exec("CREATE OR REPLACE TEMP TABLE probe (sid BIGINT, t BIGINT)"); err != nil {
		return err
	}
	app, err := duck.NewTempAppender(c, "probe")
	if err != nil {
		return err
	}
	for _, k := range keys {
		app.SetInt64(0, k.sid)
		app.SetInt64(1, k.time)
		if err := app.EndRow(); err != nil {
			app.Abort()
			return err
		}
	}
	return app.Close()
}

// lookUp finds what the table holds for the keys of the late records.
func (tx *tableTx) lookUp(w *writer) error {
	for k := range sampleKinds {
		var keys []recordKey
		for key, have := range tx.pending {
			if have.kind == k && !have.known {
				keys = append(keys, key)
			}
		}
		if len(keys) == 0 {
			continue
		}
		if err := tx.fetch(w, k, keys); err != nil {
			return err
		}
		for _, key := range keys {
			tx.pending[key].known = true
		}
	}
	return nil
}

// fetch looks keys up in the parts that may have records of their times.
func (tx *tableTx) fetch(w *writer, k kind, keys []recordKey) error {
	slices.SortFunc(keys, compareKeys)
	first, last := bounds(keys)
	own := &tx.t.own
	var aside []search
	for _, p := range own.settled[k] {
		if !p.overlaps(first, last) {
			continue
		}
		here := p.among(keys)
		if len(here) == 0 {
			continue
		}
		if first, last := bounds(here); p.remembers(first, last, w.db.cfg.rewrite.windowRows) && w.windows.follow(w.db, tx.t, p, first, last) {
			done, err := tx.recall(w, p, here)
			if err != nil {
				return err
			}
			if done {
				continue
			}
		}
		aside = append(aside, p.searches(here, laneCount())...)
	}
	wait := w.lanes.start(tx, aside)
	var list []found
	var err error
	if live := own.live[k]; live != nil && live.overlaps(first, last) {
		for _, s := range live.searches(live.among(keys), 1) {
			if list, err = tx.search(w.db, w.conn.Query, &s, list); err != nil {
				break
			}
		}
	}
	settled, serr := wait()
	for _, f := range append(list, settled...) {
		have := tx.pending[f.key]
		have.stored, have.ver, have.bits, have.weight = true, f.ver, f.bits, f.weight
	}
	return errors.Join(err, serr)
}

// deleteProbedSQL deletes the records of a part whose keys are in the probe.
func (t *table) deleteProbedSQL(p *part) string {
	return "DELETE FROM " + t.partTable(p) + " v USING temp.probe p WHERE " + p.keyCondition("p")
}

// storedBits is the value of a stored record as a mark holds it.
func (db *DB) storedBits(c *duck.Column, k kind, i int) uint64 {
	switch k {
	case kindDouble:
		return math.Float64bits(readDouble(c.Float64(i)))
	case kindVarchar:
		key, _ := db.hash.sum(nil, tagAttribute, "", c.String(i))
		return key[0]
	case kindBoolean:
		if c.Bool(i) {
			return 1
		}
		return 0
	}
	return uint64(c.Int64(i))
}

func (tx *tableTx) storedAttributes(db *DB, cols []duck.Column, i int) (bits uint64, w weight) {
	var sum seriesKey
	var buf []byte
	for a := range cols {
		if cols[a].IsNull(i) {
			continue
		}
		v := attrValue{name: tx.t.own.schema.attrs[a].name, kind: tx.t.own.schema.attrs[a].kind}
		if v.kind == kindVarchar {
			v.str = cols[a].String(i)
		} else {
			v.bits = db.storedBits(&cols[a], v.kind, i)
		}
		buf = db.addValue(&sum, &v, buf)
		w.add(weight{values: uint32(v.size()), names: uint32(len(v.name))})
	}
	return sum[0], w
}

// writePending writes the late records, and those that replace stored ones after deleting these.
func (tx *tableTx) writePending(w *writer) error {
	var replaced [sampleKinds][]recordKey
	var rows [sampleKinds][]row
	for key, have := range tx.pending {
		if !have.write {
			continue
		}
		if have.stored {
			replaced[have.kind] = append(replaced[have.kind], key)
		}
		rows[have.kind] = append(rows[have.kind], row{key.sid, have.rec})
	}
	tx.replaced = replaced
	for k := range sampleKinds {
		if len(replaced[k]) > 0 {
			if err := tx.deleteReplaced(w, k); err != nil {
				return err
			}
		}
		if err := tx.writeRows(w.conn, k, rows[k]); err != nil {
			return err
		}
	}
	return nil
}

func (tx *tableTx) deleteReplaced(w *writer, k kind) error {
	keys := tx.replaced[k]
	w.windows.replaced(tx.t, keys)
	if err := fillProbe(w.conn, keys); err != nil {
		return err
	}
	first, last := bounds(keys)
	for _, p := range tx.t.own.parts(k) {
		if p.overlaps(first, last) {
			if err := w.conn.Exec(tx.t.deleteProbedSQL(p)); err != nil {
				return err
			}
		}
	}
	return nil
}
