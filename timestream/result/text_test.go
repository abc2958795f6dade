// SPDX-License-Identifier: Apache-2.0

package result

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMillis(t *testing.T) {
	for _, tt := range []struct {
		give string
		want int64
	}{
		{"1970-01-01 00:00:00.000000000", 0},
		{"2020-08-08 01:00:00.000000000", 1596848400000},
		{"2020-08-08 01:59:59.999999999", 1596851999999},
		{"2020-08-08 23:45:12.123456789", 1596930312123},
		{"2020-08-08 23:45:12.1", 1596930312100},
		{"2020-08-08 23:45:12.12", 1596930312120},
		{"2020-08-08 23:45:12.1234", 1596930312123},
		{"2020-08-08 23:45:12", 1596930312000},
		{"1969-12-31 23:59:59.999900000", -1},
		{"2262-04-11 23:47:16.854775807", 9223372036854},
		{"2020-02-29 00:00:00.001000000", 1582934400001},
	} {
		var fresh Clock
		if got, err := fresh.Millis([]byte(tt.give)); err != nil || got != tt.want {
			t.Errorf("%s: got %d, %v, want %d", tt.give, got, err, tt.want)
		}
	}
	var c Clock
	for _, bad := range []string{
		"", "2020-08-08", "2020-08-08 01:00", "2020-08-08T01:00:00.000000000", "2020-08-08 01:00:00.", "2020-08-08 01:00:00.0000000000",
		"2020-08-08 24:00:00.000000000", "2020-08-08 01:60:00.000000000", "2020-08-08 01:00:60.000000000", "2021-02-29 00:00:00.000000000",
		"2020-08-08 01:00:00,000000000", "2020-08-08 01:00:00.00000000x", "2020-08-08 01:00:00.x", "2020-08-08 0a:00:00.000000000", "2020-08-08 01-00:00.000000000",
		"2020-08-08 01:0\xba:00.000000000", "2020-08-08 01:00:00.0000000\xff0",
	} {
		if _, err := c.Millis([]byte("2020-08-08 01:00:00.000000000")); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Millis([]byte(bad)); err == nil {
			t.Errorf("%q: got %d", bad, got)
		}
	}
}

// TestMillisOfNeighbours: what the clock remembers never shows.
func TestMillisOfNeighbours(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var c Clock
	at := time.Date(2024, 2, 28, 22, 0, 0, 0, time.UTC)
	for range 10_000 {
		at = at.Add(time.Duration(r.Int64N(int64(40 * time.Minute))))
		if r.IntN(10) == 0 {
			at = at.Add(-time.Duration(r.Int64N(int64(9 * time.Hour))))
		}
		if got, err := c.Millis([]byte(at.Format("2006-01-02 15:04:05.000000000"))); err != nil || got != at.UnixMilli() {
			t.Fatalf("%s: got %d, %v, want %d", at, got, err, at.UnixMilli())
		}
	}
}

func FuzzMillis(f *testing.F) {
	f.Add("2020-08-08 01:00:00.000000000", "2020-08-08 01:00:15.5")
	f.Fuzz(func(t *testing.T, a, b string) {
		var c Clock
		for _, s := range []string{a, b, a} {
			got, err := c.Millis([]byte(s))
			want, wantErr := time.Parse("2006-01-02 15:04:05", s)
			// time.Parse is more generous: a comma, blanks, one digit of the hour, more than nine of the fraction.
			strict := len(s) >= 19 && len(s) <= TimeLen && want.Format(time.DateTime) == s[:19] && !strings.Contains(s, ",")
			if (err == nil) != (wantErr == nil && strict) {
				t.Fatalf("%q: got %d, %v, want %v, %v", s, got, err, want, wantErr)
			}
			if err == nil && got != want.UnixMilli() {
				t.Fatalf("%q: got %d, want %d", s, got, want.UnixMilli())
			}
		}
	})
}

// javaTexts are doubles as Double.toString writes them, and what comes near.
var javaTexts = []string{
	"0.0", "-0.0", "1.0", "-1.5", "13.5", "0.13194831754663383", "1.6554878837710001E9", "1.655487883771E9", "1.7976931348623157E308", "4.9E-324",
	"2.2250738585072014E-308", "9007199254740992.0", "9007199254740993.0", "9.007199254740993E15", "1.0E22", "1.0E23", "1.0E-22", "1.0E-23", "NaN", "Infinity", "-Infinity",
	"1", "1.", ".5", "-", "", ".", "1E", "1E-", "1e5", "1E+5", "0E9999", "1E99999", "1.5.2", "0x1p4", "1_0", "+1.0", "-.5E1", "123456789012345678", "1234567890123456789", "00000000000000000001.5",
}

func checkDouble(t *testing.T, s string) {
	t.Helper()
	got, err := Double([]byte(s))
	want, wantErr := strconv.ParseFloat(s, 64)
	if (err == nil) != (wantErr == nil) || err == nil && math.Float64bits(got) != math.Float64bits(want) {
		t.Fatalf("%q: got %v, %v, want %v, %v", s, got, err, want, wantErr)
	}
	// What ends before the text ends is the number that stands there.
	if v, n, ok := ShortDouble([]byte(s + `"}`)); ok {
		if want, err := strconv.ParseFloat(s[:n], 64); err != nil || math.Float64bits(v) != math.Float64bits(want) {
			t.Fatalf("%q, the first %d bytes: got %v, want %v, %v", s, n, v, want, err)
		}
	}
}

func TestDouble(t *testing.T) {
	for _, s := range javaTexts {
		checkDouble(t, s)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		checkDouble(t, strconv.FormatFloat(math.Float64frombits(r.Uint64()), 'E', -1, 64))
		v := float64(r.Int64N(1<<55)-1<<54) / math.Pow(10, float64(r.IntN(25)))
		checkDouble(t, strconv.FormatFloat(v, 'f', r.IntN(20)-1, 64))
		checkDouble(t, strconv.FormatFloat(v, 'E', r.IntN(20)-1, 64))
	}
	if v, n, ok := ShortDouble([]byte(`12.5"}`)); !ok || v != 12.5 || n != 4 {
		t.Errorf("a short number is not read the short way: %v %d %v", v, n, ok)
	}
}

func FuzzDouble(f *testing.F) {
	for _, s := range javaTexts {
		f.Add(s)
	}
	f.Fuzz(checkDouble)
}

func BenchmarkDouble(b *testing.B) {
	for _, s := range []string{"1.0", "12345.678", "0.13194831754663383", "1.6554878837710001E9"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			text := []byte(s)
			for b.Loop() {
				if _, err := Double(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMillis(b *testing.B) {
	b.ReportAllocs()
	var c Clock
	texts := [][]byte{[]byte("2020-08-08 01:00:00.000000000"), []byte("2020-08-08 01:00:15.123000000")}
	for i := 0; b.Loop(); i++ {
		if _, err := c.Millis(texts[i&1]); err != nil {
			b.Fatal(err)
		}
	}
}
