// SPDX-License-Identifier: Apache-2.0

package tsload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Report is what came of sending.
type Report struct {
	Requests  int
	Elapsed   time.Duration
	Latencies []time.Duration // sorted
}

// Records is how many records were acknowledged.
func (r *Report) Records() int { return r.Requests * RecordsPerRequest }

// PerSecond is the rate of acknowledged records.
func (r *Report) PerSecond() float64 { return float64(r.Records()) / r.Elapsed.Seconds() }

// Latency is a quantile, 0 to 1, of the time until a request's answer.
func (r *Report) Latency(q float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[min(int(q*float64(len(r.Latencies))), len(r.Latencies)-1)]
}

// Send sends to an address what next returns, from as many clients at once, each with a connection of its own, until next returns
// nil for all of them or ctx ends. An answer other than 200 is an error: nothing else counts as taken. next is called by one
// goroutine for each client and returns rendered requests.
func Send(ctx context.Context, address string, clients int, next func(client int) []byte) (*Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	latencies := make([][]time.Duration, clients)
	start := time.Now()
	for c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := send(ctx, address, func() []byte { return next(c) }, &latencies[c]); err != nil {
				cancel(err)
			}
		}()
	}
	wg.Wait()
	r := &Report{Elapsed: time.Since(start), Latencies: slices.Concat(latencies...)}
	r.Requests = len(r.Latencies)
	slices.Sort(r.Latencies)
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return r, err
	}
	return r, nil
}

func send(ctx context.Context, address string, next func() []byte, latencies *[]time.Duration) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // all answers have been read
	in := bufio.NewReader(conn)
	for ctx.Err() == nil {
		request := next()
		if request == nil {
			return nil
		}
		start := time.Now()
		if _, err := conn.Write(request); err != nil {
			return err
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("answer %d: %s", res.StatusCode, body)
		}
		*latencies = append(*latencies, time.Since(start))
	}
	return nil
}
