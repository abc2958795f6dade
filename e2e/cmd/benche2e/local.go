// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"

	"github.com/tributary-project/tributary/e2e/internal/proc"
	"github.com/tributary-project/tributary/e2e/internal/tsload"
	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/local"
	rowresult "github.com/tributary-project/tributary/timestream/result"
)

// localScenario is timestream-local alone, by Timestream's wire protocol.
const localScenario = "timestream-local"

const (
	localDatabase, localTable = "PrometheusDatabase", "PrometheusMetricsTable"
	localClients              = 8
	localTargets              = 200
	localStep                 = 15 * time.Second
	// mostPerSecond is how many requests are rendered for each second of a measurement, more than are ever taken.
	mostPerSecond = 3000
	// bothTimes is how many times the usual duration writing and reading at once take: a scan of everything takes seconds.
	bothTimes = 3
	settled   = 15 * time.Minute // how long the rewrite of what was stored may take
	// rewritingMetric is 1 while stored records are being rewritten; restFor is how long it has to be 0.
	rewritingMetric = "timestream_local_rewriting"
	restFor         = 5 * time.Second
)

// Names of starts and ways.
const (
	cleanStart  = "after a clean end"
	overTheWire = "over the wire"
	inProcess   = "in the process"
)

// localResult is what timestream-local did.
type localResult struct {
	fresh  []*localWrites // durable writes into an empty database, by round
	stored *localStore
}

// localWrites is one measurement of writing.
type localWrites struct {
	name     string
	report   *tsload.Report
	cpu, own time.Duration // of the process, and of the generator
	peak     int64         // resident bytes
	goal     bool          // its mark is hoped for
}

// localStore is what was measured with a large store.
type localStore struct {
	samples        int64
	filled, rested time.Duration // until it was stored, and until it was rewritten
	bytes          int64
	starts         []localStart
	replays        []*localWrites
	reads          []*localRead
	both           *localWrites
	bothPoints     int64
}

// localStart is one start of the process.
type localStart struct {
	name string
	took time.Duration
}

// localRead is one statement.
type localRead struct {
	name, way string
	points    int64
	took      time.Duration
	cpu       time.Duration
}

func (r *localRead) perSecond() float64 { return float64(r.points) / r.took.Seconds() }

// localServer is a timestream-local in a folder.
type localServer struct {
	system

	address string
}

func (b *bench) startLocal(ctx context.Context, dir string) (*localServer, time.Duration, error) {
	a, err := freeAddress()
	if err != nil {
		return nil, 0, err
	}
	s := &localServer{system: system{dir: dir}, address: a}
	began := time.Now()
	err = s.launch(ctx, b, "timestream-local", "timestream-local", "http://"+a+"/-/ready", append(localFlags(), "--listen-address="+a, "--admin.listen-address=", "--data-dir="+filepath.Join(dir, "data"))...)
	return s, time.Since(began), err
}

// localFlags are the defaults but for a memory store that takes what the fleet sends.
func localFlags() []string { return []string{"--memory-retention-hours=8766"} }

func (s *localServer) process() *proc.Process { return s.processes[0] }

// timed runs f and tells what it cost the process and this one.
func (s *localServer) timed(f func() error) (cpu, own time.Duration, err error) {
	before, err := s.readCosts()
	if err != nil {
		return 0, 0, err
	}
	if err := f(); err != nil {
		return 0, 0, err
	}
	after, err := s.readCosts()
	if err != nil {
		return 0, 0, err
	}
	return after.cpu[0] - before.cpu[0], after.own - before.own, nil
}

// write sends requests and notes what that cost.
func (s *localServer) write(ctx context.Context, name string, clients int, next func(int) []byte) (*localWrites, error) {
	w := &localWrites{name: name}
	var err error
	w.cpu, w.own, err = s.timed(func() (err error) {
		w.report, err = tsload.Send(ctx, s.address, clients, next)
		return err
	})
	if err != nil {
		return nil, err
	}
	w.peak, err = s.process().PeakRSS()
	return w, err
}

