// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/result"
)

const (
	bigTargets = 200
	bigMetrics = 100
	// bigSamples is how many samples the big table has, unless bigSamplesEnv says otherwise.
	bigSamples    = 5_000_000
	bigSamplesEnv = "TIMESTREAM_LOCAL_BENCH_SAMPLES"
)

// bigTable is a table as Prometheus fills it: 20,000 series of 200 targets, counters and gauges, 15 seconds apart; the times of a
// third of the targets waver by some milliseconds.
type bigTable struct {
	db     *DB
	dir    string
	start  time.Time
	rounds int
	values []float64
}

func bigConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Dir = dir
	cfg.DefaultDatabase, cfg.DefaultTable = benchDatabase, benchTable
	return cfg
}

// at is the time of a target's scrape.
func (b *bigTable) at(round, target int) time.Time {
	t := b.start.Add(time.Duration(round)*benchStep + time.Duration(target)*71*time.Millisecond)
	if target%3 == 0 {
		t = t.Add(time.Duration(round*7919%13) * time.Millisecond)
	}
	return t
}

// next moves a series' value on.
func (b *bigTable) next(rng *rand.Rand, series, metric int) float64 {
	v := &b.values[series]
	switch metric % 10 {
	case 0, 1, 2, 3: // counters of different speeds
		*v += float64(rng.IntN(1 << (metric % 12)))
	case 4: // seconds, two decimals
		*v = float64(int64(*v*100)+int64(rng.IntN(1500))) / 100
	case 5: // a sum with all its digits
		*v += rng.Float64()
	case 6: // constant
	case 7: // bytes
		*v = float64(4096 * (100000 + rng.IntN(5000)))
	case 8: // a gauge that moves now and then
		if rng.IntN(10) == 0 {
			*v = float64(rng.IntN(100))
		}
	case 9: // a bucket
		if rng.IntN(5) == 0 {
			*v++
		}
	}
	return *v
}

// request is a target's scrape, or the samples of a metric of the first hundred targets.
func (b *bigTable) request(round, target int, value func(metric int) float64) *timestreamwrite.WriteRecordsInput {
	in := &timestreamwrite.WriteRecordsInput{
		DatabaseName: aws.String(benchDatabase), TableName: aws.String(benchTable),
		CommonAttributes: &wtypes.Record{
			MeasureValueType: wtypes.MeasureValueTypeDouble, Time: aws.String(strconv.FormatInt(b.at(round, target).UnixMilli(), 10)),
			Dimensions: []wtypes.Dimension{
				{Name: aws.String("job"), Value: aws.String("job-" + strconv.Itoa(target%8))},
				{Name: aws.String("namespace"), Value: aws.String("production")},
				{Name: aws.String("instance"), Value: aws.String(fmt.Sprintf("10.0.%d.17:8080", target))},
			},
		},
	}
	for m := range bigMetrics {
		in.Records = append(in.Records, wtypes.Record{MeasureName: aws.String("metric_" + strconv.Itoa(m)),
			MeasureValue: aws.String(strconv.FormatFloat(value(m), 'f', -1, 64)),
			Dimensions:   []wtypes.Dimension{{Name: aws.String("pod"), Value: aws.String("pod-" + strconv.Itoa(target))}, {Name: aws.String("code"), Value: aws.String(strconv.Itoa(200 + m%5))}}})
	}
	return in
}

