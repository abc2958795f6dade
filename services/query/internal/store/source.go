// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/tributary-project/tributary/timestream/result"

	"github.com/tributary-project/tributary/services/query/internal/budget"
	"github.com/tributary-project/tributary/services/query/internal/pages"
	"github.com/tributary-project/tributary/services/query/internal/plan"
	"github.com/tributary-project/tributary/services/query/internal/rows"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

// source runs one statement and hands out what it finds, while it runs.
type source struct {
	store     *Store
	statement plan.Statement
	// again makes the statement with rows of another length.
	again func(bin time.Duration) (plan.Statement, error)
	// holds is asked before anything of a second statement is given out: what the first took for granted must still hold.
	holds     func(context.Context) error
	selection series.Selection
	meter     *budget.Meter

	// ready is closed when held is there and the first piece of all is waiting, or when there is none.
	ready   chan struct{}
	isReady bool
	held    rows.Held
	pieces  chan *rows.Piece
	ctx     context.Context
	cancel  context.CancelCauseFunc
	unsure  bool // a second statement runs, and holds has not been asked

	// early is why there is nothing, when the statement failed before its first piece. It is there when ready is closed.
	early error
	// err, stats, damage and conflicts are whole when pieces is closed.
	err       error
	stats     result.Stats
	queries   int64
	damage    rows.Damage
	conflicts int64
}

// piecesAhead is how many pieces a statement may be ahead of whom they are for.
const piecesAhead = 16

// run runs the statement to its end.
func (s *source) run(ctx context.Context) {
	s.ctx = ctx
	s.err = s.read()
	if !s.isReady && s.err != nil {
		s.early = s.err
		s.cancel(s.err) // nobody needs what the others find
	}
	s.setReady()
	close(s.pieces)
}

func (s *source) setReady() {
	if !s.isReady {
		s.isReady = true
		close(s.ready)
	}
}

// read runs the statement, and again with shorter rows from where it ended if one was too large.
func (s *source) read() error {
	var after *rows.Place
	for {
		r := rows.NewReader(rows.Config{Statement: s.statement, Selection: s.selection, Decoder: s.store.decoder, Meter: s.meter, Sink: s, After: after})
		stats, err := s.store.run.Rows(s.ctx, s.statement.Kind.String(), s.statement.Text, s.statement.Kinds(), r.Row)
		s.queries++
		s.stats.Pages += stats.Pages
		s.stats.MeteredBytes += stats.MeteredBytes
		if err == nil {
			err = r.End()
		}
		if d := r.Damage(); d.Total() >= s.damage.Total() { // a second reading meets the same again
			s.damage = d
		}
		s.conflicts = max(s.conflicts, r.Conflicts())
		if err == nil || !pages.IsClass(err, pages.RowTooLarge) || s.statement.Bin == 0 {
			return err
		}
		shorter, ok := plan.Halve(s.statement.Bin)
		if !ok {
			return err
		}
		s.store.again("row_too_large", "bin", shorter)
		if s.statement, err = s.again(shorter); err != nil {
			return err
		}
		place := r.Place()
		after, s.unsure = &place, place.Held
		if !place.Held {
			s.meter.Release()
			s.damage, s.conflicts = rows.Damage{}, 0
		}
	}
}

// Begin implements rows.Sink.
func (s *source) Begin(held []*rows.Piece) error {
	s.held = held
	return nil
}

// Piece implements rows.Sink.
func (s *source) Piece(p *rows.Piece) error {
	if s.unsure {
		if err := s.holds(s.ctx); err != nil {
			return err
		}
		s.unsure = false
	}
	if !s.isReady {
		s.pieces <- p // there is room for the first
		s.setReady()
		return nil
	}
	select {
	case s.pieces <- p:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// Next implements rows.Source.
func (s *source) Next() (*rows.Piece, error) {
	if p, ok := <-s.pieces; ok {
		return p, nil
	}
	return nil, s.err
}

// account adds what the source took.
func (s *source) account(st *series.Stats) {
	st.Queries += s.queries
	st.Pages += s.stats.Pages
	st.MeteredBytes += s.stats.MeteredBytes
	st.Conflicts += s.conflicts
}
