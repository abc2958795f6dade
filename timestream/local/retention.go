// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// DeleteExpired deletes the rows that are older than their table's memory and magnetic retention together. Queries do not
// see them anyway; this frees their space. It runs every Config.RetentionEvery, one table at a time between the writes.
// Series whose records have all expired stay in the index.
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
			err := db.writer.control(ctx, func(c *duck.Conn) error { return t.deleteExpired(c, t.props.Load().oldest(db.now())) }, nil)
			if err != nil {
				return fmt.Errorf("%s.%s: %w", d, name, err)
			}
		}
	}
	return nil
}

func (t *table) deleteExpired(c *duck.Conn, oldest int64) error {
	if t.dropped.Load() || oldest <= 0 {
		return nil
	}
	for _, k := range t.own.schema.kinds {
		if err := c.Exec(fmt.Sprintf("DELETE FROM %s WHERE t < %d", t.sampleTable(k), oldest)); err != nil {
			return err
		}
	}
	// A mark whose record is gone must not decide; should the retention grow again, such times are looked up.
	for i := range t.own.marks {
		if m := &t.own.marks[i]; m.time < oldest {
			m.known = false
		}
	}
	return nil
}
