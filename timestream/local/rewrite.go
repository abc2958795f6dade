// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// A sealed part is rewritten into a run: sorted by series and time, its columns encoded for DuckDB's compression. Small runs
// of neighbouring times are merged into larger ones, once. That happens on a connection of its own, in pieces of some
// 100,000 records, into a table that no reader sees; then one short transaction of the writer puts it in the place of its inputs,
// drops these and replaces the view. Whatever moment a crash chooses, the file has either the inputs or the run.
//
// Nobody waits for it. What the writer deletes from the inputs meanwhile (the old values of updated records) it notes, and
// deletes from the run as well before readers see it; expired records are below the run's floor. So a record may be updated
// at any time, and no rewrite is in vain.

// rewriteConfig is how parts grow and are rewritten; tests make the numbers small.
type rewriteConfig struct {
	// sealRows is how many records a live part has when it is sealed, pieceRows how many are rewritten at a time.
	sealRows, pieceRows int64
	// windowRows is about how many records are read at a time to look some up.
	windowRows int64
	// fanIn is how many small runs make a large one.
	fanIn int
	// minFree is how many blocks of the file have to be free for it to be made smaller.
	minFree int64
	// retry is how long the rewrite rests after a failure.
	retry time.Duration
	// between is called between two pieces.
	between func()
}

func defaultRewrite() rewriteConfig {
	return rewriteConfig{sealRows: 2_000_000, pieceRows: 250_000, windowRows: 200_000, fanIn: 4, minFree: 256, retry: 30 * time.Second}
}

const (
	// pagingWait is how long the change from inputs to run is put off for results whose pages are being fetched.
	pagingWait = 30 * time.Second
	// checkpointWait is how long one run is put off for checkpoints that statements are in the way of.
	checkpointWait = 30 * time.Second
	// maxRewriteDeleted bounds what is noted while a run is built; beyond it the run is given up.
	maxRewriteDeleted = 200_000
)

// rewriteJob is one run being built. All but inputs and out belongs to the writer goroutine.
type rewriteJob struct {
	table  *table
	inputs []*part
	out    *part
	attrs  []attribute
	// deleted are keys that the inputs have lost since the job began.
	deleted []recordKey
	// floor is the time before which records have been deleted since.
	floor int64
	// spoiled tells that the run is to be given up.
	spoiled bool
}

// rewriter rewrites parts in the background.
type rewriter struct {
	db   *DB
	conn *duck.Conn
	wake chan struct{}
	// piece is held while records are copied. DuckDB's checkpoints wait for the end of an insertion, so the writer does not
	// begin one meanwhile: it sets due until it has made it, and the rewrite lets it go first.
	piece sync.Mutex
	due   atomic.Bool
	// waited is how long the run that is being made has waited for checkpoints.
	waited time.Duration
	// busy tells that there is something to rewrite, or that nobody has looked yet.
	busy atomic.Bool
	// setbacks are the parts that could not be rewritten.
	setbacks setbacks
	packing  packing
}

func newRewriter(db *DB) *rewriter {
	r := &rewriter{db: db, wake: make(chan struct{}, 1)}
	r.busy.Store(true)
	return r
}

func (r *rewriter) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run rewrites what there is to rewrite whenever it is woken, until ctx ends.
func (r *rewriter) run(ctx context.Context) {
	var err error
	if r.conn, err = r.db.duck.Connect(); err != nil {
		r.db.log.Error("stored records are not rewritten", "err", err)
		return
	}
	defer r.conn.Close()
	retry := time.NewTicker(r.db.cfg.rewrite.retry)
	defer retry.Stop()
	said := "" // the class of the last failure
	for {
		if err := r.all(ctx); err != nil && ctx.Err() == nil {
			log := r.db.log.Debug
			if class := failureClass(err); class != said {
				said, log = class, r.db.log.Warn
			}
			log("rewriting stored records; they stay as they are, and it is tried again", "err", err)
			select {
			case <-retry.C:
			case <-ctx.Done():
				return
			}
			continue
		}
		said = ""
		select {
		case <-r.wake:
		case <-retry.C: // retention makes work, too
		case <-ctx.Done():
			return
		}
	}
}

