// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
)

// DuckDB uses free blocks again, the first ones first, and cuts off those at the file's end; it moves none. So when a tenth of the
// file is free and there is nothing else to rewrite, the run at its end is rewritten, which puts it further to the front. A live part that is
// there is sealed before its time, and becomes a small run.

// packing is what is known of the file's size, in blocks.
type packing struct {
	// packed is the size when it was found as small as rewriting a run can make it.
	packed int64
	// least is the size that the moves since have not made smaller by a twentieth, most how many runs reached too far.
	least, moves, most int64
}

// stretch is what a run has of the file: so many blocks, the last of which has the number highest.
type stretch struct{ blocks, highest int64 }

// choose tells which run is best moved, -1 for none. When moving those that reach too far has not made the file smaller, something else is
// at its end, and it is left as it is until it has grown.
func (p *packing) choose(total, free int64, runs []stretch) int {
	if total < p.least-p.least/20 || total > p.least+p.least/20 {
		p.least, p.moves, p.most = total, 0, 0
	}
	last, beyond := -1, int64(0)
	for i, x := range runs {
		if x.highest < total-free || x.blocks >= free {
			continue
		}
		beyond++
		if last < 0 || x.highest > runs[last].highest {
			last = i
		}
	}
	p.most = max(p.most, beyond)
	if last < 0 || p.moves > p.most {
		p.packed = total
		return -1
	}
	p.packed = 0
	p.moves++
	return last
}

// compaction begins to rewrite the run whose move makes the file smaller; nil when there is none.
func (r *rewriter) compaction(ctx context.Context) (*rewriteJob, error) {
	// What the last rewrite has freed is free after a checkpoint.
	if err := r.db.writer.between(ctx, func() {}); err != nil {
		return nil, err
	}
	var total, free int64
	err := r.each(ctx, "SELECT total_blocks, free_blocks FROM pragma_database_size()", func(n func(int) int64) { total, free = n(0), n(1) })
	if err != nil || free < r.db.cfg.rewrite.minFree || free < total/10 || r.packing.packed > 0 && total <= r.packing.packed+r.packing.packed/20 {
		return nil, err
	}
	type candidate struct {
		table *table
		part  *part
	}
	var all []candidate
	now := r.db.now()
	err = r.db.writer.between(ctx, func() {
		for _, d := range r.db.cat.databases {
			for _, t := range d.tables {
				for _, k := range t.own.schema.kinds {
					for _, p := range t.own.settled[k] {
						if r.setbacks.resting(t, p.id, now) {
							continue
						}
						all = append(all, candidate{t, p})
					}
					if p := t.own.live[k]; p.rows > 0 && !r.db.queries.paging() {
						all = append(all, candidate{t, p})
					}
				}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	runs := make([]stretch, len(all))
	for i, c := range all {
		err := r.each(ctx, fmt.Sprintf("SELECT coalesce(max(block_id), 0), count(DISTINCT block_id) FROM pragma_storage_info('%s') WHERE persistent", c.table.partTable(c.part)),
			func(n func(int) int64) { runs[i] = stretch{blocks: n(1), highest: n(0)} })
		if err != nil {
			return nil, err
		}
	}
	i := r.packing.choose(total, free, runs)
	if i < 0 {
		return nil, nil
	}
	last := all[i]
	if err := r.settle(ctx, last.table, last.part.kind, last.part.id); err != nil {
		return nil, err
	}
	return r.begin(ctx, func() *rewriteJob {
		for _, p := range last.table.own.settled[last.part.kind] {
			if p.id == last.part.id && !last.table.dropped.Load() {
				return &rewriteJob{table: last.table, inputs: []*part{p}}
			}
		}
		return nil
	})
}

// settle seals a part if it is live.
func (r *rewriter) settle(ctx context.Context, t *table, k kind, id int64) error {
	var failed error
	err := r.db.writer.between(ctx, func() {
		if t.own.live[k].id == id && !t.dropped.Load() {
			failed = r.db.writer.seal(t, k)
		}
	})
	return errors.Join(err, failed)
}

// each calls f for every row of a statement, with its columns of numbers.
func (r *rewriter) each(ctx context.Context, sql string, f func(n func(int) int64)) error {
	rows, err := r.conn.Read(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		for i := range rows.Size() {
			f(func(c int) int64 { return rows.Columns()[c].Int64(i) })
		}
	}
	return rows.Err()
}
