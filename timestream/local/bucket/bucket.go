// SPDX-License-Identifier: Apache-2.0

// Package bucket keeps objects in a directory, in place of S3: a bucket is a subdirectory, which must exist, and a key is a path below
// it. No name leads out of a bucket, neither by `..` nor by a link, and an object is there as a whole or not at all.
//
// It leaves to its users what objects are for, and to the file system whatever S3 has beyond names and bytes: encryption, versions,
// owners and policies.
package bucket

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// Errors of a Store are about one of these; their texts name the bucket and the key, and what to do.
var (
	// ErrNoBucket is that there is no such bucket, or no directory of buckets at all.
	ErrNoBucket = errors.New("no such bucket")
	// ErrNoKey is that the bucket has no object with a key.
	ErrNoKey = errors.New("no such key")
	// ErrBadKey is that a key cannot be the path of a file.
	ErrBadKey = errors.New("the key cannot be a path")
	// ErrTooLarge is that an object is larger than its user takes.
	ErrTooLarge = errors.New("too large")
	// ErrTooMany is that there are more objects than were asked for.
	ErrTooMany = errors.New("too many objects")
)

const (
	// maxKeyBytes is the longest key (S3 User Guide, object keys), maxSegmentBytes the longest name of a file.
	maxKeyBytes     = 1024
	maxSegmentBytes = 255
	// maxDepth bounds how deep directories are looked into.
	maxDepth = 100
	// readAtOnce is how many names of a directory are in memory at one time.
	readAtOnce = 1024
	// incomplete begins the names of files that are being written. They are in the bucket's own directory and in no list.
	incomplete = ".incomplete-"
)

// names are those of buckets, and of the aliases of access points (API reference, S3Configuration).
var names = regexp.MustCompile(`^[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9]$`)

// Store is a directory of buckets. Its methods may be called by many goroutines at once.
type Store struct {
	root *os.Root
	// flag is by which people give the directory.
	flag string
}

// Open opens a directory of buckets and creates it when it is missing; what an interrupted process left half written in its buckets is
// removed. flag is the name by which people give the directory, for the texts of errors. Without a directory there are no buckets.
func Open(dir, flag string) (*Store, error) {
	s := &Store{flag: flag}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	s.root = root
	if err := s.clean(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", flag, err), root.Close())
	}
	return s, nil
}

// Close releases the directory. What is being read and written stays usable.
func (s *Store) Close() error {
	if s.root == nil {
		return nil
	}
	return s.root.Close()
}

// bucket opens the directory of a bucket.
func (s *Store) bucket(name string) (*os.Root, error) {
	if s.root == nil {
		return nil, fmt.Errorf("%w: %s: buckets are directories below that of %s, which is not set", ErrNoBucket, name, s.flag)
	}
	if !names.MatchString(name) {
		return nil, fmt.Errorf("%w: %q is not the name of a bucket", ErrNoBucket, name)
	}
	info, err := s.root.Stat(name)
	var pe *fs.PathError
	switch {
	case err == nil && info.IsDir():
	case err == nil:
		return nil, fmt.Errorf("%w: %s: it is a file in %s (%s), and not a directory", ErrNoBucket, name, s.root.Name(), s.flag)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s: there is no directory of this name in %s (%s)", ErrNoBucket, name, s.root.Name(), s.flag)
	case errors.As(err, &pe):
		return nil, fmt.Errorf("%w: %s: the directory of this name in %s (%s): %w", ErrNoBucket, name, s.root.Name(), s.flag, pe.Err)
	default:
		return nil, fmt.Errorf("%w: %s: %w", ErrNoBucket, name, err)
	}
	return s.root.OpenRoot(name)
}

// Exists returns nil when there is a bucket, and an ErrNoBucket that says what is missing when there is none.
func (s *Store) Exists(bucket string) error {
	b, err := s.bucket(bucket)
	if err != nil {
		return err
	}
	return b.Close()
}

// Refusal is the answer to a request that names a bucket or a key that cannot be used, which err says. The service's text is not published.
func Refusal(err error) string { return "Unable to access S3: " + err.Error() }