// all rewrites until there is nothing to do.
func (r *rewriter) all(ctx context.Context) error {
	r.busy.Store(true)
	defer r.busy.Store(false)
	for {
		job, err := r.begin(ctx, r.db.nextRewrite)
		if err == nil && job == nil {
			job, err = r.compaction(ctx)
		}
		if err != nil || job == nil {
			return err
		}
		start := time.Now()
		r.waited = 0
		if err = r.build(ctx, job); err == nil {
			err = r.finish(ctx, job)
		}
		if err != nil {
			// If this fails, too, the next rewrite of the table drops it, or the next start.
			gerr := r.db.writer.control(context.WithoutCancel(ctx), job.giveUp, job.end)
			if ctx.Err() != nil || r.db.usable.Err() != nil {
				return errors.Join(err, gerr)
			}
			r.setBack(ctx, job, errors.Join(err, gerr))
			continue
		}
		r.setbacks.succeeded(job)
		r.db.log.Debug("rewrote records", "database", job.table.database, "table", job.table.name, "parts", len(job.inputs), "records", job.out.rows,
			"took", time.Since(start).Round(time.Millisecond))
	}
}

// begin lets next choose what to rewrite, nil when there is nothing, and creates the table for it.
func (r *rewriter) begin(ctx context.Context, next func() *rewriteJob) (*rewriteJob, error) {
	var job *rewriteJob
	err := r.db.writer.control(ctx, func(c *duck.Conn) error {
		// In the same job as all else: what expires before it is in the inputs' floors, what expires after it in the run's.
		r.setbacks.keep((*table).hasSettled)
		if job = next(); job == nil {
			return nil
		}
		t := job.table
		if left := t.own.building; left != nil { // it could not even be given up
			if err := left.giveUp(c); err != nil {
				return err
			}
		}
		job.attrs = t.own.schema.attrs
		job.out = newPart(t.own.nextPart, job.inputs[0].kind)
		t.own.nextPart++
		job.out.state, job.out.columns = partBuilding, 0
		for _, p := range job.inputs {
			job.out.columns = max(job.out.columns, p.columns)
		}
		return c.Exec("CREATE TABLE " + t.partTable(job.out) + " (" + job.out.columnsSQL(job.attrs) + ");" +
			"CREATE TABLE " + t.partMarks(job.out) + " (sid BIGINT, t BIGINT, first BIGINT);" + t.insertPartSQL(job.out))
	}, func() {
		if job != nil {
			job.table.own.building = job
		}
	})
	if err != nil {
		return nil, err
	}
	return job, nil
}

// nextRewrite finds the sealed part, or the runs, that are best rewritten now. Those that rest after a failure are left alone.
func (db *DB) nextRewrite() *rewriteJob {
	now := db.now()
	var merge, expired *rewriteJob
	for _, d := range db.cat.databases {
		for _, t := range d.tables {
			for _, k := range t.own.schema.kinds {
				var small []*part
				for _, p := range t.own.settled[k] {
					switch {
					case db.rewriter.setbacks.resting(t, p.id, now):
					case p.state == partSealed:
						return &rewriteJob{table: t, inputs: []*part{p}}
					case p.floor > p.first/2+p.last/2:
						expired = &rewriteJob{table: t, inputs: []*part{p}}
					case p.rows < db.cfg.rewrite.sealRows*int64(db.cfg.rewrite.fanIn):
						small = append(small, p)
					}
				}
				if len(small) >= db.cfg.rewrite.fanIn {
					slices.SortFunc(small, func(a, b *part) int { return cmp.Compare(a.first, b.first) })
					merge = &rewriteJob{table: t, inputs: small[:db.cfg.rewrite.fanIn]}
				}
			}
		}
	}
	if merge == nil {
		return expired
	}
	return merge
}

// exec runs a statement in a transaction of its own; the end of ctx interrupts it.
func (r *rewriter) exec(ctx context.Context, sql string) error {
	if err := r.conn.Exec("BEGIN"); err != nil {
		return err
	}
	rows, err := r.conn.Query(ctx, sql)
	if err == nil {
		for rows.Next() { // the number of rows
		}
		err = rows.Err()
		rows.Close()
	}
	if err == nil {
		if err = r.conn.Commit(); err == nil {
			return nil
		}
	}
	r.db.noteFatal(err)
	if rerr := r.conn.Exec("ROLLBACK"); rerr != nil {
		r.db.log.Debug("rollback", "err", rerr)
	}
	return err
}

