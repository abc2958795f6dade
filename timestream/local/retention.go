// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// DeleteExpired deletes the rows that are older than their table's memory and magnetic retention together, and the series
// that have no others. Queries do not see them anyway; this frees their space. It runs every Config.RetentionEvery, one
// table at a time between the writes. Dimensions and measure names stay: the table keeps its columns.
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
			var live liveSeries
			err := db.writer.control(ctx, func(c *duck.Conn) (err error) {
				live, err = t.deleteExpired(c, t.props.Load().oldest(db.now()))
				return err
			}, func() { t.keep(live) })
			if err != nil {
				return fmt.Errorf("%s.%s: %w", d, name, err)
			}
		}
	}
	return nil
}

// liveSeries is a table's index without the series that have gone.
type liveSeries struct {
	series map[seriesKey]uint32
	marks  []mark
}

// deleteExpired deletes rows and returns what the index is to be once that is committed, nothing when it stays.
func (t *table) deleteExpired(c *duck.Conn, oldest int64) (liveSeries, error) {
	own := &t.own
	if t.dropped.Load() || oldest <= 0 {
		return liveSeries{}, nil
	}
	for _, k := range own.schema.kinds {
		if err := c.Exec(fmt.Sprintf("DELETE FROM %s WHERE t < %d", t.sampleTable(k), oldest)); err != nil {
			return liveSeries{}, err
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
		return liveSeries{}, nil
	}
	if err := fillProbe(c, gone); err != nil {
		return liveSeries{}, err
	}
	if err := c.Exec(fmt.Sprintf("DELETE FROM %s s USING temp.probe p WHERE s.sid = p.sid", t.seriesTable())); err != nil {
		return liveSeries{}, err
	}
	n := len(own.marks) - len(gone)
	live := liveSeries{make(map[seriesKey]uint32, n), make([]mark, 0, n)}
	for key, slot := range own.series {
		if m := own.marks[slot]; m.time >= oldest {
			live.series[key] = uint32(len(live.marks))
			live.marks = append(live.marks, m)
		}
	}
	return live, nil
}

// keep makes live the table's index, unless it is empty-handed.
func (t *table) keep(live liveSeries) {
	if live.series != nil {
		t.own.series, t.own.marks = live.series, live.marks
		t.countSeries()
		t.spans.reset(t)
	}
}
