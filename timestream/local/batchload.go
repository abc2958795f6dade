// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"

	"github.com/tributary-project/tributary/timestream/local/batchload"
	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// loadKey begins the keys of cat_meta that hold batch load tasks.
const loadKey = "batch-load/"

// loadTasks takes over the batch load tasks among the rows of cat_meta.
func (db *DB) loadTasks(meta map[string]string) (err error) {
	kept := map[string]string{}
	for k, v := range meta {
		if id, ok := strings.CutPrefix(k, loadKey); ok {
			kept[id] = v
		}
	}
	db.loads, err = batchload.New(batchload.Config{Store: inside{db}, Buckets: db.buckets, Now: db.now, Logger: db.log, SaveEvery: db.cfg.saveLoadsEvery}, kept)
	return err
}

// inside is the database for those who write to it what they have read from it or from files: what they write is written as by a client.
type inside struct{ db *DB }

// Write is the method of storing.Target.
func (i inside) Write(ctx context.Context, r *record.Request) (records, bytes int64, err error) {
	w, err := i.db.write(ctx, r)
	return w.records, w.bytes, err
}

// Table is a method of batchload.Store.
func (i inside) Table(database, name string) error {
	_, err := i.db.namedTable(&database, &name)
	return err
}

// KeepTasks is a method of batchload.Store.
func (i inside) KeepTasks(ctx context.Context, change func() (map[string]string, error), applied func()) error {
	return i.db.change(ctx, func(c *duck.Conn) error {
		kept, err := change()
		if err != nil || len(kept) == 0 {
			return err
		}
		var sql strings.Builder
		for _, id := range slices.Sorted(maps.Keys(kept)) {
			sql.WriteString("DELETE FROM cat_meta WHERE k = " + literal(loadKey+id) + ";")
			if v := kept[id]; v != "" {
				sql.WriteString("INSERT INTO cat_meta VALUES (" + literal(loadKey+id) + ", " + literal(v) + ");")
			}
		}
		return c.Exec(sql.String())
	}, applied)
}

// CreateBatchLoadTask creates a task that writes the rows of CSV files to a table (API reference, CreateBatchLoadTask).
func (db *DB) CreateBatchLoadTask(ctx context.Context, in *timestreamwrite.CreateBatchLoadTaskInput, _ ...WriteOption) (*timestreamwrite.CreateBatchLoadTaskOutput, error) {
	if err := db.allowWrite("CreateBatchLoadTask"); err != nil {
		return nil, err
	}
	return db.loads.Create(ctx, in)
}

// DescribeBatchLoadTask tells how far a task has come (API reference, DescribeBatchLoadTask).
func (db *DB) DescribeBatchLoadTask(_ context.Context, in *timestreamwrite.DescribeBatchLoadTaskInput, _ ...WriteOption) (*timestreamwrite.DescribeBatchLoadTaskOutput, error) {
	if err := db.allowWrite("DescribeBatchLoadTask"); err != nil {
		return nil, err
	}
	return db.loads.Describe(in)
}

// ListBatchLoadTasks lists the tasks (API reference, ListBatchLoadTasks).
func (db *DB) ListBatchLoadTasks(_ context.Context, in *timestreamwrite.ListBatchLoadTasksInput, _ ...WriteOption) (*timestreamwrite.ListBatchLoadTasksOutput, error) {
	if err := db.allowWrite("ListBatchLoadTasks"); err != nil {
		return nil, err
	}
	return db.loads.List(in)
}

// ResumeBatchLoadTask lets a task go on that stopped (API reference, ResumeBatchLoadTask).
func (db *DB) ResumeBatchLoadTask(ctx context.Context, in *timestreamwrite.ResumeBatchLoadTaskInput, _ ...WriteOption) (*timestreamwrite.ResumeBatchLoadTaskOutput, error) {
	if err := db.allowWrite("ResumeBatchLoadTask"); err != nil {
		return nil, err
	}
	return db.loads.Resume(ctx, in)
}
