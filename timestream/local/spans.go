// SPDX-License-Identifier: Apache-2.0

package local

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// spans are the times of a table's series as readers may know them: those of committed records. A series surely has a record
// at its last time, which is that of its newest record (deleting expired records takes the newest one last, and the series
// with it), and none before its first.
type spans struct {
	mu   sync.RWMutex
	list []span // a series' place is that in the writer's marks
	next int64  // above all numbers of series
}

type span struct {
	sid, first, last int64
	kind             kind
}

func spanOf(m *mark) span { return span{m.sid, m.first, m.time, m.kind} }

// update takes over what a transaction has changed. It runs after the commit and before the requests are answered.
func (s *spans) update(tx *tableTx) {
	own := &tx.t.own
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range tx.undo {
		if int(u.slot) < len(s.list) {
			s.list[u.slot] = spanOf(&own.marks[u.slot])
		}
	}
	for i := len(s.list); i < len(own.marks); i++ {
		s.list = append(s.list, spanOf(&own.marks[i]))
	}
	s.next = own.nextSid
}

// reset takes over all marks.
func (s *spans) reset(t *table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = make([]span, len(t.own.marks))
	for i := range s.list {
		s.list[i] = spanOf(&t.own.marks[i])
	}
	s.next = t.own.nextSid
}

// bound is above the numbers of all series that there are.
func (s *spans) bound() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.next
}

// bits is a set of series' numbers.
type bits struct {
	base, n int64
	set     []byte
}

func (b *bits) add(sid int64) {
	at := seriesNumber(sid) - b.base
	b.set[at/8] |= 0x80 >> (at % 8)
	b.n++
}

// maxBitBytes bounds a set: numbers are not used again, so a table whose series come and go may have few of many.
const maxBitBytes = 1 << 20

// sql is the condition that the column sid is in the set.
func (b *bits) sql() string {
	if b.set == nil {
		return "true"
	}
	// DuckDB counts a BIT's bits from the left, after a byte that says how many of the first are unused; made of a BLOB, none is.
	// Out of range is an error, and only CASE keeps it from being looked at.
	return "CASE WHEN " + numberSQL + " >= " + strconv.FormatInt(b.base, 10) + " AND " + numberSQL + " < " + strconv.FormatInt(b.base+8*int64(len(b.set)), 10) +
		" THEN get_bit(CAST(from_base64('" + base64.StdEncoding.EncodeToString(b.set) + "') AS BIT), CAST(" + numberSQL + " - " + strconv.FormatInt(b.base, 10) + " AS INTEGER)) = 1 ELSE false END"
}

// seen tells which series have a record of a kind (any if all is set) in [from, to]: surely those of yes, and those of maybe if
// there is one among their records; a set that would be too large is not told. every says that yes are all.
func (s *spans) seen(k kind, all bool, from, to int64) (yes, maybe bits, every bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	lowest := s.next
	for i := range s.list {
		lowest = min(lowest, seriesNumber(s.list[i].sid))
	}
	size := (s.next - lowest + 7) / 8
	if size > maxBitBytes {
		return bits{}, bits{n: int64(len(s.list))}, false
	}
	yes, maybe = bits{base: lowest, set: make([]byte, size)}, bits{base: lowest, set: make([]byte, size)}
	for i := range s.list {
		x := &s.list[i]
		switch {
		case x.last < from || x.first > to || !all && x.kind != k:
		case x.last <= to:
			yes.add(x.sid)
		default:
			maybe.add(x.sid)
		}
	}
	return yes, maybe, yes.n == int64(len(s.list))
}

// halves are a table's two sides as one statement sees them.
type halves struct {
	t *table
	// next is above the numbers of the series that were there before the schema was read.
	next   int64
	schema *schema
	oldest int64
}

var _ sqlplan.Halves = (*halves)(nil)

// kindOf finds the kind whose values a column of the flat relation holds.
func (h *halves) kindOf(value string) (kind, bool) {
	for _, k := range h.schema.kinds {
		if k != kindMulti && valueColumn(k) == value {
			return k, true
		}
	}
	return 0, false
}

func valueColumn(k kind) string { return "v_" + kindInfo[k].lower }

// Series implements sqlplan.Halves.
func (h *halves) Series() string {
	return h.series(numberSQL + " < " + strconv.FormatInt(h.next, 10))
}

// series is a FROM item with the series for which a condition holds.
func (h *halves) series(condition string) string {
	var b strings.Builder
	b.WriteString("(SELECT sid, m")
	for i := range h.schema.dims {
		b.WriteString(", " + dimColumn(i))
	}
	b.WriteString(" FROM " + h.t.seriesTable() + " WHERE " + condition + ")")
	return b.String()
}

// Seen implements sqlplan.Halves.
func (h *halves) Seen(value string, from, to int64) string {
	from = max(from, h.oldest)
	k, known := h.kindOf(value)
	if from > to || value != "" && !known {
		return h.series("false")
	}
	yes, maybe, every := h.t.spans.seen(k, value == "", from, to)
	before := numberSQL + " < " + strconv.FormatInt(h.next, 10)
	if every {
		return h.series(before)
	}
	if maybe.n == 0 {
		return h.series(yes.sql() + " AND " + before)
	}
	// DuckDB looks for the numbers of the series that are asked for in the samples' row groups of that time.
	condition := maybe.sql() + " AND " + before + " AND sid IN ("
	kinds := h.schema.kinds
	if known {
		kinds = []kind{k}
	}
	for i, k := range kinds {
		if i > 0 {
			condition += " UNION ALL "
		}
		condition += "SELECT sid FROM " + h.t.sampleView(k) + " WHERE t >= " + strconv.FormatInt(from, 10)
		if to < math.MaxInt64 {
			condition += " AND t <= " + strconv.FormatInt(to, 10)
		}
	}
	condition += ")"
	if yes.n == 0 {
		return h.series(condition)
	}
	return "(FROM " + h.series(yes.sql()+" AND "+before) + " UNION ALL FROM " + h.series(condition) + ")"
}

// Samples implements sqlplan.Halves.
func (h *halves) Samples(value string) string {
	k, _ := h.kindOf(value)
	s := "(SELECT sid, t, v AS " + value + " FROM " + h.t.sampleView(k)
	if h.oldest > 0 {
		s += " WHERE t >= " + strconv.FormatInt(h.oldest, 10)
	}
	return s + ")"
}

// Tells implements sqlplan.Halves. Dimensions are noted with the measure before their series are stored, and never forgotten
// but for a transaction that fails.
func (h *halves) Tells(value, measure string) []string {
	k, _ := h.kindOf(value)
	var out []string
	for i := range h.schema.dims {
		for _, m := range h.schema.measures {
			if (value == "" || m.kind == k) && (measure == "" || m.name == measure) && m.hasDimension(i) {
				out = append(out, dimColumn(i))
				break
			}
		}
	}
	return out
}
