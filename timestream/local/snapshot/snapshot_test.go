// SPDX-License-Identifier: Apache-2.0

package snapshot_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *local.DB {
	t.Helper()
	cfg := local.DefaultConfig()
	cfg.Dir, cfg.CheckpointLogSize = dir, 64<<10
	db, err := local.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

var start = time.Now().Add(-time.Hour)

// fill writes n requests of 100 records.
func fill(t *testing.T, db *local.DB, n int) {
	t.Helper()
	for i := range n {
		in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("PrometheusMetricsTable"), CommonAttributes: &wtypes.Record{
			MeasureName: aws.String("up"), Dimensions: []wtypes.Dimension{{Name: aws.String("host"), Value: aws.String("x")}}}}
		for j := range 100 {
			in.Records = append(in.Records, wtypes.Record{MeasureValue: aws.String(strconv.Itoa(i * j)), Time: aws.String(strconv.FormatInt(start.UnixMilli()+int64(100*i+j), 10))})
		}
		if _, err := db.WriteRecords(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
}

func count(t *testing.T, db *local.DB) string {
	t.Helper()
	out, err := db.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT count(*) FROM PrometheusDatabase.PrometheusMetricsTable")})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Rows[0].Data[0].ScalarValue
}

// run is the command, of the data directory dir.
func run(t *testing.T, dir string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, notes bytes.Buffer
	err = snapshot.Command{Name: "snapshot", EnvPrefix: "SNAPSHOT_TEST", Dir: dir, Address: "127.0.0.1:1"}.Run(t.Context(), args, &out, &notes)
	return out.String(), notes.String(), err
}

// server serves snapshots of db.
func server(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// names lists a directory.
func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

// Of a running process and of a stopped one, into a file and into a directory; and what it makes is started.
func TestSnapshotAndRestore(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	fill(t, db, 20)
	url := server(t, snapshot.Handler(db, slog.New(slog.DiscardHandler)))
	address := strings.TrimPrefix(url, "http://")

	file := filepath.Join(t.TempDir(), "backup.duckdb")
	stdout, notes, err := run(t, dir, "--to", file, "--listen-address", address)
	if err != nil || !strings.Contains(stdout, "1 database, 1 table, 2000 records") || !strings.Contains(notes, "checking the copy") {
		t.Fatalf("got %v, %s, %s", err, stdout, notes)
	}
	fill(t, db, 30)
	if got := names(t, filepath.Dir(file)); got != "backup.duckdb" {
		t.Errorf("the directory has %s", got)
	}
	if _, _, err := run(t, dir, "--to", file, "--listen-address", address); err == nil || !strings.Contains(err.Error(), "--overwrite") {
		t.Errorf("a file was replaced: %v", err)
	}
	if _, _, err := run(t, dir, "--to", dir, "--listen-address", address); err == nil || !strings.Contains(err.Error(), "another process has this directory open") {
		t.Errorf("into a directory in use: %v", err)
	}
	restored := t.TempDir()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(restored, local.FileName), b, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, restored)
	if got := count(t, again); got != "2000" {
		t.Errorf("got %s records", got)
	}
	fill(t, again, 25) // what is there, and more
	if got := count(t, again); got != "2500" {
		t.Errorf("got %s records", got)
	}

	if stdout, _, err = run(t, dir, "--to", file, "--overwrite", "--url", url); err != nil || !strings.Contains(stdout, "3000 records") {
		t.Errorf("got %v, %s", err, stdout)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	next := filepath.Join(t.TempDir(), "new") + "/"
	if stdout, _, err = run(t, dir, "--to", next); err != nil || !strings.Contains(stdout, "3000 records of "+dir) {
		t.Fatalf("got %v, %s", err, stdout)
	}
	if got := count(t, open(t, next)); got != "3000" {
		t.Errorf("got %s records", got)
	}
}

// What a crash left is copied with its log; a log beside the file that is to be replaced is not lost.
func TestAfterCrash(t *testing.T) {
	dir, crashed := t.TempDir(), t.TempDir()
	fill(t, open(t, dir), 7)
	for _, name := range []string{local.FileName, local.FileName + ".wal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(crashed, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to := t.TempDir()
	if stdout, _, err := run(t, crashed, "--to", to); err != nil || !strings.Contains(stdout, "700 records") {
		t.Fatalf("got %v, %s", err, stdout)
	}
	if got := names(t, to); got != local.FileName {
		t.Errorf("the directory has %s", got)
	}
	if _, _, err := run(t, dir, "--to", crashed, "--overwrite"); err == nil || !strings.Contains(err.Error(), "log of another database") {
		t.Errorf("a log was left behind: %v", err)
	}
}

// Nothing that is not whole gets the name of a snapshot, and nothing else stays.
func TestNotWhole(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	fill(t, db, 20)
	whole := snapshot.Handler(db, slog.New(slog.DiscardHandler))
	res := httptest.NewRecorder()
	whole.ServeHTTP(res, httptest.NewRequest(http.MethodGet, snapshot.Path, nil))
	content := res.Body.Bytes()
	if res.Header().Get("Content-Length") != strconv.Itoa(len(content)) {
		t.Errorf("Content-Length is %s, of %d bytes", res.Header().Get("Content-Length"), len(content))
	}
	answer := func(b []byte, length int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(length))
			_, _ = w.Write(b)
		}
	}
	flipped := bytes.Clone(content)
	info, err := os.Stat(filepath.Join(dir, local.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(3*4096 + 1000); at < info.Size(); at += 65536 { // every block: some are free
		flipped[512+at] ^= 0xff
	}
	for _, tt := range []struct {
		name string
		h    http.Handler
		want string
	}{
		{"cut in a file", answer(content[:len(content)/2], len(content)), "unexpected EOF"},
		{"cut at its end", answer(content[:len(content)-1], len(content)), "unexpected EOF"},
		{"garbled", answer(flipped, len(content)), "Corrupt database file"},
		{"no archive", answer(bytes.Repeat([]byte("hello "), 1000), 6000), "tar"},
		{"another path", http.NotFoundHandler(), "404"},
		{"a name with a path", answer(bytes.Replace(content, []byte("timestream.duckdb"), []byte("../treacherous.db"), 1), len(content)), "tar"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := t.TempDir()
			_, _, err := run(t, dir, "--to", filepath.Join(to, "x"), "--url", server(t, tt.h))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if got := names(t, to); got != "" {
				t.Errorf("left behind: %s", got)
			}
		})
	}

	t.Run("interrupted", func(t *testing.T) {
		to := t.TempDir()
		ctx, stop := context.WithCancel(t.Context())
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			_, _ = w.Write(content[:len(content)/2])
			_ = http.NewResponseController(w).Flush()
			stop()
			<-r.Context().Done()
		})
		err := snapshot.Command{Name: "snapshot", Dir: dir}.Run(ctx, []string{"--to", to, "--url", server(t, slow)}, io.Discard, io.Discard)
		if err == nil {
			t.Error("no error")
		}
		if got := names(t, to); got != "" {
			t.Errorf("left behind: %s", got)
		}
	})
}

func TestCommandErrors(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	other := server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Timestream-Local-Process", "1") }))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "--to"},
		{[]string{"--to=x", "more"}, "unexpected argument"},
		{[]string{"--to=" + t.TempDir(), "--data-dir=" + t.TempDir()}, "no database to copy"},
		{[]string{"--to=" + t.TempDir()}, "process " + strconv.Itoa(os.Getpid()) + " has the directory open, but does not give a snapshot of it (--listen-address, --url)"},
		{[]string{"--to=" + t.TempDir(), "--listen-address=" + strings.TrimPrefix(other, "http://")}, "is of process 1, but process " + strconv.Itoa(os.Getpid())},
		{[]string{"--to=" + t.TempDir(), "--listen-address=nowhere"}, "--listen-address=nowhere"},
	} {
		if _, _, err := run(t, dir, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %s", tt.args, err, tt.want)
		}
	}
	res := httptest.NewRecorder()
	snapshot.Handler(open(t, t.TempDir()), slog.New(slog.DiscardHandler)).ServeHTTP(res, httptest.NewRequest(http.MethodPost, snapshot.Path, nil))
	if res.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.Code)
	}
}
