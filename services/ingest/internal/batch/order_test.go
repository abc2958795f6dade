// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tributary-project/tributary/services/ingest/internal/ingesttest"
	"github.com/tributary-project/tributary/timestream"
	"github.com/tributary-project/tributary/timestream/metering"
)

// meteredOf is what our order and split of a request cost, in bytes as Timestream meters them, and the number of calls.
func meteredOf(o *Order, items []Item) (bytes, calls int) {
	var b Builder
	items = slices.Clone(items)
	for i := range items {
		items[i].key = items[i].Series.sortKey(o)
	}
	batches, _ := Split(new(Sorter).Sort(items), nil)
	for _, batch := range batches {
		bytes += b.Plan(batch)
	}
	return bytes, len(batches)
}

// TestOrderIsNearTheBest compares what requests cost with the best of many orders that take no account of time: sorted by every
// label first, by every two, put together record by record at the least cost, and improved by exchanging records.
func TestOrderIsNearTheBest(t *testing.T) {
	for name, request := range requests(t) {
		t.Run(name, func(t *testing.T) {
			first, _ := meteredOf(order, request)
			learned := order.Learn(request)
			if learned != order && learned.version == order.version {
				t.Error("two orders of one version")
			}
			got, calls := meteredOf(learned, request)
			best, how := bestOrder(learned, request)
			t.Logf("%d records: %d bytes at first, %d in %d calls by %s; the best order found (%s) has %d in %d: %.3f times", len(request), first, got, calls, learned, how, best, (len(request)+99)/100, float64(got)/float64(best))
			if float64(got) > 1.10*float64(best) {
				t.Errorf("%d bytes, the best order found (%s) has %d", got, how, best)
			}
		})
	}
}

// requests are of 2,000 records, as different senders fill them.
func requests(t testing.TB) map[string][]Item {
	t.Helper()
	const n = 2000
	out := map[string][]Item{}
	items := func(sets [][]labels.Label) []Item {
		var all []Item
		for i, ls := range sets {
			all = append(all, NewItem(newSeries(t, ls), order, 1_700_000_000_000+int64(i%7), float64(i), i))
		}
		return all
	}
	// The series of a target spread over many requests, as the shards of a Prometheus do.
	var spread [][]labels.Label
	for _, s := range ingesttest.Load(10_000, n, 1) {
		spread = append(spread, s.Labels)
	}
	out["targets spread over requests"] = items(spread)
	var whole [][]labels.Label
	for i := range n {
		target, metric := i/400, i%400
		whole = append(whole, ingesttest.L("__name__", fmt.Sprintf("metric_%d_total", metric/4), "job", "api", "instance", fmt.Sprintf("10.0.0.%d:9090", target),
			"namespace", "shop", "pod", fmt.Sprintf("api-6d4cf56db6-%05d", target), "code", fmt.Sprint(200+metric%4)))
	}
	out["whole targets"] = items(whole)
	var nodes [][]labels.Label
	for i := range n {
		nodes = append(nodes, ingesttest.L("__name__", "node_cpu_seconds_total", "job", "node", "instance", fmt.Sprintf("node-%03d:9100", i/64), "cpu", fmt.Sprint(i%8), "mode", []string{"idle", "user", "system", "iowait", "irq", "nice", "softirq", "steal"}[i/8%8]))
	}
	out["one metric of many nodes"] = items(nodes)
	var services [][]labels.Label
	for i := range n {
		host := i % 125
		services = append(services, ingesttest.L("__name__", fmt.Sprintf("http.server.duration_%d", i/125), "service_name", fmt.Sprintf("checkout-%d", host/5), "service_namespace", "shop", "service_instance_id", fmt.Sprintf("627cc493-f310-47de-96bd-%012d", host),
			"http_route", fmt.Sprintf("/api/%d", i/125), "host_name", fmt.Sprintf("ip-10-0-0-%d", host/5)))
	}
	out["OpenTelemetry services"] = items(services)
	var state [][]labels.Label
	for i := range n {
		pod := i / 4
		state = append(state, ingesttest.L("__name__", []string{"kube_pod_info", "kube_pod_status_phase", "kube_pod_owner", "kube_pod_created"}[i%4], "job", "kube-state-metrics", "instance", "10.1.2.3:8080",
			"namespace", fmt.Sprintf("team-%d", pod%12), "pod", fmt.Sprintf("svc-%d-%08x", pod%40, pod*7919), "uid", fmt.Sprintf("%08x-0000-4000-8000-%012x", pod, pod)))
	}
	out["kube-state-metrics"] = items(state)
	var few [][]labels.Label
	r := rand.New(rand.NewPCG(5, 6))
	for range n {
		few = append(few, ingesttest.L("__name__", fmt.Sprintf("m%d", r.IntN(300)), "job", fmt.Sprintf("job-%d", r.IntN(5)), "instance", fmt.Sprintf("host-%d:80", r.IntN(40)), "x", fmt.Sprint(r.IntN(1000))))
	}
	out["at random"] = items(few)
	return out
}