// shares hands n requests to the clients, each so many-th to the same one.
func shares(n int, request func(i int) []byte) func(client int) []byte {
	at := make([]int, localClients)
	for c := range at {
		at[c] = c
	}
	return func(c int) []byte {
		i := at[c]
		if i >= n {
			return nil
		}
		at[c] += localClients
		return request(i)
	}
}

// ready hands out requests that are rendered already.
func ready(rendered [][]byte) func(client int) []byte {
	return shares(len(rendered), func(i int) []byte { return rendered[i] })
}

// measureLocal measures timestream-local: what it takes in an empty database, and all that depends on what is in one.
func (b *bench) measureLocal(ctx context.Context) error {
	r := &localResult{}
	for round := range b.rounds {
		fmt.Fprintf(b.progress, "%s, writing, round %d of %d …\n", localScenario, round+1, b.rounds)
		w, err := b.measureLocalWrites(ctx)
		if err != nil {
			return err
		}
		r.fresh = append(r.fresh, w)
	}
	b.local = r
	b.printLocalWrites(r.fresh)
	if b.stored < 1 {
		return nil
	}
	var err error
	if r.stored, err = b.measureLocalStore(ctx); err != nil {
		return err
	}
	b.printLocalStore(r.stored)
	return nil
}

func localFleet(scrapes int) tsload.Fleet {
	return tsload.Fleet{Database: localDatabase, Table: localTable, Targets: localTargets, Start: time.Now().Add(-time.Duration(scrapes+40) * localStep), Step: localStep}
}

// measureLocalWrites writes requests rendered before into an empty database.
func (b *bench) measureLocalWrites(ctx context.Context) (w *localWrites, err error) {
	dir, err := os.MkdirTemp("", "benche2e-")
	if err != nil {
		return nil, err
	}
	s, _, err := b.startLocal(ctx, dir)
	defer func() { err = errors.Join(err, s.stop()) }()
	if err != nil {
		return nil, err
	}
	n := int((b.warmUp + b.duration).Seconds() * mostPerSecond)
	fleet := localFleet(n/localTargets + 1)
	rendered := make([][]byte, n)
	for i := range rendered {
		if rendered[i], err = tsload.Render(ctx, s.address, fleet.AppendBody(nil, i%localTargets, i/localTargets)); err != nil {
			return nil, err
		}
	}
	next := ready(rendered)
	warm, cancel := context.WithTimeout(ctx, b.warmUp)
	defer cancel()
	// Time ends between two requests, so none is lost.
	if _, err := tsload.Send(warm, s.address, localClients, next); err != nil {
		return nil, err
	}
	timed, cancel := context.WithTimeout(ctx, b.duration)
	defer cancel()
	return s.write(timed, "writing", localClients, next)
}

