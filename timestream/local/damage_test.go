// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// image is the files of a data directory by name.
type image map[string][]byte

func readImage(t *testing.T, dir string) image {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, fileName+"*"))
	if err != nil {
		t.Fatal(err)
	}
	out := image{}
	for _, f := range files {
		if out[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (i image) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range i {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// crashed makes the image of a database that was killed: 1,000 records are in the file, and another 30 in its log, by one
// request each. ends are the sizes that the log had after each of them.
func crashed(t *testing.T) (files image, ends []int) {
	t.Helper()
	db := openTwo(t, nil)
	now := time.Now()
	for i := range 10 {
		putMany(t, db, now.Add(time.Duration(i)*time.Second), 100)
	}
	if err := db.writer.between(t.Context(), func() {
		if err := db.writer.checkpoint(); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if err := put(db, "good", strconv.Itoa(i), now.Add(time.Duration(i)*time.Millisecond), "other"); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(db.writer.checkpoints.logSize()))
	}
	return readImage(t, filepath.Dir(db.writer.checkpoints.file)), ends
}

const logName = fileName + logSuffix

// TestDamage opens files that were damaged. Each must be refused with words that tell what to do, and left as it is.
func TestDamage(t *testing.T) {
	whole, ends := crashed(t)
	// Of blocks one is that of the catalogue; which of the others holds what is DuckDB's affair.
	const headers, block = 3 * 4096, 65536
	flip := func(name string, at int) func(image) {
		return func(i image) { i[name][at] ^= 0xff }
	}
	replace := func(name string, content []byte) func(image) {
		return func(i image) { i[name] = content }
	}
	snapshot := "put it into an empty data directory"
	for _, tt := range []struct {
		name   string
		damage func(image)
		want   []string
	}{
		{"no database", replace(fileName, bytes.Repeat([]byte("no database "), 10_000)), []string{"not a valid DuckDB database file", snapshot}},
		{"empty file", replace(fileName, nil), []string{fileName, snapshot}},
		{"half a header", func(i image) { i[fileName] = i[fileName][:5000] }, []string{fileName, snapshot}},
		{"headers alone", func(i image) { i[fileName] = i[fileName][:headers] }, []string{fileName, snapshot}},
		{"truncated", func(i image) { i[fileName] = i[fileName][:len(i[fileName])/2] }, []string{"Could not read enough bytes", snapshot}},
		{"magic bytes", flip(fileName, 9), []string{"not a valid DuckDB database file", snapshot}},
		{"main header", flip(fileName, 30), []string{"Corrupt database file", snapshot}},
		{"first header", flip(fileName, 4096+20), []string{"Corrupt database file", snapshot}},
		{"second header", flip(fileName, 8192+20), []string{"Corrupt database file", snapshot}},
		{"block", flip(fileName, headers+block*catalogBlock(whole[fileName])+100), []string{"Corrupt database file", snapshot}},
		{"newer DuckDB", func(i image) {
			i[fileName] = bytes.Clone(i[fileName])
			newerDuckDB(i[fileName][:4096])
		}, []string{"version number 9999"}},
		{"log without its file", func(i image) { delete(i, fileName) }, []string{logName, "move the log away", snapshot}},
		{"log of a checkpoint without its file", func(i image) {
			i[fileName+".checkpoint.wal"] = i[logName]
			delete(i, logName)
			delete(i, fileName)
		}, []string{"checkpoint.wal", "move the log away"}},
		{"no log", replace(logName, []byte("this is the log of nothing at all")), []string{logName, "does not begin as a log", snapshot}},
		{"log's header", flip(logName, 2), []string{"does not begin as a log", snapshot}},
		{"length in the log", flip(logName, ends[3]+5), []string{"damaged", "a transaction was committed at byte", snapshot}},
		{"length in the log's first entry", flip(logName, 8+5), []string{"a transaction was committed at byte", snapshot}},
		{"content of the log", flip(logName, ends[3]+20), []string{"does not match stored checksum", snapshot}},
		{"content of the log's last transaction", flip(logName, ends[28]+20), []string{"does not match stored checksum", snapshot}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := image{}
			for name, content := range whole {
				files[name] = bytes.Clone(content)
			}
			tt.damage(files)
			refused(t, files, tt.want...)
		})
	}
	// Every block of the file that is in use: found at start, or by the statement that reads it.
	for at := headers; at < len(whole[fileName]); at += block {
		files := image{fileName: bytes.Clone(whole[fileName])}
		files[fileName][at+1000] ^= 0xff
		db, err := Open(t.Context(), config2(files.write(t)))
		if err == nil {
			if got := count(t, db, "good"); got != "1000" {
				t.Errorf("byte %d: %s records", at, got)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		} else if !strings.Contains(err.Error(), snapshot) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

// catalogBlock is the number of the block with which the catalogue begins, as the newer of the file's two headers has it.
func catalogBlock(file []byte) int {
	newer := file[4096:]
	if other := file[8192:]; binary.LittleEndian.Uint64(other[8:]) > binary.LittleEndian.Uint64(newer[8:]) {
		newer = other
	}
	return int(binary.LittleEndian.Uint64(newer[16:]) & (1<<56 - 1))
}

// config2 is the configuration with which openTwo opened a directory.
func config2(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir, cfg.DefaultDatabase, cfg.DefaultTable = dir, "db1", "good"
	return cfg
}

// refused opens files, twice, and wants the same error and the same files.
func refused(t *testing.T, files image, want ...string) {
	t.Helper()
	dir := files.write(t)
	for range 2 {
		db, err := Open(t.Context(), config2(dir))
		if err == nil {
			t.Errorf("opened, with %s records", count(t, db, "good"))
			_ = db.Close()
			return
		}
		for _, w := range append(want, dir) {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("got %v\nwithout %q", err, w)
			}
		}
		if strings.Contains(err.Error(), "duckdb::") || strings.Contains(err.Error(), "Stack") {
			t.Errorf("the error shows C++: %v", err)
		}
	}
	after := readImage(t, dir)
	if len(after) != len(files) {
		t.Errorf("files were %d, are %d", len(files), len(after))
	}
	for name, content := range files {
		if !bytes.Equal(after[name], content) {
			t.Errorf("%s was changed", name)
		}
	}
}

// newerDuckDB makes the main header that of a version to come, with its checksum.
func newerDuckDB(header []byte) {
	binary.LittleEndian.PutUint64(header[12:], 9999)
	sum := uint64(5381)
	for at := 8; at < len(header); at += 8 {
		sum ^= binary.LittleEndian.Uint64(header[at:]) * 0xbf58476d1ce4e5b9
	}
	binary.LittleEndian.PutUint64(header, sum)
}

// A file of DuckDB that is not ours, and one of a format to come, are not written to.
func TestForeignFile(t *testing.T) {
	build := func(sql string) image {
		dir := t.TempDir()
		d, err := duck.Open(filepath.Join(dir, fileName), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		c, err := d.Connect()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Exec(sql); err != nil {
			t.Fatal(err)
		}
		return readImage(t, dir) // with a log
	}
	refused(t, build("CREATE TABLE accounts (i INT)"), "not one of timestream-local")
	refused(t, build("CREATE TABLE accounts (i INT); CHECKPOINT"), "not one of timestream-local")
	refused(t, build(catalogueSQL+"INSERT INTO cat_meta VALUES ('format', '999')"), `format "999"`, "another version of timestream-local")
}

// TestTornLog opens what is left when the process, or the machine, ends while it appends to the log: all sizes are met.
// Every request whose end is in the log is there, and the next ones are written behind it.
func TestTornLog(t *testing.T) {
	whole, ends := crashed(t)
	log := whole[logName]
	sizes := []int{0, 1, 7, 8, 9, 20, ends[0] - 1, ends[0], ends[0] + 1}
	for i := range 20 {
		sizes = append(sizes, ends[27]+i*(ends[29]-ends[27])/20)
	}
	sizes = append(sizes, len(log)-1, len(log))
	for _, size := range sizes {
		committed := 0
		for committed < len(ends) && ends[committed] <= size {
			committed++
		}
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			dir := image{fileName: whole[fileName], logName: log[:size]}.write(t)
			for again := range 2 {
				db, err := Open(t.Context(), config2(dir))
				if err != nil {
					t.Fatal(err)
				}
				if got, want := count(t, db, "good"), strconv.Itoa(1000+committed+again); got != want {
					t.Errorf("%s records, want %s", got, want)
				}
				if err := put(db, "good", "1", time.Now(), "later"+strconv.Itoa(again)); err != nil {
					t.Error(err)
				}
				// The second time it opens what a crash leaves of the database that was mended.
				dir = readImage(t, dir).write(t)
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
