// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"
)

// newFile is what the database's file is called while it is being made.
const newFile = fileName + ".new"

// logNames are the log, and what DuckDB may leave beside it when it ends in the middle of a checkpoint.
var logNames = [...]string{fileName + logSuffix, fileName + ".checkpoint.wal", fileName + ".recovery.wal"}

// openDuck opens the database's file, which is made when there is none. What is damaged is left as it is.
func (db *DB) openDuck(dir string) (*duck.Database, error) {
	file := filepath.Join(dir, fileName)
	switch _, err := os.Stat(file); {
	case errors.Is(err, fs.ErrNotExist):
		if err := refuseLogs(dir); err != nil {
			return nil, err
		}
		if err := db.create(dir); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	for _, name := range logNames {
		torn, err := duck.CheckLog(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case torn > 0:
			db.log.Info("the log ends in the middle of a transaction, as after a crash; nothing of it was acknowledged", "file", name, "bytes", torn)
		}
	}
	d, err := duck.Open(file, db.options(dir))
	switch {
	case err != nil && strings.HasPrefix(duckText(err), "INTERNAL Error"):
		return nil, fmt.Errorf("%w: %w", errDamaged, err) // nothing was asked yet: it stumbled over what it read
	case err != nil:
		return nil, err
	}
	if err := d.Register(sqlfunc.All()...); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (db *DB) options(dir string) map[string]string {
	return map[string]string{
		"memory_limit":         strconv.FormatInt(db.cfg.databaseMemory(), 10) + "B",
		"threads":              strconv.Itoa(db.cfg.Threads),
		"checkpoint_threshold": checkpointThreshold,
		"default_block_size":   blockSize,
		"temp_directory":       filepath.Join(dir, "tmp"),
		// Answers without ORDER BY have no order, as in Timestream; keeping one costs memory.
		"preserve_insertion_order":     "false",
		"autoinstall_known_extensions": "false",
		"autoload_known_extensions":    "false",
	}
}

// refuseLogs fails when there is a log without its file: DuckDB would delete it.
func refuseLogs(dir string) error {
	for _, name := range logNames {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s is there, but not the file %s that it belongs to: put that back, or move the log away to begin an empty database", errDamaged, name, fileName)
		}
	}
	return nil
}

// errDamaged is that the files in the data directory are no database of ours.
var errDamaged = errors.New("the database is damaged")

// create makes an empty database under another name first: a process that is killed leaves either none or a whole one.
func (db *DB) create(dir string) error {
	name := filepath.Join(dir, newFile)
	for _, old := range []string{name, name + logSuffix} {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d, err := duck.Open(name, db.options(dir))
	if err != nil {
		return err
	}
	if err := withConn(d, func(c *duck.Conn) error {
		return c.Exec(catalogueSQL + "INSERT INTO cat_meta VALUES ('format', '" + formatVersion + "'); CHECKPOINT")
	}); err != nil {
		return err
	}
	if err := refuseLog(name); err != nil {
		return err
	}
	if err := os.Rename(name, filepath.Join(dir, fileName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// explain adds to an error what to do about it, when it is one of the disk or of the file.
func explain(dir string, err error) error {
	switch {
	case err == nil:
		return nil
	case diskFull(err):
		return fmt.Errorf("the disk of %s is full or its quota is used up: free space; what was acknowledged is safe: %w", dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the data directory (--data-dir) and its files must be readable and writable for the user of this process", err)
	case errors.Is(err, duck.ErrLogDamaged), errors.Is(err, errDamaged), damaged(err):
		return fmt.Errorf("%w; nothing was changed: to go on from a snapshot, put it into an empty data directory as %s", err, fileName)
	}
	return err
}

// diskFull tells whether an error says that there is no space to write to. DuckDB has the system's words only.
func diskFull(err error) bool {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, errno) || strings.Contains(strings.ToLower(duckText(err)), errno.Error()) {
			return true
		}
	}
	return false
}

// damaged tells whether DuckDB says that a file is not what it wrote.
func damaged(err error) bool {
	text := duckText(err)
	for _, words := range []string{"Corrupt", "corrupt", "not a valid DuckDB database file", "Could not read enough bytes", "Failure while replaying WAL", "Serialization Error"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// duckText is what DuckDB said, empty when the error is none of its.
func duckText(err error) string {
	var de *duck.Error
	if errors.As(err, &de) {
		return de.Text
	}
	return ""
}
