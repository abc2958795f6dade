// SPDX-License-Identifier: Apache-2.0

// Package meter keeps count of what the tables of a database would cost on Amazon Timestream: what was written to each, what it keeps in
// which store and for how long, and what was read from it; and of the compute that statements would occupy. How things are measured is
// package metering's; where the counts are kept and shown is the caller's.
package meter

import (
	"math"
	"strings"
	"sync"
	"time"

	"github.com/tributary-project/tributary/timestream/metering"
)

// hour is the width, in nanoseconds, of the times that are counted together.
const hour = int64(time.Hour)

const (
	hoursPerDay = 24
	// maxHours bounds the hours of a table that are told apart. Beyond it those that have left the memory store are counted by the day. The
	// memory store keeps 8,766 hours at most, the magnetic store 73,000 days (Developer Guide, ts-limits), which bounds the memory.
	maxHours = 10_000
)

// Stored is a number of records and their size.
type Stored struct {
	Records int64
	Size    metering.Size
}

func (s *Stored) add(o Stored) {
	s.Records += o.Records
	s.Size.Add(o.Size)
}

// Written is what was written.
type Written struct {
	// Requests are those of which at least one record was accepted, Records the records that were: stored, known already, or
	// replacing another.
	Requests, Records int64
	// Bytes and Units are by rule.
	Bytes, Units [metering.Rules]int64
}

// Add adds what else was written.
func (w *Written) Add(o *Written) {
	w.Requests += o.Requests
	w.Records += o.Records
	for r := range w.Bytes {
		w.Bytes[r] += o.Bytes[r]
		w.Units[r] += o.Units[r]
	}
}

// Read is what was read by queries.
type Read struct {
	// Queries is the number of statements, Scanned their bytes by the rule in force, Metered what is charged of them where
	// queries are paid by bytes.
	Queries          int64
	Scanned, Metered int64
	// Busy is how long they ran.
	Busy time.Duration
}

// Add adds what others read.
func (r *Read) Add(o Read) {
	r.Queries += o.Queries
	r.Scanned += o.Scanned
	r.Metered += o.Metered
	r.Busy += o.Busy
}

// ByteHours are bytes times the hours they were kept.
type ByteHours struct{ Values, Names float64 }

func (b *ByteHours) add(s metering.Size, d time.Duration) {
	b.Values += float64(s.Values) * d.Hours()
	b.Names += float64(s.Names) * d.Hours()
}

// Of is what is charged of them by a rule.
func (b ByteHours) Of(r metering.Rule) float64 {
	if r == metering.Guide {
		return b.Values + b.Names
	}
	return b.Values
}

// Usage is what a table has used since Since.
type Usage struct {
	Since time.Time
	// Metered is the time that was counted: that in which a process had the database open.
	Metered time.Duration
	Written Written
	// Fresh is what was stored of it; records that replaced others are not in it.
	Fresh Stored
	// Stored is what there is now, and Memory and Magnetic its parts in the two stores.
	Stored           Stored
	Memory, Magnetic metering.Size
	// MemoryHours and MagneticHours are what was kept there, and for how long.
	MemoryHours, MagneticHours ByteHours
	Read                       Read
}

// Add adds what another table has used.
func (u *Usage) Add(o *Usage) {
	if u.Since.IsZero() || o.Since.Before(u.Since) {
		u.Since = o.Since
	}
	u.Metered = max(u.Metered, o.Metered)
	u.Written.Add(&o.Written)
	u.Fresh.add(o.Fresh)
	u.Stored.add(o.Stored)
	u.Memory.Add(o.Memory)
	u.Magnetic.Add(o.Magnetic)
	u.MemoryHours.Values += o.MemoryHours.Values
	u.MemoryHours.Names += o.MemoryHours.Names
	u.MagneticHours.Values += o.MagneticHours.Values
	u.MagneticHours.Names += o.MagneticHours.Names
	u.Read.Add(o.Read)
}

// Table is the meter of one table. Its methods may be called by many goroutines at once.
type Table struct {
	mu sync.Mutex
	// usage is complete up to at.
	usage Usage
	at    time.Time
	// memoryFrom is the time from which on records are in the memory store. It never goes back: what has left that store does not return when the
	// retention grows (Developer Guide, storage).
	memoryFrom int64
	// hours and days are what is stored, by the number of the hour since 1970 that it begins with.
	hours, days map[int64]Stored
	// measures is what was ever stored of each measure name.
	measures map[string]*metering.Size
	all      metering.Size
}

