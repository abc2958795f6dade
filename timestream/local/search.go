// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// Records that are not newer than their series' newest are looked up in the parts that may have records of their time. There is no
// index. In a run a series' records are together, so a look-up reads the column of series, which is a few bytes for all records of one, and
// decodes the other columns only where a series is that is looked for: DuckDB works out a condition on an encoded column alone once for each
// run of equal values. In parts that are in the order of arrival the times do the same.
//
// What settled parts have is committed, and the transaction that looks something up has not changed it yet. So several connections can look
// for it at once; the live part may have records of the transaction itself, which only the writer's connection sees.

const (
	// maxLanes is how many connections look things up at once, if there are as many processors.
	maxLanes = 4
	// scannedRows is about how many records of a run are looked through in the time that another statement costs.
	scannedRows = 700_000
	// maxClusters is how many ranges of time one look-up in an unsorted part is cut into, clusterRows about how many records are between them.
	maxClusters, clusterRows = 16, 120_000
	// maxPartRows is more than a part can have.
	maxPartRows = 1 << 40
)

// search is a look-up of some keys in a part, by one statement.
type search struct {
	part *part
	// keys are in the order of series and time.
	keys []recordKey
}

// found is a stored record.
type found struct {
	key    recordKey
	ver    int64
	bits   uint64
	weight weight
}

// lanes are connections for look-ups. They belong to the writer goroutine.
type lanes struct {
	db    *DB
	conns []*duck.Conn
}

func laneCount() int { return min(maxLanes, runtime.GOMAXPROCS(0)) }

// close ends the connections.
func (l *lanes) close() {
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// start runs searches of a transaction beside the caller. The function that it returns waits for them and hands over what was found.
func (l *lanes) start(tx *tableTx, all []search) (wait func() ([]found, error)) {
	n := min(laneCount(), len(all))
	var failed error
	for len(l.conns) < n {
		c, err := l.db.duck.Connect()
		if err != nil {
			failed, n = err, 0
			break
		}
		l.conns = append(l.conns, c)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	lists, errs := make([][]found, n), make([]error, n)
	for lane := range n {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(all) || errs[lane] != nil {
					return
				}
				lists[lane], errs[lane] = tx.search(l.db, l.conns[lane].Read, &all[i], lists[lane])
			}
		})
	}
	return func() ([]found, error) {
		wg.Wait()
		return slices.Concat(lists...), errors.Join(failed, errors.Join(errs...))
	}
}

// among returns those of keys, which are sorted, that the part may have.
func (p *part) among(keys []recordKey) []recordKey {
	var out []recordKey
	for _, k := range keys {
		if k.time >= max(p.first, p.floor) && k.time <= p.last && k.time%p.unit == 0 {
			out = append(out, k)
		}
	}
	return out
}

// searches cuts a look-up of sorted keys into statements, which each look at as little as possible: by series in a run, by time elsewhere.
func (p *part) searches(keys []recordKey, lanes int) []search {
	var out []search
	if p.state == partRun {
		n := len(keys)
		if int64(n)*scannedRows > p.rows {
			n = min(n, lanes)
		}
		for i := range n {
			out = append(out, search{p, keys[i*len(keys)/n : (i+1)*len(keys)/n]})
		}
		return out
	}
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b recordKey) int { return cmp.Compare(a.time, b.time) })
	gap, begin := p.windowWidth(clusterRows), 0
	for i := range keys {
		if i+1 == len(keys) || keys[i+1].time-keys[i].time > gap && len(out) < maxClusters-1 {
			out = append(out, search{p, keys[begin : i+1]})
			begin = i + 1
		}
	}
	for _, s := range out {
		slices.SortFunc(s.keys, compareKeys)
	}
	return out
}

// sieve is a condition that holds for some numbers and for few others.
type sieve struct {
	mask int64
	set  []byte
}

// newSieve makes a sieve for n numbers: what is let through by chance is decoded in vain.
func newSieve(n int) sieve {
	size := 1 << 16
	for size < 256*n && size < 1<<20 {
		size *= 2
	}
	return sieve{int64(size - 1), make([]byte, size/8)}
}

