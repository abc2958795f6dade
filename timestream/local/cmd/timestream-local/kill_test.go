// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"
)

// What TestKill may be told: how often to kill, and the seed of a run that failed.
const (
	killsVariable = "TIMESTREAM_LOCAL_TEST_KILLS"
	seedVariable  = "TIMESTREAM_LOCAL_TEST_SEED"
	defaultKills  = 50
)

const (
	killClients = 4
	// perRequest is the number of records in a request. All carry the request's number as their value.
	perRequest = 20
	// spread is how many requests name one new dimension or attribute: 60 and 100 of them come, a table takes 128 and 1,024.
	spread = 40
)

// The kinds of requests, which are measure names; the request's number decides which.
const (
	single  = "single"      // new records, each series going on
	multi   = "multi"       // the same with five values or more in one record
	late    = "late"        // each older than all of its series before
	dims    = "dims"        // with a dimension that is new now and then
	upsert  = "upsert"      // always the same keys, by higher versions
	mupsert = "multiupsert" // the same, of multi-measure records
	expired = "expired"     // beyond the retention, within the window: for the deletion
)

var killKinds = [...]string{single, multi, late, dims, upsert, mupsert, expired, single, multi}

func killKind(n int) string { return killKinds[n%len(killKinds)] }

// killLoad makes requests that are a function of client and number alone, so that they can be repeated.
type killLoad struct{ base time.Time }

func (l killLoad) request(client, n int) *timestreamwrite.WriteRecordsInput {
	kind, value := killKind(n), strconv.Itoa(n)
	at := l.base.Add(time.Duration(n) * time.Millisecond)
	in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("PrometheusMetricsTable"), CommonAttributes: &wtypes.Record{
		MeasureName: aws.String(kind), Dimensions: []wtypes.Dimension{{Name: aws.String("client"), Value: aws.String(strconv.Itoa(client))}}}}
	common := in.CommonAttributes
	switch kind {
	case late:
		at = l.base.Add(-time.Duration(n) * time.Millisecond)
	case upsert, mupsert:
		at = l.base
		common.Version = aws.Int64(int64(n + 1))
	case dims:
		common.Dimensions = append(common.Dimensions, wtypes.Dimension{Name: aws.String("d" + strconv.Itoa(n/spread%60)), Value: aws.String("x")})
	case expired:
		in.TableName = aws.String("Expiring")
		at = time.Now().Add(-25*time.Hour - 10*time.Minute)
	}
	common.Time = aws.String(strconv.FormatInt(at.UnixMilli(), 10))
	if kind == multi || kind == mupsert {
		common.MeasureValueType = wtypes.MeasureValueTypeMulti
	}
	for i := range perRequest {
		r := wtypes.Record{Dimensions: []wtypes.Dimension{{Name: aws.String("i"), Value: aws.String(strconv.Itoa(i))}}}
		if common.MeasureValueType == wtypes.MeasureValueTypeMulti {
			r.MeasureValues = []wtypes.MeasureValue{
				{Name: aws.String("a"), Value: &value, Type: wtypes.MeasureValueTypeDouble},
				{Name: aws.String("b"), Value: &value, Type: wtypes.MeasureValueTypeVarchar},
				{Name: aws.String("c"), Value: &value, Type: wtypes.MeasureValueTypeBigint},
				{Name: aws.String("x" + strconv.Itoa(n/spread%100)), Value: &value, Type: wtypes.MeasureValueTypeBigint},
			}
		} else {
			r.MeasureValue = &value
		}
		in.Records = append(in.Records, r)
	}
	return in
}

