// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
)

// smallDisk mounts a disk of that many MiB that only this test and the processes it starts see. Where that is not allowed it
// skips the test: those by fileLimit run everywhere.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	runtime.LockOSThread() // for good: the thread ends with the test, and its view of the mounts with it
	if err := syscall.Unshare(syscall.CLONE_NEWNS | syscall.CLONE_FS); err != nil {
		t.Skipf("no mounts of its own: %v", err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Skipf("no private mounts: %v", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(mib)+"m"); err != nil {
		t.Skipf("no disk of its own: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return filepath.Join(dir, "data")
}

// fillDisk takes all space beside the data directory but for so many KiB; what it returns gives it back.
func fillDisk(t *testing.T, dir string, leave int) (free func()) {
	t.Helper()
	name := filepath.Join(filepath.Dir(dir), "filler")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	size := int64(0)
	for block := make([]byte, 4096); ; {
		n, err := f.Write(block)
		size += int64(n)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(max(0, size-int64(leave)<<10)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// diskLoad is one client that goes on through failures: a request that failed is its next one again.
type diskLoad struct {
	began time.Time
	acked int
}

// write sends requests until n have failed, or so many were acknowledged, and returns the last failure.
func (l *diskLoad) write(t *testing.T, s *server, requests, failures int) (err error) {
	t.Helper()
	w := timestreamwrite.NewFromConfig(s.config())
	for until := l.acked + requests; l.acked < until && failures > 0; {
		if _, werr := w.WriteRecords(t.Context(), batch(0, l.acked, l.began)); werr != nil {
			err = werr
			failures--
		} else {
			l.acked++
		}
	}
	return err
}

// wantFull checks the answer to a write that found no space.
func wantFull(t *testing.T, err error) {
	t.Helper()
	var internal *wtypes.InternalServerException
	if !errors.As(err, &internal) || !strings.Contains(err.Error(), "disk of its data directory is full") {
		t.Errorf("got %v", err)
	}
}

// check counts the records: those that were acknowledged, or one request more, and whole requests.
func (l *diskLoad) check(t *testing.T, s *server) {
	t.Helper()
	out, err := timestreamquery.NewFromConfig(s.config()).Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String(
		"SELECT count(*), count(DISTINCT measure_value::double) FROM PrometheusDatabase.PrometheusMetricsTable")})
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(*out.Rows[0].Data[0].ScalarValue)
	if n != l.acked*50 && n != (l.acked+1)*50 {
		t.Errorf("%d records, acknowledged were %d", n, l.acked*50)
	}
	if got := *out.Rows[0].Data[1].ScalarValue; got != strconv.Itoa(n/50) {
		t.Errorf("%d records are of %s requests", n, got)
	}
}

func newDiskLoad() *diskLoad { return &diskLoad{began: time.Now().Add(-time.Hour)} }

// TestFullDisk fills the disk under the process: writes fail with a reason, reads go on, and so do writes once there is space.
// After a kill on a full disk, and an attempt to start there, nothing that was acknowledged is missing.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, 40)
	flags := []string{"--checkpoint.log-size=128KiB"}
	s, load := start(t, dir, flags...), newDiskLoad()
	if err := load.write(t, s, 300, 1); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		free := fillDisk(t, dir, 200*round)
		err := load.write(t, s, 100_000, 5)
		wantFull(t, err)
		load.check(t, s)
		if code, text := get(s.url + "/-/ready"); code != 200 {
			t.Errorf("not ready: %d %s", code, text)
		}
		free()
		if err := load.write(t, s, 300, 1); err != nil {
			t.Errorf("there is space again, but: %v", err)
		}
		load.check(t, s)
	}

	free := fillDisk(t, dir, 50)
	wantFull(t, load.write(t, s, 100_000, 3))
	s.kill()
	for _, want := range []string{"write failed", "the disk of " + dir + " is full", "free space", "too full to fold the log into the file"} {
		if !strings.Contains(s.stderr.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &s.stderr)
		}
	}
	s = start(t, dir, flags...) // needs no space
	load.check(t, s)
	wantFull(t, load.write(t, s, 100_000, 3))
	// An end in order cannot fold the log into the file, or save anything.
	s.stop(t)
	s = start(t, dir, flags...)
	load.check(t, s)
	free()
	if err := load.write(t, s, 300, 1); err != nil {
		t.Errorf("there is space again, but: %v", err)
	}
	load.check(t, s)
}

// TestFullDiskAtStart begins on a full disk, without a database and with one that was closed in order.
func TestFullDiskAtStart(t *testing.T) {
	dir := smallDisk(t, 40)
	free := fillDisk(t, dir, 100)
	if text := launch(t, dir).fails(t); !strings.Contains(text, "the disk of "+dir+" is full") {
		t.Errorf("got %s", text)
	}
	if _, err := os.Stat(filepath.Join(dir, "timestream.duckdb")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not whole has the database's name: %v", err)
	}
	free()
	s, load := start(t, dir), newDiskLoad()
	if err := load.write(t, s, 300, 1); err != nil {
		t.Fatal(err)
	}
	s.stop(t)
	free = fillDisk(t, dir, 0)
	s = start(t, dir) // needs no space, as long as nothing is written
	load.check(t, s)
	wantFull(t, load.write(t, s, 100_000, 3))
	free()
	if err := load.write(t, s, 300, 1); err != nil {
		t.Error(err)
	}
	load.check(t, s)
}

// TestFileLimit does the same where nothing can be mounted: the log cannot grow beyond a size.
func TestFileLimit(t *testing.T) {
	t.Setenv(fileLimit, strconv.Itoa(1<<20))
	dir, load := t.TempDir(), newDiskLoad()
	s := start(t, dir)
	wantFull(t, load.write(t, s, 100_000, 3))
	load.check(t, s)
	if load.acked == 0 {
		t.Fatalf("no write succeeded: %s", &s.stderr)
	}
	s.kill()
	t.Setenv(fileLimit, "")
	s = start(t, dir)
	load.check(t, s)
	if err := load.write(t, s, 10, 1); err != nil {
		t.Error(err)
	}
}

// TestFileLimitAtCheckpoint lets checkpoints run out of space, which DuckDB does not survive: the process ends and says why, and
// the next one finds everything.
func TestFileLimitAtCheckpoint(t *testing.T) {
	dir, load := t.TempDir(), newDiskLoad()
	s := start(t, dir)
	if err := load.write(t, s, 10, 1); err != nil {
		t.Fatal(err)
	}
	s.kill()
	for round := range 4 {
		file, err := os.Stat(filepath.Join(dir, local.FileName))
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(fileLimit, strconv.FormatInt(file.Size()+int64(round/2)<<18, 10)) // the log is much smaller
		s := launch(t, dir, "--checkpoint.log-size=64KiB")
		if s.ready() { // otherwise the checkpoint that is due since the last round has ended it already
			load.check(t, s)
			if err := load.write(t, s, 100_000, 1); err == nil {
				t.Fatal("no write failed")
			}
		}
		text := s.fails(t)
		if n := strings.Count(text, "checkpoint failed"); n != 1 {
			t.Errorf("a checkpoint failed %d times", n)
		}
		for _, want := range []string{"checkpoint failed; what was acknowledged is in the log", "the disk of " + dir + " is full"} {
			if !strings.Contains(text, want) {
				t.Errorf("it does not say %q: %s", want, text)
			}
		}
	}
	t.Setenv(fileLimit, "")
	s = start(t, dir)
	load.check(t, s)
	if err := load.write(t, s, 10, 1); err != nil {
		t.Error(err)
	}
}
