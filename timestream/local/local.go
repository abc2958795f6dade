// SPDX-License-Identifier: Apache-2.0

// Package local is Amazon Timestream for LiveAnalytics on one machine: the Write and Query APIs, with the SDK's types,
// over a DuckDB file. It keeps the service's limits, ingestion window, versions and texts, and answers with the
// service's own errors where it cannot follow. What is supported is listed in README.md, how the code is laid out in
// INTERNALS.md.
//
// It leaves the wire protocol to package wire, and the meaning of SQL to internal/sqlplan.
package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tributary-project/tributary/timestream/local/batchload"
	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/meter"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
	"github.com/tributary-project/tributary/timestream/local/scheduled"
)

// DB is an open database. Its methods may be called by many goroutines at once; their errors are the SDK's types. What a
// WriteRecords acknowledged is on disk, and every Query that begins later sees it.
type DB struct {
	cfg      Config
	log      *slog.Logger
	now      func() time.Time
	hash     hasher
	duck     *duck.Database
	lock     *os.File
	buckets  *bucket.Store
	cat      catalogue
	account  atomic.Pointer[accountSettings]
	quotas   *quotas
	writer   *writer
	meters   meters
	queries  *queries
	loads    *batchload.Tasks
	metrics  *metrics
	jobs     sync.Pool
	reqs     record.Pool
	rewriter *rewriter
	// scheduled are the scheduled queries.
	scheduled *scheduled.Queries
	// hiddenRecords is the number of entries in cat_hidden, or more.
	hiddenRecords atomic.Int64

	// usable ends, with the reason as its cause, when DuckDB says that it must be opened anew.
	usable     context.Context
	invalidate context.CancelCauseFunc

	// background ends when Close begins; its goroutines are counted in running.
	background context.Context
	stop       context.CancelFunc
	running    sync.WaitGroup
	closeOnce  sync.Once
	closeErr   error
}

// FileName is what the database's file is called in its directory; its log and what a checkpoint leaves behind begin with it.
const FileName = "timestream.duckdb"

const (
	fileName = FileName
	lockName = "timestream.lock"
	// formatVersion is the version of the tables below; a file with a higher one is refused.
	formatVersion = "2"
	// formatWithoutParts had one table for each kind of record; Open makes the first part of it.
	formatWithoutParts = "1"
	// checkpointThreshold is the size of the write-ahead log at which DuckDB folds it into the file by itself: never. See
	// checkpoints.
	checkpointThreshold = "1024TB"
	// blockSize is DuckDB's unit of buffers and of the file. Every column that is written to holds at least one block, and
	// its NULLs another: at the default of 256 KiB a table with all 1,024 attributes cannot be committed within 256 MiB.
	blockSize = "65536"
)

// Open opens or creates the database in cfg.Dir and creates the default database and table. One process at a time can
// have a directory open. Metrics stay registered until Close.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	db := &DB{cfg: cfg, log: cfg.Logger, now: cfg.Now, hash: newHasher(), quotas: newQuotas(cfg.Quotas == QuotasService)}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.now == nil {
		db.now = time.Now
	}
	db.meters.rest = meter.NewTable(db.now())
	db.usable, db.invalidate = context.WithCancelCause(context.Background())
	db.background, db.stop = context.WithCancel(context.Background())
	db.jobs.New = func() any { return &writeScratch{prep: preparer{db: db}} }
	if err := db.open(ctx); err != nil {
		db.stop()
		db.release()
		return nil, fmt.Errorf("open %s: %w", cfg.Dir, explain(cfg.Dir, err))
	}
	return db, nil
}

func (db *DB) open(ctx context.Context) error {
	dir, err := filepath.Abs(db.cfg.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		if info, e := os.Stat(dir); e == nil && !info.IsDir() {
			return errors.New("it is a file; --data-dir is a directory, in which the database is " + fileName)
		}
		if errors.Is(err, fs.ErrPermission) {
			return err // explained by the caller
		}
		return fmt.Errorf("the data directory (--data-dir) cannot be made: %w", err)
	}
	if db.lock, err = lockDir(dir); err != nil {
		return err
	}
	if db.buckets, err = bucket.Open(db.cfg.S3Dir, db.cfg.flag(s3Flag)); err != nil {
		return err
	}
	file, start := filepath.Join(dir, fileName), time.Now()
	if db.duck, err = db.openDuck(dir); err != nil {
		return err
	}
	conn, err := db.duck.Connect()
	if err != nil {
		return err
	}
	db.writer = newWriter(db, conn)
	db.writer.checkpoints = newCheckpoints(dir, int64(db.cfg.CheckpointLogSize))
	// Statements are compiled from Timestream's SQL and name no files; this is the second lock on that door. DuckDB wants
	// its own directory named, or its checkpoints fail. A file that turns out not to be ours is closed as it was found.
	err = conn.Exec(fmt.Sprintf("PRAGMA disable_checkpoint_on_shutdown; SET allowed_directories=[%s]; SET enable_external_access=false; SET lock_configuration=true",
		literal(dir+string(filepath.Separator))))
	if err != nil {
		return err
	}
	if err := db.load(ctx); err != nil {
		return err
	}
	db.log.Info("database open", "file", file, "took", time.Since(start).Round(time.Millisecond))
	db.queries = newQueries(db)
	db.metrics = newMetrics(db)
	db.rewriter = newRewriter(db)
	db.writer.start()
	if db.cfg.DefaultDatabase != "" {
		if err := db.createDefaults(ctx); err != nil {
			return err
		}
	}
	if !db.cfg.still {
		db.running.Go(func() { db.housekeeping(db.background) })
	}
	db.running.Go(func() { db.rewriter.run(db.background) })
	db.running.Go(func() { db.loads.Run(db.background) })
	db.running.Go(func() { db.scheduled.Run(db.background) })
	return nil
}

