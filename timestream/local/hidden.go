// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// The service's reads are eventually consistent (Developer Guide, writes), and what goes to the magnetic store is seen within six
// hours (Developer Guide, data-ingest). With Config.VisibilityDelay, Config.MagneticVisibilityDelay or record.Request.Hide a record
// that is stored is not seen until its time. It is on disk all the same, conflicts with it are conflicts, and the time of its
// appearance is written down in the transaction that stores it (cat_hidden), so that a restart changes nothing.
//
// An update of a record that is seen is seen at once: to hide it would take away the record that was there. An update of one that
// is hidden appears with it. Both are what a client of the service may meet.

// MaxVisibilityDelay bounds how long a record is hidden: less than any retention, so that no record expires unseen.
const MaxVisibilityDelay = 24 * time.Hour

// forgetHiddenEvery is how often the entries of records that are seen by now are deleted.
const forgetHiddenEvery = 10 * time.Second

// hiddenRow is a record that is not seen before until.
type hiddenRow struct{ sid, time, until int64 }

// hiddenUntil is a time, in nanoseconds, from which on no record of a table is hidden; zero when none ever was.
type hiddenUntil struct{ ns atomic.Int64 }

// raise makes it at least ns. The writer alone calls it.
func (h *hiddenUntil) raise(ns int64) {
	if ns > h.ns.Load() {
		h.ns.Store(ns)
	}
}

// visibleFrom tells from when on the records of a request are seen, those of the memory store and those of the magnetic store;
// zero means at once.
func (db *DB) visibleFrom(now time.Time, hide time.Duration) (memory, magnetic int64) {
	at := func(d time.Duration) int64 {
		if d <= 0 {
			return 0
		}
		return now.Add(min(d, MaxVisibilityDelay)).UnixNano()
	}
	d := max(hide, db.cfg.VisibilityDelay)
	return at(d), at(max(d, db.cfg.MagneticVisibilityDelay))
}

// hide notes when a record that is new is seen.
func (tx *tableTx) hide(j *writeJob, sid int64, p *prepared) {
	until := j.memoryFrom
	if p.late {
		until = j.magneticFrom
	}
	if until > 0 {
		tx.hidden = append(tx.hidden, hiddenRow{sid, p.time, until})
	}
}

// writeHidden writes down what is hidden. Readers hide it from now on, so that none finds it between the commit and the word of it.
func (tx *tableTx) writeHidden(w *writer) error {
	if len(tx.hidden) == 0 {
		return nil
	}
	app, err := duck.NewAppender(w.conn, "cat_hidden")
	if err != nil {
		return err
	}
	for _, h := range tx.hidden {
		app.SetInt64(0, tx.t.id)
		app.SetInt64(1, h.sid)
		app.SetInt64(2, h.time)
		app.SetInt64(3, h.until)
		if err := app.EndRow(); err != nil {
			app.Abort()
			return err
		}
		tx.t.hidden.raise(h.until)
	}
	w.db.hiddenRecords.Add(int64(len(tx.hidden)))
	return app.Close()
}

// hides is the condition that a record x of the table is seen at a time; empty when all are.
func (t *table) hides(now time.Time) string {
	ns := now.UnixNano()
	if t.hidden.ns.Load() <= ns {
		return ""
	}
	return fmt.Sprintf("NOT EXISTS (SELECT 1 FROM cat_hidden h WHERE h.table_id = %d AND h.until > %d AND h.sid = x.sid AND h.t = x.t)", t.id, ns)
}

// loadHidden reads until when records of each table are hidden.
func (db *DB) loadHidden(ctx context.Context) error {
	byID := map[int64]*table{}
	for _, d := range db.cat.databases {
		for _, t := range d.tables {
			byID[t.id] = t
		}
	}
	return db.each(ctx, "SELECT table_id, max(until), count(*) FROM cat_hidden GROUP BY table_id", func(c []duck.Column, i int) error {
		if t := byID[c[0].Int64(i)]; t != nil {
			t.hidden.raise(c[1].Int64(i))
		}
		db.hiddenRecords.Add(c[2].Int64(i))
		return nil
	})
}

// ForgetHidden deletes what is noted about records that were hidden and are seen by now. It runs every few seconds, between the writes.
func (db *DB) ForgetHidden(ctx context.Context) error {
	if db.hiddenRecords.Load() == 0 {
		return nil
	}
	return db.writer.control(ctx, func(c *duck.Conn) error {
		if err := c.Exec("DELETE FROM cat_hidden WHERE until <= " + strconv.FormatInt(db.now().UnixNano(), 10)); err != nil {
			return err
		}
		return db.each(ctx, "SELECT count(*) FROM cat_hidden", func(c []duck.Column, i int) error {
			db.hiddenRecords.Store(c[0].Int64(i))
			return nil
		})
	}, nil)
}
