// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"

	"github.com/tributary-project/tributary/timestream/local"
)

// command runs the command to its end.
func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, notes bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProcess+"=1")
	cmd.Stdout, cmd.Stderr = &out, &notes
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), notes.String(), cmd.ProcessState.ExitCode()
}

// TestDamagedFile starts the process with what is not its database: it ends with one error that says what to do, again and again,
// and changes nothing. What kinds of damage there are is tested in package local.
func TestDamagedFile(t *testing.T) {
	whole := t.TempDir()
	s, load := start(t, whole), newDiskLoad()
	if err := load.write(t, s, 50, 1); err != nil {
		t.Fatal(err)
	}
	s.kill()
	const file, log = local.FileName, local.FileName + ".wal"
	for _, tt := range []struct {
		name, file string
		damage     func([]byte) []byte
		want       string
	}{
		{"truncated file", file, func(b []byte) []byte { return b[:len(b)/3] }, "enough bytes"},
		{"header", file, func(b []byte) []byte { b[30] ^= 1; return b }, "Corrupt database file"},
		{"another program's file", file, func([]byte) []byte { return bytes.Repeat([]byte("PK\x03\x04"), 5000) }, "not a valid DuckDB database file"},
		{"log", log, func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b }, "checksum"},
		{"log's beginning", log, func(b []byte) []byte { b[2] ^= 0xff; return b }, "write-ahead log is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			want := map[string][]byte{}
			for _, name := range []string{file, log} {
				b, err := os.ReadFile(filepath.Join(whole, name))
				if err != nil {
					t.Fatal(err)
				}
				if name == tt.file {
					b = tt.damage(b)
				}
				want[name] = b
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				text := launch(t, dir).fails(t)
				for _, w := range []string{tt.want, dir, "error: open ", "nothing was changed", "from a snapshot"} {
					if !strings.Contains(text, w) {
						t.Errorf("it does not say %q: %s", w, text)
					}
				}
			}
			for name, b := range want {
				if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, b) {
					t.Errorf("%s was changed (%v)", name, err)
				}
			}
			if _, text, code := command(t, "snapshot", "--data-dir", dir, "--to", filepath.Join(t.TempDir(), "copy")); code != 1 || !strings.Contains(text, "check the copy") {
				t.Errorf("a snapshot of it ended with %d: %s", code, text)
			}
		})
	}
}

// TestUnreadable starts the process where it may not read or write, as a user who is not root.
func TestUnreadable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	args, binary := []string{"--data-dir", dir, "--listen-address=127.0.0.1:0", "--admin.listen-address="}, os.Args[0]
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		// The test's own directory is root's alone.
		attr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		binary = filepath.Join(filepath.Dir(dir), "timestream-local")
		if err := os.Link(os.Args[0], binary); err != nil {
			t.Skipf("the test binary cannot be given to another user: %v", err)
		}
		for d := filepath.Dir(dir); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Skipf("the test's directory cannot be given to another user: %v", err)
			}
		}
	} else if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env, cmd.SysProcAttr = append(os.Environ(), asProcess+"=1"), attr
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "permission denied") || !strings.Contains(string(out), "--data-dir") {
		t.Errorf("got %v, %s", err, out)
	}
}

// TestNoDirectory: the file of a snapshot is no data directory.
func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "monday.duckdb")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if text := launch(t, file).fails(t); !strings.Contains(text, "it is a file; --data-dir is a directory") {
		t.Errorf("got %s", text)
	}
}

// TestSecondProcess starts a second process in a data directory, and copies it meanwhile.
func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	s, load := start(t, dir), newDiskLoad()
	if err := load.write(t, s, 10, 1); err != nil {
		t.Fatal(err)
	}
	holder := "another process has this directory open (process " + strconv.Itoa(s.cmd.Process.Pid) + ", by timestream.lock): one process at a time can use a data directory (--data-dir)"
	if text := launch(t, dir).fails(t); !strings.Contains(text, holder) {
		t.Errorf("got %s", text)
	}
	if _, text, code := command(t, "snapshot", "--data-dir", dir, "--to", dir, "--overwrite"); code != 1 || !strings.Contains(text, holder) {
		t.Errorf("a snapshot over the database itself: %d %s", code, text)
	}
	s.kill()
	// A snapshot of a stopped database has the directory as well.
	stopped, err := local.SnapshotStopped(dir)
	if err != nil {
		t.Fatal(err)
	}
	if text := launch(t, dir).fails(t); !strings.Contains(text, "(process "+strconv.Itoa(os.Getpid())+",") {
		t.Errorf("got %s", text)
	}
	stopped.Close()
	load.check(t, start(t, dir))
}

