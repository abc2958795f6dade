// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"context"
	"errors"
	"math"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream/local"
)

// bad is a server with a clock, and calls of which a test only wants to know what becomes of them.
type bad struct {
	*faulty
	now time.Time
}

// wrote writes a record to a table and returns the class of the error, "none" for an answer that did not come.
func (b *bad) wrote(database, table string) string {
	in := b.input("bad", 1)
	in.DatabaseName, in.TableName = &database, &table
	_, err := b.write.WriteRecords(b.Context(), in)
	return class(err)
}

func (b *bad) queried(statement string) string {
	_, err := b.query.Query(b.Context(), &timestreamquery.QueryInput{QueryString: &statement})
	return class(err)
}

func class(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	}
	return "none"
}

// share is how many of n calls end with a class.
func share(n int, want string, call func() string) float64 {
	hits := 0
	for range n {
		if call() == want {
			hits++
		}
	}
	return float64(hits) / float64(n)
}

// documented are the examples of the README, each with a check that it does what is said there.
var documented = map[string]func(*testing.T, *bad){
	"throttle=0.05,error=0.05,latency=20ms..80ms,lost-answer=0.02,reject=0.01,seed=7": func(t *testing.T, b *bad) {
		classes := map[string]int{}
		start := time.Now()
		for range 60 {
			classes[b.wrote("sales", "orders")]++
		}
		if time.Since(start) < 60*20*time.Millisecond || classes["ThrottlingException"] == 0 || classes[""] < 40 {
			t.Errorf("after %v: %v", time.Since(start), classes)
		}
	},
	"write.throttle=1,for=10s": func(t *testing.T, b *bad) {
		for _, want := range []string{"ThrottlingException", "ThrottlingException", ""} {
			if got := b.wrote("sales", "orders"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := b.queried("SELECT 1"); got != "" {
				t.Errorf("a query: %s", got)
			}
			b.now = b.now.Add(5 * time.Second)
		}
	},
	"throttle=0..0.8..0,over=4m": func(t *testing.T, b *bad) {
		for _, want := range []float64{0, 0.4, 0.8, 0.4, 0} {
			if got := share(300, "ThrottlingException", func() string { return b.queried("SELECT 1") }); math.Abs(got-want) > 0.15 || want == 0 && got > 0 {
				t.Errorf("%v throttled, want %v", got, want)
			}
			b.now = b.now.Add(time.Minute)
		}
	},
	"write.rate=50..500,over=5m,burst=100": func(t *testing.T, b *bad) {
		for _, c := range []struct {
			wait time.Duration
			want int
		}{{0, 100}, {time.Second, 50}, {5 * time.Minute, 100}, {100 * time.Millisecond, 50}} {
			b.now = b.now.Add(c.wait)
			n := 0
			for b.wrote("sales", "orders") == "" {
				n++
			}
			if n < c.want-1 || n > c.want+1 {
				t.Errorf("after %v more %d pass, want %d", c.wait, n, c.want)
			}
		}
		if got := b.wrote("staff", "people"); got != "" {
			t.Errorf("another table: %s", got)
		}
	},
	"table=sales.*|staff.people,error=10%,calls=1000": func(t *testing.T, b *bad) {
		for _, of := range [][2]string{{"sales", "orders"}, {"staff", "people"}} {
			if got := share(500, "InternalServerException", func() string {
				return b.queried(`SELECT count(*) FROM "` + of[0] + `"."` + of[1] + `"`)
			}); got < 0.03 || got > 0.2 {
				t.Errorf("%v: %v", of, got)
			}
		}
		if got := share(200, "InternalServerException", func() string { return b.queried(`SELECT count(*) FROM sales.orders`) }); got > 0 {
			t.Errorf("after a thousand calls: %v", got)
		}
		if got := b.faults.Rules()[0]; got.Calls != 1000 || !got.Ended {
			t.Errorf("got %+v", got)
		}
	},
	"query.latency=p50:20ms/p99:400ms; write.latency=1%:5s": func(t *testing.T, b *bad) {
		start := time.Now()
		for range 5 {
			b.queried("SELECT 1")
		}
		if took := time.Since(start); took < 5*time.Millisecond {
			t.Errorf("five queries took %v", took)
		}
	},
	`WriteRecords.ServiceQuotaExceededException=1x,text="no, not more"`: func(t *testing.T, b *bad) {
		_, err := b.write.WriteRecords(b.Context(), b.input("bad", 1))
		if class(err) != "ServiceQuotaExceededException" || !strings.Contains(err.Error(), "no, not more") {
			t.Error(err)
		}
		if got := b.wrote("sales", "orders"); got != "" {
			t.Errorf("the next: %s", got)
		}
	},
	"Create*.conflict=1; DescribeEndpoints.error=0.5": func(t *testing.T, b *bad) {
		_, err := b.write.CreateDatabase(b.Context(), &timestreamwrite.CreateDatabaseInput{DatabaseName: aws.String("new")})
		if got := class(err); got != "ConflictException" {
			t.Errorf("got %q", got)
		}
		if got := share(100, "InternalServerException", func() string {
			_, err := b.write.DescribeEndpoints(b.Context(), &timestreamwrite.DescribeEndpointsInput{})
			return class(err)
		}); got < 0.2 || got > 0.8 {
			t.Errorf("%v of discoveries fail", got)
		}
		if got := b.wrote("sales", "orders"); got != "" {
			t.Errorf("a write: %s", got)
		}
	},
	"reject-share=0.1,reason=window": func(t *testing.T, b *bad) {
		n := 0
		for range 10 {
			_, err := b.write.WriteRecords(b.Context(), b.input("bad", 100))
			var rejected *wtypes.RejectedRecordsException
			if errors.As(err, &rejected) {
				n += len(rejected.RejectedRecords)
			}
		}
		if n < 50 || n > 160 {
			t.Errorf("%d of 1000 records", n)
		}
	},
	"table=sales.orders,hide=30s": func(t *testing.T, b *bad) {
		for _, of := range []string{"sales.orders", "staff.people"} {
			database, table, _ := strings.Cut(of, ".")
			if got := b.wrote(database, table); got != "" {
				t.Fatal(got)
			}
		}
		count := func(of string) string {
			out, err := b.query.Query(b.Context(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT count(*) FROM " + of)})
			if err != nil {
				t.Fatal(err)
			}
			return *out.Rows[0].Data[0].ScalarValue
		}
		if got := count("sales.orders") + count("staff.people"); got != "01" {
			t.Errorf("at once: %s", got)
		}
		b.now = b.now.Add(30 * time.Second)
		if got := count("sales.orders"); got != "1" {
			t.Errorf("after half a minute: %s", got)
		}
	},
	"query.empty-page=0.5": func(t *testing.T, b *bad) {
		empty, rows := 0, 0
		for range 40 {
			pages := timestreamquery.NewQueryPaginator(b.query, &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1")})
			for pages.HasMorePages() {
				p, err := pages.NextPage(b.Context())
				if err != nil {
					t.Fatal(err)
				}
				if rows += len(p.Rows); len(p.Rows) == 0 {
					empty++
				}
			}
		}
		if rows != 40 || empty < 5 || empty > 120 {
			t.Errorf("%d rows, %d empty pages", rows, empty)
		}
	},
	"write.stuck-after=3x; query.truncate=0.1": func(t *testing.T, b *bad) {
		ctx, cancel := context.WithTimeout(b.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := b.write.WriteRecords(ctx, b.input("stuck", 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if got := share(200, "none", func() string { return b.queried("SELECT 1") }); got == 0 || got > 0.3 {
			t.Errorf("%v of the answers are half ones", got)
		}
	},
}

// TestDocumentedFaults executes the examples of the README: the rules against a server, the curl commands against the endpoint.
func TestDocumentedFaults(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Faults on demand\n")
	section, _, _ = strings.Cut(section, "\n## ")
	comment := regexp.MustCompile(`\s+#.*$`)
	var examples, commands []string
	for line := range strings.SplitSeq(section, "\n") {
		code, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		code = comment.ReplaceAllString(code, "")
		switch _, plan, flag := strings.Cut(code, "--faults="); {
		case flag:
			examples = append(examples, plan)
		case strings.HasPrefix(code, "curl "):
			commands = append(commands, code)
		default:
			examples = append(examples, code)
		}
	}
	for plan := range documented {
		if !slices.Contains(examples, plan) {
			t.Errorf("%q is not in the README", plan)
		}
	}
	for _, plan := range examples {
		t.Run(plan, func(t *testing.T) {
			check := documented[plan]
			if check == nil {
				t.Fatal("no test")
			}
			b := &bad{now: time.Now()}
			b.faulty = newFaulty(t, func(c *local.Config) { c.Now = func() time.Time { return b.now } })
			b.faults.Now = func() time.Time { return b.now }
			for _, of := range [][2]string{{"sales", "orders"}, {"staff", "people"}} {
				if _, err := b.write.CreateDatabase(t.Context(), &timestreamwrite.CreateDatabaseInput{DatabaseName: &of[0]}); err != nil {
					t.Fatal(err)
				}
				if _, err := b.write.CreateTable(t.Context(), &timestreamwrite.CreateTableInput{DatabaseName: &of[0], TableName: &of[1]}); err != nil {
					t.Fatal(err)
				}
			}
			b.set(plan)
			if len(b.faults.Rules()) != strings.Count(plan, "; ")+1 {
				t.Errorf("it is %d rules", len(b.faults.Rules()))
			}
			check(t, b)
		})
	}

	f := newFaulty(t)
	part := regexp.MustCompile(`'[^']*'|\S+`)
	for _, command := range commands {
		method, data, accept, url := "GET", "", "", ""
		words := part.FindAllString(command, -1)
		for i := 1; i < len(words); i++ {
			value := func() string { i++; return strings.Trim(words[i], "'") }
			switch words[i] {
			case "-X":
				method = value()
			case "--data":
				data = value()
			case "-H":
				accept = strings.TrimPrefix(value(), "Accept: ")
			default:
				url = words[i]
			}
		}
		before := f.faults.String()
		r, w := httptest.NewRequest(method, url, strings.NewReader(data)), httptest.NewRecorder()
		r.Header.Set("Accept", accept)
		f.faults.ServeHTTP(w, r)
		if w.Code != 200 || (f.faults.String() == before) != (method == "GET") || accept != "" && w.Header().Get("Content-Type") != accept {
			t.Errorf("%s: got %d %s, and the rules %q after %q", command, w.Code, w.Body, f.faults, before)
		}
	}
	if len(commands) != 7 || f.faults.Active() {
		t.Errorf("%d commands, and at the end there is %q", len(commands), f.faults)
	}
}
