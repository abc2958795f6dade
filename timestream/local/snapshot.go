// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Snapshot is a consistent copy of the database that can be read while writes go on: everything that was acknowledged
// before Snapshot was called, and whole requests only. While it is open the log is not folded into the file, so it
// should be read at the speed of a disk and closed; beyond Config.SnapshotMaxLog it fails.
//
// It is the files of a data directory. Written into an empty one under their names, they are a database that Open opens.
type Snapshot struct {
	// db is nil for a database that is not open; lock is held then.
	db   *DB
	lock *os.File
	log  int64 // the size of the log when it began
	// Files are what has to be copied, in any order.
	Files []SnapshotFile

	mu     sync.Mutex
	err    error
	closed bool
}

// SnapshotFile is one file of a Snapshot.
type SnapshotFile struct {
	// Name is its name in a data directory; Size in bytes is final.
	Name string
	Size int64

	snapshot *Snapshot
	f        *os.File
}

var errSnapshotClosed = errors.New("the snapshot is closed")

// Snapshot begins a copy. The caller must Close it.
func (db *DB) Snapshot(ctx context.Context) (*Snapshot, error) {
	s := &Snapshot{db: db}
	var err error
	berr := db.writer.between(ctx, func() {
		if err = s.open(db.writer.checkpoints.file); err == nil {
			db.writer.checkpoints.held[s] = struct{}{}
		}
	})
	if err = errors.Join(berr, err); err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", db.cfg.Dir, err)
	}
	return s, nil
}

// SnapshotStopped begins a copy of a database that no process has open: of what is on disk, a crash's log included. The
// directory is locked until Close. A directory that is in use is answered with an InUseError.
func SnapshotStopped(dir string) (*Snapshot, error) {
	file := filepath.Join(dir, fileName)
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("no database to copy: %w", err) // and none is made
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{lock: lock}
	if err := s.open(file); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// open opens the database's files.
func (s *Snapshot) open(file string) error {
	for _, name := range append([]string{fileName}, logNames[:]...) {
		f, err := os.Open(filepath.Join(filepath.Dir(file), name))
		if errors.Is(err, os.ErrNotExist) && name != fileName {
			continue
		}
		var info os.FileInfo
		if err == nil {
			if info, err = f.Stat(); err != nil {
				_ = f.Close()
			}
		}
		if err != nil {
			s.closeFiles()
			return err
		}
		s.Files = append(s.Files, SnapshotFile{Name: name, Size: info.Size(), snapshot: s, f: f})
		if name == logNames[0] {
			s.log = info.Size()
		}
	}
	return nil
}

// Reader reads the file's content. It fails when the snapshot can no longer be taken; what was read before is then of no
// use.
func (f *SnapshotFile) Reader() io.Reader {
	return &snapshotReader{f.snapshot, io.NewSectionReader(f.f, 0, f.Size)}
}

type snapshotReader struct {
	s *Snapshot
	r io.Reader
}

func (r *snapshotReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	// The files change only after the snapshot has failed or the database has begun to close: what was read before that
	// shows is as it was.
	if broken := r.s.broken(); broken != nil {
		return 0, broken
	}
	return n, err
}

// broken tells why the files may have changed since the snapshot began.
func (s *Snapshot) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case s.closed:
		return errSnapshotClosed
	case s.db != nil && s.db.background.Err() != nil:
		return errClosed
	}
	return nil
}

func (s *Snapshot) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.db.log.Warn("a snapshot was ended", "err", err)
}

// Close ends the copy and lets checkpoints run again. It may be called twice.
func (s *Snapshot) Close() {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return
	}
	s.closeFiles()
	if s.db == nil {
		_ = s.lock.Close()
		return
	}
	// The only error is that the database is closed, and its holds with it.
	_ = s.db.writer.between(context.Background(), func() { delete(s.db.writer.checkpoints.held, s) })
}

func (s *Snapshot) closeFiles() {
	for _, f := range s.Files {
		_ = f.f.Close()
	}
}
