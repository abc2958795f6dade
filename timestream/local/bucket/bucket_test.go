// SPDX-License-Identifier: Apache-2.0

package bucket_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tributary-project/tributary/timestream/local/bucket"
)

// open opens a store with the bucket "data" and returns the bucket's directory.
func open(t *testing.T) (*bucket.Store, string) {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o750); err != nil {
		t.Fatal(err)
	}
	return reopen(t, dir), data
}

func reopen(t *testing.T, dir string) *bucket.Store {
	t.Helper()
	s, err := bucket.Open(dir, "--s3-dir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, s *bucket.Store, key, content string) {
	t.Helper()
	if err := s.Put("data", key, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func keys(t *testing.T, s *bucket.Store, prefix string) []string {
	t.Helper()
	list, err := s.List("data", prefix, 1000)
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, o := range list {
		found = append(found, o.Key)
	}
	return found
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantRead(t *testing.T, s *bucket.Store, key, want string) {
	t.Helper()
	got, err := s.Read("data", key, 1<<20)
	if err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v, want %q", key, got, err, want)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func TestPutGetList(t *testing.T) {
	s, dir := open(t)
	for _, key := range []string{"a/b/2.csv", "a/b/1.csv", "a-b", "a.csv", "z", "a b/ü 'x' \"y\"\\=1", "-rf", "a/c"} {
		put(t, s, key, "of "+key)
		wantRead(t, s, key, "of "+key)
	}
	put(t, s, "z", "new")
	wantRead(t, s, "z", "new")
	// By the bytes of keys, as S3 does, and not directory by directory.
	for _, tc := range []struct {
		prefix string
		want   []string
	}{
		{"", []string{"-rf", "a b/ü 'x' \"y\"\\=1", "a-b", "a.csv", "a/b/1.csv", "a/b/2.csv", "a/c", "z"}},
		{"a/", []string{"a/b/1.csv", "a/b/2.csv", "a/c"}},
		{"a/b", []string{"a/b/1.csv", "a/b/2.csv"}},
		{"a/b/1", []string{"a/b/1.csv"}},
		{"a/b/1.csv/", []string{}},
		{"../", []string{}},
		{"/a", []string{}},
		{"nothing", []string{}},
	} {
		if got := keys(t, s, tc.prefix); !slices.Equal(got, tc.want) {
			t.Errorf("prefix %q: got %q, want %q", tc.prefix, got, tc.want)
		}
	}
	list, err := s.List("data", "z", 1)
	if err != nil || len(list) != 1 || list[0].Size != 3 || list[0].Modified.IsZero() {
		t.Errorf("got %+v, %v", list, err)
	}
	_, err = s.List("data", "a/", 2)
	wantErr(t, "three objects of two", err, bucket.ErrTooMany)
	_, err = s.Get("data", "z", 2)
	wantErr(t, "three bytes of two", err, bucket.ErrTooLarge)
	_, err = s.Read("data", "nothing", 10)
	wantErr(t, "a key that is not there", err, bucket.ErrNoKey)
	_, err = s.Read("data", "z/below", 10)
	wantErr(t, "a key below another", err, bucket.ErrNoKey)
	_, err = s.Read("data", "a/b", 10)
	wantErr(t, "a directory", err, bucket.ErrNoKey)
	if err := s.Delete("data", "z"); err != nil {
		t.Error(err)
	}
	if err := s.Delete("data", "z"); err != nil {
		t.Error("a second time:", err)
	}
	if left := keys(t, s, "z"); len(left) > 0 {
		t.Error("still there:", left)
	}
	if entries, err := filepath.Glob(filepath.Join(dir, ".incomplete*")); err != nil || len(entries) > 0 {
		t.Error("left behind:", entries, err)
	}
}

func TestNoBucket(t *testing.T) {
	s, dir := open(t)
	write(t, filepath.Join(filepath.Dir(dir), "file"), "")
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(filepath.Dir(dir), "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "none", "..", ".", "data/x", "../data", "Data", "file", "link", "a", strings.Repeat("a", 64)} {
		wantErr(t, name, s.Exists(name), bucket.ErrNoBucket)
		wantErr(t, name, s.Put(name, "k", nil), bucket.ErrNoBucket)
	}
	if err := s.Exists("data"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Error("written outside:", left, err)
	}

	none, err := bucket.Open("", "--local.s3-dir")
	if err != nil {
		t.Fatal(err)
	}
	_, err = none.List("data", "", 1)
	wantErr(t, "without a directory", err, bucket.ErrNoBucket)
	if !strings.Contains(err.Error(), "--local.s3-dir") {
		t.Errorf("the flag is not named: %v", err)
	}
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}

func TestBadKeys(t *testing.T) {
	s, dir := open(t)
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../x", "a/../../x", "a/./b", "a\x00b", "\xff", strings.Repeat("x", 256), strings.Repeat("x/", 600) + "x",
		strings.Repeat("x/", 100) + "x", ".incomplete-x",
	} {
		wantErr(t, key, s.Put("data", key, nil), bucket.ErrBadKey)
		_, err := s.Get("data", key, 0)
		wantErr(t, key, err, bucket.ErrBadKey)
		wantErr(t, key, s.Delete("data", key), bucket.ErrBadKey)
	}
	put(t, s, "a/b", "")
	wantErr(t, "a key that others are below", s.Put("data", "a", nil), bucket.ErrBadKey)
	if err := s.Put("data", "a/b/c", nil); err == nil {
		t.Error("a key below another was taken")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Error("left behind:", left, err)
	}
}

func TestLinks(t *testing.T) {
	s, dir := open(t)
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "secret")
	put(t, s, "in/file", "inside")
	for name, to := range map[string]string{
		"out": filepath.Join(outside, "secret"), "outdir": outside, "up": "../../" + filepath.Base(outside), "here": "in/file", "heredir": "in", "nowhere": "nothing", "self": "self",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := keys(t, s, ""), []string{"here", "in/file"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	wantRead(t, s, "here", "inside")
	for _, key := range []string{"out", "outdir/secret", "up/secret", "nowhere", "self", "pipe"} {
		if b, err := s.Read("data", key, 100); err == nil {
			t.Errorf("%s was read: %q", key, b)
		}
	}
	if err := s.Put("data", "outdir/new", nil); err == nil {
		t.Error("written through a link")
	}
	put(t, s, "out", "replaced") // the link, and not what it leads to
	if b, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(b) != "secret" {
		t.Errorf("outside is %q, %v", b, err)
	}
	wantRead(t, s, "out", "replaced")
	if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
		t.Error("written outside:", left, err)
	}
}

func TestWholeOrNotAtAll(t *testing.T) {
	s, dir := open(t)
	put(t, s, "k", "old")
	w, err := s.Create("data", "k", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"12345", "678"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.Write([]byte("901"))
	wantErr(t, "eleven bytes of ten", err, bucket.ErrTooLarge)
	if got := keys(t, s, ""); !slices.Equal(got, []string{"k"}) {
		t.Errorf("got %q", got)
	}
	wantRead(t, s, "k", "old")
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, s, "k", "12345678")
	w.Abort()
	wantRead(t, s, "k", "12345678")

	w, err = s.Create("data", "k", 10)
	if err != nil {
		t.Fatal(err)
	}
	w.Abort()
	wantRead(t, s, "k", "12345678")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Error("left behind:", left, err)
	}
}

// TestInterrupted: what a killed process left half written goes with the next start, and what another one is writing stays.
func TestInterrupted(t *testing.T) {
	s, dir := open(t)
	write(t, filepath.Join(dir, ".incomplete-KILLED"), "half")
	if got := keys(t, s, ""); len(got) > 0 {
		t.Errorf("listed: %q", got)
	}
	w, err := s.Create("data", "k", 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("live")); err != nil {
		t.Fatal(err)
	}
	other := reopen(t, filepath.Dir(dir))
	if _, err := os.Stat(filepath.Join(dir, ".incomplete-KILLED")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	wantRead(t, other, "k", "live")
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := bucket.Open(dir, "--s3-dir"); err == nil || !strings.HasPrefix(err.Error(), "--s3-dir: ") {
			t.Errorf("%s: got %v", dir, err)
		}
	}
}
