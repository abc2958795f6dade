// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// A part whose rewriting fails, because a block of it is damaged or for want of memory, rests for a while that doubles each time. The others
// are rewritten meanwhile.

// maxRest is the longest that a part rests after a failure.
const maxRest = time.Hour

// setback is the failure of a rewrite as one of its inputs has it.
type setback struct {
	table    *table
	part     int64
	name     string
	records  int64
	failures int
	// class is the kind of the last failure, since when the first was, until when the part rests.
	class        string
	err          error
	since, until time.Time
}

// setbacks are the parts that could not be rewritten. Any goroutine may use them.
type setbacks struct {
	mu   sync.Mutex
	list []*setback
}

func (s *setbacks) find(t *table, part int64) *setback {
	for _, b := range s.list {
		if b.table == t && b.part == part {
			return b
		}
	}
	return nil
}

// resting tells whether a part is left alone for now.
func (s *setbacks) resting(t *table, part int64, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(t, part)
	return b != nil && now.Before(b.until)
}

// note lets a part rest. It tells whether the part had no failure of this class before.
func (s *setbacks) note(t *table, p *part, err error, now time.Time, retry time.Duration) (*setback, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.find(t, p.id)
	if b == nil {
		b = &setback{table: t, part: p.id, name: t.partTable(p), records: p.rows, since: now}
		s.list = append(s.list, b)
	}
	class := failureClass(err)
	news := b.class != class
	b.class, b.err = class, err
	b.until = now.Add(min(retry<<min(b.failures, 20), maxRest))
	b.failures++
	c := *b
	return &c, news
}

// succeeded forgets the inputs of a rewrite.
func (s *setbacks) succeeded(job *rewriteJob) {
	s.keep(func(t *table, id int64) bool {
		return t != job.table || !slices.ContainsFunc(job.inputs, func(p *part) bool { return p.id == id })
	})
}

func (s *setbacks) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

// keep forgets the parts for which still is false.
func (s *setbacks) keep(still func(t *table, id int64) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(b *setback) bool { return !still(b.table, b.part) })
}

// all returns what there is, the oldest first.
func (s *setbacks) all() []setback {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]setback, len(s.list))
	for i, b := range s.list {
		out[i] = *b
	}
	return out
}

// hasSettled tells whether a part is still there and takes no new records.
func (t *table) hasSettled(id int64) bool {
	if t.dropped.Load() {
		return false
	}
	for k := range t.own.settled {
		if slices.ContainsFunc(t.own.settled[k], func(p *part) bool { return p.id == id }) {
			return true
		}
	}
	return false
}

// failureClass is DuckDB's word for a kind of error, with which its texts begin.
func failureClass(err error) string {
	var de *duck.Error
	if !errors.As(err, &de) {
		return "Error"
	}
	class, _, _ := strings.Cut(de.Text, ":")
	return class
}

// setBack lets the inputs of a rewrite that failed rest: those that cannot be read, or all when each can.
func (r *rewriter) setBack(ctx context.Context, job *rewriteJob, err error) {
	failed := map[*part]error{}
	if len(job.inputs) > 1 {
		for _, p := range job.inputs {
			if perr := r.readThrough(ctx, job.table, p); perr != nil {
				failed[p] = perr
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	now := r.db.now()
	for _, p := range job.inputs {
		if len(failed) > 0 && failed[p] == nil {
			continue
		}
		perr := failed[p]
		if perr == nil {
			perr = err
		}
		b, news := r.setbacks.note(job.table, p, perr, now, r.db.cfg.rewrite.retry)
		log := r.db.log.Debug
		if news {
			log = r.db.log.Warn
		}
		log("stored records could not be rewritten; they stay as they are, and it is tried again", "database", job.table.database, "table", job.table.name,
			"part", b.name, "records", p.rows, "failures", b.failures, "again_in", b.until.Sub(now), "err", explain(r.db.cfg.Dir, perr))
	}
}

// readThrough reads every value of a part.
func (r *rewriter) readThrough(ctx context.Context, t *table, p *part) error {
	rows, err := r.conn.Read(ctx, "SELECT bit_xor(hash(COLUMNS(*))) FROM "+t.partTable(p))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() { // what matters is that there is something
	}
	return rows.Err()
}

// RewriteFailure is a part of a table that could not be sorted and encoded.
type RewriteFailure struct {
	Database string `json:"database"`
	Table    string `json:"table"`
	// Part is the name of its physical table, Records how many it has.
	Part    string `json:"part"`
	Records int64  `json:"records"`
	// Failures is how often it failed since Since; it is tried again at Next, or up to half a minute later.
	Failures int       `json:"failures"`
	Since    time.Time `json:"since"`
	Next     time.Time `json:"next"`
	Error    string    `json:"error"`
}

func (r *rewriter) failures() []RewriteFailure {
	out := []RewriteFailure{}
	for _, b := range r.setbacks.all() {
		out = append(out, RewriteFailure{Database: b.table.database, Table: b.table.name, Part: b.name, Records: b.records,
			Failures: b.failures, Since: b.since.UTC(), Next: b.until.UTC(), Error: explain(r.db.cfg.Dir, b.err).Error()})
	}
	return out
}