// fillBig fills a table; the first and the last round by WriteRecords, the others straight into the parts.
func fillBig(b testing.TB, dir string) *bigTable {
	b.Helper()
	samples := bigSamples
	if s := os.Getenv(bigSamplesEnv); s != "" {
		var err error
		if samples, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	x := &bigTable{dir: dir, rounds: samples / bigTargets / bigMetrics, values: make([]float64, bigTargets*bigMetrics)}
	x.start = time.Now().Truncate(benchStep).Add(-time.Duration(x.rounds) * benchStep)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range x.values {
		x.values[i] = float64(rng.IntN(1_000_000))
	}
	db, err := Open(context.Background(), bigConfig(dir))
	if err != nil {
		b.Fatal(err)
	}
	x.db = db
	scrape := func(round int) {
		for target := range bigTargets {
			if _, err := db.WriteRecords(context.Background(), x.request(round, target, func(m int) float64 { return x.next(rng, target*bigMetrics+m, m) })); err != nil {
				b.Fatal(err)
			}
		}
	}
	scrape(0)
	t, _ := db.cat.table(benchDatabase, benchTable)
	for round := 1; round < x.rounds-1; round++ {
		err := db.writer.control(context.Background(), func(c *duck.Conn) error {
			app, err := duck.NewAppender(c, t.sampleTable(kindDouble))
			if err != nil {
				return err
			}
			live := t.own.live[kindDouble]
			for i := range t.own.marks {
				m := &t.own.marks[i] // series have been created target by target
				target, metric := i/bigMetrics, i%bigMetrics
				at := x.at(round, target).UnixMilli() * 1e6
				v := x.next(rng, i, metric)
				app.SetInt64(0, m.sid)
				app.SetInt64(1, at)
				app.SetInt64(2, 1)
				app.SetFloat64(3, v)
				live.grown(at)
				if err := app.EndRow(); err != nil {
					return err
				}
			}
			return app.Close()
		}, nil)
		if err == nil {
			err = db.writer.between(context.Background(), func() { db.writer.sealFull(t) })
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	scrape(x.rounds - 1)
	return x
}

func fileSize(b testing.TB, dir string) float64 {
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Size())
}

// BenchmarkBig measures a table of bigSamples samples, rewritten: its size, reads, repeats of old and of new records while others
// come in, and the next start.
func BenchmarkBig(b *testing.B) {
	dir := b.TempDir()
	began := time.Now()
	x := fillBig(b, dir)
	filled := time.Since(began)
	x.db.AwaitRewritten(b)
	if err := x.db.writer.between(context.Background(), func() {
		if err := x.db.writer.checkpoint(); err != nil {
			b.Error(err)
		}
	}); err != nil {
		b.Fatal(err)
	}
	samples := float64(x.rounds * bigTargets * bigMetrics)
	b.Logf("filled in %v, rewritten after %v, %.1f MB", filled, time.Since(began), fileSize(b, dir)/1e6)
	end := x.at(x.rounds-1, bigTargets)
	_, runs, _ := x.db.Parts(b)

	b.Run("size", func(b *testing.B) {
		for b.Loop() {
		}
		conn, err := x.db.duck.Connect()
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		rows, err := conn.Read(context.Background(), "SELECT used_blocks FROM pragma_database_size()")
		if err != nil {
			b.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			b.ReportMetric(float64(rows.Columns()[0].Int64(0))*65536/samples, "B/sample")
		}
		b.ReportMetric(fileSize(b, dir)/samples, "file-B/sample")
		b.ReportMetric(float64(runs), "runs")
	})
	grouped := func(metric string, from time.Time) string { return benchGrouped(metric, "", from, end) }
	benchRows(b, x.db, "hour", grouped("metric_3", end.Add(-time.Hour)), 6, true)
	benchRows(b, x.db, "hour_digits", grouped("metric_5", end.Add(-time.Hour)), 6, true)
	benchRows(b, x.db, "old_hour", grouped("metric_14", x.start.Add(time.Hour)), 6, true)
	benchRows(b, x.db, "all", grouped("metric_3", x.start), 6, true)
	benchRows(b, x.db, "target", benchGrouped("metric_3", ` AND "instance" = '10.0.3.17:8080'`, x.start, end), 6, true)
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			benchCount(b, x.db, `SELECT sum("measure_value::double") FROM "prometheus"."metrics"`)
		}
		b.ReportMetric(samples*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
	})
	for _, r := range []struct {
		name string
		from int
	}{{"old", x.rounds / 4}, {"recent", x.rounds - 20}} {
		b.Run("repeat_"+r.name, func(b *testing.B) { x.repeat(b, r.from) })
	}
	if err := x.db.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			db, err := Open(context.Background(), bigConfig(dir))
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

func benchCount(b *testing.B, db *DB, sql string) {
	if _, err := db.QueryRows(context.Background(), sql, make([]result.Kind, 1), func(result.Row) error { return nil }); err != nil {
		b.Fatal(err)
	}
}

// repeat sends records again that are stored, by eight clients, while one more sends new ones.
func (b *bigTable) repeat(bb *testing.B, from int) {
	var wg sync.WaitGroup
	var next atomic.Int64
	stop := make(chan struct{})
	var fresh, worst int64
	wg.Go(func() {
		for round := b.rounds; ; round++ {
			for target := range bigTargets {
				select {
				case <-stop:
					b.rounds = round + 1
					return
				case <-time.After(2 * time.Millisecond):
				}
				start := time.Now()
				if _, err := b.db.WriteRecords(context.Background(), b.request(round, target, func(int) float64 { return 1 })); err != nil {
					bb.Error(err)
					return
				}
				fresh, worst = fresh+bigMetrics, max(worst, int64(time.Since(start)))
			}
		}
	})
	var clients sync.WaitGroup
	bb.ResetTimer()
	cpu := cpuSeconds(bb)
	for range 8 {
		clients.Go(func() {
			for {
				n := int(next.Add(1))
				if n > bb.N {
					return
				}
				// Whether the value is the stored one makes no difference to the work: a conflict is found in the same way.
				_, _ = b.db.WriteRecords(context.Background(), b.request(from+n/bigTargets%16, n%bigTargets, func(int) float64 { return 0.5 }))
			}
		})
	}
	clients.Wait()
	bb.StopTimer()
	close(stop)
	wg.Wait()
	bb.ReportMetric(float64(bb.N*bigMetrics)/bb.Elapsed().Seconds(), "records/s")
	bb.ReportMetric(float64(bb.N*bigMetrics)/(cpuSeconds(bb)-cpu), "records/cpu-s")
	bb.ReportMetric(float64(fresh)/bb.Elapsed().Seconds(), "new/s")
	bb.ReportMetric(float64(worst)/1e6, "worst-new-ms")
}

// cpuSeconds is the processor time that the process has used.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
