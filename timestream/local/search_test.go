// SPDX-License-Identifier: Apache-2.0

package local

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

// TestSearch sends records of random series and times again, of every kind, in every unit of time, in runs, in sealed parts and in the live
// part: what is stored is known, and what is not is new.
func TestSearch(t *testing.T) {
	db := openTwo(t, func(c *Config) { c.SmallParts(100_000, 300, 2, nil) })
	start := time.Now().Add(-5 * time.Hour).Truncate(time.Second)
	kinds := []struct {
		typ   wtypes.MeasureValueType
		unit  wtypes.TimeUnit
		nanos int64
		value func(series, n int) string
	}{
		{wtypes.MeasureValueTypeDouble, wtypes.TimeUnitMilliseconds, 1e6, func(s, n int) string { return strconv.FormatFloat(float64(s)+float64(n)/7, 'g', -1, 64) }},
		{wtypes.MeasureValueTypeBigint, wtypes.TimeUnitMicroseconds, 1e3, func(s, n int) string { return strconv.Itoa(s * n) }},
		{wtypes.MeasureValueTypeBoolean, wtypes.TimeUnitNanoseconds, 1, func(s, n int) string { return strconv.FormatBool((s+n)%2 == 0) }},
		{wtypes.MeasureValueTypeVarchar, wtypes.TimeUnitMilliseconds, 1e6, func(s, n int) string { return "text " + strconv.Itoa(s*1000+n) }},
		{wtypes.MeasureValueTypeMulti, wtypes.TimeUnitMilliseconds, 1e6, func(s, n int) string { return strconv.Itoa(s - n) }},
	}
	const series, times = 23, 120
	record := func(k, s, n int, value string) wtypes.Record {
		kind := kinds[k]
		// The times of a unit have digits that a coarser one has not.
		at := start.Add(time.Duration(n)*2*time.Minute).UnixNano() + int64(1000*s+n)*kind.nanos
		r := wtypes.Record{MeasureName: aws.String("m" + strconv.Itoa(k)), MeasureValueType: kind.typ, Time: aws.String(strconv.FormatInt(at/kind.nanos, 10)), TimeUnit: kind.unit,
			Dimensions: []wtypes.Dimension{dimension("s", strconv.Itoa(s))}}
		if kind.typ == wtypes.MeasureValueTypeMulti {
			r.MeasureValues = []wtypes.MeasureValue{{Name: aws.String("a"), Value: &value, Type: wtypes.MeasureValueTypeBigint}, {Name: aws.String("b"), Value: aws.String("x" + value), Type: wtypes.MeasureValueTypeVarchar}}
		} else {
			r.MeasureValue = &value
		}
		return r
	}
	send := func(records []wtypes.Record) (rejected map[int32]bool) {
		t.Helper()
		_, err := db.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("good"), Records: records})
		var r *wtypes.RejectedRecordsException
		if errors.As(err, &r) {
			rejected = map[int32]bool{}
			for _, x := range r.RejectedRecords {
				rejected[x.RecordIndex] = true
			}
		} else if err != nil {
			t.Fatal(err)
		}
		return rejected
	}
	type key struct{ k, s, n int }
	stored := map[key]string{}
	fill := func(from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			for k := range kinds {
				var records []wtypes.Record
				for s := range series {
					if (s+n)%5 == 0 {
						continue // comes later, if at all
					}
					stored[key{k, s, n}] = kinds[k].value(s, n)
					records = append(records, record(k, s, n, stored[key{k, s, n}]))
				}
				if got := send(records); got != nil {
					t.Fatalf("rejected: %v", got)
				}
			}
		}
	}
	fill(0, 40)
	db.SealAll(t)
	db.AwaitRewritten(t)
	fill(40, 80)
	db.SealAll(t)
	db.AwaitRewritten(t) // a run of both
	db.rewriter.piece.Lock()
	defer db.rewriter.piece.Unlock()
	fill(80, 100)
	db.SealAll(t)
	fill(100, times)
	if sealed, runs, _ := db.Parts(t); sealed != len(kinds) || runs != len(kinds) {
		t.Fatalf("%d sealed parts and %d runs", sealed, runs)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for round := range 60 {
		var records []wtypes.Record
		want := map[int32]bool{}
		taken := map[key]bool{}
		for len(records) < 1+rng.IntN(100) {
			x := key{rng.IntN(len(kinds)), rng.IntN(series), rng.IntN(times)}
			value, there := stored[x]
			if taken[x] {
				continue
			}
			taken[x] = true
			switch {
			case !there: // new
				value = kinds[x.k].value(x.s, x.n)
				stored[x] = value
			case rng.IntN(4) == 0: // a conflict
				want[int32(len(records))] = true
				value = map[bool]string{true: "false", false: "true"}[value == "true"]
				if kinds[x.k].typ != wtypes.MeasureValueTypeBoolean {
					value = "4711"
				}
			}
			records = append(records, record(x.k, x.s, x.n, value))
		}
		got := send(records)
		if len(got) != len(want) {
			t.Errorf("round %d: rejected %v, want %v", round, got, want)
		}
		for i := range want {
			if !got[i] {
				t.Errorf("round %d: the conflict of record %d was not seen", round, i)
			}
		}
	}
	if got := count(t, db, "good"); got != strconv.Itoa(len(stored)) {
		t.Errorf("%s records, want %d", got, len(stored))
	}
}

// TestSearchOrder: only look-ups that follow each other in time read all series' records around.
func TestSearchOrder(t *testing.T) {
	db := openTwo(t, func(c *Config) {
		c.SmallParts(100_000, 100_000, 100, nil)
		c.rewrite.windowRows = 50
	})
	now := time.Now().Truncate(time.Second)
	record := func(i int) wtypes.Record {
		return wtypes.Record{MeasureName: aws.String("d"), MeasureValue: aws.String(strconv.Itoa(i)), Time: millis(now.Add(time.Duration(i-4000) * time.Second)), Dimensions: []wtypes.Dimension{dimension("h", strconv.Itoa(i%7))}}
	}
	send := func(records ...wtypes.Record) {
		t.Helper()
		if _, err := db.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("good"), Records: records}); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < 4000; i += 100 {
		var records []wtypes.Record
		for n := range 100 {
			records = append(records, record(i+n))
		}
		send(records...)
	}
	db.SealAll(t)
	db.AwaitRewritten(t)
	windows := func() (n int) {
		onWriter(t, db, func() { n = len(db.writer.windows.list) })
		return n
	}
	for _, i := range []int{3000, 100, 2000, 500, 1500} {
		send(record(i))
	}
	if n := windows(); n != 0 {
		t.Errorf("%d windows were read for look-ups far from each other", n)
	}
	for i := 1501; i < 1600; i++ {
		send(record(i))
	}
	if windows() == 0 {
		t.Error("no window was read for look-ups one after the other")
	}
	if got := count(t, db, "good"); got != "4000" {
		t.Errorf("%s records", got)
	}
}
