// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/meter"
	"github.com/tributary-project/tributary/timestream/metering"
)

// meterNoon is when the clock of these tests begins: at a full hour, so that the stores' borders are those of the hours that are counted.
var meterNoon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// metered is a database with a clock of its own and the table db1.tab.
type metered struct {
	*DB
	dir string
	now time.Time
}

func openMetered(t *testing.T, dir string, now time.Time, change ...func(*Config)) *metered {
	t.Helper()
	m := &metered{dir: dir, now: now}
	cfg := DefaultConfig()
	cfg.Dir, cfg.DefaultDatabase, cfg.DefaultTable = dir, "db1", "tab"
	cfg.MagneticRetentionDays, cfg.still = 30, true
	cfg.Now = func() time.Time { return m.now }
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if m.DB, err = Open(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *metered) table(t *testing.T) *table {
	t.Helper()
	got, _ := m.cat.table("db1", "tab")
	if got == nil {
		t.Fatal("no table")
	}
	return got
}

func (m *metered) usage(t *testing.T) meter.Usage {
	t.Helper()
	m.table(t).age(m.now)
	return m.table(t).meter.Usage(m.now)
}

// write stores records and returns the indices of those that were rejected.
func (m *metered) write(t *testing.T, common *wtypes.Record, records ...wtypes.Record) int {
	t.Helper()
	_, err := m.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("tab"), CommonAttributes: common, Records: records})
	var rejected *wtypes.RejectedRecordsException
	if errors.As(err, &rejected) {
		return len(rejected.RejectedRecords)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

// sameAsFile holds that the meter counts what is in the file, hour by hour.
func (m *metered) sameAsFile(t *testing.T) {
	t.Helper()
	tab := m.table(t)
	have, want := map[int64]meter.Stored{}, map[int64]meter.Stored{}
	tab.meter.State(m.now, func(h, _ int64, s meter.Stored) { have[h] = s })
	err := m.writer.control(context.Background(), func(*duck.Conn) error {
		return m.measure(context.Background(), tab, func(h int64, s meter.Stored) {
			sum := want[h]
			sum.Records += s.Records
			sum.Size.Add(s.Size)
			want[h] = sum
		})
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(have, want) {
		t.Errorf("the meter has %v, the file %v", have, want)
	}
}

func dimension(name, value string) wtypes.Dimension {
	return wtypes.Dimension{Name: &name, Value: &value}
}

func millis(t time.Time) *string { return aws.String(strconv.FormatInt(t.UnixMilli(), 10)) }

// event is the record of the Developer Guide's example, of 83 bytes.
func event(host int, at time.Time) wtypes.Record {
	return wtypes.Record{
		Dimensions:  []wtypes.Dimension{dimension("region", "us-east-1"), dimension("az", "1d"), dimension("vpc", "vpc-1a2b3c4d"), dimension("hostname", fmt.Sprintf("host-%05d", host))},
		MeasureName: aws.String("cpu_utilization"), MeasureValue: aws.String("35.0"), Time: millis(at),
	}
}

// What a workload of known size costs, through restarts, clean and not.
func TestMeteredWorkload(t *testing.T) {
	m := openMetered(t, t.TempDir(), meterNoon)
	at := meterNoon.Add(-30 * time.Minute)
	const size, names = 83, 34
	// Alone, twelve at a time, and 28 with what they have in common once: a unit each.
	m.write(t, nil, event(0, at))
	var batch []wtypes.Record
	for host := 1; host <= 12; host++ {
		batch = append(batch, event(host, at))
	}
	m.write(t, nil, batch...)
	common := event(0, at)
	common.Dimensions, common.MeasureValue, common.Time = common.Dimensions[:3], nil, nil
	batch = nil
	for host := 13; host <= 40; host++ {
		r := event(host, at)
		r.Dimensions, r.MeasureName = r.Dimensions[3:], nil
		batch = append(batch, r)
	}
	m.write(t, &common, batch...)
	want := meter.Written{
		Requests: 3, Records: 41,
		Bytes: [metering.Rules]int64{
			83 + 12*83 + 49 + 28*34,
			49 + 12*49 + 23 + 28*26,
			// Region, zone and VPC of eleven of the twelve are repeated.
			49 + 12*49 - 11*23 + 23 + 28*26,
		},
		Units: [metering.Rules]int64{3, 3, 3},
	}
	check := func(when string, m *metered) {
		t.Helper()
		got := m.usage(t)
		if got.Written != want {
			t.Errorf("%s: written %+v, want %+v", when, got.Written, want)
		}
		if stored := (meter.Stored{Records: 41, Size: metering.Size{Values: 41 * (size - names), Names: 41 * names}}); got.Stored != stored || got.Memory != stored.Size {
			t.Errorf("%s: stored %+v, in memory %+v; want %+v", when, got.Stored, got.Memory, stored)
		}
		m.sameAsFile(t)
	}
	check("at once", m)

	// Retries are requests as well, though nothing new is stored.
	m.write(t, &common, batch...)
	want.Requests, want.Records = 4, 41+28
	for rule, bytes := range []int64{49 + 28*34, 23 + 28*26, 23 + 28*26} {
		want.Bytes[rule] += bytes
		want.Units[rule]++
	}
	check("after a retry", m)

	// A conflict is rejected and does not count, nor does a request of which nothing is left, nor one that is not valid.
	conflict := event(0, at)
	conflict.MeasureValue = aws.String("36.0")
	if n := m.write(t, nil, conflict); n != 1 {
		t.Errorf("%d rejected", n)
	}
	if n := m.write(t, nil, event(1, at), conflict); n != 1 {
		t.Errorf("%d rejected", n)
	}
	want.Requests++
	want.Records++
	for rule, bytes := range []int64{83, 49, 49} {
		want.Bytes[rule] += bytes
		want.Units[rule]++
	}
	invalid := event(7, at)
	invalid.MeasureValue = aws.String("NaN")
	if _, err := m.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("tab"), Records: []wtypes.Record{invalid}}); err == nil {
		t.Error("NaN was stored")
	}
	check("after a conflict", m)

	if err := m.keepMeters(context.Background()); err != nil {
		t.Fatal(err)
	}
	m = m.crashed(t)
	check("after a crash", m)
	// What is written after a save is in the log.
	m.write(t, nil, event(0, at))
	m.write(t, nil, event(41, at))
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openMetered(t, m.dir, m.now)
	if got := m.usage(t); got.Stored.Records != 42 || got.Written.Requests != want.Requests+2 {
		t.Errorf("after a clean end: %+v", got)
	}
	m.sameAsFile(t)
	if err := m.ResetCost(context.Background()); err != nil {
		t.Fatal(err)
	}
	m = m.crashed(t)
	if got := m.usage(t); got.Stored.Records != 42 || got.Written != (meter.Written{}) || !got.Since.Equal(m.now) {
		t.Errorf("after a reset: %+v", got)
	}
}

// crashed is the database as it is found after the process was killed.
func (m *metered) crashed(t *testing.T) *metered {
	t.Helper()
	to := t.TempDir()
	files, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.IsDir() || f.Name() == lockName {
			continue
		}
		b, err := os.ReadFile(filepath.Join(m.dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, f.Name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return openMetered(t, to, m.now)
}

// Records of all kinds, late ones, upserts that grow and shrink: the meter has what the file has, before and after a crash.
func TestMeterIsTheFile(t *testing.T) {
	m := openMetered(t, t.TempDir(), meterNoon)
	rng := rand.New(rand.NewSource(8))
	version := int64(1)
	random := func() wtypes.Record {
		at := meterNoon.Add(-time.Duration(rng.Intn(12)) * time.Hour)
		r := wtypes.Record{Time: millis(at), Version: aws.Int64(version), Dimensions: []wtypes.Dimension{dimension("host", strings.Repeat("h", 1+rng.Intn(3)))}}
		if rng.Intn(2) == 0 {
			r.Dimensions = append(r.Dimensions, dimension("zone", "z"+strconv.Itoa(rng.Intn(2))))
		}
		text := strings.Repeat("ü", 1+rng.Intn(20))
		switch rng.Intn(5) {
		case 0:
			r.MeasureName, r.MeasureValue, r.MeasureValueType = aws.String("d"), aws.String(strconv.Itoa(rng.Intn(9))), wtypes.MeasureValueTypeDouble
		case 1:
			r.MeasureName, r.MeasureValue, r.MeasureValueType = aws.String("b"), aws.String("true"), wtypes.MeasureValueTypeBoolean
		case 2:
			r.MeasureName, r.MeasureValue, r.MeasureValueType = aws.String("i"), aws.String("7"), wtypes.MeasureValueTypeBigint
		case 3:
			r.MeasureName, r.MeasureValue, r.MeasureValueType = aws.String("text"), &text, wtypes.MeasureValueTypeVarchar
		default:
			r.MeasureName, r.MeasureValueType = aws.String("many"), wtypes.MeasureValueTypeMulti
			r.MeasureValues = []wtypes.MeasureValue{{Name: aws.String("a1"), Type: wtypes.MeasureValueTypeVarchar, Value: &text}}
			if rng.Intn(2) == 0 {
				r.MeasureValues = append(r.MeasureValues, wtypes.MeasureValue{Name: aws.String("longer_name"), Type: wtypes.MeasureValueTypeTimestamp, Value: aws.String("5")},
					wtypes.MeasureValue{Name: aws.String("flag"), Type: wtypes.MeasureValueTypeBoolean, Value: aws.String("false")})
			}
		}
		return r
	}
	for round := range 40 {
		var records []wtypes.Record
		for range 1 + rng.Intn(40) {
			if rng.Intn(3) == 0 {
				version++
			}
			records = append(records, random())
		}
		m.write(t, nil, records...)
		switch round % 10 {
		case 3:
			if err := m.keepMeters(context.Background()); err != nil {
				t.Fatal(err)
			}
		case 6:
			m = m.crashed(t)
		case 9:
			m.sameAsFile(t)
		}
	}
	if got := m.usage(t); got.Memory.Values == 0 || got.Magnetic.Values == 0 {
		t.Errorf("not both stores: %+v", got)
	}
	// A file in which nothing was metered is measured.
	before := m.usage(t)
	if err := m.writer.control(context.Background(), func(c *duck.Conn) error {
		return c.Exec("DROP TABLE cat_cost; DROP TABLE cat_meters; DELETE FROM cat_meta WHERE k = 'meters'")
	}, nil); err != nil {
		t.Fatal(err)
	}
	m = m.crashed(t)
	if after := m.usage(t); after.Stored != before.Stored || after.Memory != before.Memory || after.Written.Requests != 0 {
		t.Errorf("measured %+v, want %+v", after, before)
	}
	m.sameAsFile(t)
}

// Under load several transactions share a row of the log. What they did is in it when the load is over.
func TestMeterUnderLoad(t *testing.T) {
	m := openMetered(t, t.TempDir(), meterNoon)
	const writers, requests = 8, 30
	var wg sync.WaitGroup
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := range requests {
				r := event(w, meterNoon.Add(-time.Duration(n)*20*time.Minute))
				if _, err := m.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("db1"), TableName: aws.String("tab"), Records: []wtypes.Record{r}}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	before := m.usage(t)
	if err := m.keepLog(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"crash", "clean end"} {
		if when == "crash" {
			m = m.crashed(t)
		} else {
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			m = openMetered(t, m.dir, m.now)
		}
		after := m.usage(t)
		if after.Written != before.Written || after.Stored != before.Stored || after.Written.Requests != writers*requests {
			t.Errorf("after a %s: %+v, %+v; want %+v, %+v", when, after.Written, after.Stored, before.Written, before.Stored)
		}
		m.sameAsFile(t)
	}
}
