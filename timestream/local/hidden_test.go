// SPDX-License-Identifier: Apache-2.0

package local_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/internal/record"
)

// seen are statements of each way by which the store answers: over joined rows, by halves, by the series alone, by pages.
var seen = map[string]string{
	"plain":          `SELECT host, measure_value::double ` + from + ` ORDER BY 1, 2`,
	"count":          `SELECT count(*) ` + from,
	"grouped":        `SELECT host, count(*), max(measure_value::double) ` + from + ` WHERE measure_value::double IS NOT NULL GROUP BY host ORDER BY 1`,
	"time series":    `SELECT host, CREATE_TIME_SERIES(time, measure_value::double) ` + from + ` WHERE measure_name = 'up' AND measure_value::double IS NOT NULL GROUP BY host ORDER BY 1`,
	"listing":        `SELECT DISTINCT host, measure_name ` + from + ` ORDER BY 1`,
	"values":         `SELECT host ` + from + ` WHERE time >= from_milliseconds(0) GROUP BY host ORDER BY 1`,
	"newest of each": `SELECT host, max(time) ` + from + ` GROUP BY host ORDER BY 1`,
}

// allSeen runs them all.
func allSeen(t *testing.T, db *local.DB) map[string][][]string {
	t.Helper()
	out := map[string][][]string{}
	for name, sql := range seen {
		out[name] = rows(t, db, sql)
	}
	return out
}