// ValidKey tells, by an ErrBadKey, why a key cannot be a path below a bucket's directory: names between slashes that are empty, `.`, `..` or over
// 255 bytes, that hold a NUL or are not UTF-8, or that look like a file that is being written; more than 100 of them, and more than 1,024 bytes.
func ValidKey(key string) error {
	bad := func(why string) error { return fmt.Errorf("%w: %q %s", ErrBadKey, key, why) }
	switch {
	case len(key) > maxKeyBytes:
		return fmt.Errorf("%w: it has %d bytes, more than %d", ErrBadKey, len(key), maxKeyBytes)
	case !utf8.ValidString(key):
		return bad("is not UTF-8")
	case strings.Contains(key, "\x00"):
		return bad("holds a NUL")
	}
	segments := strings.Split(key, "/")
	if len(segments) > maxDepth {
		return bad(fmt.Sprintf("has more than %d names", maxDepth))
	}
	for _, name := range segments {
		switch {
		case name == "" || name == "." || name == "..":
			return bad(fmt.Sprintf("holds %q between slashes", name))
		case len(name) > maxSegmentBytes:
			return bad(fmt.Sprintf("holds a name of more than %d bytes", maxSegmentBytes))
		}
	}
	if strings.HasPrefix(key, incomplete) {
		return bad("begins like the name of a file that is being written")
	}
	return nil
}

// Object is what a list says of an object.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time
}

// List returns the objects whose keys begin with prefix, by key. More than most of them are an ErrTooMany. Links to files in the same bucket
// are objects, too; those to directories are not followed, and other kinds of files are none.
func (s *Store) List(bucket, prefix string, most int) ([]Object, error) {
	b, err := s.bucket(bucket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	var found []Object
	if err := list(b, ".", "", prefix, 0, func(o Object) error {
		if len(found) == most {
			return fmt.Errorf("%w: bucket %s has more than %d with the prefix %q", ErrTooMany, bucket, most, prefix)
		}
		found = append(found, o)
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	return found, nil
}

// list calls f for the objects in a directory and those below it. at is what their keys begin with, up to a slash.
func list(b *os.Root, dir, at, prefix string, depth int, f func(Object) error) error {
	d, err := b.Open(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile
		}
		return err
	}
	defer func() { _ = d.Close() }()
	return each(d, func(e fs.DirEntry) error {
		key := at + e.Name()
		if e.IsDir() {
			if depth == maxDepth || !strings.HasPrefix(key+"/", prefix) && !strings.HasPrefix(prefix, key+"/") {
				return nil
			}
			return list(b, path.Join(dir, e.Name()), key+"/", prefix, depth+1, f)
		}
		if !strings.HasPrefix(key, prefix) {
			return nil
		}
		if info := object(b, key); info != nil {
			return f(Object{Key: key, Size: info.Size(), Modified: info.ModTime()})
		}
		return nil
	})
}

// object describes a file, nil for what is no object: without the name of one, removed meanwhile, or a link that leads nowhere or out of the bucket.
func object(b *os.Root, key string) fs.FileInfo {
	if ValidKey(key) != nil {
		return nil
	}
	info, err := b.Stat(key)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return info
}

// each calls f for the entries of a directory, few of which are in memory at one time.
func each(d *os.File, f func(fs.DirEntry) error) error {
	for {
		entries, err := d.ReadDir(readAtOnce)
		for _, e := range entries {
			if err := f(e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Get opens an object for reading; the caller closes it. A larger one than most bytes is an ErrTooLarge, unless most is 0.
func (s *Store) Get(bucket, key string, most int64) (*os.File, error) {
	if err := ValidKey(key); err != nil {
		return nil, err
	}
	b, err := s.bucket(bucket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	// To open a pipe would wait for somebody who writes to it.
	f, err := b.OpenFile(key, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil, fmt.Errorf("%w: %s in bucket %s", ErrNoKey, key, bucket)
		}
		return nil, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%w: %s in bucket %s is not a file", ErrNoKey, key, bucket)
	case most > 0 && info.Size() > most:
		err = fmt.Errorf("%w: %s in bucket %s has %d bytes, more than %d", ErrTooLarge, key, bucket, info.Size(), most)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Read returns the bytes of an object, of at most most bytes.
func (s *Store) Read(bucket, key string, most int64) ([]byte, error) {
	f, err := s.Get(bucket, key, most)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most { // it grew
		return nil, fmt.Errorf("%w: %s in bucket %s has more than %d bytes", ErrTooLarge, key, bucket, most)
	}
	return b, nil
}

// Put stores an object, in place of the one with its key if there is one. When it returns nil the object is on disk.
func (s *Store) Put(bucket, key string, content []byte) error {
	w, err := s.Create(bucket, key, int64(len(content)))
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(content); err != nil {
		return err
	}
	return w.Commit()
}

// Delete removes an object; one that is not there is none of its errors. Directories stay.
func (s *Store) Delete(bucket, key string) error {
	if err := ValidKey(key); err != nil {
		return err
	}
	b, err := s.bucket(bucket)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	if err := b.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return nil
}
