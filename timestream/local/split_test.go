// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/result"
)

// statements are SELECTs over series or by series, whose FROM and WHERE are to be put in the place of %s.
var statements = []string{
	`SELECT "host", "zone" %s GROUP BY "host", "zone" ORDER BY "host", "zone"`,
	`SELECT "measure_name", "host", "zone", "quote" %s GROUP BY "measure_name", "host", "zone", "quote" ORDER BY 1, 2, 3, 4`,
	`SELECT "measure_name", "host", "zone", "quote" %s GROUP BY 1, 2, 3, 4 ORDER BY 'x' || chr(0) || coalesce("host", '') || "measure_name", 2, 3, 4 LIMIT 3`,
	`SELECT "zone" %s AND "zone" IS NOT NULL GROUP BY "zone" ORDER BY "zone" LIMIT 2`,
	`SELECT DISTINCT "measure_name" %s ORDER BY "measure_name"`,
	`SELECT DISTINCT "host" || 'x', "zone" IS NULL %s ORDER BY 1, 2`,
	`SELECT upper("host"), max("zone"), arbitrary("measure_name") IS NULL, count(DISTINCT "host") %s GROUP BY upper("host") HAVING max("zone") <> 'q' ORDER BY 1`,
	`SELECT count("zone"), count(*), count(DISTINCT "zone"), min("zone") %s`,
	`SELECT "measure_name", count(*), max(time) %s GROUP BY "measure_name" ORDER BY 1`,
	`SELECT "host", "zone", "quote", CREATE_TIME_SERIES(time, measure_value::double) %s AND measure_value::double IS NOT NULL AND measure_name = 'm1' GROUP BY "host", "zone", "quote", bin(time, 2h) ORDER BY "host", "zone", "quote", bin(time, 2h)`,
	`SELECT "host", "zone", "quote", measure_name, count(*), sum(measure_value::double) > 0, bin(time, 1h) %s AND measure_value::double IS NOT NULL AND measure_value::double > -500 GROUP BY "host", "zone", "quote", measure_name, bin(time, 1h) ORDER BY 1, 2, 3, 4, 7`,
	`SELECT "host", "zone", "quote", "zone" IS NULL AS rest, max(measure_value::bigint) %s AND measure_value::bigint IS NOT NULL AND 'whole' = measure_name GROUP BY "host", "zone", "quote", "zone" IS NULL ORDER BY rest DESC, 1, 2, 3`,
	`SELECT "host", "zone", CREATE_TIME_SERIES(time, measure_value::double) %s AND measure_value::double IS NOT NULL AND measure_name = 'm1' AND "quote" IS NULL GROUP BY "host", "zone" ORDER BY "host", "zone"`,
	`SELECT host, max(t), max(v) FROM (SELECT "host", "zone", "quote", measure_name AS m, max(time) AS t, max_by(measure_value::double, time) AS v %s AND measure_value::double IS NOT NULL GROUP BY "host", "zone", "quote", measure_name, bin(time + 7ms, 10m)) GROUP BY host ORDER BY host`,
}

// conditions about series or about samples.
var seriesConditions = []string{`"host" = 'a'`, `"host" <> 'b'`, `"zone" IS NULL`, `("zone" = 'b' OR "host" = 'c d')`, `regexp_like("host", '^[ab]')`, `measure_name IN ('m1', 'm2', 'text')`, `measure_name = 'm0'`, `measure_name LIKE 'm%'`, `measure_name = 'many'`}

