// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"

	"github.com/tributary-project/tributary/timestream/local"
)

// TestStatus compares what a status says of a database with what was done to it.
func TestStatus(t *testing.T) {
	var dir string
	db := open(t, func(c *local.Config) { dir = c.Dir })
	empty, err := db.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if tab := empty.Databases[0].Tables[0]; tab.Rows != 0 || tab.Series != 0 || tab.Oldest != nil || tab.Newest != nil {
		t.Errorf("without records: got %+v", tab)
	}
	if _, err := db.CreateDatabase(t.Context(), &timestreamwrite.CreateDatabaseInput{DatabaseName: aws.String("another")}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		mustWrite(t, db, rec("up", "1", -time.Duration(i)*time.Minute, "i", strconv.Itoa(i)), multi("m", -time.Duration(i)*time.Second, "x", "a", "1", "DOUBLE"))
	}
	s, err := db.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Databases) != 2 || s.Databases[0].Name != database || s.Databases[1].Name != "another" || len(s.Databases[1].Tables) != 0 {
		t.Fatalf("got %+v", s.Databases)
	}
	tab := s.Databases[0].Tables[0]
	if tab.Name != table || tab.Rows != 6 || tab.Series != 4 || !tab.MagneticWrites || tab.MemoryHours != 6 || tab.MagneticDays != 73000 {
		t.Errorf("got %+v", tab)
	}
	oldest := rows(t, db, "SELECT min(time), max(time) FROM "+database+"."+table)[0]
	const layout = "2006-01-02 15:04:05.000000000"
	if tab.Oldest.Format(layout) != oldest[0] || tab.Newest.Format(layout) != oldest[1] {
		t.Errorf("got %v to %v, want %v", tab.Oldest, tab.Newest, oldest)
	}
	file, err := os.Stat(filepath.Join(dir, "timestream.duckdb"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Dir != dir || s.FileBytes != file.Size() || s.LogBytes == 0 || s.FreeBytes <= 0 || s.MemoryBytes <= 0 || s.MemoryLimit <= s.MemoryBytes || s.MaxOpenResults != 64 {
		t.Errorf("got %+v", s)
	}
	if tab.Bytes > s.UsedBytes || s.UsedBytes > s.FileBytes {
		t.Errorf("table %d of %d of %d bytes", tab.Bytes, s.UsedBytes, s.FileBytes)
	}
	db.SealAll(t) // the same records in other parts
	if s, err = db.Status(t.Context()); err != nil || s.Databases[0].Tables[0].Rows != 6 {
		t.Errorf("sealed: got %+v, %v", s, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Status(t.Context()); err == nil {
		t.Error("closed, and still a status")
	}
	s, err = reopen(t, dir).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if tab := s.Databases[0].Tables[0]; tab.Rows != 6 || tab.Series != 4 || tab.Bytes == 0 || tab.Newest.Format(layout) != oldest[1] {
		t.Errorf("opened again: got %+v", tab)
	}
}
