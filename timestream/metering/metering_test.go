// SPDX-License-Identifier: Apache-2.0

package metering_test

import (
	"flag"
	"math"
	"strings"
	"testing"

	"github.com/tributary-project/tributary/timestream/metering"
)

// The event of the guide's examples, in what its instances have in common and what each has for itself.
func common() (s metering.Size) {
	s.Dimension("region", "us-east-1")
	s.Dimension("az", "1d")
	s.Dimension("vpc", "vpc-1a2b3c4d")
	s.MeasureName("cpu_utilization")
	return s
}

func own() (s metering.Size) {
	s.Time()
	s.Dimension("hostname", "host-24Gju")
	s.Value("DOUBLE", "35.0")
	return s
}

// TestGuide holds the example of the Developer Guide, "Metering and pricing", writes: an event of 83 bytes, twelve of which are a unit.
func TestGuide(t *testing.T) {
	event := common()
	event.Add(own())
	if event != (metering.Size{Values: 8 + 9 + 2 + 12 + 10 + 8, Names: 6 + 2 + 3 + 8 + 15}) || event.WithNames() != 83 {
		t.Fatalf("the event has %+v", event)
	}
	for _, tt := range []struct {
		name        string
		common      int64
		each, units int64
		records     int64
	}{
		{"one event", 0, 83, 1, 1},
		{"twelve events", 0, 83, 1, 12},
		{"thirteen events", 0, 83, 2, 13},
		// The guide prints these two sizes; by its own formula the event has 49 in common and 34 for itself.
		{"thirty-six events, as the guide divides them", 52, 27, 1, 36},
		{"thirty-seven", 52, 27, 2, 37},
		{"twenty-eight events with common attributes", common().WithNames(), own().WithNames(), 1, 28},
		{"twenty-nine", common().WithNames(), own().WithNames(), 2, 29},
	} {
		if got := metering.Units(tt.common + tt.each*tt.records); got != tt.units {
			t.Errorf("%s: %d units, want %d", tt.name, got, tt.units)
		}
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		typ, value string
		want       int
	}{
		{"", "1", 8}, {"DOUBLE", "35.123456789012", 8}, {"BIGINT", "1", 8}, {"TIMESTAMP", "1602983435238", 8},
		{"BOOLEAN", "false", 1}, {"VARCHAR", "", 0}, {"VARCHAR", "grün", 5},
	} {
		if got := metering.ValueBytes(tt.typ, tt.value); got != tt.want {
			t.Errorf("%s %q: %d bytes, want %d", tt.typ, tt.value, got, tt.want)
		}
	}
}

func TestRules(t *testing.T) {
	r := metering.Request{Size: metering.Size{Values: 1000, Names: 500}, Repeated: 300}
	for rule, want := range map[metering.Rule]int64{metering.Guide: 1500, metering.Announced: 1000, metering.Least: 700} {
		if got := r.Bytes(rule); got != want {
			t.Errorf("%v: %d bytes, want %d", rule, got, want)
		}
		var parsed metering.Rule
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		fs.Var(&parsed, "rule", "")
		if err := fs.Parse([]string{"--rule=" + rule.String()}); err != nil || parsed != rule {
			t.Errorf("%v is read as %v, %v", rule, parsed, err)
		}
	}
	var rule metering.Rule
	if err := rule.Set("free"); err == nil || !strings.Contains(err.Error(), "guide") {
		t.Errorf("got %v", err)
	}
}

// Queries by bytes: ten megabytes at least (answers of the service), whole ones above.
func TestQuery(t *testing.T) {
	for scanned, want := range map[int64]int64{0: 10_000_000, 1: 10_000_000, 10_000_000: 10_000_000, 10_000_001: 11_000_000, 123_456_789: 124_000_000} {
		if got := metering.Query(scanned); got != want {
			t.Errorf("%d: %d, want %d", scanned, got, want)
		}
	}
}

// TestPrometheusShapes holds what samples of ten labels with 120 bytes of values and 110 of names cost at list prices, as the rules say: alone,
// in requests of 100, with what they share written once, and many values in a record.
func TestPrometheusShapes(t *testing.T) {
	// A record's label values, without those that are common, its labels' names, its value.
	record := func(values, names, fields int64) metering.Size {
		return metering.Size{Values: values + metering.TimeBytes + fields*metering.NumberBytes, Names: names}
	}
	for _, tt := range []struct {
		name          string
		rule          metering.Rule
		common        metering.Size
		record        metering.Size
		records       int64
		samples       int64
		bytes, units  int64
		dollarsPerMio float64
	}{
		{"one record", metering.Announced, metering.Size{}, record(120, 110, 1), 1, 1, 136, 1, 0.50},
		{"100 unrelated series", metering.Announced, metering.Size{}, record(120, 110, 1), 100, 100, 13_600, 14, 0.070},
		{"100 series, 80 bytes in common", metering.Announced, metering.Size{Values: 80}, record(40, 110, 1), 100, 100, 5_680, 6, 0.030},
		{"100 records of 50 values", metering.Announced, metering.Size{}, record(120, 110, 50), 100, 5_000, 52_800, 52, 0.0052},
		{"100 unrelated series, names counted", metering.Guide, metering.Size{}, record(120, 110, 1), 100, 100, 24_600, 25, 0.125},
	} {
		r := metering.Request{Size: tt.record.Times(tt.records)}
		r.Size.Add(tt.common)
		bytes := r.Bytes(tt.rule)
		units := metering.Units(bytes)
		prices := metering.ListPrices()
		dollars := prices.Writes(float64(units) / float64(tt.samples) * 1e6)
		if bytes != tt.bytes || units != tt.units || math.Abs(dollars-tt.dollarsPerMio) > 1e-9 {
			t.Errorf("%s: %d bytes, %d units, $%v per million samples; want %d, %d, %v", tt.name, bytes, units, dollars, tt.bytes, tt.units, tt.dollarsPerMio)
		}
	}
}

// A month of 100,000 samples/s, 136 bytes each, in requests of 100: what it costs to write and to keep for 12 hours in memory.
func TestMonth(t *testing.T) {
	prices := metering.ListPrices()
	near := func(what string, got, want, tolerance float64) {
		t.Helper()
		if math.Abs(got-want) > tolerance {
			t.Errorf("%s: $%.0f, want about %.0f", what, got, want)
		}
	}
	const seconds = metering.HoursPerMonth * 3600
	near("writes of 14 units", prices.Writes(1000*14*seconds), 18_000, 200)
	near("writes of 6 units", prices.Writes(1000*6*seconds), 7_800, 50)
	near("memory", prices.Memory(136*100_000*12*3600*metering.HoursPerMonth), 15_200, 100)
	near("4 TCU all month", prices.Compute(4*metering.HoursPerMonth), 1_500, 10)
	if got := prices.Magnetic(metering.GB * metering.HoursPerMonth); math.Abs(got-0.03) > 1e-12 {
		t.Errorf("a GB-month: $%v", got)
	}
	if got := prices.Scanned(100 * metering.QueryMin); math.Abs(got-0.01) > 1e-12 {
		t.Errorf("a hundred small queries: $%v", got)
	}
}
