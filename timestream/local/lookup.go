// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// What is sent again is most often sent again in about the order of its time, by series that are everywhere in a run. So a look-up in a part
// that takes no new records, of times about those of the look-up before it, reads all series' records of some minutes around, and remembers
// them for the look-ups that follow. Others are searched for by their series (search.go).

const (
	// windowsKept is how many windows of rewriteConfig.windowRows are remembered (40 bytes a record). One that has so many by itself is not
	// read: a part with a few records from long ago has most of the others in one window.
	windowsKept = 3
	// maxWindows is how many windows one look-up may need; keys further apart are searched for.
	maxWindows = 3
)

// storedRecord is a record of a window.
type storedRecord struct {
	recordKey
	ver  int64
	bits uint64
	gone bool
}

func compareKeys(a, b recordKey) int {
	return cmp.Or(cmp.Compare(a.sid, b.sid), cmp.Compare(a.time, b.time))
}

// recollection is what a part has at times in [from, to], by series and time.
type recollection struct {
	table    *table
	part     int64
	from, to int64
	list     []storedRecord
	used     int64
	// dense tells that there are too many.
	dense bool
}

var errDense = errors.New("too many records")

// find returns the record with a key, nil when there is none.
func (w *recollection) find(key recordKey) *storedRecord {
	i := sort.Search(len(w.list), func(i int) bool { return compareKeys(w.list[i].recordKey, key) >= 0 })
	if i == len(w.list) || w.list[i].recordKey != key || w.list[i].gone {
		return nil
	}
	return &w.list[i]
}

// recollections are those that are remembered. They belong to the writer goroutine.
type recollections struct {
	list  []*recollection
	clock int64
	// visits are the windows of parts that looked-up records were in last.
	visits map[visited][2]int64
}

// visited is a part whose records were looked up.
type visited struct {
	table *table
	part  int64
}

// follow tells whether the times of a look-up in a part are in windows that are remembered, or in those about the last look-up there.
func (ws *recollections) follow(db *DB, t *table, p *part, first, last int64) bool {
	width := p.windowWidth(db.cfg.rewrite.windowRows)
	now := [2]int64{(first - p.first) / width, (last - p.first) / width}
	before, ok := ws.visits[visited{t, p.id}]
	if ws.visits == nil {
		ws.visits = map[visited][2]int64{}
	}
	ws.visits[visited{t, p.id}] = now
	if ok && now[0] <= before[1]+1 && now[1] >= before[0]-1 {
		return true
	}
	for i := now[0]; i <= now[1]; i++ {
		if !slices.ContainsFunc(ws.list, func(w *recollection) bool { return w.table == t && w.part == p.id && w.from == p.first+i*width }) {
			return false
		}
	}
	return true
}

// forget drops the windows of a table: its parts have changed otherwise than by new records and updates.
func (ws *recollections) forget(t *table) {
	ws.list = slices.DeleteFunc(ws.list, func(w *recollection) bool { return w.table == t })
	maps.DeleteFunc(ws.visits, func(v visited, _ [2]int64) bool { return v.table == t })
}

// replaced notes that the records with these keys are deleted. A table whose transaction fails is forgotten.
func (ws *recollections) replaced(t *table, keys []recordKey) {
	for _, w := range ws.list {
		if w.table != t {
			continue
		}
		for _, k := range keys {
			if r := w.find(k); r != nil {
				r.gone = true
			}
		}
	}
}

// of finds or reads the window of a part that a time is in.
func (ws *recollections) of(db *DB, t *table, p *part, at int64) (*recollection, error) {
	ws.clock++
	for _, w := range ws.list {
		if w.table == t && w.part == p.id && at >= w.from && at <= w.to {
			w.used = ws.clock
			return w, nil
		}
	}
	limit := db.cfg.rewrite.windowRows
	width := p.windowWidth(limit)
	from := p.first + (at-p.first)/width*width
	w := &recollection{table: t, part: p.id, from: from, to: from + width - 1, used: ws.clock}
	sql := fmt.Sprintf("SELECT sid, %s, ver, %s FROM %s WHERE t BETWEEN %d AND %d%s", p.time(), p.value(), t.partTable(p), ceilDiv(w.from, p.unit), w.to/p.unit, p.unexpired("AND"))
	err := db.each(context.Background(), sql, func(c []duck.Column, i int) error {
		if int64(len(w.list)) == windowsKept*limit {
			return errDense
		}
		w.list = append(w.list, storedRecord{recordKey: recordKey{c[0].Int64(i), c[1].Int64(i)}, ver: c[2].Int64(i), bits: db.storedBits(&c[3], p.kind, i)})
		return nil
	})
	if errors.Is(err, errDense) {
		w.list, w.dense = nil, true
		ws.list = append(ws.list, w)
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	order := func(a, b storedRecord) int { return compareKeys(a.recordKey, b.recordKey) }
	if !slices.IsSortedFunc(w.list, order) {
		slices.SortFunc(w.list, order)
	}
	ws.list = append(ws.list, w)
	ws.bound(limit)
	return w, nil
}

// bound drops the windows that were used longest ago until few enough records are remembered.
func (ws *recollections) bound(windowRows int64) {
	for {
		n, oldest := 0, 0
		for i, w := range ws.list {
			n += len(w.list)
			if w.used < ws.list[oldest].used {
				oldest = i
			}
		}
		if int64(n) <= windowsKept*windowRows {
			return
		}
		ws.list = slices.Delete(ws.list, oldest, oldest+1)
	}
}

// windowWidth is the time in which the part has about so many records.
func (p *part) windowWidth(windowRows int64) int64 {
	span := float64(p.last-p.first) + 1
	return int64(min(max(span/float64(max(p.rows, 1))*float64(windowRows), 1e9), math.MaxInt64/4))
}

// remembers tells whether look-ups of these times go through windows: the part takes no new records, and values are 8 bytes or less.
func (p *part) remembers(first, last, windowRows int64) bool {
	if p.state == partLive || !bitsLast(p.kind) {
		return false
	}
	width := p.windowWidth(windowRows)
	return (min(last, p.last)-p.first)/width-(max(first, p.first)-p.first)/width < maxWindows
}

// recall looks keys up in the windows of a part. It returns false when one of these has too many records.
func (tx *tableTx) recall(w *writer, p *part, keys []recordKey) (bool, error) {
	var last *recollection
	for _, key := range keys {
		if key.time < p.first || key.time > p.last || key.time < p.floor {
			continue
		}
		if last == nil || key.time < last.from || key.time > last.to {
			var err error
			if last, err = w.windows.of(w.db, tx.t, p, key.time); err != nil {
				return false, err
			}
			if last.dense {
				return false, nil
			}
		}
		if r := last.find(key); r != nil {
			have := tx.pending[key]
			have.stored, have.ver, have.bits, have.weight = true, r.ver, r.bits, storedWeight(nil, p.kind, 0)
		}
	}
	return true, nil
}