// record is what of an item counts: its pairs with their sizes, the measure name among them.
type record struct {
	pairs []int
	alone int // bytes by itself, its time apart
	time  int64
	item  *Item
}

type search struct {
	records []record
	size    []int // of each pair
}

func newSearch(items []Item) *search {
	s := &search{}
	ids := map[string]int{}
	id := func(key string, size int) int {
		i, have := ids[key]
		if !have {
			i = len(s.size)
			ids[key] = i
			s.size = append(s.size, size)
		}
		return i
	}
	for i := range items {
		it := &items[i]
		rec := record{time: it.TimeMs, item: it, alone: metering.NumberBytes}
		rec.pairs = append(rec.pairs, id("measure "+it.id.measure, len(it.id.measure)))
		for _, p := range it.id.pairs {
			d := p.Value().Dimension
			rec.pairs = append(rec.pairs, id(d.Name+"\xff"+d.Value, len(d.Name)+len(d.Value)))
		}
		for _, p := range rec.pairs {
			rec.alone += s.size[p]
		}
		s.records = append(s.records, rec)
	}
	return s
}

// cost is that of one batch.
func (s *search) cost(batch []int) int {
	count := map[int]int{}
	times := map[int64]bool{}
	sum := 0
	for _, i := range batch {
		sum += s.records[i].alone
		times[s.records[i].time] = true
		for _, p := range s.records[i].pairs {
			count[p]++
		}
	}
	for p, n := range count {
		if n == len(batch) {
			sum -= (n - 1) * s.size[p]
		}
	}
	if len(times) == 1 {
		return sum + metering.TimeBytes
	}
	return sum + metering.TimeBytes*len(batch)
}

func (s *search) total(batches [][]int) int {
	sum := 0
	for _, b := range batches {
		sum += s.cost(b)
	}
	return sum
}

func cut(sequence []int) [][]int {
	return slices.Collect(slices.Chunk(sequence, timestream.MaxRecordsPerWrite))
}

func bestOrder(learned *Order, items []Item) (bytes int, how string) {
	s := newSearch(items)
	best, bestBytes := [][]int(nil), math.MaxInt
	try := func(name string, batches [][]int) {
		if n := s.total(batches); n < bestBytes {
			best, bestBytes, how = batches, n, name
		}
	}
	var names []string
	value := make([]map[string]string, len(items))
	for i := range items {
		value[i] = map[string]string{}
		for _, l := range items[i].Series.Labels() {
			value[i][l.Name] = l.Value
			if !slices.Contains(names, l.Name) {
				names = append(names, l.Name)
			}
		}
	}
	for _, a := range names {
		for _, b := range names {
			by := identityOrder(len(items))
			slices.SortStableFunc(by, func(x, y int) int {
				for _, n := range [...]string{a, b} {
					if d := strings.Compare(value[x][n], value[y][n]); d != 0 {
						return d
					}
				}
				return 0
			})
			try(fmt.Sprintf("by %s, %s", a, b), cut(by))
		}
	}
	try("record by record", s.greedy())
	try(how+", exchanged", s.exchange(best, 200_000))
	try("our batches, exchanged", s.exchange(ourBatches(s, learned, items), 200_000))
	return bestBytes, how
}