// piece is a range of series' numbers.
type piece struct{ from, to int64 }

// survey counts the records of the inputs and cuts them into pieces. It sets the run's unit of time.
func (r *rewriter) survey(ctx context.Context, job *rewriteJob) ([]piece, error) {
	limit := r.db.cfg.rewrite.pieceRows / int64(1+job.out.columns/8)
	var from []string
	for _, p := range job.inputs {
		from = append(from, "SELECT sid, "+p.time()+" AS t FROM "+job.table.partTable(p)+p.unexpired("WHERE"))
	}
	rows, err := r.conn.Read(ctx, "SELECT sid, count(*), min(t), max(t), max(CASE WHEN t % 1000 <> 0 THEN 2 WHEN t % 1000000 <> 0 THEN 1 ELSE 0 END)::BIGINT FROM ("+
		strings.Join(from, " UNION ALL ")+") GROUP BY sid ORDER BY sid")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var pieces []piece
	var n, finest int64
	begun := false
	for rows.Next() {
		c := rows.Columns()
		for i := range rows.Size() {
			sid := c[0].Int64(i)
			if !begun {
				pieces, n = append(pieces, piece{from: sid}), 0
			}
			n += c[1].Int64(i)
			pieces[len(pieces)-1].to = sid
			begun = n < limit
			job.out.rows += c[1].Int64(i)
			job.out.first, job.out.last = min(job.out.first, c[2].Int64(i)), max(job.out.last, c[3].Int64(i))
			finest = max(finest, c[4].Int64(i))
		}
	}
	job.out.unit = []int64{1e6, 1e3, 1}[finest]
	return pieces, rows.Err()
}

// build fills the run.
func (r *rewriter) build(ctx context.Context, job *rewriteJob) error {
	pieces, err := r.survey(ctx, job)
	if err != nil {
		return err
	}
	out := job.table.partTable(job.out)
	for _, x := range pieces {
		var from []string
		for _, p := range job.inputs {
			from = append(from, job.inputSQL(p, x))
		}
		if err := r.step(ctx, "INSERT INTO "+out+" "+strings.Join(from, " UNION ALL ")+" ORDER BY sid, t"); err != nil {
			return err
		}
	}
	u := strconv.FormatInt(job.out.unit, 10)
	return r.step(ctx, "INSERT INTO "+job.table.partMarks(job.out)+" SELECT sid, max(t) * "+u+", min(t) * "+u+" FROM "+out+" GROUP BY sid")
}

