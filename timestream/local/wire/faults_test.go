// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/faults"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// faulty is a server whose faults a test sets, with the SDK's clients.
type faulty struct {
	*testing.T
	faults *faults.Injector
	reg    *prometheus.Registry
	write  *timestreamwrite.Client
	query  *timestreamquery.Client
	time   string
	url    string
	http   *http.Client
}

func newFaulty(t *testing.T, change ...func(*local.Config)) *faulty {
	f := &faulty{T: t, faults: &faults.Injector{}, reg: prometheus.NewRegistry(), time: strconv.FormatInt(time.Now().UnixMilli(), 10)}
	srv := serve(t, func(c *local.Config) {
		c.Registerer = f.reg
		for _, apply := range change {
			apply(c)
		}
	}, wire.Options{Faults: f.faults, Registerer: f.reg})
	cfg := awsConfig(t, srv.URL)
	f.write, f.query = timestreamwrite.NewFromConfig(cfg), timestreamquery.NewFromConfig(cfg)
	f.url, f.http = srv.URL, srv.Client()
	return f
}

// set replaces the plan.
func (f *faulty) set(plan string) {
	f.Helper()
	if err := f.faults.Set(plan); err != nil {
		f.Fatal(err)
	}
}

// records writes n records of a series each, host=<name>-<i>; a second time the same ones.
func (f *faulty) records(name string, n int) (*timestreamwrite.WriteRecordsOutput, error) {
	return f.write.WriteRecords(f.Context(), f.input(name, n))
}

// input is the request of records.
func (f *faulty) input(name string, n int) *timestreamwrite.WriteRecordsInput {
	in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(table)}
	for i := range n {
		r := record("m", "1", "host", name+"-"+strconv.Itoa(i), "test", name)
		r.Time = &f.time
		in.Records = append(in.Records, r)
	}
	return in
}

// hosts returns which of them are stored.
func (f *faulty) hosts(name string) []string {
	f.Helper()
	out, err := f.query.Query(f.Context(), &timestreamquery.QueryInput{QueryString: aws.String(fmt.Sprintf(`SELECT host FROM %s.%s WHERE test = '%s' ORDER BY host`, database, table, name))})
	if err != nil {
		f.Fatal(err)
	}
	var hosts []string
	for _, row := range out.Rows {
		hosts = append(hosts, aws.ToString(row.Data[0].ScalarValue))
	}
	return hosts
}

