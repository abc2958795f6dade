// SPDX-License-Identifier: Apache-2.0

package scheduled

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/bucket"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/local/internal/storing"
	"github.com/tributary-project/tributary/timestream/result"
)

// Store is what scheduled queries need of the database. Its errors are the API's, but for those of a context.
type Store interface {
	storing.Target
	// Table tells whether there is a table.
	Table(database, name string) error
	// Plan plans a statement with values for its parameters.
	Plan(statement string, values map[string]time.Time) (*sqlplan.Plan, error)
	// Rows plans and runs a statement, tells planned of the plan before it runs, and hands each row of the result to row. What these return ends the
	// statement and is returned as it is. What the statement cost is told also beside an error.
	Rows(ctx context.Context, s Statement) (Cost, error)
	// Insights describes a statement that was run, by its plan, and the rows and bytes of its result.
	Insights(plan *sqlplan.Plan, rows, bytes int64) (*qtypes.QueryInsightsResponse, error)
	// KeepQuery runs change, one at a time, keeps on disk what it returns, and then calls applied. An error of change is returned as it is, and nothing
	// is kept or called.
	KeepQuery(ctx context.Context, change func() (Kept, error), applied func()) error
}

// Statement is one that Store runs.
type Statement struct {
	SQL     string
	Values  map[string]time.Time
	Planned func(*sqlplan.Plan) error
	Row     func(result.Row) error
}

// Cost is what a statement is charged for, in bytes, and what it scanned.
type Cost struct{ Metered, Scanned int64 }

// Kept is what is kept of a query: its definition, which never changes, and apart from it its state, which every run does.
type Kept struct {
	ID string
	// Definition and Tags are those of a new query; the former is empty for one that is kept already.
	Definition string
	Tags       []wtypes.Tag
	// State is empty when the query is to be forgotten, with all its tags.
	State string
}

// Config is what Queries are made of.
type Config struct {
	Store Store
	// Buckets is where error reports go, nil for nowhere.
	Buckets *bucket.Store
	Now     func() time.Time
	Logger  *slog.Logger
	// ARN begins the ARNs of all queries; their ids follow.
	ARN string
	// Concurrent is how many run at one time, Timeout how long a run may take; TimeoutFlag is the flag that errors name for that.
	Concurrent  int
	Timeout     time.Duration
	TimeoutFlag string
	// Every is how often it is looked which queries are due, as in Every.
	Every time.Duration
	// AllowInsights tells whether a run with insights may be asked for now; if not, its error is the answer.
	AllowInsights func() error
}

// Query is a scheduled query.
type Query struct {
	Definition
	// State is what is kept, Next the time of the next automatic run by it, zero when there is none.
	State State
	Next  time.Time

	schedule *Schedule
	// size is that of the definition in bytes.
	size int
}

// put takes over a state.
func (q *Query) put(s State) {
	q.State, q.Next = s, time.Time{}
	if s.Enabled {
		q.Next = q.schedule.Next(q.Created, s.From)
	}
}

// Queries are all scheduled queries. Its methods may be called by many goroutines at once.
type Queries struct {
	Metrics *Metrics
	cfg     Config
	runs    *Runner

	mu   sync.RWMutex
	byID map[string]*Query
}

// New takes over the queries that are kept. Runs are made once Run is called.
func New(c Config, kept []Kept) (*Queries, error) {
	s := &Queries{Metrics: newMetrics(), cfg: c, byID: map[string]*Query{}}
	s.runs = NewRunner(c.Concurrent, s.run)
	for i := range kept {
		q := &Query{size: len(kept[i].Definition)}
		var state State
		err := json.Unmarshal([]byte(kept[i].Definition), &q.Definition)
		if err == nil {
			err = json.Unmarshal([]byte(kept[i].State), &state)
		}
		if err == nil {
			q.schedule, err = Parse(q.Expression)
		}
		if err != nil {
			return nil, fmt.Errorf("scheduled query %q: %w", kept[i].ID, err)
		}
		q.put(state)
		s.byID[q.ID] = q
	}
	return s, nil
}

// Close ends what runs, drops the runs that wait, and returns how many these were when no run is left.
func (s *Queries) Close() (dropped int) { return s.runs.Close() }

// Running is how many queries run, and how many runs wait.
func (s *Queries) Running() (running, waiting int) { return s.runs.Count() }

// Busy tells whether a query runs or has a run that waits.
func (s *Queries) Busy(id string) bool { return s.runs.Busy(id) }

// ARN is that of the query with an id.
func (s *Queries) ARN(id string) string { return s.cfg.ARN + id }

// Len is the number of queries.
func (s *Queries) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.byID)
}

// All returns copies of all queries by their ids.
func (s *Queries) All() []Query {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]Query, 0, len(s.byID))
	for _, id := range slices.Sorted(maps.Keys(s.byID)) {
		list = append(list, *s.byID[id])
	}
	return list
}

// query returns a copy of a query, nil if there is none.
func (s *Queries) query(id string) *Query {
	s.mu.RLock()
	defer s.mu.RUnlock()
	q := s.byID[id]
	if q == nil {
		return nil
	}
	out := *q
	return &out
}

// ids are those of all queries in order.
func (s *Queries) ids() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.byID))
}

// keep keeps a new query.
func (s *Queries) keep(ctx context.Context, q *Query, tags []wtypes.Tag) error {
	definition, err := json.Marshal(q.Definition)
	if err != nil {
		return err
	}
	state, err := json.Marshal(q.State)
	if err != nil {
		return err
	}
	q.size = len(definition)
	return s.cfg.Store.KeepQuery(ctx, func() (Kept, error) {
		return Kept{ID: q.ID, Definition: string(definition), State: string(state), Tags: tags}, s.room(q)
	}, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.byID[q.ID] = q
	})
}

// change replaces the state of a query by what f makes of it.
func (s *Queries) change(ctx context.Context, id string, f func(State) State) (state State, err error) {
	err = s.cfg.Store.KeepQuery(ctx, func() (Kept, error) {
		q := s.query(id)
		if q == nil {
			return Kept{}, noQuery(s.ARN(id))
		}
		state = f(q.State)
		b, err := json.Marshal(state)
		return Kept{ID: id, State: string(b)}, err
	}, func() { s.put(id, state) })
	return state, err
}

// put takes over the state of a query, if it is still there.
func (s *Queries) put(id string, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.byID[id]; q != nil {
		q.put(state)
	}
}
