// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/promschema"
)

// ledgerFaults are what the store suffers meanwhile.
const ledgerFaults = "throttle=0.08,error=0.08,unavailable=0.05,cut=0.05,invalid-endpoint=0.02,lost-answer=0.12,write.validation=0.02,reject=0.05,late=0.1,write.latency=0s..8ms"

// TestLedger sends random requests, good and bad entries of every kind in each, from several senders at once to a store that
// fails in every way, each request until it is not deferred any more. Every answer's ledger has to balance; the totals
// have to be the sums of the answers; and in the end what was acknowledged is there to the bit, and nothing else is. The seed repeats the
// requests and the sequence of faults of an earlier run; which fault meets which call depends on the order in which calls arrive.
func TestLedger(t *testing.T) {
	t.Parallel()
	seed := newSeed(t)
	for _, c := range []struct {
		name string
		send []func(*ledgerRun, *ledgerRequest) (ledgerAnswer, error)
	}{
		// With the whole ledger in each answer.
		{"JSON", []func(*ledgerRun, *ledgerRequest) (ledgerAnswer, error){(*ledgerRun).sendJSON, (*ledgerRun).sendJSON, (*ledgerRun).sendJSON, (*ledgerRun).sendJSON}},
		// As Prometheus does, that is told less.
		{"remote write", []func(*ledgerRun, *ledgerRequest) (ledgerAnswer, error){(*ledgerRun).sendRemoteWrite, (*ledgerRun).sendRemoteWrite, (*ledgerRun).sendRemoteWrite, (*ledgerRun).sendRemoteWrite}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := time.Now().UnixMilli()
			dir := t.TempDir()
			prepareContested(t, dir, now)
			l := &ledgerRun{
				T: t, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(c.send)}, Timeout: time.Minute},
				System: system.Start(t, system.Options{
					Store: func(l *local.Config) { l.Dir = dir },
					App: func(a *allinone.Config) { // so that failures get through to the senders
						a.Ingest.WriteRetries, a.Ingest.MinBackoff, a.Ingest.MaxBackoff = 1, time.Millisecond, 2*time.Millisecond
					},
				}),
				sent: map[string]uint64{}, totals: map[string]uint64{}, rejected: map[[2]string]uint64{},
			}
			t.Cleanup(l.client.CloseIdleConnections)
			const requests = 10
			var makers []*requestMaker
			for n := range c.send {
				makers = append(makers, newRequestMaker(generator{rand.New(rand.NewPCG(seed, uint64(n)))}, n, now))
			}
			round := func(count int) {
				var senders sync.WaitGroup
				for n, send := range c.send {
					senders.Go(func() {
						for i := range count {
							r := makers[n].next(protocols()[(n+i)%2])
							if err := l.deliver(r, send); err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
				senders.Wait()
			}
			if err := l.Faults.Set(fmt.Sprintf("%s,seed=%d", ledgerFaults, seed)); err != nil {
				t.Fatal(err)
			}
			round(requests)
			if l.attempts == len(l.delivered) {
				t.Error("no request had to be sent again: the faults are too few")
			}
			if err := l.Faults.Set(""); err != nil {
				t.Fatal(err)
			}
			l.calm = true
			round(2)
			if t.Failed() {
				return
			}
			l.checkTotals()
			l.checkStore(now)
			t.Logf("%d requests in %d attempts: %v, rejected %v", len(l.delivered), l.attempts, l.totals, l.rejected)
		})
	}
}

// prepareContested gives the table the columns of the contested series before anything reads which there are.
func prepareContested(t *testing.T, dir string, nowMs int64) {
	t.Helper()
	cfg := local.DefaultConfig()
	cfg.Dir = dir
	db, err := local.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := contestedSeries(0)
	r := types.Record{MeasureName: aws.String("contested"), MeasureValue: aws.String("0"), Time: aws.String(strconv.FormatInt(nowMs-1_000_000, 10))}
	for _, l := range s.Labels[1:] {
		r.Dimensions = append(r.Dimensions, types.Dimension{Name: aws.String(l.Name), Value: aws.String(l.Value)})
	}
	if _, err := db.WriteRecords(t.Context(), &timestreamwrite.WriteRecordsInput{DatabaseName: &cfg.DefaultDatabase, TableName: &cfg.DefaultTable, Records: []types.Record{r}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// ledgerAnswer is what a sender learns from one attempt.
type ledgerAnswer struct {
	status     int
	retryAfter string
	text       string
	// ledger, by kind, and the rejections in it, by kind and reason; nil where the answer has none.
	ledger   map[string]*ingestv1.Counts
	rejected map[[2]string]uint64
	deferred string
	// written are the counts of the headers, by kind; nil where the answer has none.
	written map[string]uint64
}

// delivery is a request and its last answer.
type delivery struct {
	*ledgerRequest
	ledgerAnswer
	attempts int
}

// ledgerRun is one run of the test.
type ledgerRun struct {
	*testing.T
	*system.System
	client *http.Client
	// calm tells that there are no faults.
	calm bool

	mu        sync.Mutex
	attempts  int
	delivered []delivery
	// Sums over all attempts: what was sent, by kind; the outcomes, by "kind outcome"; rejections by kind and reason.
	sent, totals map[string]uint64
	rejected     map[[2]string]uint64
}

// sendJSON sends through the JSON mapping of the service, whose answer is the whole account.
func (l *ledgerRun) sendJSON(r *ledgerRequest) (a ledgerAnswer, err error) {
	kind := ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V1
	if r.protocol == rw.V2 {
		kind = ingestv1.MessageType_MESSAGE_TYPE_REMOTE_WRITE_V2
	}
	body, err := protojson.Marshal(&ingestv1.WriteRequest{MessageType: kind, Encoding: ingestv1.Encoding_ENCODING_SNAPPY, Payload: snappy.Encode(nil, r.message)})
	if err != nil {
		return a, err
	}
	res, err := l.post("/api/tributary/v1/write", "application/json", body, nil)
	if err != nil {
		return a, err
	}
	a = ledgerAnswer{status: res.Status, retryAfter: res.Header.Get("Retry-After"), text: res.Text, ledger: map[string]*ingestv1.Counts{}, rejected: map[[2]string]uint64{}}
	var out ingestv1.WriteResponse
	if err := protojson.Unmarshal([]byte(res.Text), &out); err != nil {
		return a, fmt.Errorf("status %d, %s: %w", res.Status, res.Text, err)
	}
	if out.GetLedger() == nil {
		return a, fmt.Errorf("status %d without a ledger: %s", res.Status, res.Text)
	}
	c := out.GetLedger()
	a.ledger = map[string]*ingestv1.Counts{kindSamples: c.GetSamples(), kindHistograms: c.GetHistograms(), kindExemplars: c.GetExemplars(), kindMetadata: c.GetMetadata(), kindStarts: c.GetStartTimestamps()}
	a.deferred = out.GetDeferredReason()
	for _, x := range out.GetRejections() {
		a.rejected[[2]string{x.GetKind(), x.GetReason()}] += x.GetCount()
	}
	return a, nil
}

// sendRemoteWrite sends as Prometheus does.
func (l *ledgerRun) sendRemoteWrite(r *ledgerRequest) (a ledgerAnswer, err error) {
	res, err := l.post("/api/v1/write", r.protocol.ContentType(), snappy.Encode(nil, r.message), http.Header{"Content-Encoding": {"snappy"}})
	if err != nil {
		return a, err
	}
	a = ledgerAnswer{status: res.Status, retryAfter: res.Header.Get("Retry-After"), text: res.Text}
	words := strings.Fields(res.Written())
	if r.protocol == rw.V1 {
		if res.Written() != "- - -" {
			return a, fmt.Errorf("an answer to 1.0 says what was written: %s", res.Written())
		}
		return a, nil
	}
	a.written = map[string]uint64{}
	for i, kind := range []string{kindSamples, kindHistograms, kindExemplars} {
		if a.written[kind], err = strconv.ParseUint(words[i], 10, 64); err != nil {
			return a, fmt.Errorf("written: %s", res.Written())
		}
	}
	return a, nil
}

func (l *ledgerRun) post(path, contentType string, body []byte, header http.Header) (rw.Answer, error) {
	req, err := http.NewRequestWithContext(l.Context(), http.MethodPost, l.URL+path, bytes.NewReader(body))
	if err != nil {
		return rw.Answer{}, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", contentType)
	res, err := l.client.Do(req)
	if err != nil {
		return rw.Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return rw.Answer{Status: res.StatusCode, Header: res.Header, Text: string(text)}, err
}

// deliver sends a request until its answer is final, as a sender does, and checks every answer. It waits less than
// Retry-After asks.
func (l *ledgerRun) deliver(r *ledgerRequest, send func(*ledgerRun, *ledgerRequest) (ledgerAnswer, error)) error {
	for attempt := 1; attempt <= 200; attempt++ {
		a, err := send(l, r)
		if err == nil {
			err = l.checkAnswer(r, a)
		}
		if err != nil {
			return fmt.Errorf("attempt %d: %w", attempt, err)
		}
		l.count(r, a)
		if a.status != http.StatusServiceUnavailable {
			l.mu.Lock()
			l.delivered = append(l.delivered, delivery{r, a, attempt})
			l.mu.Unlock()
			return nil
		}
		if l.calm {
			return fmt.Errorf("deferred without a fault: %s", a.text)
		}
		timer := time.NewTimer(time.Duration(1+rand.IntN(5)) * time.Millisecond)
		select {
		case <-timer.C:
		case <-l.Context().Done():
			return context.Cause(l.Context())
		}
	}
	return fmt.Errorf("deferred for ever")
}

// count adds an attempt to the sums.
func (l *ledgerRun) count(r *ledgerRequest, a ledgerAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts++
	for kind, n := range r.sent {
		l.sent[kind] += n
	}
	for kind, c := range a.ledger {
		for outcome, n := range map[string]uint64{"stored": c.GetStored(), "duplicate": c.GetDuplicate(), "rejected": c.GetRejected(), "deferred": c.GetDeferred(), "late": c.GetStoredLate()} {
			l.totals[kind+" "+outcome] += n
		}
	}
	for kind, n := range a.written {
		l.totals[kind+" written"] += n
	}
	for reason, n := range a.rejected {
		l.rejected[reason] += n
	}
}

// checkAnswer checks what has to hold in every answer.
func (l *ledgerRun) checkAnswer(r *ledgerRequest, a ledgerAnswer) error {
	again := a.status == http.StatusServiceUnavailable
	switch a.status {
	case http.StatusOK, http.StatusNoContent, http.StatusBadRequest:
	case http.StatusServiceUnavailable:
		if n, err := strconv.Atoi(a.retryAfter); err != nil || n < 1 || n > 5 {
			return fmt.Errorf("503 with Retry-After %q", a.retryAfter)
		}
	default:
		return fmt.Errorf("status %d: %s", a.status, a.text)
	}
	for kind, n := range a.written {
		if n > r.sent[kind] || again && n != 0 || a.status == http.StatusNoContent && kind != kindExemplars && n != r.sent[kind] {
			return fmt.Errorf("status %d: %d %s of %d written", a.status, n, kind, r.sent[kind])
		}
	}
	if a.ledger == nil {
		return nil
	}
	byKind := map[string]uint64{}
	for reason, n := range a.rejected {
		byKind[reason[0]] += n
	}
	for _, kind := range ledgerKinds() {
		c := a.ledger[kind]
		switch {
		case c.GetReceived() != r.sent[kind]:
			return fmt.Errorf("%s: %d received, %d sent", kind, c.GetReceived(), r.sent[kind])
		case c.GetReceived() != c.GetStored()+c.GetDuplicate()+c.GetRejected()+c.GetDeferred() || c.GetStoredLate() > c.GetStored():
			return fmt.Errorf("%s: no balance: %v", kind, c)
		case again && c.GetRejected() != 0:
			return fmt.Errorf("%s: something is rejected though the request is deferred: %v", kind, c)
		case !again && c.GetDeferred() != 0:
			return fmt.Errorf("%s: something is deferred with status %d: %v", kind, a.status, c)
		case c.GetRejected() != byKind[kind]:
			return fmt.Errorf("%s: %d rejected, by reason %v", kind, c.GetRejected(), a.rejected)
		case kind != kindMetadata && kind != kindStarts && c.GetDuplicate() > r.repeats[kind]:
			return fmt.Errorf("%s: %d duplicates, sent were %d", kind, c.GetDuplicate(), r.repeats[kind])
		}
	}
	refused := byKind[kindSamples]+byKind[kindHistograms] > 0
	if again != (a.deferred != "") || refused != (a.status == http.StatusBadRequest) {
		return fmt.Errorf("status %d, rejected %v, deferred because of %q", a.status, a.rejected, a.deferred)
	}
	if again {
		return nil
	}
	for reason, n := range r.invalid {
		if got := a.rejected[[2]string{kindSamples, reason}]; got != n {
			return fmt.Errorf("%d samples rejected as %s, sent were %d: %v", got, reason, n, a.rejected)
		}
	}
	future, others := a.rejected[[2]string{kindSamples, "out_of_window"}], a.rejected[[2]string{kindSamples, "refused"}]
	if future > r.future || future+others < r.future {
		return fmt.Errorf("%d samples rejected as out of the window, sent were %d", future, r.future)
	}
	if l.calm && others > 0 {
		return fmt.Errorf("%d samples refused without a fault: %s", others, a.text)
	}
	for reason := range a.rejected {
		if reason[0] == kindSamples && r.invalid[reason[1]] == 0 && !slices.Contains([]string{"out_of_window", "refused", "conflict"}, reason[1]) {
			return fmt.Errorf("no reason for %v: %s", reason, a.text)
		}
	}
	return nil
}

// checkTotals compares the metrics with the sums over all answers.
func (l *ledgerRun) checkTotals() {
	l.Helper()
	metric := func(name string, pairs ...string) uint64 { return uint64(metricValue(l.T, l.Registry, name, pairs...)) }
	for _, kind := range ledgerKinds() {
		received := metric("tributary_ingest_received_total", "kind", kind)
		if received != l.sent[kind] {
			l.Errorf("%s: %d received in all, %d sent", kind, received, l.sent[kind])
		}
		sum := uint64(0)
		outcome := map[string]uint64{"late": metric("tributary_ingest_stored_late_total", "kind", kind)}
		for _, o := range []string{"stored", "duplicate", "rejected", "deferred"} {
			outcome[o] = metric("tributary_ingest_entries_total", "kind", kind, "outcome", o)
			sum += outcome[o]
		}
		if sum != received {
			l.Errorf("%s: %d received in all, outcomes %v", kind, received, outcome)
		}
		if l.delivered[0].ledger != nil {
			for o, n := range outcome {
				if n != l.totals[kind+" "+o] {
					l.Errorf("%s: %d %s in all, %d by the answers", kind, n, o, l.totals[kind+" "+o])
				}
			}
		} else if written := l.totals[kind+" written"]; written > outcome["stored"]+outcome["duplicate"] {
			l.Errorf("%s: %d written by the answers, %v in all", kind, written, outcome)
		}
	}
	for reason, n := range l.rejected {
		if got := metric("tributary_ingest_rejected_total", "kind", reason[0], "reason", reason[1]); got != n {
			l.Errorf("%v: %d rejected in all, %d by the answers", reason, got, n)
		}
	}
}

// checkStore reads everything and compares it with what the senders were told.
func (l *ledgerRun) checkStore(nowMs int64) {
	l.Helper()
	read, err := promtest.ReadAll(l.Context(), l.ReadURL(), 0, math.MaxInt64)
	if err != nil {
		l.Fatal(err)
	}
	floats, histograms := map[point]uint64{}, map[point]string{}
	for _, s := range read {
		var ls []rw.Label
		for _, x := range s.Labels {
			ls = append(ls, rw.Label{Name: x.Name, Value: x.Value})
		}
		key := seriesOf(ls)
		for _, x := range s.Samples {
			floats[point{key, x.Timestamp}] = math.Float64bits(x.Value)
		}
		for i := range s.Histograms {
			b, err := s.Histograms[i].Marshal()
			if err != nil {
				l.Fatal(err)
			}
			histograms[point{key, s.Histograms[i].Timestamp}] = string(b)
		}
	}

	// Nothing is there that was not sent, or that could not be stored.
	known := map[point]bool{{seriesOf(contestedSeries(0).Labels), nowMs - 1_000_000}: true}
	sentAs := map[point]map[uint64]bool{}
	for _, d := range l.delivered {
		for at, bits := range d.floats {
			known[at] = true
			if sentAs[at] == nil {
				sentAs[at] = map[uint64]bool{}
			}
			sentAs[at][bits] = true
		}
		for at := range d.histograms {
			known[at] = true
		}
	}
	for at, bits := range floats {
		if !known[at] || sentAs[at] != nil && !sentAs[at][bits] {
			l.Errorf("%v holds %v, which nobody sent", at, math.Float64frombits(bits))
		}
	}
	for at := range histograms {
		if !known[at] {
			l.Errorf("%v holds a histogram that nobody sent", at)
		}
	}

	var exemplars, exemplarsSent uint64
	for _, d := range l.delivered {
		l.checkDelivery(d, floats, histograms)
		exemplars += d.ledger[kindExemplars].GetStored() + d.written[kindExemplars]
		exemplarsSent += d.sent[kindExemplars]
	}
	// Exemplars cannot be read yet by an API, but out of the table. One that is stored under two encodings, because the catalogue
	// changed between an attempt whose outcome was open and the next, is one exemplar.
	if there := uint64(len(storedKinds(l.T, l.System, promschema.ExemplarFamily))); there < exemplars || there > exemplarsSent {
		l.Errorf("%d exemplars are there, stored were %d of %d", there, exemplars, exemplarsSent)
	}
}

// checkDelivery compares what a sender was told of a request with what can be read of it.
func (l *ledgerRun) checkDelivery(d delivery, floats map[point]uint64, histograms map[point]string) {
	l.Helper()
	there, lost := uint64(0), []string(nil)
	conflicts := uint64(0) // contested points that hold another value
	for at, bits := range d.floats {
		switch got, ok := floats[at]; {
		case ok && got == bits:
			there++
		case ok && d.contested[at]:
			conflicts++
		default:
			lost = append(lost, fmt.Sprintf("%v: %v, read %v (%v)", at, math.Float64frombits(bits), math.Float64frombits(got), ok))
		}
	}
	readable := uint64(0)
	for at, bits := range d.histograms {
		if histograms[at] == bits {
			readable++
		}
	}
	fail := func(what string) {
		l.Errorf("%s; %d of %d floats, %d of %d histograms can be read, %d conflicts, sent %v, invalid %v, repeats %v, answer after %d attempts: %d %v, rejected %v, written %v; %v",
			what, there, len(d.floats), readable, len(d.histograms), conflicts, d.sent, d.invalid, d.repeats, d.attempts, d.status, d.ledger, d.rejected, d.written, lost[:min(3, len(lost))])
	}
	if d.status == http.StatusNoContent || d.status == http.StatusOK {
		if len(lost) > 0 || conflicts > 0 || readable != uint64(len(d.histograms)) {
			fail("acknowledged, and not there")
		}
	}
	switch {
	case d.ledger != nil:
		// What was refused at last may have been stored by an earlier attempt, whose outcome nobody knew.
		refused := d.rejected[[2]string{kindSamples, "refused"}]
		if stored := d.ledger[kindSamples].GetStored(); there < stored || there > stored+refused {
			fail("samples stored and samples there differ")
		}
		if n := d.rejected[[2]string{kindSamples, "conflict"}]; n > conflicts+d.repeats[kindSamples] || n+refused < conflicts {
			fail("conflicts told and conflicts there differ")
		}
		refused = d.rejected[[2]string{kindHistograms, "refused"}]
		if stored := d.ledger[kindHistograms].GetStored(); readable < stored || readable > stored+refused {
			fail("histograms stored and histograms there differ")
		}
	case d.written != nil:
		// Written counts repeats of what was stored too.
		invalid := uint64(0)
		for _, n := range d.invalid {
			invalid += n
		}
		repeats := d.repeats[kindSamples]
		if w, rest := d.written[kindSamples], d.sent[kindSamples]-d.written[kindSamples]; there+repeats < w || there > w+rest-min(rest, invalid) || rest < invalid {
			fail("samples written and samples there differ")
		}
		if w := d.written[kindHistograms]; readable+d.repeats[kindHistograms] < w {
			fail("histograms written and histograms there differ")
		}
	}
}