func (f *faulty) counted(operation, kind string) float64 {
	f.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		f.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "timestream_local_faults_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[1].GetValue() == operation && m.GetLabel()[0].GetValue() == kind {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// status tells whether an answer had this status.
func status(code int) func(error) bool {
	return func(err error) bool {
		var res *smithyhttp.ResponseError
		return errors.As(err, &res) && res.HTTPStatusCode() == code
	}
}

// noAnswer tells whether there was none.
func noAnswer(err error) bool {
	var api smithy.APIError
	return err != nil && !errors.As(err, &api) && !status(500)(err)
}

// TestFaults makes one call fail in each way, through the SDK, and looks what was done; the call after it succeeds.
func TestFaults(t *testing.T) {
	f := newFaulty(t)
	if _, err := f.records("warm", 1); err != nil { // so that the columns exist
		t.Fatal(err)
	}
	for _, c := range []struct {
		kind, plan string
		write      func(error) bool
		query      func(error) bool
		stored     bool
	}{
		{"throttle", "throttle=1x", as[*wtypes.ThrottlingException], as[*qtypes.ThrottlingException], false},
		{"throttle", "throttle=1x", status(http.StatusTooManyRequests), status(http.StatusTooManyRequests), false},
		{"error", "error=1x", as[*wtypes.InternalServerException], as[*qtypes.InternalServerException], false},
		{"unavailable", "unavailable=1x", status(http.StatusServiceUnavailable), status(http.StatusServiceUnavailable), false},
		{"invalid-endpoint", "invalid-endpoint=1x", as[*wtypes.InvalidEndpointException], as[*qtypes.InvalidEndpointException], false},
		{"validation", "validation=1x", as[*wtypes.ValidationException], as[*qtypes.ValidationException], false},
		{"cut", "cut=1x", noAnswer, noAnswer, false},
		{"lost-answer", "lost-answer=1x,seed=6", as[*wtypes.InternalServerException], as[*qtypes.InternalServerException], true},
		{"lost-answer", "lost-answer=1x,seed=2", noAnswer, noAnswer, true},
	} {
		t.Run(c.plan, func(t *testing.T) {
			name := fmt.Sprintf("%s-%p", c.kind, t)
			f.set("write." + c.plan)
			before := f.counted("write", c.kind)
			if _, err := f.records(name, 2); !c.write(err) {
				t.Errorf("write: %v", err)
			}
			if n := f.counted("write", c.kind) - before; n != 1 {
				t.Errorf("counted %v times", n)
			}
			if got := len(f.hosts(name)) > 0; got != c.stored {
				t.Errorf("stored: %v, want %v", got, c.stored)
			}
			if out, err := f.records(name, 2); err != nil || out.RecordsIngested.Total != 2 {
				t.Errorf("the next write: %v", err)
			}
			f.set("query." + c.plan)
			if _, err := f.query.Query(t.Context(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1")}); !c.query(err) {
				t.Errorf("query: %v", err)
			}
			if n := len(f.hosts(name)); n != 2 {
				t.Errorf("%d records at last", n)
			}
		})
	}
}

// A record that is refused on demand is not stored, the others are, and real rejections beside it keep their places.
func TestFaultReject(t *testing.T) {
	f := newFaulty(t)
	if _, err := f.records("warm", 1); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for seed := range 20 {
		f.set(fmt.Sprintf("reject=1x,seed=%d", seed))
		in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String(database), TableName: aws.String(table)}
		var want []string
		name := fmt.Sprint("reject", seed)
		for i := range 5 {
			host := name + "-" + strconv.Itoa(i)
			r := record("m", "1", "host", host, "test", name)
			if i == 2 {
				r.Time = aws.String(strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)) // beyond the window
			} else {
				want = append(want, host)
			}
			in.Records = append(in.Records, r)
		}
		_, err := f.write.WriteRecords(t.Context(), in)
		var rejected *wtypes.RejectedRecordsException
		if !errors.As(err, &rejected) {
			t.Fatal(err)
		}
		var refused int
		for _, r := range rejected.RejectedRecords {
			if *r.Reason == "The record is refused, on demand." {
				refused = int(r.RecordIndex)
			} else if r.RecordIndex != 2 {
				t.Errorf("seed %d: record %d rejected: %s", seed, r.RecordIndex, *r.Reason)
			}
		}
		seen[refused] = true
		if n := len(rejected.RejectedRecords); refused == 2 && n != 1 || refused != 2 && n != 2 {
			t.Errorf("seed %d: %d rejected, %d on demand", seed, n, refused)
		}
		want = slices.DeleteFunc(want, func(h string) bool { return h == name+"-"+strconv.Itoa(refused) })
		if got := f.hosts(name); !slices.Equal(got, want) {
			t.Errorf("seed %d: got %v, want %v", seed, got, want)
		}
	}
	if len(seen) != 5 {
		t.Errorf("of five records only these are ever refused: %v", seen)
	}
	f.set("reject=1x")
	if _, err := f.records("only", 1); !as[*wtypes.RejectedRecordsException](err) || len(f.hosts("only")) != 0 {
		t.Errorf("one record: %v", err)
	}
}

func TestFaultLateAndLatency(t *testing.T) {
	f := newFaulty(t)
	f.set("late=1x,latency=30ms..40ms")
	start := time.Now()
	out, err := f.records("late", 3)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("answered after %v", took)
	}
	if n := out.RecordsIngested; n.Total != 3 || n.MagneticStore != 3 || n.MemoryStore != 0 {
		t.Errorf("got %+v", n)
	}
	if out, err = f.records("in time", 3); err != nil || out.RecordsIngested.MemoryStore != 3 {
		t.Errorf("the next: %v", err)
	}
	if n := f.counted("write", "late"); n != 1 {
		t.Errorf("late was counted %v times", n)
	}
}

// Operations other than the two never fail, and without a plan none does.
func TestFaultsLeaveOthersAlone(t *testing.T) {
	f := newFaulty(t)
	f.set("cut=1")
	if _, err := f.write.DescribeTable(t.Context(), &timestreamwrite.DescribeTableInput{DatabaseName: aws.String(database), TableName: aws.String(table)}); err != nil {
		t.Error(err)
	}
	if _, err := f.records("a", 1); err == nil {
		t.Error("no fault")
	}
	f.set("")
	if _, err := f.records("a", 1); err != nil {
		t.Error(err)
	}
}