// TestKill kills the process again and again, at a random moment, while several clients write all kinds of records, retention
// deletes, checkpoints run, parts are rewritten and now and then a snapshot is copied. After each start it finds every acknowledged request and no
// half one, nothing that was never sent, and no key twice.
func TestKill(t *testing.T) {
	kills, seed := defaultKills, uint64(time.Now().UnixNano())
	for name, set := range map[string]func(uint64){killsVariable: func(n uint64) { kills = int(n) }, seedVariable: func(n uint64) { seed = n }} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 63)
			if err != nil {
				t.Fatalf("%s=%s: %v", name, text, err)
			}
			set(n)
		}
	}
	t.Logf("%d kills with %s=%d", kills, seedVariable, seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	load := killLoad{time.Now().Add(-time.Hour).Truncate(time.Millisecond)}
	dir := t.TempDir()
	flags := []string{"--checkpoint.log-size=64KiB", "--retention-interval=100ms", "--rewrite.part-records=300", "--log.level=error"}

	s := start(t, dir, flags...)
	if _, err := timestreamwrite.NewFromConfig(s.config()).CreateTable(t.Context(), &timestreamwrite.CreateTableInput{
		DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("Expiring"),
		RetentionProperties:          &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: aws.Int64(1), MagneticStoreRetentionPeriodInDays: aws.Int64(1)},
		MagneticStoreWriteProperties: &wtypes.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true)},
	}); err != nil {
		t.Fatal(err)
	}
	var acked [killClients]int // all requests below it were
	for kill := range kills {
		run := time.Duration(50+rng.IntN(550)) * time.Millisecond
		killUnderLoad(t, s, load, &acked, run, rng.IntN(4) == 0)
		s = start(t, dir, flags...)
		checkKilled(t, s, acked)
		if t.Failed() {
			t.Fatalf("after kill %d of %d, after %v of load; acknowledged were %v; %s=%d", kill+1, kills, run, acked, seedVariable, seed)
		}
	}
	t.Logf("acknowledged were %v requests of %d records", acked, perRequest)
	// What was sent once more changes nothing, but for what was in flight at the last kill.
	w := timestreamwrite.NewFromConfig(s.config())
	for client, n := range acked {
		for n := max(0, n-50); n <= acked[client]; n++ {
			_, err := w.WriteRecords(t.Context(), load.request(client, n))
			var rejected *wtypes.RejectedRecordsException // an upsert by a version that is no longer the newest
			if err != nil && (!errors.As(err, &rejected) || killKind(n) != upsert && killKind(n) != mupsert) {
				t.Errorf("request %d of client %d again: %v", n, client, err)
			}
		}
		acked[client]++
	}
	checkKilled(t, s, acked)
	checkEach(t, s, load, acked)
	s.stop(t)
	s = start(t, dir, flags...)
	checkKilled(t, s, acked)
	checkEach(t, s, load, acked)
}

// killUnderLoad lets clients write for a while, kills the process, and counts what was acknowledged. A client's request that was
// in flight, stored or not, is its next one again.
func killUnderLoad(t *testing.T, s *server, load killLoad, acked *[killClients]int, run time.Duration, snapshot bool) {
	t.Helper()
	var wg sync.WaitGroup
	for client := range acked {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w := timestreamwrite.NewFromConfig(s.config())
			for {
				_, err := w.WriteRecords(context.Background(), load.request(client, acked[client]))
				var api smithy.APIError
				if errors.As(err, &api) {
					t.Errorf("request %d of client %d: %v", acked[client], client, err)
				}
				if err != nil {
					return
				}
				acked[client]++
			}
		}()
	}
	if snapshot {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if res, err := http.Get(s.url + "/snapshot"); err == nil {
				_, _ = io.CopyN(io.Discard, res.Body, 1<<10) // and no more, so checkpoints are held
				defer func() { _ = res.Body.Close() }()
				time.Sleep(run)
			}
		}()
	}
	time.Sleep(run)
	s.kill()
	wg.Wait()
}

// rowsOf runs a statement and fetches all pages.
func rowsOf(t *testing.T, s *server, sql string) [][]string {
	t.Helper()
	var out [][]string
	pages := timestreamquery.NewQueryPaginator(timestreamquery.NewFromConfig(s.config()), &timestreamquery.QueryInput{QueryString: &sql})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
		for _, r := range page.Rows {
			var row []string
			for _, d := range r.Data {
				row = append(row, aws.ToString(d.ScalarValue))
			}
			out = append(out, row)
		}
	}
	return out
}

const killTable = `"PrometheusDatabase"."PrometheusMetricsTable"`

// wholeRequests is a relation of the requests that are stored, with what is wrong about them: too few or too many records, or
// records whose values are not all of one request.
func wholeRequests(kinds []string, multi bool) string {
	value, torn := "measure_value::double", "0"
	if multi {
		value, torn = "a", "sum(CASE WHEN a IS NULL OR b IS NULL OR c IS NULL OR a <> CAST(c AS DOUBLE) OR b <> CAST(c AS VARCHAR) THEN 1 ELSE 0 END)"
	}
	return fmt.Sprintf("(SELECT client, measure_name, time, min(%[1]s) AS n, CASE WHEN count(*) <> %[2]d OR count(DISTINCT i) <> %[2]d OR min(%[1]s) <> max(%[1]s) OR %[3]s <> 0 THEN 1 ELSE 0 END AS bad FROM %[4]s WHERE measure_name IN ('%[5]s') GROUP BY client, measure_name, time)",
		value, perRequest, torn, killTable, strings.Join(kinds, "', '"))
}

