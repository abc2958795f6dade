// SPDX-License-Identifier: Apache-2.0

package meter

import "github.com/tributary-project/tributary/timestream/metering"

// Delta is what one transaction does to a table. The zero value is ready; Reset makes it one again and keeps its memory.
type Delta struct {
	Written Written
	fresh   Stored
	// hours and measures are few mostly, and the one that came last comes next.
	hours    []hourDelta
	measures []measureDelta
	at, name int
	byHour   map[int64]int
	byName   map[string]int
}

type hourDelta struct {
	hour   int64
	stored Stored
}

type measureDelta struct {
	name string
	size metering.Size
}

// Request adds a request of which records were accepted.
func (d *Delta) Request(r metering.Request, records int) {
	d.Written.Requests++
	d.Written.Records += int64(records)
	for rule := range metering.Rules {
		bytes := r.Bytes(rule)
		d.Written.Bytes[rule] += bytes
		d.Written.Units[rule] += metering.Units(bytes)
	}
}

// Store adds a record that was stored, at a time in nanoseconds. The name has to stay as it is until Reset.
func (d *Delta) Store(time int64, measure string, size metering.Size) {
	s := Stored{1, size}
	d.fresh.add(s)
	d.change(time, s)
	if d.name >= len(d.measures) || d.measures[d.name].name != measure {
		d.name = d.find(measure)
	}
	d.measures[d.name].size.Add(size)
}

// Replace notes that the record at a time has another size than before.
func (d *Delta) Replace(time int64, before, after metering.Size) {
	after.Sub(before)
	if after != (metering.Size{}) {
		d.change(time, Stored{0, after})
	}
}

// Add adds what another did to what is written and stored, but not by measure names and not to what is fresh, of which Each and Written know nothing.
func (d *Delta) Add(o *Delta) {
	d.Written.Add(&o.Written)
	for i := range o.hours {
		d.changeHour(o.hours[i].hour, o.hours[i].stored)
	}
}

func (d *Delta) change(time int64, s Stored) { d.changeHour(time/hour, s) }

func (d *Delta) changeHour(h int64, s Stored) {
	if d.at >= len(d.hours) || d.hours[d.at].hour != h {
		if d.byHour == nil {
			d.byHour = map[int64]int{}
		}
		i, ok := d.byHour[h]
		if !ok {
			i = len(d.hours)
			d.hours = append(d.hours, hourDelta{hour: h})
			d.byHour[h] = i
		}
		d.at = i
	}
	d.hours[d.at].stored.add(s)
}

func (d *Delta) find(measure string) int {
	if d.byName == nil {
		d.byName = map[string]int{}
	}
	i, ok := d.byName[measure]
	if !ok {
		i = len(d.measures)
		d.measures = append(d.measures, measureDelta{name: measure})
		d.byName[measure] = i
	}
	return i
}

// Each calls f for each hour, by its number since 1970, whose records have changed.
func (d *Delta) Each(f func(h int64, s Stored)) {
	for i := range d.hours {
		f(d.hours[i].hour, d.hours[i].stored)
	}
}

// Empty tells that there is nothing in it.
func (d *Delta) Empty() bool { return len(d.hours) == 0 && d.Written.Requests == 0 }

// Reset empties it.
func (d *Delta) Reset() {
	clear(d.measures)
	clear(d.byHour)
	clear(d.byName)
	*d = Delta{hours: d.hours[:0], measures: d.measures[:0], byHour: d.byHour, byName: d.byName}
}