// TestVisibilityDelay: a record is acknowledged and is on disk, and queries see it from its time on, whichever way they are answered.
func TestVisibilityDelay(t *testing.T) {
	dir := t.TempDir()
	now := clock
	config := func(dir string) func(*local.Config) {
		return func(c *local.Config) {
			c.Dir = dir
			c.VisibilityDelay = time.Minute
			c.Now = func() time.Time { return now }
		}
	}
	db := open(t, config(dir))
	mustWrite(t, db, rec("up", "1", 0, "host", "a"), rec("up", "2", time.Second, "host", "a"))
	for name, sql := range seen {
		want := [][]string{}
		if name == "count" {
			want = [][]string{{"0"}}
		}
		if got := rows(t, db, sql); !reflect.DeepEqual(got, want) {
			t.Errorf("%s, before its time: got %v", name, got)
		}
	}
	now = clock.Add(time.Minute)
	early := allSeen(t, db)
	if got, want := early["plain"], [][]string{{"a", "1.0"}, {"a", "2.0"}}; !reflect.DeepEqual(got, want) {
		t.Fatalf("at its time: got %v, want %v", got, want)
	}
	// A newer record, an older one and a new series change nothing yet.
	mustWrite(t, db, rec("up", "4", 30*time.Second, "host", "a"), rec("up", "0", -time.Second, "host", "a"), rec("up", "5", 0, "host", "b"))
	if got := allSeen(t, db); !reflect.DeepEqual(got, early) {
		t.Errorf("before their time: got %v, want %v", got, early)
	}
	// A hidden record is there for all who write: the same is a duplicate, another value a conflict, a higher version an update that
	// appears with it. What is seen is updated at once.
	mustWrite(t, db, rec("up", "4", 30*time.Second, "host", "a"), versioned(rec("up", "6", 0, "host", "b"), 2))
	_, err := write(db, rec("up", "9", 30*time.Second, "host", "a"))
	if got, want := describe(err), "[0] "+conflict; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := allSeen(t, db); !reflect.DeepEqual(got, early) {
		t.Errorf("after updates of hidden records: got %v, want %v", got, early)
	}
	mustWrite(t, db, versioned(rec("up", "3", time.Second, "host", "a"), 2))
	if got, want := rows(t, db, seen["plain"]), [][]string{{"a", "1.0"}, {"a", "3.0"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("after an update of a record that is seen: got %v, want %v", got, want)
	}
	early = allSeen(t, db)
	image := crashImage(t, db, dir)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, start := range []struct{ name, dir string }{{"after a crash", image}, {"after a clean end", dir}} {
		t.Run(start.name, func(t *testing.T) {
			now = clock.Add(time.Minute)
			db := open(t, config(start.dir))
			if got := allSeen(t, db); !reflect.DeepEqual(got, early) {
				t.Errorf("got %v, want %v", got, early)
			}
			now = clock.Add(2 * time.Minute)
			want := [][]string{{"a", "0.0"}, {"a", "1.0"}, {"a", "3.0"}, {"a", "4.0"}, {"b", "6.0"}}
			if got := rows(t, db, seen["plain"]); !reflect.DeepEqual(got, want) {
				t.Errorf("at their time: got %v, want %v", got, want)
			}
			mustWrite(t, db, rec("up", "1", time.Minute, "host", "c")) // hidden, so that the ways differ
			hidden := allSeen(t, db)
			now = now.Add(time.Hour)
			if _, err := db.DeleteTable(t.Context(), &timestreamwrite.DeleteTableInput{DatabaseName: aws.String(database), TableName: aws.String(table)}); err != nil {
				t.Fatal(err)
			}
			if len(hidden["values"]) != 2 {
				t.Errorf("got %v", hidden["values"])
			}
		})
	}
}

// TestMagneticVisibilityDelay: only what goes to the magnetic store is hidden, and its conflicts stay silent.
func TestMagneticVisibilityDelay(t *testing.T) {
	now := clock
	db := open(t, func(c *local.Config) {
		c.MagneticVisibilityDelay = 6 * time.Hour
		c.Now = func() time.Time { return now }
	})
	got, err := write(db, rec("up", "1", -10*time.Hour, "host", "a"), rec("up", "2", 0, "host", "a"), rec("up", "3", -11*time.Hour, "host", "b"))
	if err != nil || got.MagneticStore != 2 || got.MemoryStore != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got, err := write(db, rec("up", "7", -10*time.Hour, "host", "a")); err != nil || got.MagneticStore != 1 {
		t.Errorf("a conflict in the magnetic store: got %+v, %v", got, err)
	}
	if got, want := rows(t, db, seen["plain"]), [][]string{{"a", "2.0"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("at once: got %v, want %v", got, want)
	}
	if got, want := rows(t, db, seen["listing"]), [][]string{{"a", "up"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("listed at once: got %v, want %v", got, want)
	}
	now = clock.Add(6 * time.Hour)
	if got, want := rows(t, db, seen["plain"]), [][]string{{"a", "1.0"}, {"a", "2.0"}, {"b", "3.0"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("after six hours: got %v, want %v", got, want)
	}
}

// TestHidingIsTheTables: a record that is hidden in one table takes nothing from another, and when all are seen the short ways are
// taken again.
func TestHidingIsTheTables(t *testing.T) {
	now, reg := clock, prometheus.NewRegistry()
	db := open(t, func(c *local.Config) { c.Now, c.Registerer = func() time.Time { return now }, reg })
	ctx := context.Background()
	if _, err := db.CreateTable(ctx, &timestreamwrite.CreateTableInput{DatabaseName: aws.String(database), TableName: aws.String("other")}); err != nil {
		t.Fatal(err)
	}
	hide := func(table string, d time.Duration) {
		t.Helper()
		req := record.FromSDK(&timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(table), Records: []wtypes.Record{rec("up", "1", 0, "host", "a")}})
		req.Hide = d
		if n, err := db.Write(ctx, req); err != nil || n.Total != 1 {
			t.Fatal(n, err)
		}
	}
	hide("other", time.Minute)
	hide(table, 0)
	if got, want := rows(t, db, seen["count"]), [][]string{{"1"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	other := strings.ReplaceAll(seen["count"], table, "other")
	if got, want := rows(t, db, other), [][]string{{"0"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("hidden: got %v, want %v", got, want)
	}
	if got := hiddenRecords(t, reg); got != 1 {
		t.Errorf("%v records are hidden", got)
	}
	now = now.Add(time.Minute)
	if got, want := rows(t, db, other), [][]string{{"1"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("seen: got %v, want %v", got, want)
	}
	if err := db.ForgetHidden(ctx); err != nil {
		t.Fatal(err)
	}
	if got := hiddenRecords(t, reg); got != 0 {
		t.Errorf("%v records are still noted as hidden", got)
	}
}

func hiddenRecords(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "timestream_local_hidden_records" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no metric")
	return 0
}

// TestHidingModel writes new records, late ones, duplicates and updates, hidden or not, while time passes and the database is opened
// anew, and compares what is seen with a map.
func TestHidingModel(t *testing.T) {
	type key struct {
		host string
		at   int
	}
	type stored struct {
		version, value int
		until          time.Time
	}
	const hosts, times, steps = 4, 6, 400
	random := rand.New(rand.NewPCG(3, 5))
	dir, now := t.TempDir(), clock
	start := func() *local.DB {
		return open(t, func(c *local.Config) {
			c.Dir, c.Now = dir, func() time.Time { return now }
			c.SmallParts(10, 4, 2, nil) // records move from one table to another meanwhile
		})
	}
	db := start()
	model := map[key]*stored{}
	for step := range steps {
		switch n := random.IntN(100); {
		case n < 60:
			k := key{string(rune('a' + random.IntN(hosts))), random.IntN(times)}
			version, value := 1+random.IntN(3), random.IntN(2)
			hide := time.Duration(random.IntN(3)) * 10 * time.Second
			in := versioned(rec("up", strconv.Itoa(value), time.Duration(k.at)*time.Second, "host", k.host), int64(version))
			req := record.FromSDK(&timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(table), Records: []wtypes.Record{in}})
			req.Hide = hide
			_, err := db.Write(t.Context(), req)
			have := model[k]
			taken := have == nil || version > have.version || version == have.version && value == have.value
			if taken != (err == nil) {
				t.Fatalf("step %d: version %d of %v beside %+v: %v", step, version, k, have, err)
			}
			switch {
			case have == nil:
				model[k] = &stored{version, value, now.Add(hide)}
			case taken:
				have.version, have.value = version, value
			}
		case n < 80:
			now = now.Add(time.Duration(1+random.IntN(5)) * time.Second)
		case n < 83:
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = start()
		case n < 86:
			if err := db.ForgetHidden(t.Context()); err != nil {
				t.Fatal(err)
			}
		default:
			want, grouped, listed := [][]string{}, [][]string{}, [][]string{}
			for h := range hosts {
				host, count, largest := string(rune('a'+h)), 0, 0
				for at := range times {
					if s := model[key{host, at}]; s != nil && !s.until.After(now) {
						want = append(want, []string{host, strconv.Itoa(at), strconv.Itoa(s.value) + ".0"})
						count, largest = count+1, max(largest, s.value)
					}
				}
				if count > 0 {
					grouped = append(grouped, []string{host, strconv.Itoa(count), strconv.Itoa(largest) + ".0"})
					listed = append(listed, []string{host, "up"})
				}
			}
			if len(model) == 0 {
				continue // there are no columns
			}
			plain := fmt.Sprintf(`SELECT host, to_milliseconds(time) / 1000 - %d, measure_value::double %s ORDER BY 1, 2`, clock.Unix(), from)
			for sql, want := range map[string][][]string{plain: want, seen["grouped"]: grouped, seen["listing"]: listed} {
				if got := rows(t, db, sql); !reflect.DeepEqual(got, want) {
					t.Fatalf("step %d: %s:\ngot  %v\nwant %v", step, sql, got, want)
				}
			}
		}
	}
}