// TestHalves compares statements that are run over series and samples apart with the same over the joined rows, which a condition that
// is always true and about both brings about.
func TestHalves(t *testing.T) {
	now := clock
	var mu sync.Mutex
	change := func(c *local.Config) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		c.MemoryRetentionHours, c.MagneticRetentionDays = 8, 1
	}
	dir := t.TempDir()
	db := open(t, change, func(c *local.Config) { c.Dir = dir })
	r := rand.New(rand.NewPCG(7, 8))
	const both = ` AND (time IS NOT NULL OR "host" = 'never')`
	check := func(n int) {
		t.Helper()
		nonEmpty := 0
		for range n {
			at := func() string {
				return "from_milliseconds(" + strconv.FormatInt(clock.Add(-time.Duration(r.IntN(6*3600))*time.Second).UnixMilli(), 10) + ")"
			}
			var conds []string
			switch r.IntN(5) {
			case 0:
				conds = append(conds, "time >= "+at())
			case 1:
				conds = append(conds, "time >= "+at(), at()+" > time")
			case 2:
				conds = append(conds, "time BETWEEN "+at()+" AND "+at())
			case 3:
				conds = append(conds, "time < "+at())
			default:
				conds = append(conds, "true")
			}
			for range r.IntN(3) {
				conds = append(conds, seriesConditions[r.IntN(len(seriesConditions))])
			}
			if r.IntN(2) == 0 {
				conds = append(conds, []string{"measure_value::double IS NOT NULL", "measure_value::varchar IS NOT NULL", `"x" IS NOT NULL`}[r.IntN(3)])
			}
			sql := statements[r.IntN(len(statements))]
			where := from + " WHERE " + strings.Join(conds, " AND ")
			got := sameBothWays(t, db, fmt.Sprintf(sql, where))
			want, _ := byPages(t, db, fmt.Sprintf(sql, where+both))
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Fatalf("%s\ngot:\n%s\nwant:\n%s", fmt.Sprintf(sql, where), strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if len(got) > 0 {
				nonEmpty++
			}
		}
		if nonEmpty < n/3 {
			t.Errorf("only %d of %d statements found something", nonEmpty, n)
		}
	}
	randomTable(t, db, r, 5)
	check(150)
	randomTable(t, db, r, 5) // late ones too
	check(150)
	// More than a day later some records have expired, and whole series.
	mu.Lock()
	now = now.Add(29 * time.Hour)
	mu.Unlock()
	check(50)
	if err := db.DeleteExpired(context.Background()); err != nil {
		t.Fatal(err)
	}
	check(100)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, change, func(c *local.Config) { c.Dir = dir })
	check(100)
}

// TestHalvesSeeWhatIsAcknowledged: a record that was acknowledged is in a listing, and in a read by series, that begins later,
// whatever is written beside it: new series, new dimensions, older and newer records.
func TestHalvesSeeWhatIsAcknowledged(t *testing.T) {
	db := open(t)
	mustWrite(t, db, rec("up", "0", -time.Hour, "host", "first"))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(w), 9))
			name := "w" + strconv.Itoa(w)
			for i := range 60 {
				host := name + "-" + strconv.Itoa(r.IntN(8))
				at := -time.Duration(r.IntN(1800_000)) * time.Millisecond
				dims := []string{"host", host}
				if r.IntN(10) == 0 {
					dims = append(dims, "extra_"+name+strconv.Itoa(i), "x")
				}
				in := rec("up", strconv.Itoa(i), at, dims...)
				_, err := db.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{
					DatabaseName: aws.String(database), TableName: aws.String(table), Records: []wtypes.Record{in}})
				var rejected *wtypes.RejectedRecordsException
				if errors.As(err, &rejected) {
					continue // the time is taken
				}
				if err != nil {
					t.Error(err)
					return
				}
				where := ` WHERE measure_name = 'up' AND time >= from_milliseconds(` + *in.Time + `) AND time < from_milliseconds(` + *in.Time + ` + 1) AND "host" = '` + host + `' AND measure_value::double IS NOT NULL`
				for sql, kinds := range map[string][]result.Kind{
					`SELECT "host" ` + from + where + ` GROUP BY "host"`:                                                                 scalars(1),
					`SELECT "host", CREATE_TIME_SERIES(time, measure_value::double) ` + from + where + ` GROUP BY "host", bin(time, 2h)`: {result.Scalar, result.Doubles},
				} {
					rows := 0
					if _, err := db.QueryRows(context.Background(), sql, kinds, func(result.Row) error { rows++; return nil }); err != nil || rows != 1 {
						t.Errorf("record %d at %s: %d rows, %v\n%s", i, *in.Time, rows, err, sql)
						return
					}
				}
			}
		}()
	}
	wg.Wait()
}

// TestHalvesOfNestedQueries: what is tried does not multiply with the depth of subqueries.
func TestHalvesOfNestedQueries(t *testing.T) {
	db := open(t)
	mustWrite(t, db, rec("up", "1", -time.Minute, "host", "a"))
	sql := `SELECT 'a'`
	for range 9 {
		sql = `SELECT "host" ` + from + ` WHERE "host" IN (` + sql + `) GROUP BY "host"`
	}
	if got := sameBothWays(t, db, sql); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}
