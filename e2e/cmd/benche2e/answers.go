// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/value"
)

// ask is one question to Prometheus' HTTP API.
type ask struct {
	name string
	path string
	form url.Values
	// items is how many elements the answer has.
	items int
	// times is how often it is asked in a round.
	times int
	// most is the longest time over the wire, ratio the most that the engine may take of what Prometheus' takes when the database
	// is in the same process. 0 is no mark.
	most  time.Duration
	ratio float64
}

// asked is what became of an ask in all rounds, in one system.
type asked struct {
	ask
	system string
	n      int
	bytes  int64
	times  []time.Duration
	// engine is the time that the engine took, by its own account.
	engine []time.Duration
	cpu    time.Duration
}

// listed is how many series there are to list.
const listed = 100_000

// askedHistories are what the systems hold.
func askedHistories() (rate, list history) {
	rate = hour("bench_rate_total", "rate", 1000)
	rate.points += 20 // what rate needs before its first step
	rate.start = rate.start.Add(-20 * rate.step)
	list = hour("bench_listed", "listed", listed)
	list.points, list.start = 1, list.end()
	return rate, list
}

func asks(rate, list history) []ask {
	seconds := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	with := func(pairs ...string) url.Values {
		form := url.Values{"start": {seconds(rate.start)}, "end": {seconds(list.end().Add(time.Minute))}}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		return form
	}
	const quick = 50 * time.Millisecond
	all := url.Values{"query": {"rate(" + rate.name + "[5m])"}, "start": {seconds(rate.end().Add(-time.Hour))}, "end": {seconds(rate.end())}, "step": {"15"}, "stats": {"1"}}
	return []ask{
		{name: "`rate(m[5m])` of 1,000 series, 1 h by 15 s", path: "query_range", form: all, items: rate.series, times: 5, most: 600 * time.Millisecond, ratio: 3},
		{name: "values of a label, 100, whole table", path: "label/job/values", form: with(), items: 100, times: 10, most: quick},
		{name: "values of a label, 1,000, of one metric", path: "label/instance/values", form: with("match[]", list.name), items: 1000, times: 10, most: quick},
		{name: "values of a label, the first 1,000 of 100,000", path: "label/pod/values", form: with("match[]", list.name, "limit", "1000"), items: 1000, times: 10, most: quick},
		{name: "names of labels, of one metric", path: "labels", form: with("match[]", list.name), items: 9, times: 10, most: quick},
		{name: "1,000 series of 100,000, by a label", path: "series", form: with("match[]", list.name+`{job="shop/service-07"}`), items: 1000, times: 10, most: quick},
		{name: "the first 1,000 of 100,000 series", path: "series", form: with("match[]", list.name, "limit", "1000"), items: 1000, times: 10, most: quick},
		{name: "100,000 series", path: "series", form: with("match[]", list.name), items: list.series, times: 2, most: 3 * time.Second},
	}
}

// answering is a system that answers.
type answering struct {
	*system
	name, url string
}

// Names of the systems.
const (
	separateSystem = "gateway, query, timestream-local"
	oneSystem      = "`tributary all`"
	promSystem     = "Prometheus"
)

// measureAnswers asks three systems that hold the same samples, in turns.
func (b *bench) measureAnswers(ctx context.Context) (err error) {
	rate, list := askedHistories()
	var systems []*answering
	defer func() {
		for _, s := range systems {
			err = errors.Join(err, s.stop())
		}
	}()
	for _, start := range []struct {
		name  string
		start func(context.Context, *bench, *system, ...history) (string, error)
	}{{separateSystem, startSeparate}, {oneSystem, startOne}, {promSystem, startYardstick}} {
		fmt.Fprintf(b.progress, "%s, %s: writing what is asked for …\n", promqlScenario, start.name)
		dir, err := os.MkdirTemp("", "benche2e-")
		if err != nil {
			return err
		}
		s := &answering{system: &system{dir: dir}, name: start.name}
		systems = append(systems, s)
		if s.url, err = start.start(ctx, b, s.system, rate, list); err != nil {
			return err
		}
	}
	client := &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	var buffer bytes.Buffer
	for _, a := range asks(rate, list) {
		results := make([]*asked, len(systems))
		var first any
		for i, s := range systems {
			fmt.Fprintf(b.progress, "%s, %s, %s …\n", promqlScenario, a.name, s.name)
			results[i] = &asked{ask: a, system: s.name}
			got, err := s.look(ctx, client, a, &buffer)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", s.name, a.name, err)
			}
			if first == nil {
				first = got
			} else if a.form.Get("limit") == "" && !reflect.DeepEqual(got, first) {
				return fmt.Errorf("%s: %s: another answer than that of %s", s.name, a.name, systems[0].name)
			}
		}
		for range b.rounds {
			for i, s := range systems {
				if err := s.measure(ctx, client, results[i], &buffer); err != nil {
					return fmt.Errorf("%s: %s: %w", s.name, a.name, err)
				}
			}
		}
		b.answers = append(b.answers, results...)
	}
	b.printAnswers()
	return nil
}

