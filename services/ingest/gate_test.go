// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
)

func TestGate(t *testing.T) {
	cfg := quick()
	cfg.MaxInFlightRequests = 1
	r := newRig(t, cfg)
	inside, release := make(chan struct{}), make(chan struct{})
	r.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
		close(inside)
		<-release
		return ingesttest.Reply{}
	})
	var wg sync.WaitGroup
	wg.Go(func() { r.write(t, request(t, rw2, sample("__name__", "m"))) })
	<-inside
	_, err := r.client.Write(context.Background(), request(t, rw2, sample("__name__", "m")))
	if status.Code(err) != codes.ResourceExhausted || reason(err) != ReasonOverloaded || !strings.Contains(err.Error(), "--ingest.max-inflight-requests") {
		t.Errorf("got %v", err)
	}
	close(release)
	wg.Wait()
	r.OnWrite(nil)
	r.write(t, request(t, rw2, sample("__name__", "m")))
	if n := r.service.gate.Requests() + r.service.gate.Bytes(); n != 0 {
		t.Errorf("%d requests and bytes are still counted", n)
	}
}

// TestFairness: a caller that holds all it may does not keep out another, whatever names the two.
func TestFairness(t *testing.T) {
	cfg := quick()
	cfg.MaxInFlightRequests = 4
	cfg.MaxInFlightWrites = 4
	for _, tt := range []struct{ name, flood, quiet string }{
		{"by caller id", "flood", "quiet"},
		{"by address and caller id", "", "quiet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, cfg)
			write := func(caller string, name string) error {
				req := request(t, rw2, sample("__name__", name))
				req.CallerId = caller
				_, err := r.client.Write(context.Background(), req)
				return err
			}
			if err := write(tt.quiet, "first"); err != nil { // from here on the gate knows it
				t.Fatal(err)
			}
			inside, release := make(chan struct{}, 4), make(chan struct{})
			r.OnWrite(func(ingesttest.WriteCall, []ingesttest.Record) ingesttest.Reply {
				inside <- struct{}{}
				<-release
				return ingesttest.Reply{}
			})
			var wg sync.WaitGroup
			for i := range 2 {
				wg.Go(func() {
					if err := write(tt.flood, fmt.Sprint("flood", i)); err != nil {
						t.Error(err)
					}
				})
				for r.service.gate.Requests() != int64(i+1) {
					time.Sleep(time.Millisecond) // polling a condition
				}
			}
			if err := write(tt.flood, "more"); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "this caller's share is 2") {
				t.Errorf("got %v, want the share to bind", err)
			}
			wg.Go(func() {
				if err := write(tt.quiet, "second"); err != nil {
					t.Errorf("the quiet caller is kept out: %v", err)
				}
			})
			for r.service.gate.Requests() != 3 {
				time.Sleep(time.Millisecond) // polling a condition
			}
			<-inside
			close(release)
			wg.Wait()
			if n := r.service.gate.Requests() + r.service.gate.Bytes(); n != 0 {
				t.Errorf("%d requests and bytes are still counted", n)
			}
		})
	}
}
