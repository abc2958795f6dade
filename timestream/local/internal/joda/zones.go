// SPDX-License-Identifier: Apache-2.0

package joda

import (
	"sync"
	"time"
	_ "time/tzdata" // images need no time zone database of their own
)

// maxZoneID is the length of names of zones that are looked up; the longest of the database has 32.
const maxZoneID = 40

// maxZones bounds how many names are remembered.
const maxZones = 2000

// Zones finds time zones by their names and remembers those it was asked for. The zero value is ready; it may be used by several goroutines.
type Zones struct {
	mu    sync.Mutex
	known map[string]*time.Location
}

// find returns nil for a name that no zone has.
func (z *Zones) find(id string) *time.Location {
	z.mu.Lock()
	defer z.mu.Unlock()
	zone, ok := z.known[id]
	if ok {
		return zone
	}
	zone, err := time.LoadLocation(id)
	if err != nil || id == "" || id == "Local" {
		zone = nil
	}
	if z.known == nil || len(z.known) >= maxZones {
		z.known = map[string]*time.Location{}
	}
	z.known[id] = zone
	return zone
}
