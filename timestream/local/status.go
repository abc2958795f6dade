// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Status is what is known of an open database without reading its records. Sizes are in bytes.
type Status struct {
	Dir string `json:"directory"`
	// FileBytes and LogBytes are the sizes of the database file and of its write-ahead log; UsedBytes is the part of the file
	// that holds something; FreeBytes is what the disk has left.
	FileBytes int64 `json:"fileBytes"`
	LogBytes  int64 `json:"logBytes"`
	UsedBytes int64 `json:"usedBytes"`
	FreeBytes int64 `json:"freeBytes"`
	// MemoryLimit bounds DuckDB's buffers, MemoryBytes is what they take.
	MemoryLimit int64 `json:"memoryLimitBytes"`
	MemoryBytes int64 `json:"memoryBytes"`
	// OpenResults are those whose pages are still being fetched, of at most MaxOpenResults; WaitingWrites are WriteRecords
	// requests that wait for the writer.
	OpenResults    int              `json:"openResults"`
	MaxOpenResults int              `json:"maxOpenResults"`
	WaitingWrites  int              `json:"waitingWrites"`
	Databases      []DatabaseStatus `json:"databases"`
	// ScheduledQueries are those that there are, by name.
	ScheduledQueries []ScheduledQueryStatus `json:"scheduledQueries"`
	// RewriteFailures are the parts of tables that could not be sorted and encoded, and are tried again later.
	RewriteFailures []RewriteFailure `json:"rewriteFailures"`
}

// DatabaseStatus is one database of Status, in the order of names.
type DatabaseStatus struct {
	Name    string        `json:"name"`
	Created time.Time     `json:"created"`
	Tables  []TableStatus `json:"tables"`
}

// TableStatus is one table of Status, in the order of names.
type TableStatus struct {
	Name           string    `json:"name"`
	Created        time.Time `json:"created"`
	MemoryHours    int64     `json:"memoryHours"`
	MagneticDays   int64     `json:"magneticDays"`
	MagneticWrites bool      `json:"magneticWrites"`
	// Rows is DuckDB's estimate, which may count expired rows that are still on disk.
	Rows   int64 `json:"rows"`
	Series int64 `json:"series"`
	// Oldest is a time before which there is no record, Newest that of the newest; nil without records.
	Oldest *time.Time `json:"oldest,omitempty"`
	Newest *time.Time `json:"newest,omitempty"`
	// Bytes is the table's share of UsedBytes, by its number of values: an estimate.
	Bytes int64 `json:"bytes"`
}

// ScheduledQueryStatus is one scheduled query of Status.
type ScheduledQueryStatus struct {
	Name    string `json:"name"`
	ARN     string `json:"arn"`
	Enabled bool   `json:"enabled"`
	// Running tells that it runs, or waits for its turn.
	Running  bool   `json:"running"`
	Schedule string `json:"schedule"`
	// Target is the table that its rows go to, as database.table; empty for none.
	Target string `json:"target,omitempty"`
	// Last is its last run, nil before the first, Next the time of the next, nil when there is none.
	Last *ScheduledRunStatus `json:"last,omitempty"`
	Next *time.Time          `json:"next,omitempty"`
}

// ScheduledRunStatus is one run of a scheduled query.
type ScheduledRunStatus struct {
	Invocation time.Time     `json:"invocation"`
	Trigger    time.Time     `json:"trigger"`
	Status     string        `json:"status"`
	Failure    string        `json:"failure,omitempty"`
	Rows       int64         `json:"rows"`
	Records    int64         `json:"records"`
	Took       time.Duration `json:"tookNanoseconds"`
}

// Status tells the state of the database. It asks DuckDB for its statistics, reads no records and waits for nobody.
func (db *DB) Status(ctx context.Context) (*Status, error) {
	if err := db.queries.enter(); err != nil {
		return nil, errClosed
	}
	defer db.queries.calls.Done()
	s := &Status{
		Dir:         db.cfg.Dir,
		MemoryLimit: db.cfg.databaseMemory(), OpenResults: db.queries.open(), MaxOpenResults: db.cfg.OpenResults, WaitingWrites: len(db.writer.queue),
		Databases: []DatabaseStatus{}, RewriteFailures: db.rewriter.failures(),
	}
	if abs, err := filepath.Abs(s.Dir); err == nil {
		s.Dir = abs
	}
	if err := s.measureDisk(); err != nil {
		return nil, err
	}
	sizes, err := db.physical(ctx, s)
	if err != nil {
		return nil, err
	}
	total := 0.0
	for _, size := range sizes {
		total += size.values
	}
	for _, name := range db.Databases() {
		d := db.cat.database(name)
		names, err := db.Tables(name)
		if d == nil || err != nil {
			continue // deleted meanwhile
		}
		ds := DatabaseStatus{Name: name, Created: d.created, Tables: []TableStatus{}}
		for _, n := range names {
			if t, _ := db.cat.table(name, n); t != nil {
				size := sizes[strings.TrimSuffix(t.physical(""), "_")]
				ts := db.tableStatus(t, size)
				if total > 0 {
					ts.Bytes = int64(float64(s.UsedBytes) * size.values / total)
				}
				ds.Tables = append(ds.Tables, ts)
			}
		}
		s.Databases = append(s.Databases, ds)
	}
	s.ScheduledQueries = db.scheduledStatus()
	return s, nil
}

