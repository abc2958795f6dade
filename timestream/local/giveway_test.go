// SPDX-License-Identifier: Apache-2.0

package local

import (
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// The rewrite waits for a checkpoint that is due, also when a statement is in its way, and goes on when it was made.
func TestRewriteGivesWay(t *testing.T) {
	db := openTwo(t, func(c *Config) { c.CheckpointLogSize = 64 << 10 })
	putMany(t, db, time.Now(), 100)
	reader, err := db.duck.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	// A statement that began before a table was dropped.
	open, err := reader.Read(t.Context(), "SELECT * FROM range(10000000)")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if !open.Next() {
		t.Fatal(open.Err())
	}
	if err := db.writer.control(t.Context(), func(c *duck.Conn) error { return c.Exec("CREATE TABLE passing (x INT); DROP TABLE passing") }, nil); err != nil {
		t.Fatal(err)
	}
	c := &db.writer.checkpoints
	if err := db.writer.between(t.Context(), func() { c.asked = true }); err != nil {
		t.Fatal(err)
	}
	r := db.rewriter
	waitFor(t, "the checkpoint that is due", r.due.Load)
	done := make(chan error, 1)
	go func() { done <- r.giveWay(t.Context()) }()
	waitFor(t, "a checkpoint that a statement was in the way of", func() bool {
		tried := 0
		if err := db.writer.between(t.Context(), func() { tried = c.byStatement }); err != nil {
			t.Fatal(err)
		}
		return tried > 1
	})
	select {
	case err := <-done:
		t.Fatalf("went on: %v", err)
	default:
	}
	open.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r.due.Load() || c.logSize() > 0 || r.waited == 0 {
		t.Errorf("due %t, log of %d bytes, waited %v", r.due.Load(), c.logSize(), r.waited)
	}
}
