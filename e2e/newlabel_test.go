// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// TestNewLabelDuringRead: while a read is on its way, before each of its calls to Timestream in turn, series are written that
// differ from one it is about only in a label that the table has never seen. They may be in the result or not, but with
// their labels; never are samples of theirs in a series that is not theirs, or in none of several that were merged.
func TestNewLabelDuringRead(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	p := probe{t, s.URL}
	now := time.Now().UnixMilli()
	value := 0.0
	next := func() float64 { value++; return value } // no two samples have the same
	var known []rw.Series
	for i := range 2500 { // some pages
		known = append(known, rw.New("__name__", "streamed", "job", fmt.Sprintf("%04d", i)).At(now-1000, next()).At(now, next()))
	}
	for part := range slices.Chunk(known, 500) {
		p.accept(rw.V2, part...)
	}

	ms := []*prompb.LabelMatcher{eq("__name__", "streamed"), matcher(prompb.LabelMatcher_NEQ, "job", "")}
	ways := []struct {
		name string
		read func(ctx context.Context) (*prompb.QueryResult, error)
	}{
		{"samples", func(ctx context.Context) (*prompb.QueryResult, error) {
			out, err := promtest.Read(ctx, s.ReadURL(), &prompb.Query{EndTimestampMs: math.MaxInt64, Matchers: ms})
			if err != nil {
				return nil, err
			}
			return out[0], nil
		}},
		{"chunks", func(ctx context.Context) (*prompb.QueryResult, error) { return readInChunks(ctx, s.URL, ms...) }},
		{"query", func(ctx context.Context) (*prompb.QueryResult, error) {
			return readByQuery(ctx, s.URL, now-2000, now+1, ms...)
		}},
	}
	for _, way := range ways {
		calls := math.MaxInt
		for at := 1; at <= calls; at++ {
			id := fmt.Sprintf("fresh_%s_%d", way.name, at)
			fresh := []rw.Series{
				rw.New("__name__", "streamed", "job", "0001", id, "a").At(now-1000, next()).At(now, next()),
				rw.New("__name__", "streamed", "job", "2400", id, "a").At(now-1000, next()).At(now-500, next()),
				rw.New("__name__", "streamed", "job", "2400", id, "b").At(now-500, next()).At(now, next()),
			}
			var seen atomic.Int64
			var busy atomic.Bool
			var failure atomic.Pointer[string]
			s.Timestream.Set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				// The queries of ingest, for the write, do not count.
				if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".Query") && !busy.Load() && int(seen.Add(1)) == at {
					busy.Store(true)
					a, err := rw.Write(t.Context(), s.WriteURL(), rw.V1, fresh...)
					if err != nil || a.Status != http.StatusNoContent {
						text := fmt.Sprintf("%d %s %v", a.Status, a.Text, err)
						failure.Store(&text)
					}
					busy.Store(false)
				}
				next.ServeHTTP(w, r)
			})
			found, err := way.read(t.Context())
			s.Timestream.Set(nil)
			if text := failure.Load(); text != nil {
				t.Fatalf("%s, before call %d: the write: %s", way.name, at, *text)
			}
			if int(seen.Load()) < at { // the read has no so many calls
				calls = at - 1
				if at <= 3 {
					t.Errorf("%s takes %d calls; this test needs several pages", way.name, calls)
				}
				break
			}
			if err != nil {
				t.Errorf("%s, before call %d: %v", way.name, at, err)
				break
			}
			all := append(known[:len(known):len(known)], fresh...)
			got, want := readLines(t, found), map[string]bool{}
			for _, l := range lines(all...) {
				want[l] = true
			}
			for _, l := range got {
				if !want[l] {
					t.Errorf("%s, before call %d: nobody wrote %s", way.name, at, l)
				}
			}
			if lacks := missing(found, known); len(lacks) > 0 {
				t.Errorf("%s, before call %d: %d samples are missing, %s the first", way.name, at, len(lacks), lacks[0])
			}
			known = all
		}
		t.Logf("%s: written before each of %d calls", way.name, calls)
	}
}
