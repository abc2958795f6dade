// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// DuckDB appends every transaction to a log beside its file (fileName + ".wal") and touches what the file's header
// refers to in checkpoints alone, which fold the log into the file. When that happens is the writer's choice, between two
// transactions, never DuckDB's own: so a copy of both that is taken while checkpoints are held is what was committed at
// the moment the hold began, though writes go on.

// logSuffix is what DuckDB adds to the file's name for its log.
const logSuffix = ".wal"

// checkpoints decides when the log is folded into the file. All but its constants belong to the writer goroutine.
type checkpoints struct {
	dir, file string
	limit     int64
	// held are the copies that are being taken.
	held map[*Snapshot]struct{}
	// newLog tells that the log's file is to be created, or was and its directory entry is not yet on disk.
	newLog bool
	// notBefore is when to try again after a statement was in the way.
	notBefore time.Time
	// since is when the next one fell due, byRewrite and byStatement how often the rewrite or a statement was in its way.
	since                  time.Time
	byRewrite, byStatement int
	// asked tells that there is a reason besides the size of the log: space that has come free is there to be used after it.
	asked bool
	// short tells that the disk was too full for the last checkpoint that was due.
	short bool
}

func newCheckpoints(dir string, limit int64) checkpoints {
	return checkpoints{dir: dir, file: filepath.Join(dir, fileName), limit: limit, held: map[*Snapshot]struct{}{}, newLog: true}
}

// logSize is the size of the log, 0 when there is none.
func (c *checkpoints) logSize() int64 {
	info, err := os.Stat(c.file + logSuffix)
	if err != nil {
		return 0
	}
	return info.Size()
}

// syncNewLog makes sure, after a commit, that the log it went to is found after a loss of power: DuckDB syncs the file, but
// POSIX wants its directory synced as well before a new name is durable. It costs one fsync per checkpoint. When it fails
// the transaction is committed, yet must not be acknowledged, and memory does not follow it: only opening the file anew
// helps.
func (w *writer) syncNewLog() error {
	c := &w.checkpoints
	if !c.newLog {
		return nil
	}
	if err := syncDir(c.dir); err != nil {
		err = fmt.Errorf("sync the directory of the log: %w", err)
		w.db.invalidate(fmt.Errorf("the database in %s has to be opened anew: %w", w.db.cfg.Dir, err))
		return err
	}
	c.newLog = false
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkpointIfDue folds the log into the file when it is over its limit and nobody copies the two. It runs on the writer
// goroutine, outside transactions. What fails here was acknowledged and stays in the log.
func (w *writer) checkpointIfDue() {
	c, r := &w.checkpoints, w.db.rewriter
	size := c.logSize()
	if size < c.limit && !c.asked || w.db.usable.Err() != nil {
		r.due.Store(false)
		return
	}
	if len(c.held) > 0 {
		w.breakHolds(size)
	}
	if len(c.held) > 0 || !w.spaceFor(size) {
		r.due.Store(false)
		return
	}
	r.due.Store(true) // until it is made; the rewrite lets the writer come round again
	start := time.Now()
	if c.since.IsZero() {
		c.since = start
	}
	if start.Before(c.notBefore) {
		return
	}
	if !r.piece.TryLock() {
		c.byRewrite++
		return
	}
	defer r.piece.Unlock()
	if err := w.checkpoint(); err != nil {
		if blocked(err) {
			c.notBefore = start.Add(blockedFor)
			c.byStatement++
			return
		}
		r.due.Store(false)
		w.db.log.Error("checkpoint failed; what was acknowledged is in the log", "file", c.file, "log_bytes", size, "err", explain(c.dir, err))
		return
	}
	w.db.log.Debug("checkpoint", "log_bytes", size, "took", time.Since(start).Round(time.Millisecond),
		"waited", start.Sub(c.since).Round(time.Millisecond), "for_rewrite", c.byRewrite, "for_statements", c.byStatement)
	c.asked, c.since, c.byRewrite, c.byStatement = false, time.Time{}, 0, 0
	r.due.Store(false)
}

// blockedFor is how long to wait for a statement that is in the way.
const blockedFor = 100 * time.Millisecond

// blocked tells that a checkpoint has to wait for the end of a statement that began before a table was created or dropped: it
// may still read what the checkpoint would free.
func blocked(err error) bool {
	var de *duck.Error
	return errors.As(err, &de) && strings.HasPrefix(de.Text, "TransactionContext Error: Cannot CHECKPOINT")
}

// checkpoint folds the log into the file.
func (w *writer) checkpoint() error {
	// Whatever comes of it, the next transaction may find a new log.
	w.checkpoints.newLog = true
	err := w.conn.Exec("CHECKPOINT")
	if err != nil && !blocked(err) {
		w.db.noteFatal(err)
	}
	return err
}

// checkpointReserve is what a checkpoint may need beyond the size of the log, in bytes: the catalogue is written anew.
const checkpointReserve = 16 << 20

// spaceFor tells whether the disk has room for a checkpoint of a log of that size. A checkpoint that runs out of space ends
// the database (DuckDB refuses everything afterwards), while a log that cannot grow only fails writes until there is space.
func (w *writer) spaceFor(size int64) bool {
	c := &w.checkpoints
	free, err := freeBytes(c.dir)
	if err != nil {
		return true // the checkpoint will tell
	}
	enough := free >= size+checkpointReserve
	if c.short == enough {
		c.short = !enough
		if c.short {
			w.db.log.Error("the disk is too full to fold the log into the file: free space; until then the log grows, and once the disk is full writes fail",
				"dir", c.dir, "free_bytes", free, "wanted_bytes", size+checkpointReserve)
		} else {
			w.db.log.Info("there is space for checkpoints again", "dir", c.dir, "free_bytes", free)
		}
	}
	return enough
}

// freeBytes is what the disk of a directory has left for this process.
func freeBytes(dir string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(fs.Bavail) * fs.Bsize, nil //nolint:unconvert // Bsize has another type on other systems
}

// breakHolds ends the copies that have let the log grow beyond Config.SnapshotMaxLog.
func (w *writer) breakHolds(size int64) {
	limit := int64(w.db.cfg.SnapshotMaxLog)
	for s := range w.checkpoints.held {
		if size-s.log > limit {
			s.fail(fmt.Errorf("the copy took so long that the log has grown by more than %v (%s) since it began; read it faster, or raise the limit",
				&w.db.cfg.SnapshotMaxLog, w.db.cfg.flag("snapshot.max-log")))
			delete(w.checkpoints.held, s)
		}
	}
}

// betweenJob is something that runs on the writer goroutine between two transactions.
type betweenJob struct {
	f    func()
	done chan struct{}
}

// between runs f on the writer goroutine between two transactions and waits for it.
func (w *writer) between(ctx context.Context, f func()) error {
	job := &betweenJob{f: f, done: make(chan struct{})}
	if err := w.enqueue(ctx, job); err != nil {
		return err
	}
	<-job.done
	return nil
}