// NewTable returns the meter of a table that has nothing.
func NewTable(now time.Time) *Table {
	return &Table{usage: Usage{Since: now}, at: now, hours: map[int64]Stored{}, days: map[int64]Stored{}, measures: map[string]*metering.Size{}}
}

// Apply adds what a transaction has done.
func (t *Table) Apply(now time.Time, d *Delta) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accrue(now)
	t.usage.Written.Add(&d.Written)
	t.usage.Fresh.add(d.fresh)
	for i := range d.hours {
		t.put(d.hours[i].hour, d.hours[i].stored)
	}
	for i := range d.measures {
		m := t.measures[d.measures[i].name]
		if m == nil {
			m = &metering.Size{}
			t.measures[strings.Clone(d.measures[i].name)] = m
		}
		m.Add(d.measures[i].size)
		t.all.Add(d.measures[i].size)
	}
	if len(t.hours) > 2*maxHours {
		t.fold()
	}
}

// put adds records of an hour.
func (t *Table) put(h int64, s Stored) {
	in, width := t.hours, int64(1)
	if day := dayOf(h); h*hour < t.memoryFrom {
		if _, ok := t.days[day]; ok {
			in, h, width = t.days, day, hoursPerDay
		}
	}
	have := in[h]
	have.add(s)
	in[h] = have
	t.usage.Stored.add(s)
	memory := t.inMemory(h, width, s.Size)
	t.usage.Memory.Add(memory)
	s.Size.Sub(memory)
	t.usage.Magnetic.Add(s.Size)
}

func dayOf(h int64) int64 { return h - h%hoursPerDay }

// inMemory is the part of a size, spread over some hours, that is in the memory store.
func (t *Table) inMemory(h, width int64, s metering.Size) metering.Size {
	return part(s, share(h, width, t.memoryFrom, 1<<63-1))
}

// share is the part of some hours that is in [from, to] nanoseconds.
func share(h, width, from, to int64) float64 {
	first, last := max(h*hour, from), min((h+width)*hour-1, to)
	switch {
	case last < first:
		return 0
	case first == h*hour && last == (h+width)*hour-1:
		return 1
	}
	return float64(last-first+1) / float64(width*hour)
}

func part(s metering.Size, share float64) metering.Size {
	switch share {
	case 0:
		return metering.Size{}
	case 1:
		return s
	}
	return metering.Size{Values: int64(float64(s.Values) * share), Names: int64(float64(s.Names) * share)}
}

// accrue brings the times up to now. What is stored has been the same since the last time.
func (t *Table) accrue(now time.Time) {
	if d := now.Sub(t.at); d > 0 {
		t.usage.Metered += d
		t.usage.MemoryHours.add(t.usage.Memory, d)
		t.usage.MagneticHours.add(t.usage.Magnetic, d)
	}
	t.at = now
}

// Age moves what is older than the memory store's retention to the magnetic store, and forgets what is older than oldest nanoseconds. An hour
// that is partly over the border of the stores is counted by its parts; one that is partly expired is counted whole.
func (t *Table) Age(now time.Time, memory time.Duration, oldest int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accrue(now)
	t.memoryFrom = max(t.memoryFrom, now.Add(-memory).UnixNano())
	if len(t.hours) > maxHours {
		t.fold()
	}
	t.usage.Stored, t.usage.Memory = Stored{}, metering.Size{}
	each := func(in map[int64]Stored, width int64) {
		for h, s := range in {
			if (h+width)*hour <= oldest {
				delete(in, h)
				continue
			}
			t.usage.Stored.add(s)
			t.usage.Memory.Add(t.inMemory(h, width, s.Size))
		}
	}
	each(t.hours, 1)
	each(t.days, hoursPerDay)
	t.usage.Magnetic = t.usage.Stored.Size
	t.usage.Magnetic.Sub(t.usage.Memory)
}

// fold counts the days that have left the memory store as days.
func (t *Table) fold() {
	for h, s := range t.hours {
		if day := dayOf(h); (day+hoursPerDay)*hour <= t.memoryFrom {
			have := t.days[day]
			have.add(s)
			t.days[day] = have
			delete(t.hours, h)
		}
	}
}