// measureLocalStore fills a database, lets it come to rest, and measures it.
func (b *bench) measureLocalStore(ctx context.Context) (r *localStore, err error) {
	dir := b.storedIn
	if dir == "" {
		if dir, err = os.MkdirTemp("", "benche2e-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	s, _, err := b.startLocal(ctx, dir)
	running := func() error { return s.end() }
	defer func() { err = errors.Join(err, running()) }()
	if err != nil {
		return nil, err
	}
	scrapes := (b.stored + localTargets*tsload.RecordsPerRequest - 1) / (localTargets * tsload.RecordsPerRequest)
	fleet := localFleet(scrapes)
	r = &localStore{samples: int64(scrapes * fleet.Series())}
	found, err := fleet.Find(filepath.Join(dir, "fleet"))
	if err != nil {
		return nil, err
	}
	if !found {
		if err := b.fillLocal(ctx, s, fleet, scrapes, r); err != nil {
			return nil, err
		}
		if err := fleet.Note(filepath.Join(dir, "fleet")); err != nil {
			return nil, err
		}
	}
	restart := func(name string, end func() error) error {
		if err := end(); err != nil {
			return err
		}
		var took time.Duration
		s, took, err = b.startLocal(ctx, dir)
		r.starts = append(r.starts, localStart{name, took})
		return err
	}
	if err := restart(cleanStart, s.end); err != nil {
		return nil, err
	}
	if r.bytes, err = size(filepath.Join(dir, "data")); err != nil {
		return nil, err
	}
	if err := b.replayLocal(ctx, s, fleet, scrapes, r); err != nil {
		return nil, err
	}
	if err := b.readLocal(ctx, s, fleet, scrapes, r); err != nil {
		return nil, err
	}
	if err := b.bothLocal(ctx, s, fleet, scrapes, r); err != nil {
		return nil, err
	}
	if err := restart("after SIGKILL under load", func() error { s.process().Kill(); return nil }); err != nil {
		return nil, err
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	running = func() error { return nil }
	return r, b.readInProcess(ctx, dir, fleet, scrapes, r)
}

// fillLocal stores all scrapes, oldest first, and waits until the background rewrite has nothing left to do.
func (b *bench) fillLocal(ctx context.Context, s *localServer, fleet tsload.Fleet, scrapes int, r *localStore) error {
	fmt.Fprintf(b.progress, "%s: storing %s samples of %s series …\n", localScenario, thousands(float64(r.samples)), thousands(float64(fleet.Series())))
	began := time.Now()
	report := time.Now()
	var failed atomic.Pointer[error]
	next := shares(localTargets*scrapes, func(i int) []byte {
		request, err := tsload.Render(ctx, s.address, fleet.AppendBody(nil, i%localTargets, i/localTargets))
		if err != nil {
			failed.Store(&err)
		}
		if i%localClients == 0 && time.Since(report) > 30*time.Second { // the first client reports
			report = time.Now()
			fmt.Fprintf(b.progress, "%s: %.0f %% stored\n", localScenario, 100*float64(i)/float64(localTargets*scrapes))
		}
		return request
	})
	_, err := tsload.Send(ctx, s.address, localClients, next)
	if p := failed.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	if err := errors.Join(err, ctx.Err()); err != nil {
		return err
	}
	r.filled = time.Since(began)
	return s.rest(ctx, r)
}

// rest waits until the rewrite has nothing left to do.
func (s *localServer) rest(ctx context.Context, r *localStore) error {
	began := time.Now()
	busy := began
	for {
		m, err := readMetrics(ctx, "http://"+s.address+"/metrics")
		if err != nil {
			return err
		}
		switch rewriting, known := m[rewritingMetric]; {
		case !known:
			return fmt.Errorf("timestream-local has no metric %s", rewritingMetric)
		case rewriting > 0:
			busy = time.Now()
		case time.Since(busy) > restFor:
			r.rested = busy.Sub(began)
			return nil
		}
		if time.Since(began) > settled {
			return fmt.Errorf("stored records are still being rewritten after %s", settled)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// replayLocal sends again what is stored, as senders do that did not get their answers: the newest scrapes, and scrapes of half the
// time ago in their order; and as those do that fill gaps, or of which several have the same: scrapes of any time, and single records of
// any series and time.
func (b *bench) replayLocal(ctx context.Context, s *localServer, fleet tsload.Fleet, scrapes int, r *localStore) error {
	n := int(b.duration.Seconds() * mostPerSecond / 2)
	newest := min(scrapes, 4)
	scrape := func(pick func(i int) (target, scrape int)) func(int) []byte {
		return func(i int) []byte {
			target, n := pick(i)
			return fleet.AppendBody(nil, target, n)
		}
	}
	samples := make([]tsload.Sample, tsload.RecordsPerRequest)
	for _, c := range []struct {
		name string
		goal bool
		body func(i int) []byte
	}{
		{"replay of the newest minute", false, scrape(func(i int) (int, int) { return i % localTargets, scrapes - 1 - i/localTargets%newest })},
		{"replay of half the time ago", false, scrape(func(i int) (int, int) { return i % localTargets, min(scrapes/2+i/localTargets, scrapes-1) })},
		{"replay of scrapes at random", true, scrape(func(int) (int, int) { return rand.IntN(localTargets), rand.IntN(scrapes) })},
		{"replay of records at random", true, func(int) []byte {
			for i := range samples {
				samples[i] = tsload.Sample{Target: rand.IntN(localTargets), Metric: rand.IntN(tsload.RecordsPerRequest), Scrape: rand.IntN(scrapes)}
			}
			return fleet.AppendSamples(nil, samples)
		}},
	} {
		fmt.Fprintf(b.progress, "%s, %s …\n", localScenario, c.name)
		rendered := make([][]byte, n)
		for i := range rendered {
			var err error
			if rendered[i], err = tsload.Render(ctx, s.address, c.body(i)); err != nil {
				return err
			}
		}
		timed, cancel := context.WithTimeout(ctx, b.duration)
		w, err := s.write(timed, c.name, localClients, ready(rendered))
		cancel()
		if err != nil {
			return err
		}
		w.goal = c.goal
		r.replays = append(r.replays, w)
	}
	return nil
}

// localStatement is a statement whose points are counted.
type localStatement struct {
	name, sql string
	points    int64
}

// localStatements are grouped as the query service groups.
func localStatements(fleet tsload.Fleet, scrapes int) []localStatement {
	grouped := func(where string, from, to int) string {
		// Series are cut every six hours, so that no row is over 1 MB.
		return fmt.Sprintf(`SELECT measure_name, "cluster", "instance", "job", "namespace", "code", "le", CREATE_TIME_SERIES(time, measure_value::double) AS s FROM "%s"."%s" WHERE %stime BETWEEN from_milliseconds(%d) AND from_milliseconds(%d) AND measure_value::double IS NOT NULL GROUP BY measure_name, "cluster", "instance", "job", "namespace", "code", "le", bin(time, 6h)`,
			localDatabase, localTable, where, fleet.Start.UnixMilli()+int64(from)*localStep.Milliseconds(), fleet.Start.UnixMilli()+int64(to)*localStep.Milliseconds()+2*localStep.Milliseconds())
	}
	const hour = int(time.Hour / localStep)
	first := max(0, scrapes-hour)
	return []localStatement{
		{"the last hour of all series", grouped("", first, scrapes), 0},
		{"all of one metric", grouped("measure_name = '"+tsload.Metric(65)+"' AND ", 0, scrapes), int64(scrapes) * localTargets},
	}
}

// readLocal reads by the wire protocol and counts the points.
func (b *bench) readLocal(ctx context.Context, s *localServer, fleet tsload.Fleet, scrapes int, r *localStore) error {
	q, err := s.querier(ctx)
	if err != nil {
		return err
	}
	for _, st := range localStatements(fleet, scrapes) {
		for range b.rounds {
			fmt.Fprintf(b.progress, "%s, over the wire: %s …\n", localScenario, st.name)
			read := &localRead{name: st.name, way: overTheWire}
			began := time.Now()
			read.cpu, _, err = s.timed(func() (err error) {
				read.points, err = readPoints(ctx, q, st.sql)
				return err
			})
			if err != nil {
				return err
			}
			read.took = time.Since(began)
			if st.points > 0 && read.points != st.points {
				return fmt.Errorf("%s: %d points, want %d", st.name, read.points, st.points)
			}
			r.reads = append(r.reads, read)
		}
	}
	return nil
}

func (s *localServer) querier(ctx context.Context) (*client.Querier, error) {
	cfg := client.DefaultConfig()
	cfg.Endpoint, cfg.LocalCredentials = "http://"+s.address, true
	c, err := client.NewQuery(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return client.NewQuerier(c), nil
}

// readPoints fetches all pages of a result and counts the points of its time series.
func readPoints(ctx context.Context, q *client.Querier, sql string) (int64, error) {
	in := &timestreamquery.QueryInput{QueryString: &sql}
	points := 0
	for {
		page, err := q.QueryPage(ctx, in)
		if err != nil {
			return 0, err
		}
		points += bytes.Count(page.Body(), []byte(`{"Time":`))
		token := nextToken(page.Body())
		page.Release()
		if token == "" {
			return int64(points), nil
		}
		in.NextToken = aws.String(token)
	}
}

// nextToken finds the token in a page without reading the rest of it: tokens hold no quotes.
func nextToken(page []byte) string {
	_, rest, ok := bytes.Cut(page, []byte(`"NextToken":"`))
	if !ok {
		return ""
	}
	token, _, _ := bytes.Cut(rest, []byte{'"'})
	return string(token)
}

// bothLocal writes new scrapes as fast as they are taken while everything is scanned and read, over and over.
func (b *bench) bothLocal(ctx context.Context, s *localServer, fleet tsload.Fleet, scrapes int, r *localStore) error {
	fmt.Fprintf(b.progress, "%s, writing and reading at once …\n", localScenario)
	q, err := s.querier(ctx)
	if err != nil {
		return err
	}
	// All columns of all rows are looked at.
	scan := fmt.Sprintf(`SELECT measure_name, "job", count(*), avg(measure_value::double), max(measure_value::double), min(time), max(time) FROM "%s"."%s" GROUP BY measure_name, "job"`, localDatabase, localTable)
	statements := []string{scan}
	for _, st := range localStatements(fleet, scrapes) {
		statements = append(statements, st.sql)
	}
	n := int(bothTimes * b.duration.Seconds() * mostPerSecond / 2)
	later := fleet
	later.Start = time.UnixMilli(fleet.Start.UnixMilli() + int64(scrapes+4)*localStep.Milliseconds()) // no statement asks for these
	later.Step = time.Second                                                                          // so that what is written stays within the window
	rendered := make([][]byte, n)
	for i := range rendered {
		if rendered[i], err = tsload.Render(ctx, s.address, later.AppendBody(nil, i%localTargets, i/localTargets)); err != nil {
			return err
		}
	}
	timed, cancel := context.WithTimeout(ctx, bothTimes*b.duration)
	defer cancel()
	reading := make(chan error, 1)
	go func() {
		for i := 0; timed.Err() == nil; i++ {
			points, err := readPoints(timed, q, statements[i%len(statements)])
			if err != nil && timed.Err() == nil {
				cancel()
				reading <- err
				return
			}
			r.bothPoints += points
		}
		reading <- nil
	}()
	r.both, err = s.write(timed, "writing while everything is read", localClients, ready(rendered))
	cancel()
	return errors.Join(err, <-reading)
}

// readInProcess reads as a service in the same process does, rows without pages.
func (b *bench) readInProcess(ctx context.Context, dir string, fleet tsload.Fleet, scrapes int, r *localStore) (err error) {
	cfg := local.DefaultConfig()
	cfg.Dir, cfg.MemoryRetentionHours = filepath.Join(dir, "data"), 8766
	db, err := local.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	kinds := []rowresult.Kind{rowresult.Scalar, rowresult.Scalar, rowresult.Scalar, rowresult.Scalar, rowresult.Scalar, rowresult.Scalar, rowresult.Scalar, rowresult.Doubles}
	for _, st := range localStatements(fleet, scrapes) {
		for range b.rounds {
			fmt.Fprintf(b.progress, "%s, in the process: %s …\n", localScenario, st.name)
			read := &localRead{name: st.name, way: inProcess}
			before, err := proc.Own()
			if err != nil {
				return err
			}
			began := time.Now()
			if _, err := db.QueryRows(ctx, st.sql, kinds, func(row rowresult.Row) error {
				read.points += int64(len(row[7].Points))
				return nil
			}); err != nil {
				return err
			}
			read.took = time.Since(began)
			after, err := proc.Own()
			if err != nil {
				return err
			}
			read.cpu = after - before
			if st.points > 0 && read.points != st.points {
				return fmt.Errorf("%s: %d points, want %d", st.name, read.points, st.points)
			}
			r.reads = append(r.reads, read)
		}
	}
	return nil
}

// size is how many bytes the files of a folder have.
func size(dir string) (int64, error) {
	var n int64
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		if !e.IsDir() && strings.HasPrefix(e.Name(), "timestream") {
			n += info.Size()
		}
	}
	return n, err
}
