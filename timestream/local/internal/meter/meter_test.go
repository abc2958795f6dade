// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"math/rand"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/metering"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// Statements share compute units, which are paid for half a minute at least.
func TestCompute(t *testing.T) {
	type event struct {
		after int // seconds since noon
		begin int // negative for an end
	}
	for _, tt := range []struct {
		name   string
		events []event
		at     int
		want   int // unit seconds
	}{
		{"nothing", nil, 100, 0},
		{"a short statement", []event{{0, 1}, {1, -1}}, 100, 4 * 30},
		{"seven beside each other", []event{{0, 7}, {1, -7}}, 100, 4 * 30},
		{"eight", []event{{0, 8}, {1, -8}}, 100, 8 * 30},
		{"fifteen", []event{{0, 15}, {1, -15}}, 100, 12 * 30},
		{"more than the account may have", []event{{0, 1000}, {1, -1000}}, 100, 40 * 30},
		{"one within another's half minute", []event{{0, 1}, {1, -1}, {20, 1}, {21, -1}}, 100, 4 * 30},
		{"one that goes on after it", []event{{0, 1}, {1, -1}, {20, 1}, {45, -1}}, 100, 4 * 45},
		{"one after it", []event{{0, 1}, {1, -1}, {31, 1}, {32, -1}}, 100, 2 * 4 * 30},
		{"a long one", []event{{0, 1}, {90, -1}}, 100, 4 * 90},
		{"one that runs", []event{{0, 1}}, 50, 4 * 50},
		{"one that began", []event{{0, 1}}, 5, 4 * 30},
		// Of two blocks the one goes first whose half minute is over first.
		{"a long one and a crowd", []event{{0, 1}, {10, 7}, {12, -7}, {90, -1}}, 100, 4*30 + 4*80},
	} {
		var c Compute
		for _, e := range tt.events {
			now := noon.Add(time.Duration(e.after) * time.Second)
			for range e.begin {
				c.Begin(now, 40)
			}
			for range -e.begin {
				c.End(now)
			}
		}
		at := noon.Add(time.Duration(tt.at) * time.Second)
		if got := c.UnitTime(at); got != time.Duration(tt.want)*time.Second {
			t.Errorf("%s: %v, want %ds", tt.name, got, tt.want)
		}
		c.Reset(at, time.Hour)
		if got := c.UnitTime(at); got < time.Hour || got > time.Hour+40*30*time.Second {
			t.Errorf("%s: after a reset %v", tt.name, got)
		}
	}
}

func apply(t *Table, now time.Time, f func(*Delta)) {
	var d Delta
	f(&d)
	t.Apply(now, &d)
}

// A table with records of more hours than are told apart counts them by the day, and all of them.
func TestFold(t *testing.T) {
	tab := NewTable(noon)
	const memory = 24 * time.Hour
	size := metering.Size{Values: 70, Names: 30}
	const hours = 3 * maxHours
	apply(tab, noon, func(d *Delta) {
		for h := range hours {
			d.Store(noon.Add(-time.Duration(h)*time.Hour).UnixNano(), "m", size)
		}
	})
	tab.Age(noon, memory, 0)
	if n := len(tab.hours) + len(tab.days); n > maxHours {
		t.Errorf("%d hours and %d days", len(tab.hours), len(tab.days))
	}
	u := tab.Usage(noon)
	if u.Stored != (Stored{hours, size.Times(hours)}) || u.Memory.Values != 25*70 {
		t.Errorf("got %+v", u)
	}
	// Records of a day that is folded join it.
	old := noon.Add(-hours / 2 * time.Hour)
	apply(tab, noon, func(d *Delta) { d.Store(old.UnixNano(), "m", size) })
	folded := len(tab.days)
	tab.Age(noon, memory, 0)
	if len(tab.days) != folded || tab.Usage(noon).Stored.Records != hours+1 {
		t.Errorf("%d days, were %d", len(tab.days), folded)
	}
	// What is written down and read again is the same.
	again := NewTable(noon)
	state, written := tab.State(noon, func(h, width int64, s Stored) { again.RestoreStored(h, width, s) })
	again.RestoreWritten(written)
	again.Restore(noon, state)
	again.Age(noon, memory, 0)
	if got, want := again.Usage(noon), tab.Usage(noon); got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	// A day is forgotten when its last hour is.
	oldest := noon.Add(-hours / 2 * time.Hour)
	tab.Age(noon, memory, oldest.UnixNano())
	if n := tab.Usage(noon).Stored.Records; n < hours/2 || n > hours/2+25 {
		t.Errorf("%d records are left of %d", n, hours)
	}
}

// A Delta that is used again has what a new one has, whatever came in which order.
func TestDelta(t *testing.T) {
	rng := rand.New(rand.NewSource(3))
	var used Delta
	a, b := NewTable(noon), NewTable(noon)
	for range 200 {
		var fresh Delta
		for range rng.Intn(20) {
			at := noon.Add(-time.Duration(rng.Intn(5)) * time.Hour).UnixNano()
			name := string(rune('a' + rng.Intn(4)))
			size := metering.Size{Values: rng.Int63n(100), Names: rng.Int63n(100)}
			if rng.Intn(3) == 0 {
				fresh.Replace(at, size, size.Times(2))
				used.Replace(at, size, size.Times(2))
			} else {
				fresh.Store(at, name, size)
				used.Store(at, name, size)
			}
		}
		r := metering.Request{Size: metering.Size{Values: rng.Int63n(3000), Names: rng.Int63n(3000)}}
		fresh.Request(r, 1)
		used.Request(r, 1)
		a.Apply(noon, &fresh)
		b.Apply(noon, &used)
		used.Reset()
		if !used.Empty() {
			t.Fatal("not empty")
		}
	}
	if got, want := b.Usage(noon), a.Usage(noon); got != want || want.Fresh.Records == 0 || want.Written.Units[metering.Guide] <= want.Written.Units[metering.Announced] {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if got, want := b.Scanned(0, 1<<62, []string{name}), a.Scanned(0, 1<<62, []string{name}); got != want || got.Size.Values == 0 {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// What transactions do to a meter costs no memory.
func TestDeltaAllocates(t *testing.T) {
	tab := NewTable(noon)
	var d Delta
	round := func() {
		for i := range 100 {
			d.Store(noon.UnixNano()-int64(i%3)*hour, "measure"[i%3:], metering.Size{Values: 80, Names: 20})
		}
		d.Request(metering.Request{Size: metering.Size{Values: 8000}}, 100)
		tab.Apply(noon, &d)
		d.Reset()
	}
	round()
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
