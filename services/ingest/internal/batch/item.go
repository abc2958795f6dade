// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"cmp"
	"slices"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// Item is one record to be: a float sample of a known series or, with Extra, anything else.
type Item struct {
	Series *Series
	TimeMs int64
	// Value is that of a float sample.
	Value float64
	// Extra is nil for float samples.
	Extra *Extra
	// Repeats is how many more entries of the request are the same: a sample of this series and time, this exemplar, this
	// metadata.
	Repeats uint32
	// Owner is the caller's own: requests that share a batch number themselves by it.
	Owner uint32

	id    *identity
	key   sortKey // a copy, so that sorting stays in the slice
	order uint32  // of arrival
}

// Extra is the content of a record that is no float sample.
type Extra struct {
	Kind   ledger.Kind
	Family promschema.Family
	// Value is what the record stores.
	Value promschema.Value
	// TimeNs is the record's time in nanoseconds since the epoch, for kinds whose time is not a whole millisecond; 0 otherwise.
	TimeNs int64
	// Set is what several records make up together; nil for one alone.
	Set *Set
	// StartMs is the start timestamp that the record stores; 0 when there is none.
	StartMs int64
	// StartRepeats is how many of the histogram's repeats came with a start timestamp of their own.
	StartRepeats uint32
	// Also is how many more entries the record stands for, which are no repeats: a start timestamp is stored once for
	// the samples that follow.
	Also uint32
	// Silent records stand for no entry of the request: they say that a start timestamp is no longer in force.
	Silent bool
	// InForce is a start timestamp that holds from its record on, and LatestMs the time of the latest sample of the
	// request for which it does.
	InForce  bool
	LatestMs int64
	// Hash identifies metadata.
	Hash uint64
}

// Set is a histogram that takes several records. It is stored when all are, and refused when one is. Repeats of the
// histogram are counted at its first record.
type Set struct {
	// First is the extra of the first record, Repeats are those of its item.
	First   *Extra
	Repeats uint32
	// Left is how many of the records have no outcome yet.
	Left int
	// Refused: one was, and the histogram is accounted for.
	Refused bool
	// Late: one went to the magnetic store.
	Late bool

	dropped bool // the whole is a repeat
}

// NewItem returns the item of a float sample, to be sorted by o; order is its place in the request. For a value that is not
// Plain, Extend with the sample family must have succeeded.
func NewItem(s *Series, o *Order, timeMs int64, value float64, order int) Item {
	it := Item{Series: s, TimeMs: timeMs, Value: value, order: uint32(order), id: &s.plain, key: s.sortKey(o)}
	if !s.Plain(value) {
		it.id = s.families[promschema.SampleFamily].Load()
	}
	return it
}

// NewExtra returns the item of anything else. Extend with its family must have succeeded.
func NewExtra(s *Series, o *Order, timeMs int64, x *Extra, order int) Item {
	return Item{Series: s, TimeMs: timeMs, Extra: x, order: uint32(order), id: s.families[x.Family].Load(), key: s.sortKey(o)}
}

// Kind is what the item is in the ledger.
func (it *Item) Kind() ledger.Kind {
	if it.Extra == nil {
		return ledger.Samples
	}
	return it.Extra.Kind
}

// Entries is how many entries of the request the item stands for; of a Set, all its records have the same.
func (it *Item) Entries() int { return it.Unique() + it.Duplicates() }

// Unique is how many of these are no repeats.
func (it *Item) Unique() int {
	if it.Extra == nil {
		return 1
	}
	if it.Extra.Silent {
		return 0
	}
	return 1 + int(it.Extra.Also)
}

// Duplicates is how many of these are repeats.
func (it *Item) Duplicates() int {
	if it.Extra != nil && it.Extra.Set != nil {
		return int(it.Extra.Set.Repeats)
	}
	return int(it.Repeats)
}