// sums is what is left of a set of numbers.
type sums struct{ count, sum, squares int }

func (s *sums) add(n int) { *s = sums{s.count + 1, s.sum + n, s.squares + n*n} }

// checkKilled looks for what was acknowledged, and for what else there is.
func checkKilled(t *testing.T, s *server, acked [killClients]int) {
	t.Helper()
	got := map[string][]string{}
	seen := false // whether any table has records yet
	for _, n := range acked {
		seen = seen || n > len(killKinds)
	}
	if !seen {
		return
	}
	for _, rel := range []string{wholeRequests([]string{single, late, dims, upsert}, false), wholeRequests([]string{multi, mupsert}, true)} {
		for _, r := range rowsOf(t, s, "SELECT client, measure_name, count(*), CAST(sum(n) AS BIGINT), CAST(sum(n * n) AS BIGINT), sum(bad) FROM "+rel+" GROUP BY client, measure_name") {
			got[r[0]+" "+r[1]] = r[2:]
		}
	}
	for client, n := range acked {
		want := map[string]*sums{}
		for _, k := range killKinds {
			if k != expired {
				want[k] = &sums{}
			}
		}
		add := func(n int) {
			kind := killKind(n)
			if kind == upsert || kind == mupsert {
				*want[kind] = sums{}
			}
			if want[kind] != nil {
				want[kind].add(n)
			}
		}
		for i := range n {
			add(i)
		}
		pending, before := killKind(n), sums{}
		if want[pending] != nil {
			before = *want[pending]
			add(n)
		}
		for kind, w := range want {
			have := got[strconv.Itoa(client)+" "+kind]
			delete(got, strconv.Itoa(client)+" "+kind)
			if have == nil {
				have = []string{"0", "0", "0", "0"}
			}
			text := func(s sums) string { return fmt.Sprint([]int{s.count, s.sum, s.squares, 0}) }
			if g := fmt.Sprint(have); g != text(*w) && (kind != pending || g != text(before)) {
				t.Errorf("client %d, %s: requests, sum, squares, bad ones are %s; want %s, of %d acknowledged (or %s)", client, kind, g, text(*w), n, text(before))
			}
		}
	}
	for key, r := range got {
		t.Errorf("nobody sent %s: %v", key, r)
	}
	if r := rowsOf(t, s, `SELECT count(*) FROM "PrometheusDatabase"."Expiring"`); r[0][0] != "0" {
		t.Errorf("%s expired records are seen", r[0][0])
	}
}

// checkEach compares each request that is stored with what was sent, its new attributes too.
func checkEach(t *testing.T, s *server, load killLoad, acked [killClients]int) {
	t.Helper()
	stored := 0
	for _, rel := range []string{wholeRequests([]string{single, late, dims}, false), wholeRequests([]string{multi}, true)} {
		for _, r := range rowsOf(t, s, "SELECT client, measure_name, time, CAST(n AS BIGINT), bad FROM "+rel) {
			at, err := time.Parse("2006-01-02 15:04:05.000000000", r[2])
			if err != nil {
				t.Fatal(err)
			}
			client, _ := strconv.Atoi(r[0])
			n := int(at.Sub(load.base) / time.Millisecond)
			if r[1] == late {
				n = -n
			}
			if r[3] != strconv.Itoa(n) || r[4] != "0" || killKind(n) != r[1] || n >= acked[client] {
				t.Errorf("stored is %v, which request %d was not", r, n)
			}
			stored++
		}
	}
	want, attributes := 0, map[string]int{}
	for client := range acked {
		newest := map[string]int{}
		for n := range acked[client] {
			kind := killKind(n)
			switch kind {
			case single, late, dims, multi:
				want++
			}
			if kind == multi {
				attributes["x"+strconv.Itoa(n/spread%100)] += perRequest
			}
			newest[kind] = n
		}
		if n, ok := newest[mupsert]; ok {
			attributes["x"+strconv.Itoa(n/spread%100)] += perRequest
		}
	}
	if stored != want {
		t.Errorf("%d requests are stored, want %d", stored, want)
	}
	var columns, counts []string
	for name, n := range attributes {
		columns, counts = append(columns, "count("+name+")"), append(counts, strconv.Itoa(n))
	}
	if got := rowsOf(t, s, "SELECT "+strings.Join(columns, ", ")+" FROM "+killTable)[0]; fmt.Sprint(got) != fmt.Sprint(counts) {
		t.Errorf("values of %v: got %v, want %v", columns, got, counts)
	}
}
