// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
)

// DuckDB uses free blocks again, the first ones first, and cuts off those at the file's end; it moves none. So when a tenth of the
// file is free and there is nothing else to rewrite, the run at its end is rewritten, which puts it further to the front.

// compaction begins to rewrite the run whose move makes the file smaller; nil when there is none.
func (r *rewriter) compaction(ctx context.Context) (*rewriteJob, error) {
	// What the last rewrite has freed is free after a checkpoint.
	if err := r.db.writer.between(ctx, func() {}); err != nil {
		return nil, err
	}
	var total, free int64
	err := r.each(ctx, "SELECT total_blocks, free_blocks FROM pragma_database_size()", func(n func(int) int64) { total, free = n(0), n(1) })
	if err != nil || free < r.db.cfg.rewrite.minFree || free < total/10 || r.packed > 0 && total <= r.packed+r.packed/20 {
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
				}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	var last candidate
	var end int64
	for _, c := range all {
		var highest, blocks int64
		err := r.each(ctx, fmt.Sprintf("SELECT coalesce(max(block_id), 0), count(DISTINCT block_id) FROM pragma_storage_info('%s') WHERE persistent", c.table.partTable(c.part)),
			func(n func(int) int64) { highest, blocks = n(0), n(1) })
		if err != nil {
			return nil, err
		}
		if highest > end && blocks < free {
			end, last = highest, c
		}
	}
	if end < total-free { // it would not move forward
		r.packed = total
		return nil, nil
	}
	r.packed = 0
	return r.begin(ctx, func() *rewriteJob {
		for _, p := range last.table.own.settled[last.part.kind] {
			if p.id == last.part.id && !last.table.dropped.Load() {
				return &rewriteJob{table: last.table, inputs: []*part{p}}
			}
		}
		return nil
	})
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
