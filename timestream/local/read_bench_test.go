// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/result"
)

const (
	benchDatabase = "prometheus"
	benchTable    = "metrics"
	benchStep     = 15 * time.Second
)

// benchTableOf opens a database with `metrics` metrics of `series` series each, samples of which are a step apart and end at the time
// returned. The first and the last of each are written by WriteRecords, those between straight into the table.
func benchTableOf(b testing.TB, metrics, series, samples int, change ...func(*Config)) (*DB, time.Time) {
	b.Helper()
	cfg := DefaultConfig()
	cfg.Dir = b.TempDir()
	cfg.DefaultDatabase, cfg.DefaultTable = benchDatabase, benchTable
	for _, f := range change {
		f(&cfg)
	}
	db, err := Open(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	end := time.Now().Truncate(benchStep)
	write := func(at time.Time) {
		for m := range metrics {
			for from := 0; from < series; from += 100 {
				in := &timestreamwrite.WriteRecordsInput{
					DatabaseName: aws.String(benchDatabase), TableName: aws.String(benchTable),
					CommonAttributes: &wtypes.Record{
						MeasureName: aws.String(fmt.Sprintf("metric_%d_total", m)), MeasureValueType: wtypes.MeasureValueTypeDouble,
						Time: aws.String(strconv.FormatInt(at.UnixMilli(), 10)),
						Dimensions: []wtypes.Dimension{
							{Name: aws.String("job"), Value: aws.String("api-server")},
							{Name: aws.String("namespace"), Value: aws.String("production")},
						},
					},
				}
				for i := from; i < min(from+100, series); i++ {
					in.Records = append(in.Records, wtypes.Record{MeasureValue: aws.String("1"), Dimensions: []wtypes.Dimension{
						{Name: aws.String("instance"), Value: aws.String(fmt.Sprintf("10.0.%d.17:8080", i/100))},
						{Name: aws.String("pod"), Value: aws.String(fmt.Sprintf("api-7c9d8f6b5-x%d", i))},
						{Name: aws.String("code"), Value: aws.String(strconv.Itoa(200 + i%5))},
					}})
				}
				if _, err := db.WriteRecords(context.Background(), in); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	start := end.Add(-time.Duration(samples-1) * benchStep)
	write(start)
	t, _ := db.cat.table(benchDatabase, benchTable)
	err = db.writer.control(context.Background(), func(c *duck.Conn) error {
		return c.Exec(fmt.Sprintf("INSERT INTO %s SELECT s.sid, %d + i * %d, 1, round(random() * 100000, 2) FROM range(1, %d) r(i), %s s ORDER BY i, s.sid",
			t.sampleTable(kindDouble), start.UnixNano(), int64(benchStep), samples-1, t.seriesTable()))
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	write(end)
	if err := db.writer.control(context.Background(), func(c *duck.Conn) error { return nil }, nil); err != nil {
		b.Fatal(err)
	}
	conn, err := db.duck.Connect()
	if err != nil {
		b.Fatal(err)
	}
	if err := conn.Exec("CHECKPOINT"); err != nil {
		b.Fatal(err)
	}
	conn.Close()
	return db, end
}

// benchGrouped is a statement of the query service that reads one metric.
func benchGrouped(metric, more string, from, to time.Time) string {
	return fmt.Sprintf(`SELECT "code", "instance", "job", "namespace", "pod", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "prometheus"."metrics"
WHERE "measure_name" = '%s' AND "time" >= from_milliseconds(%d) AND "time" < from_milliseconds(%d)%s AND "measure_value::double" IS NOT NULL
GROUP BY "code", "instance", "job", "namespace", "pod", bin("time", 2h)
ORDER BY %s, bin("time", 2h)`, metric, from.UnixMilli(), to.UnixMilli()+1, more, benchKey)
}

// benchLastPerStep is a statement of the query service that reads the last sample of each step.
func benchLastPerStep(metric string, from, to time.Time, step string) string {
	return fmt.Sprintf(`SELECT "code", "instance", "job", "namespace", "pod", CREATE_TIME_SERIES("__tributary_time", "__tributary_last") AS "__tributary_samples"
FROM (SELECT "code", "instance", "job", "namespace", "pod", max("time") AS "__tributary_time", max_by("measure_value::double", "time") AS "__tributary_last"
FROM "prometheus"."metrics"
WHERE "measure_name" = '%s' AND "time" >= from_milliseconds(%d) AND "time" < from_milliseconds(%d) AND "measure_value::double" IS NOT NULL
GROUP BY "code", "instance", "job", "namespace", "pod", bin("time" + 1ms, %s)) AS "__tributary_steps"
GROUP BY "code", "instance", "job", "namespace", "pod", bin("__tributary_time", 8h)
ORDER BY %s, bin("__tributary_time", 8h)`, metric, from.UnixMilli(), to.UnixMilli()+1, step, benchKey)
}

var benchKey = func() string {
	var parts []string
	for _, l := range []string{"code", "instance", "job", "namespace", "pod"} {
		parts = append(parts, fmt.Sprintf(`coalesce('%s' || chr(0) || "%s" || chr(0), '')`, l, l))
	}
	return strings.Join(parts, " || ")
}()

func benchListing(where string, from, to time.Time, limit string) string {
	return fmt.Sprintf(`SELECT "measure_name", "code", "instance", "job", "namespace", "pod" FROM "prometheus"."metrics"
WHERE %s "time" >= from_milliseconds(%d) AND "time" < from_milliseconds(%d) AND "measure_value::double" IS NOT NULL
GROUP BY "measure_name", "code", "instance", "job", "namespace", "pod"
ORDER BY '__name__' || chr(0) || replace("measure_name", '--', ':') || chr(0) || %s%s`, where, from.UnixMilli(), to.UnixMilli()+1, benchKey, limit)
}

func benchValues(label, where string, from, to time.Time, limit string) string {
	return fmt.Sprintf(`SELECT "%[1]s" FROM "prometheus"."metrics"
WHERE %[2]s "time" >= from_milliseconds(%[3]d) AND "time" < from_milliseconds(%[4]d) AND "measure_value::double" IS NOT NULL AND "%[1]s" IS NOT NULL
GROUP BY "%[1]s" ORDER BY "%[1]s"%[5]s`, label, where, from.UnixMilli(), to.UnixMilli()+1, limit)
}

// benchRows measures a statement by QueryRows and by pages.
func benchRows(b *testing.B, db *DB, name, statement string, columns int, series bool) {
	kinds := make([]result.Kind, columns)
	if series {
		kinds[columns-1] = result.Doubles
	}
	b.Run(name+"/rows", func(b *testing.B) {
		b.ReportAllocs()
		var rows, points int
		for b.Loop() {
			rows, points = 0, 0
			_, err := db.QueryRows(context.Background(), statement, kinds, func(r result.Row) error {
				rows++
				points += len(r[columns-1].Points)
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(rows), "rows")
		if points > 0 {
			b.ReportMetric(float64(points)*float64(b.N)/b.Elapsed().Seconds(), "points/s")
		}
	})
	b.Run(name+"/pages", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			in := &timestreamquery.QueryInput{QueryString: aws.String(statement)}
			for {
				p, err := db.QueryPage(context.Background(), in)
				if err != nil {
					b.Fatal(err)
				}
				if p.NextToken == "" {
					break
				}
				in.NextToken = &p.NextToken
			}
		}
	})
}

// BenchmarkReadGrouped reads samples as the query service does, from a table of 10 million samples of 10,000 series.
func BenchmarkReadGrouped(b *testing.B) {
	db, end := benchTableOf(b, 10, 1000, 1000)
	hour := end.Add(-time.Hour)
	old := end.Add(-3 * time.Hour)
	benchRows(b, db, "1000x260", benchGrouped("metric_3_total", "", hour.Add(-5*time.Minute), end), 6, true)
	benchRows(b, db, "1000x240_old", benchGrouped("metric_3_total", "", old, old.Add(time.Hour-benchStep)), 6, true)
	benchRows(b, db, "1000x1000", benchGrouped("metric_3_total", "", end.Add(-5*time.Hour), end), 6, true)
	benchRows(b, db, "100x240", benchGrouped("metric_3_total", ` AND "instance" = '10.0.3.17:8080'`, hour, end), 6, true)
	benchRows(b, db, "200x240_scattered", benchGrouped("metric_3_total", ` AND "code" = '203'`, hour, end), 6, true)
	benchRows(b, db, "1x240", benchGrouped("metric_3_total", ` AND "pod" = 'api-7c9d8f6b5-x77'`, hour, end), 6, true)
}

// BenchmarkReadListings lists series and label values of a table of 100,000 series.
func BenchmarkReadListings(b *testing.B) {
	db, end := benchTableOf(b, 10, 10000, 10)
	day := end.Add(-24 * time.Hour)
	part := end.Add(-time.Minute)
	for _, r := range []struct {
		name     string
		from, to time.Time
	}{{"all", day, end}, {"latest", part, end}, {"before", day, part}} {
		benchRows(b, db, r.name+"/limit1000", benchListing("", r.from, r.to, " LIMIT 1000"), 6, false)
		benchRows(b, db, r.name+"/full", benchListing("", r.from, r.to, ""), 6, false)
		benchRows(b, db, r.name+"/metric", benchListing(`"measure_name" = 'metric_3_total' AND "code" = '203' AND`, r.from, r.to, " LIMIT 1000"), 6, false)
		benchRows(b, db, r.name+"/values", benchValues("instance", "", r.from, r.to, ""), 1, false)
		benchRows(b, db, r.name+"/values_of_metric", benchValues("pod", `"measure_name" = 'metric_3_total' AND`, r.from, r.to, " LIMIT 1000"), 1, false)
		benchRows(b, db, r.name+"/names", strings.Replace(benchValues("measure_name", "", r.from, r.to, ""), ` AND "measure_name" IS NOT NULL`, "", 1), 1, false)
		benchRows(b, db, r.name+"/label_names", fmt.Sprintf(`SELECT count(*), count("code"), count("instance"), count("job"), count("namespace"), count("pod") FROM "prometheus"."metrics"
WHERE "time" >= from_milliseconds(%d) AND "time" < from_milliseconds(%d) AND "measure_value::double" IS NOT NULL`, r.from.UnixMilli(), r.to.UnixMilli()+1), 6, false)
	}
}

// BenchmarkQueryRowsOpen has many sorted results open at the same time, each at its first row, and reports what one of them takes.
func BenchmarkQueryRowsOpen(b *testing.B) {
	const results, series, samples = 300, 2500, 60
	db, end := benchTableOf(b, 1, series, samples, func(c *Config) { c.MemoryLimit = 16 << 30 })
	for _, n := range []int{1, samples} {
		b.Run(fmt.Sprintf("samples=%d", n*series), func(b *testing.B) {
			sql := benchGrouped("metric_0_total", "", end.Add(-time.Duration(n-1)*benchStep), end)
			for b.Loop() {
				debug.FreeOSMemory()
				before := resident(b)
				hold := make(chan struct{})
				wait := heldOpen(b, db, sql, results, hold)
				b.ReportMetric(float64(resident(b)-before)/results, "resident-B/result")
				close(hold)
				if errs := wait(); len(errs) > 0 {
					b.Fatal(errs)
				}
			}
		})
	}
}

// heldOpen runs n statements of benchGrouped at once and returns when each has given out its first row, or failed; they go on when hold is
// closed. What is returned waits for their end.
func heldOpen(t testing.TB, db *DB, sql string, n int, hold <-chan struct{}) (wait func() []error) {
	t.Helper()
	kinds := make([]result.Kind, 6)
	kinds[5] = result.Doubles
	var all, begun sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		begun.Add(1)
		all.Go(func() {
			first := sync.OnceFunc(begun.Done)
			_, err := db.QueryRows(context.Background(), sql, kinds, func(result.Row) error {
				first()
				<-hold
				return nil
			})
			first()
			if err != nil {
				errs <- err
			}
		})
	}
	begun.Wait()
	return func() (out []error) {
		all.Wait()
		close(errs)
		for err := range errs {
			out = append(out, err)
		}
		return out
	}
}

// resident is the memory of the process.
func resident(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
