// SPDX-License-Identifier: Apache-2.0

package sqlplan

import (
	"context"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/timestream/tssql"
)

func TestAppendDoubleFollowsJava(t *testing.T) {
	for _, tt := range []struct {
		give float64
		want string
	}{
		{0, "0.0"},
		{math.Copysign(0, -1), "-0.0"},
		{1, "1.0"},
		{-1, "-1.0"},
		{13.5, "13.5"},
		{0.13194831754663383, "0.13194831754663383"},
		{1655487883.7710001, "1.6554878837710001E9"},
		{0.001, "0.001"},
		{0.0009999, "9.999E-4"},
		{-0.0001, "-1.0E-4"},
		{9999999, "9999999.0"},
		{9999999.999, "9999999.999"},
		{1e7, "1.0E7"},
		{-1e7, "-1.0E7"},
		{12345678, "1.2345678E7"},
		{100, "100.0"},
		{1e21, "1.0E21"},
		{1e100, "1.0E100"},
		{1.5e-10, "1.5E-10"},
		{math.Pi, "3.141592653589793"},
		{math.MaxFloat64, "1.7976931348623157E308"},
		{math.SmallestNonzeroFloat64, "4.9E-324"},
		{1e-323, "9.9E-324"},
		{1e-322, "9.9E-323"},
		{1.04e-322, "1.04E-322"},
		{2.2250738585072014e-308, "2.2250738585072014E-308"},
		{9007199254740993, "9.007199254740992E15"},
		{math.NaN(), "NaN"},
		{math.Float64frombits(0x7ff0000000000002), "NaN"},
		{math.Inf(1), "Infinity"},
		{math.Inf(-1), "-Infinity"},
	} {
		if got := string(appendDouble([]byte("x"), tt.give)); got != "x"+tt.want {
			t.Errorf("got %s, want x%s", got, tt.want)
		}
	}
}

