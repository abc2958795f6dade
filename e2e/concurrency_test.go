// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage/remote"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// acknowledged is what writers know to be stored.
type acknowledged struct {
	mu     sync.Mutex
	series []rw.Series
}

func (a *acknowledged) add(s ...rw.Series) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.series = append(a.series, s...)
}

// now returns what is known at this moment; it must not be changed.
func (a *acknowledged) now() []rw.Series {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.series[:len(a.series):len(a.series)]
}

// missing returns the samples of want that found lacks.
func missing(found *prompb.QueryResult, want []rw.Series) []string {
	have := map[string]bool{}
	for _, s := range found.Timeseries {
		var ls []rw.Label
		for _, l := range s.Labels {
			ls = append(ls, rw.Label{Name: l.Name, Value: l.Value})
		}
		for _, x := range s.Samples {
			have[line(ls, x.Timestamp, x.Value)] = true
		}
	}
	return slices.DeleteFunc(lines(want...), func(l string) bool { return have[l] })
}

// TestAcknowledgedIsVisible: a sample that was acknowledged is in every read that begins afterwards, with all its labels,
// while writers in parallel bring labels and metrics that the table has never seen, in every form in which a sample is
// stored. Reads go to the gateway that took the samples and to another one over the same store, by remote read in both
// types of answer and by an instant query of a range.
func TestAcknowledgedIsVisible(t *testing.T) {
	t.Parallel()
	first := system.Start(t, system.Options{})
	second := replica(t, first, func(c *allinone.Config) { c.Ingest.MaxLabelColumns = 20 })
	const writers, readers, rounds = 4, 3, 10
	now := time.Now().UnixMilli()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var known acknowledged
	var writing, reading sync.WaitGroup
	var reads atomic.Int64
	done := make(chan struct{})

	// Each read takes another way out.
	var turn atomic.Int64
	read := func(url string, ms ...*prompb.LabelMatcher) (*prompb.QueryResult, error) {
		switch turn.Add(1) % 3 {
		case 0:
			return readInChunks(ctx, url, ms...)
		case 1:
			return readByQuery(ctx, url, now, now+rounds, ms...)
		}
		results, err := promtest.Read(ctx, url+"/api/v1/read", &prompb.Query{EndTimestampMs: math.MaxInt64, Matchers: ms})
		if err != nil {
			return nil, err
		}
		return results[0], nil
	}
	// own writes series and reads each of them back at once by what is new about it.
	own := func(w, round int) error {
		id := fmt.Sprintf("%d_%d", w, round)
		at := now + int64(round)
		request := []rw.Series{
			rw.New("__name__", "fresh_"+id, "writer", strconv.Itoa(w)).At(at, 1),                             // a new metric
			rw.New("__name__", "shared", "writer", strconv.Itoa(w), "fresh_"+id, "x").At(at, 2),              // a new label of a known metric
			rw.New("__name__", "shared", "writer", strconv.Itoa(w)).At(at, 3),                                // as before, without it
			rw.New("__name__", "shared", "writer", strconv.Itoa(w), "label_"+id, "x").At(at, 4),              // a new packed label
			rw.New("__name__", "shared", "writer", strconv.Itoa(w), "special", id).At(at, math.NaN()),        // a value of the extension
			rw.New("__name__", "fresh--"+id, "writer", strconv.Itoa(w)).At(at, 5),                            // a name of the extension
			rw.New("__name__", "fresh:"+id, "writer", strconv.Itoa(w), "also_"+id, `"`).At(at, math.Inf(-1)), // and a new label there
		}
		url := []string{first.URL, second}[round%2]
		a, err := rw.Write(ctx, url+"/api/v1/write", protocols()[w%2], request...)
		if err != nil {
			return err
		}
		if a.Status != http.StatusNoContent {
			return fmt.Errorf("write: %d %s", a.Status, a.Text)
		}
		known.add(request...)
		for i, ms := range [][]*prompb.LabelMatcher{
			{eq("__name__", "fresh_"+id)},
			{eq("fresh_"+id, "x")},
			{eq("__name__", "shared"), eq("writer", strconv.Itoa(w))},
			{eq("__name__", "shared"), re("label_"+id, ".+")},
			{re("__name__", "sha.*"), eq("special", id)},
			{re("__name__", "fresh.*"+id), matcher(prompb.LabelMatcher_NEQ, "writer", "")},
			{matcher(prompb.LabelMatcher_NEQ, "also_"+id, "")},
		} {
			if i%2 != round%2 { // some of them each time
				continue
			}
			found, err := read([]string{first.URL, second}[i/2%2], ms...)
			if err != nil {
				return err
			}
			if lacks := missing(found, request[i:i+1]); len(lacks) > 0 {
				return fmt.Errorf("%s does not find what was acknowledged before: %s", show(ms), lacks[0])
			}
		}
		return nil
	}
	for w := range writers {
		writing.Go(func() {
			for round := range rounds {
				if err := own(w, round); err != nil {
					t.Errorf("writer %d, round %d: %v", w, round, err)
					return
				}
			}
		})
	}
	for r := range readers {
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				want := known.now()
				ms := [][]*prompb.LabelMatcher{{re("__name__", ".+")}, {matcher(prompb.LabelMatcher_NEQ, "writer", "")}, {matcher(prompb.LabelMatcher_NEQ, "none", "x"), re("__name__", "fresh.*|shared")}}[r%3]
				found, err := read([]string{first.URL, second}[r%2], ms...)
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("reader %d: %v", r, err)
					}
					return
				}
				if lacks := missing(found, want); len(lacks) > 0 {
					t.Errorf("reader %d: %d samples that were acknowledged before are missing, %s the first", r, len(lacks), lacks[0])
					return
				}
				// And nothing that nobody wrote: two series merged would show here.
				readLines(t, found)
				reads.Add(1)
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d reads beside %d writes", reads.Load(), writers*rounds)
	for _, url := range []string{first.URL, second} {
		p := probe{t, url}
		p.same(p.read(re("__name__", ".+")), known.now()...)
	}
}