// InUseError is that another process, or another DB of this one, has the data directory.
type InUseError struct {
	// Holder is its process number, empty when it is not known.
	Holder string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("another process has this directory open (process %s, by %s): one process at a time can use a data directory (--data-dir)",
		cmp.Or(e.Holder, "of an unknown number"), lockName)
}

// lockDir makes sure that one DB has the directory. DuckDB's own lock holds between processes only, and its text names a
// library.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		return nil, &InUseError{Holder: strings.TrimSpace(string(holder))}
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil && !diskFull(err) { // the number is for people only
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close ends runs of scheduled queries, finishes what waits to be written, ends open results, folds the log into the file and closes it. Calls that are
// in flight fail. It may be called more than once.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		// Before their statements end, which would be failures of theirs.
		if dropped := db.scheduled.Close(); dropped > 0 {
			db.log.Warn("runs of scheduled queries that wait are not made", "runs", dropped)
		}
		db.stop()
		db.running.Wait()
		db.writer.shut()
		db.queries.close()
		if db.usable.Err() == nil { // or nothing can be written any more
			if err := db.writer.inTx(func() error { return db.saveMeters(db.writer.conn) }); err != nil {
				db.log.Warn("the last minute's queries are not metered", "err", err)
			}
			if cerr := db.writer.checkpoint(); cerr != nil {
				db.log.Warn("last checkpoint failed; the log will be replayed", "err", cerr)
			}
		}
		db.metrics.unregister()
		db.release()
	})
	return db.closeErr
}

// release frees what open took, in the opposite order.
func (db *DB) release() {
	if db.writer != nil {
		db.writer.shut()
		db.writer.lanes.close()
		db.writer.conn.Close()
	}
	if db.duck != nil {
		db.duck.Close()
	}
	if db.buckets != nil {
		db.closeErr = db.buckets.Close()
	}
	if db.lock != nil {
		db.closeErr = errors.Join(db.closeErr, db.lock.Close())
	}
}

// Allowed tells whether an IAM action, without the prefix `timestream:`, is granted by Config.AllowActions.
func (db *DB) Allowed(action string) bool { return db.cfg.Allowed(action) }

// Ready tells why the database cannot serve, nil when it can.
func (db *DB) Ready() error {
	if err := db.background.Err(); err != nil {
		return errClosed
	}
	return context.Cause(db.usable)
}

// AwaitFailure waits until the database has become unusable and returns why, or nil when ctx ends first. Nothing but
// opening it anew helps then, so a process that serves it should end, for its supervisor to start it again.
func (db *DB) AwaitFailure(ctx context.Context) error {
	select {
	case <-db.usable.Done():
		return context.Cause(db.usable)
	case <-ctx.Done():
		return nil
	}
}

// noteFatal makes the database unusable when an error says that DuckDB refuses everything from now on, as after a
// checkpoint that could not be written. The class begins the text; further on may be words of a user.
func (db *DB) noteFatal(err error) {
	var de *duck.Error
	if errors.As(err, &de) && strings.HasPrefix(de.Text, "FATAL Error") {
		db.invalidate(fmt.Errorf("the database in %s has to be opened anew: %w", db.cfg.Dir, explain(db.cfg.Dir, err)))
	}
}

// housekeeping closes idle results, deletes expired rows and forgets what was hidden until ctx ends.
func (db *DB) housekeeping(ctx context.Context) {
	idle := time.NewTicker(max(db.cfg.ResultIdle/4, time.Millisecond))
	defer idle.Stop()
	retention := time.NewTicker(db.cfg.RetentionEvery)
	defer retention.Stop()
	hidden := time.NewTicker(forgetHiddenEvery)
	defer hidden.Stop()
	meters := time.NewTicker(meterEvery)
	defer meters.Stop()
	log := time.NewTicker(logEvery)
	defer log.Stop()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			db.queries.closeIdle(db.cfg.ResultIdle)
		case <-trim.C:
			db.trim()
		case <-hidden.C:
			if err := db.ForgetHidden(ctx); err != nil && ctx.Err() == nil {
				db.log.Warn("forgetting which records were hidden", "err", err)
			}
		case <-log.C:
			if err := db.keepLog(ctx); err != nil && ctx.Err() == nil {
				db.log.Warn("writing down what was metered", "err", err)
			}
		case <-meters.C:
			if err := db.keepMeters(ctx); err != nil && ctx.Err() == nil {
				db.log.Warn("saving what was metered", "err", err)
			}
		case <-retention.C:
			if err := db.DeleteExpired(ctx); err != nil && ctx.Err() == nil {
				db.log.Warn("deleting expired rows", "err", err)
			}
		}
	}
}