// TestSnapshotUnderLoad copies a database by the command while clients write, restores each copy by putting it into an empty
// directory, and finds whole requests, all that were acknowledged before the command began among them. Writes go on
// meanwhile.
func TestSnapshotUnderLoad(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "--checkpoint.log-size=128KiB", "--rewrite.part-records=1000")
	load := killLoad{time.Now().Add(-time.Hour).Truncate(time.Millisecond)}
	var acked [killClients]atomic.Int64
	var slowest atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for client := range acked {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w := timestreamwrite.NewFromConfig(s.config())
			for ctx.Err() == nil {
				n := int(acked[client].Load())
				in := load.request(client, n)
				if killKind(n) == expired {
					in = load.request(client, 0) // there is no table for it; this one is there already
				}
				began := time.Now()
				if _, err := w.WriteRecords(context.Background(), in); err != nil {
					t.Errorf("request %d of client %d: %v", n, client, err)
					return
				}
				slowest.Store(max(slowest.Load(), int64(time.Since(began))))
				acked[client].Add(1)
			}
		}()
	}
	defer wg.Wait()
	defer stop()
	for round := range 3 {
		before := make([]int, killClients)
		until := time.Now().Add(2 * time.Minute)
		for client := range acked {
			for before[client] < 40*(round+1) && time.Now().Before(until) && !t.Failed() {
				time.Sleep(time.Millisecond)
				before[client] = int(acked[client].Load())
			}
		}
		copied, during := "", slices.Clone(before)
		for try := 0; slices.Equal(before, during); try++ { // a busy machine may make the copy before it lets a client write
			if try == 20 {
				t.Fatal("no write was acknowledged while the copy was made")
			}
			for client := range acked {
				before[client] = int(acked[client].Load())
			}
			slowest.Store(0)
			copied = filepath.Join(t.TempDir(), "snapshot")
			stdout, text, code := command(t, "snapshot", "--data-dir", dir, "--to", copied, "--url", s.url)
			if code != 0 || !strings.Contains(stdout, "records") {
				t.Fatalf("exit code %d: %s%s", code, stdout, text)
			}
			for client := range acked {
				during[client] = int(acked[client].Load())
			}
			t.Logf("%s, acknowledged were %v before and %v after; the slowest write took %v", strings.TrimSpace(stdout), before, during, time.Duration(slowest.Load()))
		}
		restored := t.TempDir()
		in, err := os.Open(copied)
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(restored, local.FileName))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, in); err != nil {
			t.Fatal(err)
		}
		_, _ = in.Close(), out.Close()
		checkSnapshot(t, start(t, restored), before, during)
	}
}

// checkSnapshot wants of each kind as many whole requests as some moment between the two had.
func checkSnapshot(t *testing.T, s *server, before, during []int) {
	t.Helper()
	for _, rel := range []string{wholeRequests([]string{single, late, dims}, false), wholeRequests([]string{multi}, true)} {
		for _, r := range rowsOf(t, s, "SELECT client, measure_name, count(*), sum(bad), CAST(max(n) AS BIGINT) FROM "+rel+" GROUP BY client, measure_name") {
			client, _ := strconv.Atoi(r[0])
			count := func(requests int) (n int) {
				for i := range requests {
					if killKind(i) == r[1] {
						n++
					}
				}
				return n
			}
			newest, _ := strconv.Atoi(r[4])
			n, _ := strconv.Atoi(r[2])
			if r[3] != "0" || n != count(newest+1) || n < count(before[client]) || n > count(during[client]+1) {
				t.Errorf("client %d, %s: %d whole requests up to number %d, %s bad; acknowledged were %d before and %d after", client, r[1], n, newest, r[3], before[client], during[client])
			}
		}
	}
}