func TestAppendJSONString(t *testing.T) {
	for _, tt := range []struct{ give, want string }{
		{"", `""`},
		{"a\"b\\c", `"a\"b\\c"`},
		{"\n\r\t\x00\x1f", `"\n\r\t\u0000\u001f"`},
		{"é<&>🦆\u2028", "\"é<&>🦆\u2028\""},
		{"a\xffb\ufffd", "\"a\ufffdb\ufffd\""},
	} {
		if got := string(appendJSONString(nil, []byte(tt.give))); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestAppendDoubleReadsBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200000 {
		v := math.Float64frombits(r.Uint64())
		if v != v {
			continue
		}
		s := string(appendDouble(nil, v))
		back, err := strconv.ParseFloat(s, 64)
		if err != nil || math.Float64bits(back) != math.Float64bits(v) {
			t.Fatalf("%x: %s reads back as %v, %v", math.Float64bits(v), s, back, err)
		}
		if mantissa, _, _ := strings.Cut(s, "E"); !strings.Contains(mantissa, ".") {
			if !math.IsInf(v, 0) {
				t.Fatalf("%s has no point", s)
			}
		}
	}
}

func TestTimestampsRoundTrip(t *testing.T) {
	for _, tt := range []struct {
		give int64
		want string
	}{
		{0, "1970-01-01 00:00:00.000000000"},
		{-1, "1969-12-31 23:59:59.999999999"},
		{1596848400000000000, "2020-08-08 01:00:00.000000000"},
		{1709164799999999999, "2024-02-28 23:59:59.999999999"},
		{1709164800000000000, "2024-02-29 00:00:00.000000000"},
		{math.MaxInt64, "2262-04-11 23:47:16.854775807"},
		{math.MinInt64, "1677-09-21 00:12:43.145224192"},
	} {
		if got := timestampText(tt.give); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
		if got, ok := parseTimestamp(tt.want); !ok || got != tt.give {
			t.Errorf("%s: got %d, %v, want %d", tt.want, got, ok, tt.give)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	var c clock
	for range 100000 {
		ns := int64(r.Uint64())
		want := time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.000000000")
		if got := string(c.appendTimestamp(nil, ns)); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestParseTimestamp(t *testing.T) {
	for _, tt := range []struct {
		give string
		want string // empty: refused
	}{
		{"2022-06-17", "2022-06-17 00:00:00.000000000"},
		{" 2022-6-7 1:02 ", "2022-06-07 01:02:00.000000000"},
		{"2022-06-17T10:15:20.1", "2022-06-17 10:15:20.100000000"},
		{"2022-06-17 10:15:20.123456789", "2022-06-17 10:15:20.123456789"},
		{"2262-04-11 23:47:16.854775808", ""},
		{"1677-09-21 00:12:43.145224191", ""},
		{"2022-02-30", ""},
		{"2022-13-01", ""},
		{"22-01-01", ""},
		{"2022-06-17 24:00", ""},
		{"2022-06-17 10:15:20.", ""},
		{"2022-06-17 10:15.5", ""},
		{"2022-06-17 10:15:20.1234567890", ""},
		{"2022-06-17 ", "2022-06-17 00:00:00.000000000"},
		{"2022-06-17T", ""},
		{"", ""},
		{"now", ""},
	} {
		ns, ok := parseTimestamp(tt.give)
		if ok != (tt.want != "") || (ok && timestampText(ns) != tt.want) {
			t.Errorf("%q: got %s %v, want %q", tt.give, timestampText(ns), ok, tt.want)
		}
	}
}

func TestIntervals(t *testing.T) {
	for _, tt := range []struct {
		give int64
		want string
	}{
		{0, "0 00:00:00.000000000"},
		{45 * nsHour, "1 21:00:00.000000000"},
		{-1, "-0 00:00:00.000000001"},
		{math.MinInt64, "-106751 23:47:16.854775808"},
	} {
		if got := string(appendDayTime(nil, tt.give)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	if got := string(appendYearMonth(nil, -47)); got != "-3-11" {
		t.Errorf("got %s", got)
	}
}

func TestMatchLike(t *testing.T) {
	for _, tt := range []struct {
		pattern, give string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"%", "", true}, {"%%", "abc", true}, {"a%", "abc", true}, {"%c", "abc", true}, {"a%b%c", "aXbYc", true},
		{"a%b%c", "aXbY", false}, {"_", "é", true}, {"_", "", false}, {"%b_", "abbc", true}, {"a", "ab", false}, {strings.Repeat("%a", 50), strings.Repeat("a", 49), false},
	} {
		pattern := likePattern(tssql.Pos{}, tt.pattern, -1)
		if got := matchLike(pattern, []rune(tt.give)); got != tt.want {
			t.Errorf("%q LIKE %q: got %v", tt.give, tt.pattern, got)
		}
	}
}

func BenchmarkAppendDouble(b *testing.B) {
	values := make([]float64, 1024)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range values {
		values[i] = r.Float64() * 1e6
	}
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		buf = appendDouble(buf[:0], values[i&1023])
		i++
	}
}

// BenchmarkSeries is the shape that the query service asks for: 1,000 series of 240 points, grouped, out of DuckDB and
// rendered.
func BenchmarkSeries(b *testing.B) {
	e := newEngine(b, tableM+`; DELETE FROM m;
		INSERT INTO m SELECT 'node', 'instance-' || i, 'up', 1655461500000000000 + k * 15000000000, sin(i * k) * 1000, NULL, NULL, NULL
		FROM range(240) t(k), range(1000) s(i)`)
	const points = 240000
	plan, err := Compile(`SELECT job, "In stance", CREATE_TIME_SERIES(time, measure_value::double) FROM db.m WHERE measure_name = 'up' AND `+
		`time BETWEEN from_milliseconds(0) AND from_milliseconds(9000000000000) AND measure_value::double IS NOT NULL GROUP BY job, "In stance", bin(time, 2h)`, e.catalog, now)
	if err != nil {
		b.Fatal(err)
	}
	for _, mode := range []string{"engine", "rendered"} {
		b.Run(mode, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				rows, err := e.conn.Query(context.Background(), plan.SQL)
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for rows.Next() {
					for i := range rows.Size() {
						if mode == "engine" {
							_, length := rows.Columns()[2].List(i)
							n += length
							continue
						}
						var err error
						if buf, err = plan.AppendRow(buf[:0], rows.Columns(), i); err != nil {
							b.Fatal(err)
						}
						_, length := rows.Columns()[2].List(i)
						n += length
					}
				}
				if rows.Err() != nil || n != points {
					b.Fatal(n, rows.Err())
				}
				rows.Close()
			}
			b.ReportMetric(points*float64(b.N)/b.Elapsed().Seconds(), "points/s")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	c := testCatalog()
	text := `SELECT job, "In stance", CREATE_TIME_SERIES(time, measure_value::double) FROM db.m WHERE measure_name = 'up' AND time BETWEEN from_milliseconds(0) AND ` +
		`from_milliseconds(9000000000000) AND (job IS NULL OR job <> 'x') GROUP BY job, "In stance", bin(time, 2h)`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(text, c, now); err != nil {
			b.Fatal(err)
		}
	}
}