func identityOrder(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func ourBatches(s *search, o *Order, items []Item) (out [][]int) {
	at := map[string]int{}
	for i := range s.records {
		at[fmt.Sprint(s.records[i].item.Series.key, s.records[i].time)] = i
	}
	items = slices.Clone(items)
	for i := range items {
		items[i].key = items[i].Series.sortKey(o)
	}
	batches, _ := Split(new(Sorter).Sort(items), nil)
	for _, batch := range batches {
		var b []int
		for _, it := range batch {
			b = append(b, at[fmt.Sprint(it.Series.key, it.TimeMs)])
		}
		out = append(out, b)
	}
	return out
}

// greedy fills one batch after the other with the record that adds least to it.
func (s *search) greedy() [][]int {
	left := identityOrder(len(s.records))
	var out [][]int
	for len(left) > 0 {
		batch := []int{left[0]}
		left = left[1:]
		common := map[int]bool{}
		bytes := 0
		for _, p := range s.records[batch[0]].pairs {
			common[p] = true
			bytes += s.size[p]
		}
		for len(batch) < timestream.MaxRecordsPerWrite && len(left) > 0 {
			bestAt, bestCost, bestShared := -1, math.MaxInt, 0
			for i, r := range left {
				shared := 0
				for _, p := range s.records[r].pairs {
					if common[p] {
						shared += s.size[p]
					}
				}
				// What the others lose by it, and what it brings itself.
				if cost := (bytes-shared)*len(batch) + s.records[r].alone - shared; cost < bestCost {
					bestAt, bestCost, bestShared = i, cost, shared
				}
			}
			r := left[bestAt]
			left = slices.Delete(left, bestAt, bestAt+1)
			if bestShared != bytes {
				has := map[int]bool{}
				for _, p := range s.records[r].pairs {
					has[p] = true
				}
				for p := range common {
					if !has[p] {
						delete(common, p)
					}
				}
				bytes = bestShared
			}
			batch = append(batch, r)
		}
		out = append(out, batch)
	}
	return out
}

// exchange swaps records between batches as long as that helps, and at first now and then when it does not.
func (s *search) exchange(batches [][]int, rounds int) [][]int {
	r := rand.New(rand.NewPCG(7, 8))
	now := make([][]int, len(batches))
	counts := make([]map[int]int, len(batches))
	saved := make([]int, len(batches))
	sharedBytes := func(b int, without, with int) int {
		n := len(now[b])
		sum := 0
		for _, p := range s.records[with].pairs {
			c := counts[b][p]
			if without != with {
				c++
				if slices.Contains(s.records[without].pairs, p) {
					c--
				}
			}
			if c == n {
				sum += s.size[p]
			}
		}
		return sum * (n - 1)
	}
	for b := range batches {
		now[b] = slices.Clone(batches[b])
		counts[b] = map[int]int{}
		for _, i := range now[b] {
			for _, p := range s.records[i].pairs {
				counts[b][p]++
			}
		}
		saved[b] = sharedBytes(b, now[b][0], now[b][0])
	}
	if len(now) < 2 {
		return now
	}
	for round := range rounds {
		a, b := r.IntN(len(now)), r.IntN(len(now))
		if a == b {
			continue
		}
		i, j := r.IntN(len(now[a])), r.IntN(len(now[b]))
		x, y := now[a][i], now[b][j]
		newA, newB := sharedBytes(a, x, y), sharedBytes(b, y, x)
		gain := newA + newB - saved[a] - saved[b]
		temperature := 200 * (1 - float64(round)/float64(rounds))
		if gain < 0 && r.Float64() >= math.Exp(float64(gain)/(temperature+1e-9)) {
			continue
		}
		now[a][i], now[b][j] = y, x
		for _, p := range s.records[x].pairs {
			counts[a][p]--
			counts[b][p]++
		}
		for _, p := range s.records[y].pairs {
			counts[b][p]--
			counts[a][p]++
		}
		saved[a], saved[b] = newA, newB
	}
	return now
}
