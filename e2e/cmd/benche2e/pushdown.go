// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	queryv1 "github.com/tributary-project/tributary/proto/tributary/query/v1"
)

// pushed is what one way of asking for the last samples before each step took.
type pushed struct {
	name    string
	samples uint64 // out of the store
	pages   uint64
	times   []time.Duration
	cpu     time.Duration // of the query service and the store, all times together
	store   time.Duration
	peak    int64    // of the query service
	answer  [][]byte // serialised series
}

// measurePushDown asks for a month of a hundred series, once an hour, from a query service that lets the store leave out what the
// engine does not need, and from one that does not.
func (b *bench) measurePushDown(ctx context.Context) (err error) {
	month := history{name: "bench_month_total", group: "month", series: 100, step: 15 * time.Second}
	month.points = int(b.past/month.step) + 1
	month.start = time.Now().Add(-b.past - time.Minute).Truncate(time.Minute)
	dir, err := os.MkdirTemp("", "benche2e-")
	if err != nil {
		return err
	}
	s := &system{dir: dir}
	defer func() { err = errors.Join(err, s.stop()) }()
	fmt.Fprintf(b.progress, "%s: writing %s samples …\n", pushDownScenario, thousands(float64(month.series*month.points)))
	began := time.Now()
	// Without push-down each sample is put together with others on the server, which takes more than the default.
	store, err := b.startStore(ctx, s, []history{month}, "--memory-limit=4GiB")
	if err != nil {
		return err
	}
	fmt.Fprintf(b.progress, "%s: written in %s\n", pushDownScenario, time.Since(began).Round(time.Second))
	results := []*pushed{{name: "--query.push-down=false"}, {name: "--query.push-down"}}
	for round := range b.rounds {
		for i, flag := range []string{"--query.push-down=false", "--query.push-down=true"} {
			fmt.Fprintf(b.progress, "%s, %s, round %d of %d …\n", pushDownScenario, flag, round+1, b.rounds)
			if err := b.askMonth(ctx, s, store, flag, month, results[i]); err != nil {
				return fmt.Errorf("%s: %w", flag, err)
			}
		}
		if !slices.EqualFunc(results[0].answer, results[1].answer, bytes.Equal) {
			return errors.New("the answers with and without push-down differ")
		}
	}
	b.pushed = results
	var rows [][]string
	for _, r := range results {
		n := float64(len(r.times))
		rows = append(rows, []string{
			r.name, thousands(float64(r.samples)), fmt.Sprintf("%.2f %%", 100*float64(r.samples)/float64(results[0].samples)), fmt.Sprint(r.pages), fmt.Sprintf("%.2f", median(r.times).Seconds()),
			fmt.Sprintf("%.2f", r.cpu.Seconds()/n), fmt.Sprintf("%.2f", r.store.Seconds()/n), mib(float64(r.peak)),
		})
	}
	b.out.table(fmt.Sprintf("The last sample before each step: %d series, %d days by 15 s, step 1 h", month.series, int(b.past.Hours()/24)),
		[]string{"query", "samples out of the store", "of all", "pages", "s", "query: CPU s", "timestream-local: CPU s", "query: peak MiB"}, rows)
	return nil
}

// askMonth asks a query service of its own.
func (b *bench) askMonth(ctx context.Context, stored *system, store, flag string, month history, r *pushed) (err error) {
	s := &system{dir: stored.dir}
	defer func() { err = errors.Join(err, s.end()) }()
	_, address, err := s.startReaders(ctx, b, store, flag, "--query.timeout=10m")
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	storeBefore, err := stored.processes[0].CPU()
	if err != nil {
		return err
	}
	start := time.Now()
	stream, err := queryv1.NewQueryServiceClient(conn).QueryRange(ctx, &queryv1.QueryRangeRequest{
		Query: month.name, StartMs: month.start.UnixMilli(), EndMs: month.end().UnixMilli(), StepMs: time.Hour.Milliseconds(),
	})
	if err != nil {
		return err
	}
	r.answer = nil
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if x := m.GetSeries(); x != nil {
			r.answer = append(r.answer, x.GetTimeSeries()...)
		}
		if t := m.GetTrailer(); t != nil {
			r.samples, r.pages = t.GetRead().GetSamples(), t.GetRead().GetPages()
		}
	}
	r.times = append(r.times, time.Since(start))
	if len(r.answer) != month.series {
		return fmt.Errorf("%d series, want %d", len(r.answer), month.series)
	}
	storeAfter, err := stored.processes[0].CPU()
	if err != nil {
		return err
	}
	r.store += storeAfter - storeBefore
	for _, p := range s.processes {
		if role(p.Name) == queryRole {
			cpu, err := p.CPU()
			if err != nil {
				return err
			}
			r.cpu += cpu
			if r.peak, err = p.PeakRSS(); err != nil {
				return err
			}
		}
	}
	return nil
}
