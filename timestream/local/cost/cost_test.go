// SPDX-License-Identifier: Apache-2.0

package cost_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local"
	"github.com/tributary-project/tributary/timestream/local/cost"
	"github.com/tributary-project/tributary/timestream/local/wire"
)

// TestCommand asks a server as people do, before and after its counts are reset.
// ofDefaults is that of a server with defaults.
var ofDefaults = cost.Command{Name: "timestream-local cost", EnvPrefix: "TEST", Address: "127.0.0.1:9231"}

func TestCommand(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	cfg := local.DefaultConfig()
	cfg.Dir, cfg.DefaultDatabase, cfg.DefaultTable = t.TempDir(), "metrics", "hosts"
	cfg.Now = func() time.Time { return now }
	db, err := local.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	mux := http.NewServeMux()
	mux.Handle("/", wire.New(db, wire.Options{}))
	mux.Handle(cost.Path, cost.Handler(db))
	srv := httptest.NewServer(mux)
	defer srv.Close()

	for request := range 12 {
		in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("metrics"), TableName: aws.String("hosts")}
		for i := range 100 {
			in.Records = append(in.Records, wtypes.Record{
				Dimensions:  []wtypes.Dimension{{Name: aws.String("host"), Value: aws.String("h" + strconv.Itoa(1000+100*request+i))}},
				MeasureName: aws.String("cpu"), MeasureValue: aws.String("1"), Time: aws.String(strconv.FormatInt(now.UnixMilli(), 10)),
			})
		}
		if _, err := db.WriteRecords(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Hour)
	command := func() []string {
		t.Helper()
		var out bytes.Buffer
		if err := ofDefaults.Run(t.Context(), []string{"--url", srv.URL}, &out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		res, err := http.Get(srv.URL + cost.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != out.String() {
			t.Errorf("GET %s: %v\n%s", cost.Path, err, b)
		}
		return lines
	}
	lines := command()
	t.Setenv("TEST_LISTEN_ADDRESS", srv.Listener.Addr().String())
	if err := ofDefaults.Run(t.Context(), nil, io.Discard); err != nil {
		t.Errorf("by the server's environment: %v", err)
	}
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "What 1.0 hours of this workload") {
		t.Fatalf("got %q", lines)
	}
	// A record has 28 bytes, 7 of them names; 0.50 $ for a million units, and a month has 720 such hours.
	if got := strings.Join(strings.Fields(lines[3])[:6], " "); got != "metrics.hosts 1,200 36 36 36 33.6" {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(lines[3], "  0.01  ") || !strings.HasPrefix(strings.TrimSpace(lines[4]), "total  ") || strings.Fields(lines[4])[1] != "1,200" {
		t.Errorf("got %q", lines[3:])
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, srv.URL+cost.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _ = res.Body.Close(); res.StatusCode != http.StatusNoContent {
		t.Errorf("DELETE %s: %s", cost.Path, res.Status)
	}
	if got := strings.Join(strings.Fields(command()[3])[:3], " "); got != "metrics.hosts 0 0" {
		t.Errorf("after a reset: %q", got)
	}
}

func TestCommandFails(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	for _, args := range [][]string{{"--url", srv.URL}, {"--unknown"}} {
		if err := ofDefaults.Run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	var help bytes.Buffer
	if err := ofDefaults.Run(context.Background(), []string{"--help"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "--url") {
		t.Errorf("got %v, %s", err, &help)
	}
}
