// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// SmallParts makes parts small, so that a test with few records has many. between, which may be nil, is called between two pieces of
// a rewrite, on its goroutine.
func (c *Config) SmallParts(sealRows, pieceRows int64, fanIn int, between func()) {
	c.rewrite = rewriteConfig{sealRows: sealRows, pieceRows: pieceRows, windowRows: max(4, sealRows/4), fanIn: fanIn, minFree: math.MaxInt64, retry: 30 * time.Second, between: between}
}

// CompactFrom makes the file smaller when that many of its blocks are free.
func (c *Config) CompactFrom(blocks int64) { c.rewrite.minFree = blocks }

// Compact lets the rewrite look whether the file can be made smaller.
func (db *DB) Compact() { db.rewriter.wakeUp() }

// Parts counts the parts of all tables by their state.
func (db *DB) Parts(t testing.TB) (sealed, runs, building int) {
	t.Helper()
	err := db.writer.between(context.Background(), func() {
		for _, d := range db.cat.databases {
			for _, t := range d.tables {
				for k := range t.own.settled {
					for _, p := range t.own.settled[k] {
						if p.state == partSealed {
							sealed++
						} else {
							runs++
						}
					}
				}
				if t.own.building != nil {
					building++
				}
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return sealed, runs, building
}

// SealAll seals the live parts that have records.
func (db *DB) SealAll(t testing.TB) {
	t.Helper()
	var failed error
	err := db.writer.between(context.Background(), func() {
		for _, d := range db.cat.databases {
			for _, t := range d.tables {
				for _, k := range t.own.schema.kinds {
					if t.own.live[k].rows > 0 && failed == nil {
						failed = db.writer.seal(t, k)
					}
				}
			}
		}
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	db.rewriter.wakeUp()
}

// AwaitRewritten waits until there is nothing left to rewrite.
func (db *DB) AwaitRewritten(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		idle := false
		err := db.writer.between(context.Background(), func() {
			idle = db.nextRewrite() == nil
			for _, d := range db.cat.databases {
				for _, t := range d.tables {
					idle = idle && t.own.building == nil
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if idle {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the rewrite does not end")
		}
		db.rewriter.wakeUp()
	}
}

// WithoutParts makes the file what the format before parts was. The database must be closed then.
func (db *DB) WithoutParts(t testing.TB) {
	t.Helper()
	err := db.writer.control(context.Background(), func(c *duck.Conn) error {
		sql := "DROP TABLE cat_parts; UPDATE cat_meta SET v = '" + formatWithoutParts + "' WHERE k = 'format';"
		for _, d := range db.cat.databases {
			for _, t := range d.tables {
				for _, k := range t.own.schema.kinds {
					sql += "DROP VIEW " + t.sampleView(k) + "; ALTER TABLE " + t.sampleTable(k) + " RENAME TO " + t.physical(kindInfo[k].lower) + ";"
				}
			}
		}
		return c.Exec(sql)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// SliceFrom makes statements by series run in slices of that many samples.
func (c *Config) SliceFrom(samples int64) { c.slice = samples }

// BetweenTransactions runs f on the writer goroutine, while the rewrite copies nothing either.
func (db *DB) BetweenTransactions(t testing.TB, f func()) {
	t.Helper()
	err := db.writer.between(context.Background(), func() {
		db.rewriter.piece.Lock()
		defer db.rewriter.piece.Unlock()
		f()
	})
	if err != nil {
		t.Error(err)
	}
}