func (db *DB) scheduledStatus() []ScheduledQueryStatus {
	list := []ScheduledQueryStatus{}
	for _, q := range db.scheduled.All() {
		s := ScheduledQueryStatus{Name: q.Name, ARN: db.scheduled.ARN(q.ID), Enabled: q.State.Enabled, Running: db.scheduled.Busy(q.ID), Schedule: q.Expression}
		if !q.Next.IsZero() {
			s.Next = &q.Next
		}
		if q.Target != nil {
			s.Target = *q.Target.DatabaseName + "." + *q.Target.TableName
		}
		if r := q.State.Last; r != nil {
			s.Last = &ScheduledRunStatus{Invocation: r.Invocation, Trigger: r.Trigger, Status: string(r.Status()), Failure: r.Failure, Rows: r.Stats.Rows, Records: r.Stats.Records, Took: r.Stats.Took}
		}
		list = append(list, s)
	}
	return list
}

// measureDisk asks the file system.
func (s *Status) measureDisk() (err error) {
	for suffix, size := range map[string]*int64{"": &s.FileBytes, ".wal": &s.LogBytes} {
		// There is no log right after a checkpoint.
		if info, err := os.Stat(filepath.Join(s.Dir, fileName+suffix)); err == nil {
			*size = info.Size()
		} else if !os.IsNotExist(err) {
			return err
		}
	}
	s.FreeBytes, err = freeBytes(s.Dir)
	return err
}

// physicalSize is what DuckDB estimates of the physical tables of one table.
type physicalSize struct {
	// rows are records, values is rows times columns of all that is kept for the table.
	rows   int64
	values float64
}

// physical asks DuckDB for its statistics: sizes by the beginning of the physical tables' names. Those of the file and of memory go into s.
// A run that is being built has records that are in other parts, too.
func (db *DB) physical(ctx context.Context, s *Status) (map[string]physicalSize, error) {
	conn, err := db.duck.Connect()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	rows, err := conn.Query(ctx, `SELECT '', used_blocks * block_size, (SELECT coalesce(sum(memory_usage_bytes), 0)::BIGINT FROM duckdb_memory()), false FROM pragma_database_size()
		UNION ALL SELECT d.table_name, d.estimated_size, d.column_count, coalesce(p.state <> '`+string(partBuilding)+`', false)
		FROM duckdb_tables() d LEFT JOIN cat_parts p ON d.table_name = 't' || p.table_id || '_' || p.kind || CASE p.id WHEN 0 THEN '' ELSE '_p' || p.id END
		WHERE NOT d.internal AND NOT d.temporary`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	sizes := map[string]physicalSize{}
	for rows.Next() {
		c := rows.Columns()
		for i := range rows.Size() {
			name, a, b := c[0].String(i), c[1].Int64(i), c[2].Int64(i)
			if name == "" {
				s.UsedBytes, s.MemoryBytes = a, b
				continue
			}
			name, _, _ = strings.Cut(name, "_")
			size := sizes[name]
			size.values += float64(a) * float64(b)
			if c[3].Bool(i) {
				size.rows += a
			}
			sizes[name] = size
		}
	}
	return sizes, rows.Err()
}

func (db *DB) tableStatus(t *table, size physicalSize) TableStatus {
	p := t.props.Load()
	s := TableStatus{Name: t.name, Created: t.created, MemoryHours: p.memoryHours, MagneticDays: p.magneticDays, MagneticWrites: p.magneticWrites, Rows: size.rows, Series: t.series.Load()}
	if first, last, ok := t.spans.bounds(); ok {
		oldest, newest := time.Unix(0, max(first, p.oldest(db.now()))).UTC(), time.Unix(0, last).UTC()
		if !newest.Before(oldest) { // or all records are expired
			s.Oldest, s.Newest = &oldest, &newest
		}
	}
	return s
}

// bounds are a time before which no series has a record, and that of the newest one.
func (s *spans) bounds() (first, last int64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	first, last = math.MaxInt64, math.MinInt64
	for i := range s.list {
		first, last = min(first, s.list[i].first), max(last, s.list[i].last)
	}
	return first, last, first <= last
}
