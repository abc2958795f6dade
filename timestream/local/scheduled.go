// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/local/scheduled"
)

// Scheduled queries are kept in cat_scheduled: what they were created as, which never changes, and apart from it their state, which every run
// does. Their tags are in cat_tags, beside those of databases and tables, under an empty name of a database and their id.
const scheduledSQL = `
CREATE TABLE IF NOT EXISTS cat_scheduled (id VARCHAR, definition VARCHAR, state VARCHAR);
`

// tagged is a scheduled query as far as tags are concerned.
type tagged struct{ tags map[string]string }

// loadScheduled reads the scheduled queries.
func (db *DB) loadScheduled(ctx context.Context) error {
	db.cat.scheduled = map[string]*tagged{}
	var kept []scheduled.Kept
	err := db.each(ctx, "SELECT id, definition, state FROM cat_scheduled", func(c []duck.Column, i int) error {
		k := scheduled.Kept{ID: c[0].String(i), Definition: c[1].String(i), State: c[2].String(i)}
		kept = append(kept, k)
		db.cat.scheduled[k.ID] = &tagged{}
		return nil
	})
	if err != nil {
		return err
	}
	cfg := scheduled.Config{
		Store: inside{db}, Now: db.now, Logger: db.log, ARN: shape.ARNPrefix + db.cfg.Region + ":" + db.cfg.AccountID + ":" + scheduled.Path,
		Concurrent: db.cfg.ScheduledRuns, Timeout: db.cfg.QueryTime, TimeoutFlag: db.cfg.flag("query.timeout"), Every: db.cfg.scheduleEvery,
		AllowInsights: func() error { return db.quotas.insights(db.now()) },
	}
	if db.cfg.S3Dir != "" {
		cfg.Buckets = db.buckets
	}
	db.scheduled, err = scheduled.New(cfg, kept)
	return err
}

// Plan is a method of scheduled.Store.
func (i inside) Plan(statement string, values map[string]time.Time) (*sqlplan.Plan, error) {
	plan, err := i.db.queries.compileWith(statement, values)
	if err != nil {
		return nil, i.db.queryError(err)
	}
	return plan, nil
}

// Rows is a method of scheduled.Store.
func (i inside) Rows(ctx context.Context, statement scheduled.Statement) (cost scheduled.Cost, err error) {
	s := &stream{q: i.db.queries, row: statement.Row, values: statement.Values, planned: statement.Planned}
	err = s.query(ctx, statement.SQL, nil)
	i.db.metrics.queryTime.Observe(s.took.Seconds())
	if s.charge != nil {
		cost = scheduled.Cost{Metered: s.charge.metered, Scanned: s.charge.scanned}
	}
	if err == nil || s.refused != nil {
		return cost, err
	}
	i.db.metrics.queryError.Inc()
	if outOfMemory(err) {
		err = &qtypes.InternalServerException{Message: text("The query needs more memory than it may use (" + i.db.cfg.flag("memory-limit") + ").")}
	}
	return cost, i.db.queryError(err)
}

// Insights is a method of scheduled.Store.
func (i inside) Insights(plan *sqlplan.Plan, rows, bytes int64) (*qtypes.QueryInsightsResponse, error) {
	out, err := i.db.insights(plan, output{rows: rows, bytes: bytes})
	if err != nil {
		return nil, i.db.queryError(err)
	}
	return out, nil
}

// KeepQuery is a method of scheduled.Store.
func (i inside) KeepQuery(ctx context.Context, change func() (scheduled.Kept, error), applied func()) error {
	var k scheduled.Kept
	var tags map[string]string
	return i.db.change(ctx, func(c *duck.Conn) (err error) {
		if k, err = change(); err != nil {
			return err
		}
		tags = tagMap(k.Tags)
		switch id := literal(k.ID); {
		case k.State == "":
			return c.Exec("DELETE FROM cat_scheduled WHERE id = " + id + ";" + deleteTags("", k.ID))
		case k.Definition == "":
			return c.Exec("UPDATE cat_scheduled SET state = " + literal(k.State) + " WHERE id = " + id)
		default:
			return c.Exec("INSERT INTO cat_scheduled VALUES (" + id + ", " + literal(k.Definition) + ", " + literal(k.State) + ");" + insertTags("", k.ID, tags))
		}
	}, func() {
		switch {
		case k.State == "":
			delete(i.db.cat.scheduled, k.ID)
		case k.Definition != "":
			i.db.cat.scheduled[k.ID] = &tagged{tags: tags}
		}
		applied()
	})
}

// CreateScheduledQuery creates a scheduled query, which is enabled (API reference, CreateScheduledQuery).
func (db *DB) CreateScheduledQuery(ctx context.Context, in *timestreamquery.CreateScheduledQueryInput, _ ...QueryOption) (*timestreamquery.CreateScheduledQueryOutput, error) {
	if err := db.allowQuery("CreateScheduledQuery"); err != nil {
		return nil, err
	}
	return db.scheduled.Create(ctx, in)
}

// DescribeScheduledQuery describes a scheduled query (API reference, DescribeScheduledQuery).
func (db *DB) DescribeScheduledQuery(_ context.Context, in *timestreamquery.DescribeScheduledQueryInput, _ ...QueryOption) (*timestreamquery.DescribeScheduledQueryOutput, error) {
	if err := db.allowQuery("DescribeScheduledQuery"); err != nil {
		return nil, err
	}
	return db.scheduled.Describe(in)
}

// ListScheduledQueries lists the scheduled queries by name (API reference, ListScheduledQueries).
func (db *DB) ListScheduledQueries(_ context.Context, in *timestreamquery.ListScheduledQueriesInput, _ ...QueryOption) (*timestreamquery.ListScheduledQueriesOutput, error) {
	if err := db.allowQuery("ListScheduledQueries"); err != nil {
		return nil, err
	}
	return db.scheduled.List(in)
}

// UpdateScheduledQuery enables or disables a scheduled query (API reference, UpdateScheduledQuery).
func (db *DB) UpdateScheduledQuery(ctx context.Context, in *timestreamquery.UpdateScheduledQueryInput, _ ...QueryOption) (*timestreamquery.UpdateScheduledQueryOutput, error) {
	if err := db.allowQuery("UpdateScheduledQuery"); err != nil {
		return nil, err
	}
	return db.scheduled.Update(ctx, in)
}

// DeleteScheduledQuery deletes a scheduled query and ends its run (API reference, DeleteScheduledQuery).
func (db *DB) DeleteScheduledQuery(ctx context.Context, in *timestreamquery.DeleteScheduledQueryInput, _ ...QueryOption) (*timestreamquery.DeleteScheduledQueryOutput, error) {
	if err := db.allowQuery("DeleteScheduledQuery"); err != nil {
		return nil, err
	}
	return db.scheduled.Delete(ctx, in)
}

// ExecuteScheduledQuery asks for a run of a scheduled query as if it was invoked at some time (API reference, ExecuteScheduledQuery).
func (db *DB) ExecuteScheduledQuery(_ context.Context, in *timestreamquery.ExecuteScheduledQueryInput, _ ...QueryOption) (*timestreamquery.ExecuteScheduledQueryOutput, error) {
	if err := db.allowQuery("ExecuteScheduledQuery"); err != nil {
		return nil, err
	}
	return db.scheduled.Execute(in)
}