// Extend prepares a series for the item's record, as Series.Extend does for a family.
func (it *Item) Extend(s *Series) error {
	switch {
	case it.Extra != nil:
		return s.Extend(it.Extra.Family)
	case !s.Plain(it.Value):
		return s.Extend(promschema.SampleFamily)
	}
	return nil
}

// WithSeries returns the item for the same entry under another encoding of its series, for which Extend has succeeded.
func (it *Item) WithSeries(s *Series) Item {
	n := *it
	n.Series = s
	switch {
	case it.Extra != nil:
		n.id = s.families[it.Extra.Family].Load()
	case s.Plain(it.Value):
		n.id = &s.plain
	default:
		n.id = s.families[promschema.SampleFamily].Load()
	}
	return n
}

// SameRecord tells whether both become records with the same identity: sending the second after the first was refused for
// its identity is of no use.
func (it *Item) SameRecord(o *Item) bool {
	return it.id.measure == o.id.measure && slices.Equal(it.id.pairs, o.id.pairs)
}

// Measure is the measure name of the record; plain tells that it is a plain one, whose name is the metric's own.
func (it *Item) Measure() (name string, plain bool) { return it.id.measure, !it.id.multi }

// family orders what a series has at one time; float samples come first, whatever their form.
func (it *Item) family() int {
	if it.Extra == nil {
		return -1
	}
	return int(it.Extra.Family)
}

func (it *Item) timeNs() int64 {
	if it.Extra == nil {
		return 0
	}
	return it.Extra.TimeNs
}

func (it *Item) silent() bool { return it.Extra != nil && it.Extra.Silent }

// compareEntry is 0 for the same entry: the first to arrive counts, whatever its value.
func compareEntry(a, b *Item) int {
	if a.Series != b.Series {
		if c := cmp.Compare(a.Series.Hash.A, b.Series.Hash.A); c != 0 {
			return c
		}
		if c := cmp.Compare(a.Series.Hash.B, b.Series.Hash.B); c != 0 {
			return c
		}
	}
	if a.Extra == nil && b.Extra == nil {
		return 0
	}
	if c := cmp.Compare(a.family(), b.family()); c != 0 {
		return c
	}
	return cmp.Compare(a.timeNs(), b.timeNs())
}

// Sorter sorts items in memory that it uses again. It is not safe for concurrent use.
type Sorter struct{ places []position }

// position is what sorting moves and compares instead of an item.
type position struct {
	key sortKey
	// tie holds bits of time and series: what is the same entry has the same, and little else has.
	tie uint64
	at  uint32
}

func newPosition(it *Item, at int) position {
	const timeBits = 24
	return position{it.key, uint64(it.TimeMs)<<(64-timeBits) | it.Series.Hash.A>>timeBits, uint32(at)}
}

// Arrange orders items as Sort does and removes nothing: of several requests, none may count for another. What is equal stays in
// the order of arrival.
func (s *Sorter) Arrange(items []Item) {
	s.places = slices.Grow(s.places[:0], len(items))[:len(items)]
	for i := range items {
		s.places[i] = newPosition(&items[i], i)
	}
	slices.SortFunc(s.places, func(a, b position) int {
		switch {
		case a.key != b.key:
			return cmp.Compare(a.key, b.key)
		case a.tie != b.tie:
			return cmp.Compare(a.tie, b.tie)
		}
		x, y := &items[a.at], &items[b.at]
		if c := cmp.Compare(x.TimeMs, y.TimeMs); c != 0 {
			return c
		}
		if c := compareEntry(x, y); c != 0 {
			return c
		}
		switch { // what came counts before what was added
		case y.silent() && !x.silent():
			return -1
		case x.silent() && !y.silent():
			return 1
		}
		if c := cmp.Compare(x.order, y.order); c != 0 {
			return c
		}
		return cmp.Compare(a.at, b.at)
	})
	// Each item goes to its place along the cycle it is on.
	for i := range s.places {
		if int(s.places[i].at) == i {
			continue
		}
		first, to := items[i], i
		for {
			from := int(s.places[to].at)
			s.places[to].at = uint32(to)
			if from == i {
				break
			}
			items[to] = items[from]
			to = from
		}
		items[to] = first
	}
}

