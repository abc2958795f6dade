// SPDX-License-Identifier: Apache-2.0

package duck

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// What CheckLog knows of DuckDB's write-ahead log: a header, which is fields that end with a mark, and entries, each with
// its length and a checksum of its content before it. A transaction ends with an entry that is always the same.
const (
	entryHead      = 16
	fieldEnd       = 0xffff
	fieldType      = 100
	fieldVersion   = 101
	fieldDatabase  = 102
	fieldIteration = 103
	typeVersion    = 98
)

// commitEntry is the entry that ends a transaction, with its head.
var commitEntry = [...]byte{5, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0xfe, 0x7d, 0x72, 0x2f, 0xed, 0x3d, 0x5e, fieldType, 0, 100, 0xff, 0xff}

// ErrLogDamaged is that a log is damaged at a place that committed transactions follow, or is no log at all.
var ErrLogDamaged = errors.New("the write-ahead log is damaged")

// CheckLog looks for damage in a write-ahead log that DuckDB itself would take for the end of the log, dropping all that
// follows: lengths that point beyond the end of the file, and a beginning that is none. (Content that was changed it finds
// by its checksums.) A log that ends in the middle of a transaction is what a crash leaves; torn is the number of bytes
// after the last whole one.
func CheckLog(path string) (torn int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	in := &countingReader{r: bufio.NewReaderSize(f, 1<<20)}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	switch err := readLogHeader(in); {
	case errors.Is(err, io.EOF):
		return info.Size(), nil
	case err != nil:
		return 0, fmt.Errorf("%w: %s: %w", ErrLogDamaged, path, err)
	}
	good := in.n
	for {
		committed, err := skipEntry(in, info.Size())
		switch {
		case errors.Is(err, io.EOF):
			return info.Size() - good, refuseCommits(f, good, path)
		case err != nil:
			return 0, err
		case committed:
			good = in.n
		}
	}
}

// skipEntry reads one entry and tells whether it ends a transaction. io.EOF says that it is not wholly there.
func skipEntry(in *countingReader, size int64) (committed bool, err error) {
	var head [len(commitEntry)]byte
	if _, err := io.ReadFull(in, head[:entryHead]); err != nil {
		return false, eof(err)
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > uint64(size-in.n) {
		return false, io.EOF
	}
	if n == uint64(len(commitEntry)-entryHead) {
		if _, err := io.ReadFull(in, head[entryHead:]); err != nil {
			return false, eof(err)
		}
		return head == commitEntry, nil
	}
	_, err = io.CopyN(io.Discard, in, int64(n))
	return false, eof(err)
}

func eof(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// refuseCommits fails when the end of a transaction is to be found after offset good, where no whole one begins.
func refuseCommits(f *os.File, good int64, path string) error {
	in := bufio.NewReaderSize(io.NewSectionReader(f, good, 1<<62), 1<<20)
	for at := good; ; {
		window, err := in.Peek(in.Size())
		if i := bytes.Index(window, commitEntry[:]); i >= 0 {
			return fmt.Errorf("%w: %s: no entry can be read after byte %d, but a transaction was committed at byte %d", ErrLogDamaged, path, good, at+int64(i))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		n, _ := in.Discard(len(window) - len(commitEntry) + 1)
		at += int64(n)
	}
}

// readLogHeader reads up to the first entry. io.EOF says that the log ends before.
func readLogHeader(in *countingReader) error {
	number := func() (uint64, error) {
		n, err := binary.ReadUvarint(in)
		return n, eof(err)
	}
	for first := true; ; first = false {
		var b [2]byte
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return eof(err)
		}
		field := binary.LittleEndian.Uint16(b[:])
		if first != (field == fieldType) {
			return errors.New("it does not begin as a log")
		}
		n := uint64(1)
		var err error
		switch field {
		case fieldEnd:
			return nil
		case fieldDatabase:
			if n, err = number(); err != nil {
				return err
			}
			if n > 64 {
				return errors.New("it does not begin as a log")
			}
		case fieldType, fieldVersion, fieldIteration:
		default:
			return errors.New("it does not begin as a log")
		}
		for range n {
			v, err := number()
			if err != nil {
				return err
			}
			if first && v != typeVersion {
				return errors.New("it does not begin as a log")
			}
		}
	}
}

// countingReader counts what was read.
type countingReader struct {
	r *bufio.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