func startSeparate(ctx context.Context, b *bench, s *system, groups ...history) (string, error) {
	store, err := b.startStore(ctx, s, groups)
	if err != nil {
		return "", err
	}
	gateway, _, err := s.startReaders(ctx, b, store)
	return gateway, err
}

func startOne(ctx context.Context, b *bench, s *system, groups ...history) (string, error) {
	if err := startAll(ctx, b, s); err != nil {
		return "", err
	}
	return strings.TrimSuffix(s.writeURL, "/api/v1/write"), send(ctx, s.writeURL, groups)
}

func startYardstick(ctx context.Context, b *bench, s *system, groups ...history) (string, error) {
	if err := startPrometheus(ctx, b, s); err != nil {
		return "", err
	}
	return strings.TrimSuffix(s.writeURL, "/api/v1/write"), send(ctx, s.writeURL, groups)
}

// send writes groups, and first a stale marker: in Timestream it makes columns and a statement more for every read.
func send(ctx context.Context, url string, groups []history) error {
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	stale := hour("bench_stale", "other", 1).request(0, 1, 0, 1)
	stale.Timeseries[0].Samples[0].Value = math.Float64frombits(value.StaleNaN)
	if err := post(ctx, client, url, stale); err != nil {
		return err
	}
	for _, g := range groups {
		if err := g.send(ctx, url); err != nil {
			return err
		}
	}
	return nil
}

// get asks once. The answer is in the buffer.
func (s *answering) get(ctx context.Context, client *http.Client, a ask, buffer *bytes.Buffer) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/"+a.path+"?"+a.form.Encode(), nil)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	buffer.Reset()
	_, err = buffer.ReadFrom(res.Body)
	took := time.Since(start)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, buffer.Bytes()[:min(buffer.Len(), 1000)])
	}
	return took, err
}

// look asks once, holds that the answer has as many elements as it should, and returns it.
func (s *answering) look(ctx context.Context, client *http.Client, a ask, buffer *bytes.Buffer) (any, error) {
	if _, err := s.get(ctx, client, a, buffer); err != nil {
		return nil, err
	}
	var answer struct{ Data json.RawMessage }
	if err := json.Unmarshal(buffer.Bytes(), &answer); err != nil {
		return nil, err
	}
	var items []any
	if a.path == "query_range" {
		var data struct{ Result []any }
		if err := json.Unmarshal(answer.Data, &data); err != nil {
			return nil, err
		}
		items = data.Result
	} else if err := json.Unmarshal(answer.Data, &items); err != nil {
		return nil, err
	}
	if len(items) != a.items {
		return nil, fmt.Errorf("%d elements, want %d", len(items), a.items)
	}
	// A listing of series may come in any order.
	if a.path == "series" {
		slices.SortFunc(items, func(x, y any) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
	}
	return items, nil
}

// measure asks as often as is wanted in a round.
func (s *answering) measure(ctx context.Context, client *http.Client, r *asked, buffer *bytes.Buffer) error {
	before, err := s.readCosts()
	if err != nil {
		return err
	}
	for range r.ask.times {
		took, err := s.get(ctx, client, r.ask, buffer)
		if err != nil {
			return err
		}
		r.n++
		r.times = append(r.times, took)
		r.bytes = int64(buffer.Len())
		if engine, ok := engineTime(buffer.Bytes()); ok {
			r.engine = append(r.engine, engine)
		}
	}
	after, err := s.readCosts()
	if err != nil {
		return err
	}
	for i := range s.processes {
		r.cpu += after.cpu[i] - before.cpu[i]
	}
	return nil
}

// engineTime finds what the engine says that it took.
func engineTime(answer []byte) (time.Duration, bool) {
	_, rest, ok := bytes.Cut(answer[max(0, len(answer)-4096):], []byte(`"execTotalTime":`))
	if !ok {
		return 0, false
	}
	end := bytes.IndexAny(rest, ",}")
	if end < 0 {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(string(rest[:end]), 64)
	return time.Duration(seconds * float64(time.Second)), err == nil
}

// answer finds what became of an ask in a system; nil when it was not measured.
func (b *bench) answer(name, system string) *asked {
	for _, r := range b.answers {
		if r.name == name && r.system == system {
			return r
		}
	}
	return nil
}

func (b *bench) printAnswers() {
	var rows [][]string
	for _, r := range b.answers {
		yardstick := b.answer(r.name, promSystem)
		engine, ratio := none, none
		if len(r.engine) > 0 {
			engine = milliseconds(median(r.engine))
			ratio = fmt.Sprintf("%.2f", median(r.engine).Seconds()/median(yardstick.engine).Seconds())
		}
		rows = append(rows, []string{
			r.name, r.system, milliseconds(median(r.times)), milliseconds(slices.Max(r.times)), fmt.Sprintf("%.2f", median(r.times).Seconds()/median(yardstick.times).Seconds()),
			engine, ratio, fmt.Sprintf("%.1f", r.cpu.Seconds()*1000/float64(r.n)), thousands(float64(r.bytes) / 1024),
		})
	}
	b.out.table("Prometheus' API", []string{"what is asked", ".of", "median ms", "worst", "of Prometheus", "engine ms", "of Prometheus' engine", "CPU ms", "answer KiB"}, rows)
}
