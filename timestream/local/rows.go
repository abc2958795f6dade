// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
	"github.com/tributary-project/tributary/timestream/result"
)

// QueryRows is Query for those in the same process who read many rows: it runs a statement and calls row for each row of the
// result, in order, with numbers and texts straight from the database, without pages. kinds are those of the columns. What row
// is given is valid until it returns; an error of row ends the statement and is returned as it is. Other errors are those of
// Query, but that no row is too large. The bytes metered count also after an error.
//
// row may take as long as it likes: neither a lock nor one of the places for statements that run (Config.QueryConcurrency)
// is held meanwhile, so it may wait for other statements. Close waits until row has returned.
//
// How many results are handed out at one time is the callers' to bound; Config.OpenResults is not about them. A caller that merges
// several goes on with each only once all have begun, so one that had to wait for a place would wait for others that wait for
// it. Nor must a result hold memory of DuckDB while others wait for that: a sorted one holds some three times its size, at least
// 4 MB. So rows are taken out of the database first, as many as 64 MB in a file of Config.Dir, twice as many where a statement is read in slices, and then
// handed out.
// A statement for which there is no memory waits until another has ended, at most memoryWait, and then fails.
func (db *DB) QueryRows(ctx context.Context, statement string, kinds []result.Kind, row func(result.Row) error) (result.Stats, error) {
	s := &stream{q: db.queries, row: row}
	err := s.query(ctx, statement, kinds)
	db.metrics.queryTime.Observe(s.took.Seconds())
	var stats result.Stats
	if s.charge != nil {
		stats.MeteredBytes = s.charge.metered
	}
	switch {
	case err == nil:
		return stats, nil
	case s.refused != nil:
		return stats, s.refused
	}
	db.metrics.queryError.Inc()
	return stats, db.queryError(err)
}

// stream is one call of QueryRows.
type stream struct {
	q   *queries
	row func(result.Row) error
	// values are those of the statement's parameters. planned, unless it is nil, is told of the plan before it runs.
	values  map[string]time.Time
	planned func(*sqlplan.Plan) error
	plan    *sqlplan.Plan
	// charge is what the statement is charged for, nil before it is known.
	charge *charge
	rows   *sqlplan.Rows
	conn   *duck.Conn
	res    *duck.Rows
	// holding tells that the statement may hold memory of DuckDB; it does not between two slices.
	holding bool
	// rest is what was taken from the database and not handed out yet.
	rest *spool
	// took is how long the database worked, refused what row returned.
	took    time.Duration
	refused error
}

// query is the call. Who is told of the plan may leave out kinds: all columns have to be scalars then.
func (s *stream) query(ctx context.Context, statement string, kinds []result.Kind) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkQuery(&timestreamquery.QueryInput{QueryString: &statement}); err != nil {
		return err
	}
	if err := s.q.enter(); err != nil {
		return err
	}
	defer s.q.calls.Done()
	s.q.streams.Add(1)
	defer s.q.streams.Add(-1)
	life, cancel := context.WithCancel(s.q.db.background)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	defer s.close()
	ended := func(err error) error {
		switch {
		case err == nil || s.refused != nil:
			return err
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), err)
		case life.Err() != nil:
			return queryInternal() // the database is being closed
		}
		return err
	}

	more := false
	err := s.q.withMemory(life, func() error {
		return s.working(life, func() (err error) {
			if s.plan, err = s.q.compileWith(statement, s.values); err != nil {
				return err
			}
			if s.plan.Unload != nil {
				return errUnloadHere()
			}
			if s.planned != nil {
				if err := s.planned(s.plan); err != nil {
					return err
				}
			}
			if kinds == nil && s.planned != nil {
				kinds = make([]result.Kind, len(s.plan.Columns)) // scalars all
			}
			if s.rows, err = s.plan.NewRows(kinds); err != nil || s.plan.SQL == "" {
				return err
			}
			if s.charge == nil {
				s.charge = s.q.db.charge(s.plan)
			}
			defer s.charge.begin()()
			if s.conn, err = s.q.db.duck.Connect(); err != nil {
				return err
			}
			s.hold(true)
			if s.res, err = s.q.db.read(life, s.conn, s.plan, s.charge); err == nil {
				s.res.Pauses()
				s.rest = newSpool(s.q.db.cfg.Dir, kinds)
				more, err = s.take()
			}
			if err != nil {
				s.close()
			}
			if outOfMemory(err) {
				s.charge.underestimated()
			}
			return err
		})
	})
	if err != nil {
		return ended(err)
	}
	if s.plan.SQL == "" {
		give := s.give(ctx)
		for i := range s.plan.Static {
			r, err := s.rows.Static(i)
			if err != nil {
				return err
			}
			if err := give(r); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		if err := s.rest.each(s.give(ctx)); err != nil || !more {
			return ended(err)
		}
		err := s.rest.reset()
		if err == nil {
			err = s.working(life, func() (err error) {
				defer s.charge.begin()()
				more, err = s.take()
				return err
			})
		}
		if err != nil {
			return ended(err)
		}
	}
}

// working lets f work in the database, in one of the places for that.
func (s *stream) working(ctx context.Context, f func() error) error {
	if err := s.q.acquire(ctx); err != nil {
		return err
	}
	defer s.q.release()
	start := time.Now()
	defer func() { s.took += time.Since(start) }()
	return f()
}

// take takes rows out of the database, and tells whether there are more; if not, what the statement holds is free. So it is where a slice ends: one
// that was begun is taken to its end, unless it is much larger than others.
func (s *stream) take() (more bool, err error) {
	most := int64(spoolBytes)
	if s.plan.Slices != nil {
		most *= 2
	}
	if !s.holding {
		s.hold(true)
		s.res.Resume()
	}
	for {
		for s.res.Next() {
			columns := s.res.Columns()
			for i := range s.res.Size() {
				r, err := s.rows.Row(columns, i)
				if err == nil {
					err = s.rest.add(r)
				}
				if err != nil {
					return false, err
				}
			}
			if s.rest.size >= most {
				return true, nil
			}
		}
		switch {
		case s.res.Err() != nil:
			return false, s.res.Err()
		case s.rest.size >= spoolBytes && s.plan.Slices != nil:
			s.hold(false)
			return true, nil
		case !s.res.Resume():
			if err := s.res.Err(); err != nil {
				return false, err
			}
			s.closeStatement()
			return false, nil
		}
	}
}

// hold notes whether the statement may hold memory of DuckDB.
func (s *stream) hold(memory bool) {
	switch {
	case memory && !s.holding:
		s.q.holds()
	case !memory && s.holding:
		s.q.freed()
	}
	s.holding = memory
}

// give returns what hands out a row.
func (s *stream) give(ctx context.Context) func(result.Row) error {
	return func(r result.Row) error {
		if s.refused = s.row(r); s.refused != nil {
			return s.refused
		}
		return ctx.Err()
	}
}

// close frees everything; it may be called twice.
func (s *stream) close() {
	s.closeStatement()
	if s.rest != nil {
		_ = s.rest.close() // it was only read
		s.rest = nil
	}
}

func (s *stream) closeStatement() {
	if s.res != nil {
		s.res.Close()
		s.res = nil
	}
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
		s.hold(false)
	}
}
