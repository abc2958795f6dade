// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Writer writes an object. Until Commit nobody sees it.
type Writer struct {
	dir         *os.Root // nil when the writer is done with
	file        *os.File
	bucket, key string
	temporary   string
	left        int64
	most        int64
}

// Create begins an object of at most most bytes. The caller commits or aborts it; to abort what was committed changes nothing.
func (s *Store) Create(bucket, key string, most int64) (*Writer, error) {
	if err := ValidKey(key); err != nil {
		return nil, err
	}
	b, err := s.bucket(bucket)
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: b, bucket: bucket, key: key, temporary: incomplete + rand.Text(), left: most, most: most}
	if w.file, err = b.OpenFile(w.temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640); err != nil {
		return nil, w.failed(errors.Join(err, b.Close()))
	}
	// The lock tells Open, of this process and of others, that somebody writes here.
	if err := syscall.Flock(int(w.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		w.Abort()
		return nil, w.failed(err)
	}
	return w, nil
}

func (w *Writer) failed(err error) error {
	return fmt.Errorf("put %s into bucket %s: %w", w.key, w.bucket, err)
}

// Write appends to the object. What is beyond its size is an ErrTooLarge, and nothing of p is written then.
func (w *Writer) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		return 0, w.failed(fmt.Errorf("%w: more than %d bytes", ErrTooLarge, w.most))
	}
	n, err := w.file.Write(p)
	w.left -= int64(n)
	if err != nil {
		return n, w.failed(err)
	}
	return n, nil
}

// Size is the number of bytes that were written.
func (w *Writer) Size() int64 { return w.most - w.left }

// Commit puts the object on disk and gives it its name. After an error there is what was there before.
func (w *Writer) Commit() error {
	if err := w.commit(); err != nil {
		w.Abort()
		return w.failed(err)
	}
	return nil
}

func (w *Writer) commit() error {
	if err := w.file.Sync(); err != nil {
		return err
	}
	parent := path.Dir(w.key)
	if err := w.dir.MkdirAll(parent, 0o750); err != nil {
		return err
	}
	// A key is a file, so nothing can be below it, and it cannot be where others are below.
	if info, err := w.dir.Stat(w.key); err == nil && info.IsDir() {
		return fmt.Errorf("%w: other keys begin with it and a slash", ErrBadKey)
	}
	if err := w.dir.Rename(w.temporary, w.key); err != nil {
		return err
	}
	// The names of all directories on the way may be new.
	for {
		if err := syncDir(w.dir, parent); err != nil {
			return err
		}
		if parent == "." {
			break
		}
		parent = path.Dir(parent)
	}
	w.temporary = ""
	w.release()
	return nil
}

func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Abort drops an object that was not committed.
func (w *Writer) Abort() {
	if w.dir == nil {
		return
	}
	if w.temporary != "" {
		_ = w.dir.Remove(w.temporary) //nolint:errcheck // the next Open tries again
	}
	w.release()
}

func (w *Writer) release() {
	_ = w.file.Close() //nolint:errcheck // synced, or given up
	_ = w.dir.Close()
	w.dir = nil
}

// clean removes what nobody writes any more.
func (s *Store) clean() error {
	d, err := s.root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return each(d, func(e fs.DirEntry) error {
		b, err := s.bucket(e.Name())
		if errors.Is(err, ErrNoBucket) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := errors.Join(cleanBucket(b), b.Close()); err != nil {
			return fmt.Errorf("bucket %s: %w", e.Name(), err)
		}
		return nil
	})
}

func cleanBucket(b *os.Root) error {
	d, err := b.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return each(d, func(e fs.DirEntry) error {
		if !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), incomplete) {
			return nil
		}
		f, err := b.OpenFile(e.Name(), os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil // done meanwhile, or another user's
		}
		if err != nil {
			return err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if err = b.Remove(e.Name()); errors.Is(err, fs.ErrNotExist) {
				err = nil // done meanwhile
			}
		}
		return errors.Join(err, f.Close())
	})
}
