// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// DeleteExpired deletes the rows that are older than their table's memory and magnetic retention together, and the series
// that have no others. Queries do not see them anyway; this frees their space. It runs every Config.RetentionEvery, one
// table at a time between the writes. Dimensions and measure names stay, each with the other: a table has a column for every dimension
// that was ever written, and a measure the dimensions that were seen with it (Developer Guide, data modeling).
func (db *DB) DeleteExpired(ctx context.Context) error {
	for _, d := range db.Databases() {
		names, err := db.Tables(d)
		if err != nil {
			continue // deleted meanwhile
		}
		for _, name := range names {
			t, _ := db.cat.table(d, name)
			if t == nil {
				continue
			}
			var e expiry
			err := db.writer.control(ctx, func(c *duck.Conn) (err error) {
				e, err = t.deleteExpired(c, t.props.Load().oldest(db.now()))
				return err
			}, func() {
				t.expired(e)
				db.writer.windows.forget(t)
			})
			if err != nil {
				return fmt.Errorf("%s.%s: %w", d, name, err)
			}
		}
	}
	return nil
}

// expiry is what a table's index and parts are to be once the deletion is committed.
type expiry struct {
	oldest int64
	// series and marks are those without the series that have gone; nil when none has.
	series map[seriesKey]uint32
	marks  []mark
	// settled are the parts, but for the live ones.
	settled [sampleKinds][]*part
	// kept are dimensions of measures that have been written down.
	kept []keptDimensions
}

// keptDimensions are the dimensions of a measure as cat_dimensions has them.
type keptDimensions struct {
	measure *measure
	dims    [2]uint64
}

// deleteExpired deletes rows and returns what is to be once that is committed.
func (t *table) deleteExpired(c *duck.Conn, oldest int64) (expiry, error) {
	own := &t.own
	if t.dropped.Load() || oldest <= 0 {
		return expiry{settled: own.settled}, nil
	}
	e := expiry{oldest: oldest}
	for _, k := range own.schema.kinds {
		if err := t.expireParts(c, k, &e); err != nil {
			return expiry{}, err
		}
	}
	// No record is newer than its series' mark, so those that are left have none. Should the retention grow again, a record
	// of such a time begins the series anew.
	var gone []recordKey
	for i := range own.marks {
		if m := &own.marks[i]; m.time < oldest {
			gone = append(gone, recordKey{sid: m.sid})
		}
	}
	if len(gone) == 0 {
		return e, nil
	}
	if err := t.keepDimensions(c, &e); err != nil {
		return expiry{}, err
	}
	if err := fillProbe(c, gone); err != nil {
		return expiry{}, err
	}
	if err := c.Exec(fmt.Sprintf("DELETE FROM %s s USING temp.probe p WHERE s.sid = p.sid", t.seriesTable())); err != nil {
		return expiry{}, err
	}
	n := len(own.marks) - len(gone)
	e.series, e.marks = make(map[seriesKey]uint32, n), make([]mark, 0, n)
	for key, slot := range own.series {
		if m := own.marks[slot]; m.time >= oldest {
			e.series[key] = uint32(len(e.marks))
			e.marks = append(e.marks, m)
		}
	}
	return e, nil
}

// keepDimensions writes down which dimensions the measures have been seen with, as far as only their series tell until now.
func (t *table) keepDimensions(c *duck.Conn, e *expiry) error {
	var sql strings.Builder
	for i, m := range t.own.schema.measures {
		k := keptDimensions{m, [2]uint64{m.dims[0].Load(), m.dims[1].Load()}}
		if k.dims == m.kept {
			continue
		}
		e.kept = append(e.kept, k)
		fmt.Fprintf(&sql, "DELETE FROM cat_dimensions WHERE table_id = %[1]d AND measure = %[2]d; INSERT INTO cat_dimensions VALUES (%[1]d, %[2]d, %[3]d, %[4]d);", t.id, i, int64(k.dims[0]), int64(k.dims[1]))
	}
	if sql.Len() == 0 {
		return nil
	}
	return c.Exec(sql.String())
}

// expireParts deletes the expired rows of a kind: from the parts that are not sorted, where they are together, one by one. A
// run of which all has expired is dropped; from another the rows would come out everywhere, so it gets a floor, below which
// nobody sees any, and is rewritten when half of it is below.
func (t *table) expireParts(c *duck.Conn, k kind, e *expiry) error {
	own := &t.own
	building := func(p *part) bool {
		return own.building != nil && slices.ContainsFunc(own.building.inputs, func(in *part) bool { return in.id == p.id })
	}
	var sql strings.Builder
	changed := false
	for _, p := range own.parts(k) {
		switch {
		case p.first >= e.oldest:
		case p.state != partRun:
			fmt.Fprintf(&sql, "DELETE FROM %s WHERE t < %d;", t.partTable(p), e.oldest)
		case p.last < e.oldest && !building(p):
			sql.WriteString(t.dropPartSQL(p))
			changed = true
			continue
		case p.floor < e.oldest:
			raised := *p
			raised.floor = e.oldest
			p, changed = &raised, true
			sql.WriteString(t.updatePartSQL(p))
		}
		if p.state != partLive {
			e.settled[k] = append(e.settled[k], p)
		}
	}
	if changed {
		sql.WriteString(t.viewSQL(k, append(append([]*part(nil), e.settled[k]...), own.live[k]), own.schema.attrs))
	}
	if sql.Len() == 0 {
		return nil
	}
	return c.Exec(sql.String())
}

// expired makes e what is there.
func (t *table) expired(e expiry) {
	own := &t.own
	own.settled = e.settled
	if own.building != nil {
		own.building.floor = max(own.building.floor, e.oldest)
	}
	if e.series != nil {
		own.series, own.marks = e.series, e.marks
		for _, k := range e.kept {
			k.measure.kept = k.dims
		}
		t.countSeries()
		t.spans.reset(t)
	}
}