// readInChunks reads floats by remote read, in chunks, with Prometheus' own client.
func readInChunks(ctx context.Context, base string, ms ...*prompb.LabelMatcher) (*prompb.QueryResult, error) {
	u, err := url.Parse(base + "/api/v1/read")
	if err != nil {
		return nil, err
	}
	client, err := remote.NewReadClient("test", &remote.ClientConfig{
		URL: &config_util.URL{URL: u}, Timeout: model.Duration(time.Minute), ChunkedReadLimit: 5e7,
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{prompb.ReadRequest_STREAMED_XOR_CHUNKS},
	}, config_util.WithKeepAlivesDisabled())
	if err != nil {
		return nil, err
	}
	set, err := client.Read(ctx, &prompb.Query{EndTimestampMs: math.MaxInt64, Matchers: ms}, false)
	if err != nil {
		return nil, err
	}
	out, _, err := remote.ToQueryResult(set, 0)
	return out, err
}

// readByQuery reads floats by an instant query of a range. NaN comes back as any NaN: here as the one that is written here.
func readByQuery(ctx context.Context, base string, fromMs, toMs int64, ms ...*prompb.LabelMatcher) (*prompb.QueryResult, error) {
	form := url.Values{"query": {fmt.Sprintf("%s[%dms]", selectorText(ms), toMs-fromMs+1)}, "time": {strconv.FormatFloat(float64(toMs)/1000, 'f', 3, 64)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/query", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := rw.Do(req)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Data struct {
			Result []struct {
				Metric labels.Labels      `json:"metric"`
				Values []model.SamplePair `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(answer.Text), &parsed); err != nil || answer.Status != http.StatusOK {
		return nil, fmt.Errorf("%s: %d %.500s (%w)", form, answer.Status, answer.Text, err)
	}
	out := new(prompb.QueryResult)
	for _, s := range parsed.Data.Result {
		one := &prompb.TimeSeries{Labels: prompb.FromLabels(s.Metric, nil)}
		for _, x := range s.Values {
			one.Samples = append(one.Samples, prompb.Sample{Timestamp: int64(x.Timestamp), Value: float64(x.Value)})
		}
		out.Timeseries = append(out.Timeseries, one)
	}
	return out, nil
}

// TestSameSeriesFromMany: senders that write the same samples at the same time, as two Prometheus of a pair or a retry do,
// leave each of them once and all get a success; where values differ exactly one of them is stored and the others learn it.
func TestSameSeriesFromMany(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	p := probe{t, s.URL}
	const senders, rounds = 6, 10
	now := time.Now().UnixMilli()
	for round := range int64(rounds) {
		same := rw.New("__name__", "same", "instance", "i")
		for i := range int64(20) {
			same = same.At(now+round*100+i, float64(i))
		}
		answers := make([]rw.Answer, senders)
		var wg sync.WaitGroup
		for n := range senders {
			wg.Go(func() {
				var err error
				other := rw.New("__name__", "differs", "round", strconv.FormatInt(round, 10)).At(now, float64(n))
				if answers[n], err = rw.Write(t.Context(), s.WriteURL(), rw.V2, same, other); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		won := 0
		for n, a := range answers {
			switch {
			case a.Status == http.StatusNoContent && a.Written() == "21 0 0":
				won++
				p.same(p.read(eq("round", strconv.FormatInt(round, 10))), rw.New("__name__", "differs", "round", strconv.FormatInt(round, 10)).At(now, float64(n)))
			case a.Status == http.StatusBadRequest && a.Written() == "20 0 0":
			default:
				t.Errorf("sender %d: got %d, written %s: %s", n, a.Status, a.Written(), a.Text)
			}
		}
		if won != 1 {
			t.Errorf("%d senders of different values were told that theirs is stored, want 1", won)
		}
		p.same(p.readRange(now+round*100, now+round*100+99, eq("__name__", "same")), same)
	}
}