// Scanned estimates the number and the bytes of the records with a time in [from, to] nanoseconds and, unless measures is nil, one of these measure names. Hours
// that are partly in the range count in proportion, and a measure name has the same part of every hour.
func (t *Table) Scanned(from, to int64, measures []string) Stored {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sum Stored
	each := func(in map[int64]Stored, width int64) {
		for h, s := range in {
			in := share(h, width, from, to)
			sum.add(Stored{Records: int64(float64(s.Records) * in), Size: part(s.Size, in)})
		}
	}
	each(t.hours, 1)
	each(t.days, hoursPerDay)
	if measures == nil {
		return sum
	}
	var of metering.Size
	for _, m := range measures {
		if size := t.measures[m]; size != nil {
			of.Add(*size)
		}
	}
	ratio := func(sum *int64, of, all int64) {
		if all > 0 {
			*sum = int64(float64(*sum) * (float64(of) / float64(all)))
		}
	}
	ratio(&sum.Records, of.Values, t.all.Values)
	ratio(&sum.Size.Values, of.Values, t.all.Values)
	ratio(&sum.Size.Names, of.Names, t.all.Names)
	return sum
}

// Span returns the times, in nanoseconds, between which there are records, in whole hours or days; false where there are none.
func (t *Table) Span() (from, to int64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from, to = math.MaxInt64, math.MinInt64
	each := func(in map[int64]Stored, width int64) {
		for h, s := range in {
			if s.Records > 0 {
				from, to, ok = min(from, h*hour), max(to, (h+width)*hour), true
			}
		}
	}
	each(t.hours, 1)
	each(t.days, hoursPerDay)
	return from, to, ok
}

// Read adds what a query read.
func (t *Table) Read(r Read) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.usage.Read.Add(r)
}

// Usage is what the table has used up to now.
func (t *Table) Usage(now time.Time) Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accrue(now)
	return t.usage
}

// Reset begins to count anew. What is stored stays.
func (t *Table) Reset(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.usage = Usage{Since: now, Stored: t.usage.Stored, Memory: t.usage.Memory, Magnetic: t.usage.Magnetic}
	t.at = now
}

// State is what a Table is made of again, without what Each lists and Usage.Written.
type State struct {
	Since                      time.Time
	Metered                    time.Duration
	MemoryFrom                 int64
	Fresh                      Stored
	MemoryHours, MagneticHours ByteHours
	Read                       Read
	Measures                   map[string]metering.Size
}

// State returns the table's state up to now, what was written, and what is stored by hours (the number of the first since 1970, and how many).
func (t *Table) State(now time.Time, each func(h, width int64, s Stored)) (State, Written) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accrue(now)
	for h, s := range t.hours {
		each(h, 1, s)
	}
	for h, s := range t.days {
		each(h, hoursPerDay, s)
	}
	measures := make(map[string]metering.Size, len(t.measures))
	for name, size := range t.measures {
		measures[name] = *size
	}
	u := &t.usage
	return State{u.Since, u.Metered, t.memoryFrom, u.Fresh, u.MemoryHours, u.MagneticHours, u.Read, measures}, u.Written
}

// Restore takes over a state. The time from then until now does not count.
func (t *Table) Restore(now time.Time, s State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := &t.usage
	u.Since, u.Metered, t.memoryFrom, u.Fresh, u.MemoryHours, u.MagneticHours, u.Read = s.Since, s.Metered, s.MemoryFrom, s.Fresh, s.MemoryHours, s.MagneticHours, s.Read
	t.measures, t.all, t.at = map[string]*metering.Size{}, metering.Size{}, now
	for name, size := range s.Measures {
		t.measures[name] = &size
		t.all.Add(size)
	}
}

// RestoreStored adds what was stored in some hours, and RestoreWritten what was written, as State told them.
func (t *Table) RestoreStored(h, width int64, s Stored) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if width == hoursPerDay {
		t.days[h] = Stored{}
	}
	t.put(h, s)
}

// RestoreWritten see RestoreStored.
func (t *Table) RestoreWritten(w Written) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.usage.Written.Add(&w)
}

// Absorb takes over what another table has used, but for what it stores.
func (t *Table) Absorb(o *Usage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used := *o
	used.Stored, used.Memory, used.Magnetic = Stored{}, metering.Size{}, metering.Size{}
	t.usage.Add(&used)
}
