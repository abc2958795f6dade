// SPDX-License-Identifier: Apache-2.0

// Package snapshot copies a database of timestream-local while it runs, or while it does not: over HTTP as a tar archive of the
// files of a data directory, and into one file that was folded together, read again and named when it was whole. How a
// consistent copy is had is left to package local.
package snapshot

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/tributary-project/tributary/timestream/local"
)

// Path is where a process serves snapshots, on its admin listener: GET answers with a tar archive of the files of a data
// directory. An answer that ends before its Content-Length is of no use.
const Path = "/snapshot"

// processHeader of an answer is the number of the process, so that a copy of another's database is not taken for ours.
const processHeader = "Timestream-Local-Process"

// stall is how long the receiver of an archive may take for a chunk of it, during which the log grows.
const stall = time.Minute

// blockSize is tar's.
const blockSize = 512

// Handler serves snapshots of a database.
func Handler(db *local.DB, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "GET answers with a snapshot as a tar archive", http.StatusMethodNotAllowed)
			return
		}
		if err := serve(w, r, db); err != nil {
			logger.Warn("a snapshot was not sent", "client", r.RemoteAddr, "err", err)
			panic(http.ErrAbortHandler) // the receiver must not take it for whole
		}
	})
}

func serve(w http.ResponseWriter, r *http.Request, db *local.DB) error {
	s, err := db.Snapshot(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return nil
	}
	defer s.Close()
	h := w.Header()
	h.Set("Content-Type", "application/x-tar")
	h.Set("Content-Length", strconv.FormatInt(archiveSize(s), 10))
	h.Set("Content-Disposition", `attachment; filename="timestream-local.tar"`)
	h.Set(processHeader, strconv.Itoa(os.Getpid()))
	if r.Method == http.MethodHead {
		return nil
	}
	return writeArchive(&impatient{w: w, control: http.NewResponseController(w)}, s)
}

func archiveSize(s *local.Snapshot) int64 {
	size := int64(2 * blockSize)
	for _, f := range s.Files {
		size += blockSize + (f.Size+blockSize-1)/blockSize*blockSize
	}
	return size
}

func writeArchive(w io.Writer, s *local.Snapshot) error {
	t, now := tar.NewWriter(w), time.Now()
	for i := range s.Files {
		f := &s.Files[i]
		// GNU's format has one header for a file of any size.
		if err := t.WriteHeader(&tar.Header{Name: f.Name, Size: f.Size, Mode: 0o640, ModTime: now, Format: tar.FormatGNU}); err != nil {
			return err
		}
		if _, err := io.CopyBuffer(onlyWriter{t}, f.Reader(), make([]byte, chunk)); err != nil {
			return err
		}
	}
	return t.Close()
}

// chunk is how much is copied at a time.
const chunk = 256 << 10

// onlyWriter hides io.ReaderFrom, by which a copy would go past the checks of the snapshot's reader.
type onlyWriter struct{ io.Writer }

// impatient gives every write a deadline of its own.
type impatient struct {
	w       io.Writer
	control *http.ResponseController
}

func (i *impatient) Write(p []byte) (int, error) {
	if err := i.control.SetWriteDeadline(time.Now().Add(stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return i.w.Write(p)
}

// source is a snapshot's files one after the other.
type source interface {
	// next returns the name and the content of the next file, io.EOF after the last.
	next() (name string, content io.Reader, err error)
	// total is the number of bytes that all of it is, about.
	total() int64
	close()
}

// archive is the answer of a running process.
type archive struct {
	res  *http.Response
	tar  *tar.Reader
	stop context.CancelFunc
}

func (a *archive) next() (string, io.Reader, error) {
	h, err := a.tar.Next()
	if errors.Is(err, io.EOF) {
		// What is behind the last file proves that the answer is whole.
		if _, cerr := io.Copy(io.Discard, a.res.Body); cerr != nil {
			return "", nil, cerr
		}
		return "", nil, io.EOF
	}
	if err != nil {
		return "", nil, err
	}
	return h.Name, a.tar, nil
}

func (a *archive) total() int64 { return a.res.ContentLength }

func (a *archive) close() {
	a.stop()
	_ = a.res.Body.Close()
}

// fetch asks a running process for a snapshot. holder is the process it should be, if that is known.
func fetch(ctx context.Context, client *http.Client, url, holder string) (source, error) {
	ctx, stop := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		stop()
		return nil, err
	}
	res, err := client.Do(req) //nolint:bodyclose // archive.close does
	if err != nil {
		stop()
		return nil, err
	}
	a := &archive{res: res, tar: tar.NewReader(res.Body), stop: stop}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		a.close()
		return nil, fmt.Errorf("%s: %s: %s", url, res.Status, text)
	}
	if other := res.Header.Get(processHeader); holder != "" && other != holder {
		a.close()
		return nil, fmt.Errorf("%s is of process %s, but process %s has the data directory; --url says which to ask", url, other, holder)
	}
	return a, nil
}

// stopped is the files of a database that no process has open.
type stopped struct {
	s *local.Snapshot
	i int
}

func (s *stopped) next() (string, io.Reader, error) {
	if s.i == len(s.s.Files) {
		return "", nil, io.EOF
	}
	f := &s.s.Files[s.i]
	s.i++
	return f.Name, f.Reader(), nil
}

func (s *stopped) total() (n int64) {
	for _, f := range s.s.Files {
		n += f.Size
	}
	return n
}

func (s *stopped) close() { s.s.Close() }
