// SPDX-License-Identifier: Apache-2.0

package metering

// Prices are in US dollars.
type Prices struct {
	// WriteMillionUnits is the price of a million write units.
	WriteMillionUnits float64
	// MemoryGBHour is the price of a GB for an hour in the memory store, MagneticGBMonth of a GB for a month in the magnetic store.
	MemoryGBHour, MagneticGBMonth float64
	// QueryGB is the price of a GB scanned, for accounts that pay queries by bytes.
	QueryGB float64
	// TCUHour is the price of a compute unit for an hour, for accounts that pay queries by compute: the model of accounts
	// since April 2024.
	TCUHour float64
}

// ListPrices are list prices of us-east-1, without taxes, discounts, transfer or backups: all but the last from the pricing page of 2020,
// which secondary sources of 2026 repeat for storage; TCUHour from such a secondary source alone.
func ListPrices() Prices {
	return Prices{WriteMillionUnits: 0.50, MemoryGBHour: 0.036, MagneticGBMonth: 0.03, QueryGB: 0.01, TCUHour: 0.518}
}

// Writes is the price of write units.
func (p *Prices) Writes(units float64) float64 { return units / 1e6 * p.WriteMillionUnits }

// Memory is the price of bytes kept in the memory store for an hour each.
func (p *Prices) Memory(byteHours float64) float64 { return byteHours / GB * p.MemoryGBHour }

// Magnetic is the price of bytes kept in the magnetic store for an hour each.
func (p *Prices) Magnetic(byteHours float64) float64 {
	return byteHours / GB / HoursPerMonth * p.MagneticGBMonth
}

// Scanned is the price of metered bytes of queries.
func (p *Prices) Scanned(bytes float64) float64 { return bytes / GB * p.QueryGB }

// Compute is the price of compute units, in hours of one.
func (p *Prices) Compute(tcuHours float64) float64 { return tcuHours * p.TCUHour }