// step runs one statement that inserts records, and then gives way: to a checkpoint that is due, and to whoever else works on
// these cores.
func (r *rewriter) step(ctx context.Context, sql string) error {
	start := time.Now()
	r.piece.Lock()
	err := r.exec(ctx, sql)
	r.piece.Unlock()
	if err != nil {
		return err
	}
	if r.db.cfg.rewrite.between != nil {
		r.db.cfg.rewrite.between()
	}
	if err := r.giveWay(ctx); err != nil {
		return err
	}
	select {
	case <-time.After(min(time.Since(start)/2, time.Second)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveWay lets the writer make a checkpoint that is due. When a statement is in its way that began before a table was created, the
// rewrite creates none until it has ended, and lets the log not grow for want of a moment without an insertion.
func (r *rewriter) giveWay(ctx context.Context) error {
	for r.due.Load() && r.waited < checkpointWait {
		// The writer may have nothing to do; it looks for checkpoints after each thing it does.
		if err := r.db.writer.between(ctx, func() {}); err != nil {
			return err
		}
		select {
		case <-time.After(blockedFor):
			r.waited += blockedFor
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// inputSQL selects the records of a piece as the run has them.
func (job *rewriteJob) inputSQL(p *part, x piece) string {
	var b strings.Builder
	b.WriteString("SELECT sid, ")
	switch {
	case p.unit > job.out.unit:
		fmt.Fprintf(&b, "t * %d AS t", p.unit/job.out.unit)
	case p.unit < job.out.unit:
		fmt.Fprintf(&b, "t // %d AS t", job.out.unit/p.unit)
	default:
		b.WriteString("t")
	}
	b.WriteString(", ver")
	source := job.table.partTable(p)
	switch {
	case p.kind == kindMulti:
		for i := range job.out.columns {
			if i < p.columns {
				b.WriteString(", " + attrColumn(i))
			} else {
				b.WriteString(", NULL AS " + attrColumn(i))
			}
		}
	case p.kind != kindDouble:
		b.WriteString(", v")
	case p.encoded():
		b.WriteString(", n, e, d")
	default:
		b.WriteString(", " + encodeDouble)
		source = "(SELECT sid, t, ver, v, " + encodeScale + " AS e FROM (SELECT sid, t, ver, " + p.value() + " AS v FROM " + source + "))"
	}
	fmt.Fprintf(&b, " FROM %s WHERE sid BETWEEN %d AND %d%s", source, x.from, x.to, p.unexpired("AND"))
	return b.String()
}

// finish puts the run in the place of its inputs.
func (r *rewriter) finish(ctx context.Context, job *rewriteJob) error {
	for wait := time.Duration(0); wait < pagingWait && r.db.queries.paging(); wait += 100 * time.Millisecond {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var settled []*part
	var done part
	taken := false
	err := r.db.writer.control(ctx, func(c *duck.Conn) error {
		t := job.table
		if t.dropped.Load() || job.spoiled {
			taken = true
			return job.giveUp(c)
		}
		k := job.out.kind
		for _, p := range t.own.settled[k] {
			if !slices.ContainsFunc(job.inputs, func(in *part) bool { return in.id == p.id }) {
				settled = append(settled, p)
			}
		}
		if len(settled)+len(job.inputs) != len(t.own.settled[k]) {
			return fmt.Errorf("parts of %s.%s were changed while they were rewritten", t.database, t.name)
		}
		if err := job.deleteNoted(c); err != nil {
			return err
		}
		var sql strings.Builder
		for _, p := range job.inputs {
			sql.WriteString(t.dropPartSQL(p))
		}
		done = *job.out
		done.state, done.floor = partRun, max(done.floor, job.floor)
		if done.rows == 0 {
			sql.WriteString(t.dropPartSQL(job.out))
		} else {
			settled = append(settled, &done)
			sql.WriteString(t.updatePartSQL(&done))
		}
		sql.WriteString(t.viewSQL(k, append(append([]*part(nil), settled...), t.own.live[k]), t.own.schema.attrs))
		return c.Exec(sql.String())
	}, func() {
		if !taken {
			job.table.own.settled[job.out.kind] = settled
			r.db.writer.windows.forget(job.table)
			r.db.writer.checkpoints.asked = true
		}
		job.end()
	})
	return err
}

// deleteNoted deletes from the run what its inputs have lost.
func (job *rewriteJob) deleteNoted(c *duck.Conn) error {
	if len(job.deleted) == 0 {
		return nil
	}
	if err := fillProbe(c, job.deleted); err != nil {
		return err
	}
	return c.Exec(job.table.deleteProbedSQL(job.out))
}

// giveUp drops the run.
func (job *rewriteJob) giveUp(c *duck.Conn) error {
	if job.table.dropped.Load() {
		return nil // and the run with it
	}
	return c.Exec(job.table.dropPartSQL(job.out))
}

func (job *rewriteJob) end() { job.table.own.building = nil }

// noteDeleted notes keys whose records a committed transaction has deleted.
func (t *table) noteDeleted(k kind, keys []recordKey) {
	job := t.own.building
	if job == nil || job.out.kind != k || len(keys) == 0 {
		return
	}
	if len(job.deleted)+len(keys) > maxRewriteDeleted {
		job.spoiled, job.deleted = true, nil
		return
	}
	job.deleted = append(job.deleted, keys...)
}

// keyCondition joins a part v with a probe.
func (p *part) keyCondition(probe string) string {
	if p.unit == 1 {
		return "v.sid = " + probe + ".sid AND v.t = " + probe + ".t"
	}
	return fmt.Sprintf("v.sid = %[1]s.sid AND v.t = %[1]s.t // %[2]d AND %[1]s.t %% %[2]d = 0", probe, p.unit)
}

// bounds are the least and the greatest time of keys.
func bounds(keys []recordKey) (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	for _, k := range keys {
		first, last = min(first, k.time), max(last, k.time)
	}
	return first, last
}