func (s *sieve) add(x int64) { x &= s.mask; s.set[x/8] |= 0x80 >> (x % 8) }

// sql is the condition. DuckDB counts a BIT's bits from the left.
func (s *sieve) sql(number string) string {
	return fmt.Sprintf("get_bit(CAST(from_base64('%s') AS BIT), CAST(%s & %d AS INTEGER)) = 1", base64.StdEncoding.EncodeToString(s.set), number, s.mask)
}

// timeSieveShift makes nanoseconds about milliseconds, of which a sieve takes the lowest bits.
const timeSieveShift = 20

// from is a FROM item with the records of the keys, and few others. A condition is worked out while the part is read if it is about one
// column and the only one; LIMIT keeps the second from becoming one with the first.
func (s *search) from(table string) string {
	p, first, last := s.part, s.keys[0], s.keys[len(s.keys)-1]
	from, to := bounds(s.keys)
	if p.state != partRun {
		between := fmt.Sprintf("%s WHERE t BETWEEN %d AND %d", table, from, to)
		if from == to || from < 0 {
			return between
		}
		v := newSieve(len(s.keys))
		for _, k := range s.keys {
			v.add(k.time >> timeSieveShift)
		}
		return between + " AND " + v.sql(fmt.Sprintf("(t >> %d)", timeSieveShift))
	}
	if first.sid == last.sid {
		return fmt.Sprintf("%s WHERE sid = %d AND t BETWEEN %d AND %d", table, first.sid, from/p.unit, to/p.unit)
	}
	sids, times := newSieve(len(s.keys)), newSieve(len(s.keys))
	for _, k := range s.keys {
		sids.add(k.sid)
		times.add(k.time / p.unit)
	}
	return fmt.Sprintf("(FROM %s WHERE sid BETWEEN %d AND %d AND %s LIMIT %d) WHERE %s", table, first.sid, last.sid, sids.sql("sid"), maxPartRows, times.sql("t"))
}

// search adds to list what a part has for the keys.
func (tx *tableTx) search(db *DB, read func(context.Context, string) (*duck.Rows, error), s *search, list []found) ([]found, error) {
	p := s.part
	var values strings.Builder
	if p.kind != kindMulti {
		values.WriteString(", " + p.value())
	}
	for i := range p.columns {
		values.WriteString(", " + attrColumn(i))
	}
	rows, err := read(context.Background(), "SELECT sid, "+p.time()+" AS t, ver"+values.String()+" FROM "+s.from(tx.t.partTable(p)))
	if err != nil {
		return list, err
	}
	defer rows.Close()
	of := map[int64][]recordKey{} // the keys of a series
	for i, k := range s.keys {
		if i == 0 || k.sid != s.keys[i-1].sid {
			n := i + 1
			for n < len(s.keys) && s.keys[n].sid == k.sid {
				n++
			}
			of[k.sid] = s.keys[i:n]
		}
	}
	sid := s.keys[0].sid
	wanted := of[sid]
	for rows.Next() {
		cols := rows.Columns()
		for i := range rows.Size() {
			if x := cols[0].Int64(i); x != sid {
				sid, wanted = x, of[x]
			}
			if len(wanted) == 0 {
				continue
			}
			at := cols[1].Int64(i)
			if at < wanted[0].time || at > wanted[len(wanted)-1].time {
				continue
			}
			if _, ok := slices.BinarySearchFunc(wanted, at, func(k recordKey, at int64) int { return cmp.Compare(k.time, at) }); !ok {
				continue
			}
			f := found{key: recordKey{sid, at}, ver: cols[2].Int64(i)}
			if p.kind == kindMulti {
				f.bits, f.weight = tx.storedAttributes(db, cols[3:], i)
			} else {
				f.bits, f.weight = db.storedBits(&cols[3], p.kind, i), storedWeight(&cols[3], p.kind, i)
			}
			list = append(list, f)
		}
	}
	return list, rows.Err()
}
