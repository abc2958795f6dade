// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tributary-project/tributary/timestream/local"
)

// fileName is that of the database in a data directory.
const fileName = local.FileName

// target is where a snapshot is to be.
type target struct {
	file      string
	overwrite bool
}

// newTarget reads where a snapshot should go: a directory, in which it becomes a database to start with, or a file.
func newTarget(to string, overwrite bool) (target, error) {
	file := to
	if info, err := os.Stat(to); strings.HasSuffix(to, string(filepath.Separator)) || err == nil && info.IsDir() {
		file = filepath.Join(to, fileName)
	}
	file, err := filepath.Abs(file)
	return target{file, overwrite}, err
}

// check tells early what would be refused late.
func (t target) check() error {
	dir := filepath.Dir(t.file)
	if filepath.Base(t.file) == fileName {
		// It may be somebody's data directory.
		inUse := new(local.InUseError)
		if s, err := local.SnapshotStopped(dir); err == nil {
			s.Close()
		} else if errors.As(err, &inUse) {
			return fmt.Errorf("--to=%s: %w", dir, err)
		}
		if _, err := os.Stat(t.file + ".wal"); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("--to=%s: there is a log of another database; move both away first", dir)
		}
	}
	if _, err := os.Stat(t.file); err == nil && !t.overwrite {
		return fmt.Errorf("--to=%s: the file is there already; --overwrite replaces it", t.file)
	}
	return nil
}

// write copies src, checks the copy and gives it its name. What is not whole has another name, and is removed unless the
// process is killed. note is told what is being done.
func (t target) write(ctx context.Context, src source, cfg local.Config, note func(string)) (local.Contents, error) {
	dir := filepath.Dir(t.file)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return local.Contents{}, err
	}
	partial, err := os.MkdirTemp(dir, filepath.Base(t.file)+".partial-*")
	if err != nil {
		return local.Contents{}, err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	p := &progress{total: src.total(), note: note, began: time.Now(), last: time.Now()}
	for {
		name, content, err := src.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return local.Contents{}, fmt.Errorf("copy: %w", err)
		}
		if name != filepath.Base(name) || !strings.HasPrefix(name, fileName) {
			return local.Contents{}, fmt.Errorf("copy: %q is no file of a database", name)
		}
		if err := copyFile(ctx, filepath.Join(partial, name), content, p); err != nil {
			return local.Contents{}, fmt.Errorf("copy %s: %w", name, err)
		}
	}
	src.close() // from here on the copy is by itself
	note("copied " + size(p.done) + " in " + time.Since(p.began).Round(time.Millisecond).String() + "; checking the copy")
	cfg.Dir = partial
	contents, err := foldGently(ctx, cfg)
	if err != nil {
		return contents, err
	}
	whole := filepath.Join(partial, fileName)
	if err := syncFile(whole); err != nil {
		return contents, err
	}
	if err := t.check(); err != nil { // somebody may have been faster
		return contents, err
	}
	if err := os.Rename(whole, t.file); err != nil {
		return contents, err
	}
	return contents, syncFile(dir)
}

// foldGently lets others have the processor first: a copy can wait, the writes that a server answers meanwhile cannot.
func foldGently(ctx context.Context, cfg local.Config) (contents local.Contents, err error) {
	cfg.Threads = 1 // DuckDB works on the caller's thread then
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()                               // for good: the thread ends with the goroutine
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 10) // of this thread
		contents, err = local.Fold(ctx, cfg)
	}()
	<-done
	return contents, err
}

// flushEvery is after how many bytes a copy is sent to the disk, so that the database's own writes do not wait behind it.
const flushEvery = 8 << 20

func copyFile(ctx context.Context, name string, content io.Reader, p *progress) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, chunk)
	for dirty := 0; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := content.Read(buf)
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return err
			}
			p.add(int64(n))
			if dirty += n; dirty >= flushEvery {
				if err := f.Sync(); err != nil {
					return err
				}
				dirty = 0
			}
		}
		if errors.Is(err, io.EOF) {
			return f.Sync()
		}
		if err != nil {
			return err
		}
	}
}

// syncFile makes a file, or the names in a directory, durable.
func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// progress tells how far a long copy is.
type progress struct {
	done, total int64
	began, last time.Time
	note        func(string)
}

// noteEvery is how often.
const noteEvery = 2 * time.Second

func (p *progress) add(n int64) {
	p.done += n
	if now := time.Now(); now.Sub(p.last) >= noteEvery {
		p.last = now
		p.note(fmt.Sprintf("copied %s of %s", size(p.done), size(max(p.done, p.total))))
	}
}

func size(n int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}} {
		if n >= u.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.bytes), u.name)
		}
	}
	return fmt.Sprintf("%d KiB", (n+1023)/1024)
}
