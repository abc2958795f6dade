// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// TestParallelRangeQueries: as many queries as may run at once, each of four selectors that are read in four slices of more rows than
// fit one chunk, in one process with the store, are all answered, and alike.
func TestParallelRangeQueries(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{Direct: true, App: func(c *allinone.Config) { c.Query.Slices, c.Query.SliceMin = 4, 6*time.Hour }})
	p := probe{t, s.URL}
	const count, step = 500, 30 * time.Minute
	end := time.Now().Truncate(time.Minute)
	start := end.Add(-48 * time.Hour)
	var all []rw.Series
	for i := range count {
		one := rw.New("__name__", "parallel_total", "group", strconv.Itoa(i%5), "instance", fmt.Sprintf("host-%03d:9100", i))
		for at := start; !at.After(end); at = at.Add(step) {
			one = one.At(at.UnixMilli(), float64(at.Unix()-start.Unix())*float64(i+1))
		}
		all = append(all, one)
	}
	for part := range slices.Chunk(all, 50) {
		p.accept(rw.V2, part...)
	}

	const expr = `sum by (group) (rate(parallel_total[2h])) / sum by (group) (count_over_time(parallel_total[1h]))` +
		` + max by (group) (increase(parallel_total[2h])) - min by (group) (max_over_time(parallel_total[1h]))`
	target := s.URL + "/api/v1/query_range?" + url.Values{
		"query": {expr}, "step": {"600"}, "start": {strconv.FormatInt(start.Unix(), 10)}, "end": {strconv.FormatInt(end.Unix(), 10)},
	}.Encode()
	const queries = 20
	answers := make([]rw.Answer, queries)
	errs := make([]error, queries)
	var asked sync.WaitGroup
	for i := range queries {
		asked.Go(func() { answers[i], errs[i] = get(t.Context(), target) })
	}
	asked.Wait()
	for i, a := range answers {
		if errs[i] != nil || a.Status != http.StatusOK {
			t.Errorf("query %d: %d %.300s %v", i, a.Status, a.Text, errs[i])
			continue
		}
		if a.Text != answers[0].Text || len(a.Text) < 5*100*10 {
			t.Errorf("query %d: got %d bytes, another %d", i, len(a.Text), len(answers[0].Text))
		}
	}
}
