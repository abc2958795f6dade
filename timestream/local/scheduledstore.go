// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/scheduled"
)

// Scheduled queries are kept in cat_scheduled: what they were created as, which never changes, and apart from it their state, which every run
// does. Their tags are in cat_tags, beside those of databases and tables, under an empty name of a database and their id.
const scheduledSQL = `
CREATE TABLE IF NOT EXISTS cat_scheduled (id VARCHAR, definition VARCHAR, state VARCHAR);
`

// scheduledQuery is a scheduled query in memory. The catalogue's lock guards what changes of it, and the writer alone changes it.
type scheduledQuery struct {
	scheduled.Definition
	schedule *scheduled.Schedule
	// size is that of the definition in bytes.
	size int
	// state is what is on disk, next the time of the next automatic run by it, zero when there is none.
	state scheduled.State
	next  time.Time
	tags  map[string]string
}

// put takes over a state.
func (q *scheduledQuery) put(s scheduled.State) {
	q.state, q.next = s, time.Time{}
	if s.Enabled {
		q.next = q.schedule.Next(q.Created, s.From)
	}
}

// loadScheduled reads the scheduled queries.
func (db *DB) loadScheduled(ctx context.Context) error {
	db.cat.scheduled = map[string]*scheduledQuery{}
	return db.each(ctx, "SELECT definition, state FROM cat_scheduled", func(c []duck.Column, i int) error {
		q := &scheduledQuery{}
		var s scheduled.State
		err := json.Unmarshal(c[0].Bytes(i), &q.Definition)
		if err == nil {
			err = json.Unmarshal(c[1].Bytes(i), &s)
		}
		if err == nil {
			q.schedule, err = scheduled.Parse(q.Expression)
		}
		if err != nil {
			return fmt.Errorf("scheduled query %q: %w", q.ID, err)
		}
		q.size = len(c[0].Bytes(i))
		q.put(s)
		db.cat.scheduled[q.ID] = q
		return nil
	})
}

// insertScheduled is the SQL that stores a new scheduled query, whose size it notes.
func insertScheduled(q *scheduledQuery) (string, error) {
	definition, err := json.Marshal(q.Definition)
	if err != nil {
		return "", err
	}
	q.size = len(definition)
	state, err := json.Marshal(q.state)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("INSERT INTO cat_scheduled VALUES (%s, %s, %s);", literal(q.ID), literal(string(definition)), literal(string(state))) + insertTags("", q.ID, q.tags), nil
}

// changeScheduled replaces the state of a scheduled query by what f makes of it.
func (db *DB) changeScheduled(ctx context.Context, id string, f func(scheduled.State) scheduled.State) (scheduled.State, error) {
	var q *scheduledQuery
	var s scheduled.State
	err := db.change(ctx, func(c *duck.Conn) error {
		if q = db.cat.scheduled[id]; q == nil {
			return noScheduledQuery(db.scheduledARN(id))
		}
		s = f(q.state)
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return c.Exec(fmt.Sprintf("UPDATE cat_scheduled SET state = %s WHERE id = %s", literal(string(b)), literal(id)))
	}, func() { q.put(s) })
	return s, err
}

// scheduledQuery returns a copy of a scheduled query, nil if there is none.
func (c *catalogue) scheduledQuery(id string) *scheduledQuery {
	c.mu.RLock()
	defer c.mu.RUnlock()
	q := c.scheduled[id]
	if q == nil {
		return nil
	}
	out := *q
	return &out
}

func (c *catalogue) countScheduled() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.scheduled)
}

// scheduledIDs are the ids of all scheduled queries in order.
func (c *catalogue) scheduledIDs() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Sorted(maps.Keys(c.scheduled))
}
