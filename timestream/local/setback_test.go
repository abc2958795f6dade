// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// lines collects what is logged at warning level.
type lines struct {
	slog.Handler

	mu   sync.Mutex
	list []string
}

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := r.Message
	r.Attrs(func(a slog.Attr) bool { s += " " + a.String(); return true })
	l.list = append(l.list, s)
	return nil
}

func (l *lines) about(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.list {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

func newLines() *lines {
	return &lines{Handler: slog.NewTextHandler(nil, &slog.HandlerOptions{Level: slog.LevelWarn})}
}

// clockOf is a clock that a test moves.
type clockOf struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clockOf) get() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clockOf) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// gauge is the value of a metric without labels.
func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestDamagedPartRests: a run with a damaged block is tried again with growing pauses, is named once, and holds up nothing else.
func TestDamagedPartRests(t *testing.T) {
	now := &clockOf{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	start := now.get()
	said, reg := newLines(), prometheus.NewRegistry()
	change := func(fanIn int) func(*Config) {
		return func(c *Config) {
			c.Now, c.Logger, c.Registerer = now.get, slog.New(said), reg
			c.SmallParts(20_000, 20_000, fanIn, nil)
		}
	}
	db := openTwo(t, change(100))
	run := func(round int) {
		t.Helper()
		for i := range 20 {
			putMany(t, db, start.Add(-time.Duration(100*round+i)*time.Second), 100)
		}
		db.SealAll(t)
		db.AwaitRewritten(t)
	}
	run(1)
	run(2)
	onWriter(t, db, func() {
		if err := db.writer.checkpoint(); err != nil {
			t.Error(err)
		}
	})
	good, _ := db.cat.table("db1", "good")
	var damaged string
	var blocks []int64
	onWriter(t, db, func() {
		damaged = good.partTable(good.own.settled[kindDouble][0])
		err := db.each(t.Context(), "SELECT DISTINCT block_id FROM pragma_storage_info('"+damaged+"') WHERE persistent AND column_name = 't' AND block_id >= 0", func(c []duck.Column, i int) error {
			blocks = append(blocks, c[0].Int64(i))
			return nil
		})
		other := good.partTable(good.own.settled[kindDouble][1])
		if err == nil {
			err = db.each(t.Context(), "SELECT block_id FROM pragma_storage_info('"+other+"') WHERE persistent", func(c []duck.Column, i int) error {
				for _, b := range blocks {
					if b == c[0].Int64(i) {
						t.Error("the runs share a block")
					}
				}
				return nil
			})
		}
		if err != nil {
			t.Error(err)
		}
	})
	if len(blocks) == 0 {
		t.Fatal("no block")
	}
	cfg := db.cfg
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(cfg.Dir, fileName)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	content[3*4096+blocks[0]*65536+100] ^= 0xff
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}

	change(2)(&cfg) // the two runs are merged now, which fails
	if db, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	failures := func() []RewriteFailure {
		t.Helper()
		s, err := db.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.RewriteFailures
	}
	waitFor(t, "the failure", func() bool { return len(failures()) > 0 })
	run(3) // is sealed, rewritten, and merged with the run that is whole
	f := failures()
	if len(f) != 1 || f[0].Part != damaged || f[0].Records != 2000 || f[0].Failures != 1 || !strings.Contains(f[0].Error, "checksum") || f[0].Table != "good" || !f[0].Next.Equal(now.get().Add(30*time.Second)) {
		t.Fatalf("got %+v, want %s", f, damaged)
	}
	if sealed, runs, _ := db.Parts(t); sealed != 0 || runs != 2 {
		t.Errorf("%d sealed parts and %d runs, want 0 and 2", sealed, runs)
	}
	if got := gauge(t, reg, "timestream_local_rewrite_failing_parts"); got != 1 {
		t.Errorf("metric %v", got)
	}
	for _, pause := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
		now.move(pause - time.Second)
		db.rewriter.wakeUp()
		db.AwaitRewritten(t) // still resting
		before := failures()[0].Failures
		now.move(time.Second)
		db.rewriter.wakeUp()
		waitFor(t, "the next try", func() bool { return failures()[0].Failures == before+1 })
		if f := failures()[0]; !f.Next.Equal(now.get().Add(2 * pause)) {
			t.Errorf("after a pause of %v: next try at %v, it is %v", pause, f.Next, now.get())
		}
	}
	if n := said.about(damaged); n != 1 {
		t.Errorf("%d warnings: %q", n, said.list)
	}
	if _, err := db.DeleteTable(t.Context(), &timestreamwrite.DeleteTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("good")}); err != nil {
		t.Fatal(err)
	}
	db.rewriter.wakeUp()
	waitFor(t, "the part to be forgotten", func() bool { return len(failures()) == 0 })
}

// TestFailedRewriteRests: when a rewrite fails for another reason than what it reads, its inputs rest and the others go on; a success ends it.
func TestFailedRewriteRests(t *testing.T) {
	now := &clockOf{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	var db *DB
	var fail sync.Once
	said := newLines()
	db = openTwo(t, func(c *Config) {
		c.Now, c.Logger = now.get, slog.New(said)
		c.SmallParts(1000, 1000, 100, func() {
			fail.Do(func() {
				onWriter(t, db, func() {
					real := db.writer.commitTx
					db.writer.commitTx = func() error {
						db.writer.commitTx = real
						return &duck.Error{Text: "Out of Memory Error: nothing left"}
					}
				})
			})
		})
	})
	for _, table := range []string{"good", "bad"} {
		if err := put(db, table, "1", now.get(), "host"); err != nil {
			t.Fatal(err)
		}
	}
	db.SealAll(t)
	waitFor(t, "the other part", func() bool { sealed, runs, building := db.Parts(t); return sealed == 1 && runs == 1 && building == 0 })
	waitFor(t, "rest", func() bool { return !db.rewriter.busy.Load() })
	f := db.rewriter.failures()
	if len(f) != 1 || f[0].Failures != 1 || !strings.Contains(f[0].Error, "nothing left") {
		t.Fatalf("got %+v", f)
	}
	now.move(30 * time.Second)
	db.AwaitRewritten(t)
	if sealed, runs, _ := db.Parts(t); sealed != 0 || runs != 2 {
		t.Errorf("%d sealed parts and %d runs", sealed, runs)
	}
	waitFor(t, "success to be noted", func() bool { return db.rewriter.setbacks.count() == 0 })
	if n := said.about("nothing left"); n != 1 {
		t.Errorf("%d warnings: %q", n, said.list)
	}
}
