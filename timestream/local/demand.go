// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"

	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// What package wire needs of the store to let calls fail on demand. See hidden.go for records that are seen later.

// QueryEmptyPage is QueryPage that answers a page without rows, and a token for those that would have been on it, as the service
// does at times between the pages of a result (API reference, Query: a client has to go on until there is no token). After
// maxEmptyPages of them in a row the rows come. A result that does not fit begins with an empty page of its own.
func (db *DB) QueryEmptyPage(ctx context.Context, in *timestreamquery.QueryInput) (*Page, error) {
	return db.queryPage(ctx, in, true)
}

// maxEmptyPages bounds the pages without rows that follow each other, so that every result has an end.
const maxEmptyPages = 3

// heldPage is a page whose place an empty one took.
type heldPage struct {
	rows []byte
	last bool
}

// skips tells whether an empty page may take the place of the next, and counts it.
func (r *openResult) skips(empty bool) bool {
	if !empty || r.emptyRun == maxEmptyPages {
		r.emptyRun = 0
		return false
	}
	r.emptyRun++
	r.empties++
	return true
}

// following makes the next page.
func (r *openResult) following(empty bool) (rows []byte, last bool, err error) {
	if r.skips(empty) {
		return nil, false, nil
	}
	if h := r.held; h != nil {
		r.held = nil
		return h.rows, h.last, nil
	}
	return r.fill()
}

// progress is how much of a result is said to be done before its end. Between empty pages it grows, as the service's does.
func (r *openResult) progress() float64 {
	if r.empties == 0 {
		return 99
	}
	return 100 - 100/float64(r.seq+1)
}

// StatementTables returns the tables that a statement reads, as database.table, or the database alone for a statement about all of
// its tables; nothing for a statement that is not valid.
func (db *DB) StatementTables(statement string) []string {
	now := db.now()
	plan, err := sqlplan.Compile(statement, view{db, now}, now)
	if err != nil {
		return nil
	}
	var out []string
	for _, t := range plan.Tables {
		name := t.Database
		if t.Name != "" {
			name += "." + t.Name
		}
		out = append(out, name)
	}
	return out
}

// Refusal is why a record is rejected.
type Refusal uint8

// The reasons that can be given without the record being at fault.
const (
	RefusedVersion Refusal = iota
	RefusedLowerVersion
	RefusedWindow
	RefusedDimensions
)

// Refusal words the rejection of a record of a table that has a version, and tells the version that is said to exist, zero for none.
func (db *DB) Refusal(why Refusal, database, table string, version int64) (reason string, existing int64) {
	switch why {
	case RefusedLowerVersion:
		return lowerVersion(version, version+1), version + 1
	case RefusedWindow:
		return db.windowReason(database, table, db.now()), 0
	case RefusedDimensions:
		// Our own words: the service's are not known.
		return fmt.Sprintf("The record would give the table more than %d dimensions.", timestream.MaxDimensionsPerTable), 0
	}
	return textSameVersion, 0
}

// windowReason is what a record outside a table's window is answered; of a table that is not there, with the settings of a new one.
func (db *DB) windowReason(database, name string, now time.Time) string {
	p := &properties{memoryHours: db.cfg.MemoryRetentionHours, magneticDays: db.cfg.MagneticRetentionDays}
	if t, err := db.namedTable(&database, &name); err == nil {
		p = t.props.Load()
	}
	w := db.window(p, now)
	return w.reason()
}

func lowerVersion(version, existing int64) string {
	return fmt.Sprintf("The record version %d is lower than the existing version %d. A higher version is required to update the measure value.", version, existing)
}