// Sort orders items so that neighbours share as much as possible, and removes all but the first to arrive of those that are
// the same entry, which it counts in Repeats. It works in place.
func (s *Sorter) Sort(items []Item) []Item {
	s.Arrange(items)
	kept := 0
	for i := range items {
		it := &items[i]
		if kept > 0 {
			if it.Extra != nil && it.Extra.Set != nil && it.Extra.Set.dropped {
				continue
			}
			if last := &items[kept-1]; sameEntry(last, it) {
				last.merge(it)
				continue
			}
		}
		if kept < i {
			items[kept] = *it
		}
		kept++
	}
	return items[:kept]
}

// merge counts a repeat.
func (it *Item) merge(repeat *Item) {
	it.Repeats += repeat.Repeats
	if repeat.Extra == nil || !repeat.Extra.Silent {
		it.Repeats++
	}
	if it.Extra == nil {
		return
	}
	it.Repeats += repeat.Extra.Also
	if it.Extra.Kind == ledger.Histograms && repeat.Extra.StartMs != 0 {
		it.Extra.StartRepeats++
	}
	if it.Extra.Set != nil {
		it.Extra.Set.Repeats = it.Repeats
	}
	if repeat.Extra.Set != nil {
		repeat.Extra.Set.dropped = true // its first record comes first
	}
}

// sameEntry tells whether two items are the same entry, possibly with different values.
func sameEntry(a, b *Item) bool {
	return a.key == b.key && a.TimeMs == b.TimeMs && compareEntry(a, b) == 0
}

// Distinct divides sorted items into those whose records have an identity of their own and later ones that share another's: two
// such records must not be in one request, since what becomes of them is not documented. Of one request, it is a float
// that is no plain record and a histogram at the same time; of several requests, whatever both bring.
func Distinct(items []Item) (distinct, later []Item) {
	kept := 0
	for i := range items {
		it := &items[i]
		twin := false
		for k := kept - 1; k >= 0 && !twin && items[k].TimeMs == it.TimeMs && items[k].Series.Hash == it.Series.Hash; k-- {
			twin = items[k].SameRecord(it) && items[k].timeNs() == it.timeNs()
		}
		if twin {
			later = append(later, *it)
			continue
		}
		if kept < i {
			items[kept] = *it
		}
		kept++
	}
	return items[:kept], later
}

// Place puts the item where an order wants it: items of several requests may have been made under several.
func (it *Item) Place(o *Order) { it.key = it.Series.sortKey(o) }

// minOwnBatch is from how many records on what is left of a group gets a batch of its own. A batch of one group sends the
// group's labels once, which saves some 100 metered bytes a record; a call more costs half a write unit, and the
// processor time of signing and sending. From here on the first is worth more than the second.
const minOwnBatch = timestream.MaxRecordsPerWrite / 2

// Split cuts sorted items into batches. As far as possible the records of a batch are of the same group, by the first label
// of the order; what is left of groups is put together in left, which is emptied first, and returned for the next time.
func Split(items, left []Item) (batches [][]Item, _ []Item) {
	const most = timestream.MaxRecordsPerWrite
	batches, left = make([][]Item, 0, len(items)/minOwnBatch+1), left[:0]
	for len(items) > 0 {
		n := 1
		for n < min(len(items), most) && items[n].key.group() == items[0].key.group() {
			n++
		}
		if n >= minOwnBatch {
			batches = append(batches, items[:n:n])
		} else {
			left = append(left, items[:n]...)
		}
		items = items[n:]
	}
	for rest := left; len(rest) > 0; {
		n := min(len(rest), most)
		batches = append(batches, rest[:n:n])
		rest = rest[n:]
	}
	return batches, left
}
