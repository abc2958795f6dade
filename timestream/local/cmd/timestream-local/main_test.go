// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
)

// asProcess makes the test binary be the command, so that tests can kill a real process.
const asProcess = "TIMESTREAM_LOCAL_TEST_AS_PROCESS"

// fileLimit is the size in bytes beyond which a process of the tests cannot write a file, as on a disk that is full.
const fileLimit = "TIMESTREAM_LOCAL_TEST_FILE_LIMIT"

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) != "" {
		if n, err := strconv.ParseUint(os.Getenv(fileLimit), 10, 64); err == nil {
			signal.Ignore(syscall.SIGXFSZ)
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
				panic(err)
			}
		}
		main()
	}
	os.Exit(m.Run())
}

type server struct {
	cmd    *exec.Cmd
	url    string
	stderr bytes.Buffer
	// ended is closed when the process is gone; err is how.
	ended chan struct{}
	err   error
}

// start runs the process and waits until it is ready.
func start(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := launch(t, dir, args...)
	if !s.ready() {
		<-s.ended
		t.Fatalf("not ready: %s", &s.stderr)
	}
	return s
}

// ready waits until the process serves, and tells whether it does; after two minutes it is killed.
func (s *server) ready() bool {
	late := time.AfterFunc(2*time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	for {
		if code, _ := get(s.url + "/-/ready"); code == http.StatusOK {
			return true
		}
		select {
		case <-s.ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// kill ends the process as a crash would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// stop ends the process in order.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if <-s.ended; s.err != nil {
		t.Errorf("%v: %s", s.err, &s.stderr)
	}
}

// freeAddress is one that nobody listens on. It is an address of this machine that no other test asks ports of, so that nobody
// takes the port meanwhile.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil { // this system has one loopback address only
		ln, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// launch runs the process.
func launch(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := &server{ended: make(chan struct{})}
	address := freeAddress(t)
	s.url = "http://" + address
	s.cmd = exec.Command(os.Args[0], append([]string{"--data-dir", dir, "--listen-address", address, "--admin.listen-address="}, args...)...)
	s.cmd.Env = append(os.Environ(), asProcess+"=1")
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(s.kill)
	return s
}

// fails waits for the process to end by itself, with exit code 1, and returns what it wrote to standard error.
func (s *server) fails(t *testing.T) string {
	t.Helper()
	late := time.AfterFunc(2*time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	<-s.ended
	var exit *exec.ExitError
	if !errors.As(s.err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("it ended with %v, want exit code 1: %s", s.err, &s.stderr)
	}
	text := s.stderr.String()
	for _, bad := range []string{"goroutine ", "SIGABRT", "terminate called", "duckdb::"} {
		if strings.Contains(text, bad) {
			t.Errorf("it shows its inside: %s", text)
		}
	}
	return text
}

func get(url string) (int, string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	res, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

func (s *server) config() aws.Config {
	return aws.Config{Region: "us-east-1", BaseEndpoint: &s.url, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "any", SecretAccessKey: "any"}, nil
		})}
}

// batch is the n-th request of a writer: 50 records.
func batch(writer, n int, start time.Time) *timestreamwrite.WriteRecordsInput {
	in := &timestreamwrite.WriteRecordsInput{DatabaseName: aws.String("PrometheusDatabase"), TableName: aws.String("PrometheusMetricsTable"),
		CommonAttributes: &wtypes.Record{MeasureName: aws.String("m"), Time: aws.String(strconv.FormatInt(start.UnixMilli()+int64(n), 10)),
			Dimensions: []wtypes.Dimension{{Name: aws.String("writer"), Value: aws.String(strconv.Itoa(writer))}}}}
	for i := range 50 {
		in.Records = append(in.Records, wtypes.Record{MeasureValue: aws.String(strconv.Itoa(n)), Dimensions: []wtypes.Dimension{{Name: aws.String("i"), Value: aws.String(strconv.Itoa(i))}}})
	}
	return in
}

func TestAdmin(t *testing.T) {
	s := start(t, t.TempDir(), "--default-database", "db1", "--default-table", "t-1")
	for path, want := range map[string]string{
		"/-/healthy": "Healthy", "/-/ready": "Ready", "/metrics": "timestream_local_records_total", "/debug/pprof/": "goroutine",
		"/": "<code>--default-table=t-1</code>", "/?format=json": `"name": "t-1"`,
	} {
		if code, body := get(s.url + path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %.100s", path, code, body)
		}
	}
	if err := run(t.Context(), []string{"healthcheck", "--url", s.url + "/-/healthy"}, io.Discard, io.Discard); err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), []string{"healthcheck", "--url", s.url + "/nothing"}, io.Discard, io.Discard); err == nil {
		t.Error("a missing page is healthy")
	}
	if _, err := timestreamwrite.NewFromConfig(s.config()).DescribeTable(t.Context(), &timestreamwrite.DescribeTableInput{DatabaseName: aws.String("db1"), TableName: aws.String("t-1")}); err != nil {
		t.Error(err)
	}
}

// Faults come from the flag, are changed over HTTP, and show in the metrics.
func TestFaults(t *testing.T) {
	s := start(t, t.TempDir(), "--faults=throttle=1x,seed=5")
	w := timestreamwrite.NewFromConfig(s.config())
	var throttled *wtypes.ThrottlingException
	if _, err := w.WriteRecords(t.Context(), batch(0, 0, time.Now())); !errors.As(err, &throttled) {
		t.Errorf("got %v", err)
	}
	if _, err := w.WriteRecords(t.Context(), batch(0, 0, time.Now())); err != nil {
		t.Error(err)
	}
	change := func(method, plan string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+"/faults", strings.NewReader(plan))
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, strings.TrimSpace(string(b))
	}
	if code, text := change(http.MethodPut, "write.unavailable=1,seed=1"); code != http.StatusOK || text != "write.unavailable=1,seed=1" {
		t.Errorf("PUT: %d %s", code, text)
	}
	if code, text := change(http.MethodPut, "nothing"); code != http.StatusBadRequest || !strings.Contains(text, "kind=value") {
		t.Errorf("bad PUT: %d %s", code, text)
	}
	if code, text := get(s.url + "/faults"); code != http.StatusOK || strings.TrimSpace(text) != "write.unavailable=1,seed=1" {
		t.Errorf("GET: %d %s", code, text)
	}
	if _, err := w.WriteRecords(t.Context(), batch(0, 1, time.Now())); err == nil {
		t.Error("no fault")
	}
	if code, text := change(http.MethodDelete, ""); code != http.StatusOK || text != "" {
		t.Errorf("DELETE: %d %s", code, text)
	}
	if _, err := w.WriteRecords(t.Context(), batch(0, 1, time.Now())); err != nil {
		t.Error(err)
	}
	_, metrics := get(s.url + "/metrics")
	for _, want := range []string{`timestream_local_faults_total{kind="throttle",operation="write"} 1`, `timestream_local_faults_total{kind="unavailable",operation="write"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

// TestAdminPort: with a listener of its own, /faults is there and no longer beside the API, which says so.
func TestAdminPort(t *testing.T) {
	address := freeAddress(t)
	s := start(t, t.TempDir(), "--admin.listen-address="+address)
	if code, text := get(s.url + "/faults"); code != http.StatusNotFound || !strings.Contains(text, "http://"+address) {
		t.Errorf("beside the API: %d %s", code, text)
	}
	for path, want := range map[string]string{"/faults": "", "/metrics": "timestream_local_fault_rules 0", "/-/healthy": "Healthy", "/-/ready": "Ready", "/debug/pprof/": "goroutine"} {
		if code, body := get("http://" + address + path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %.100s", path, code, body)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+address+"/faults/none-listed", strings.NewReader("ListDatabases.access-denied=1"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	var denied *wtypes.AccessDeniedException
	if _, err := timestreamwrite.NewFromConfig(s.config()).ListDatabases(t.Context(), &timestreamwrite.ListDatabasesInput{}); !errors.As(err, &denied) {
		t.Errorf("got %v", err)
	}
	if _, metrics := get(s.url + "/metrics"); !strings.Contains(metrics, `timestream_local_fault_rule_hits_total{kind="access-denied",operation="ListDatabases",rule="none-listed"} 1`) {
		t.Error("the hit is not in the metrics")
	}
}

func TestFlags(t *testing.T) {
	cfg := defaultConfig()
	fs := flag.NewFlagSet("timestream-local", flag.ContinueOnError)
	cfg.registerFlags(fs)
	env := map[string]string{"TIMESTREAM_LOCAL_MEMORY_RETENTION_HOURS": "7", "TIMESTREAM_LOCAL_ALLOW_ACTIONS": "timestream:Select, WriteRecords", "TIMESTREAM_LOCAL_LIMITS": "observed"}
	err := flags.Parse(fs, []string{"--magnetic-retention-days=9", "--memory-limit=128MiB"}, flags.Options{Prefix: "TIMESTREAM_LOCAL",
		LookupEnv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	if c := cfg.local; c.MemoryRetentionHours != 7 || c.MagneticRetentionDays != 9 || c.MemoryLimit != 128<<20 || c.Limits != "observed" || strings.Join(c.AllowActions, " ") != "Select WriteRecords" {
		t.Errorf("got %+v", c)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, io.Discard); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "--data-dir=./data") || !strings.Contains(out.String(), "127.0.0.1:9231") {
		t.Errorf("got %v, %s", err, &out)
	}
	out.Reset()
	if err := run(t.Context(), []string{"version"}, &out, io.Discard); err != nil || !strings.HasPrefix(out.String(), "timestream-local ") {
		t.Errorf("version: got %v, %s", err, &out)
	}
	t.Setenv("log_level", "loud") // the awslabs connector's name
	if err := run(t.Context(), []string{"--data-dir", t.TempDir()}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "--log.level") {
		t.Errorf("got %v", err)
	}
	t.Setenv("log_level", "info")
	for _, bad := range []string{
		"--threads=x: want a whole number", "--query.timeout=5: want a duration such as 30s, 5m or 1h", "--account-id=1: want 12 digits", "--region=: must not be empty",
		"--checkpoint.log-size=1: want at least 64KiB", "--snapshot.max-log=1: want at least 1MiB", "--query.max-result-size=0: want at least 1B", "--query.open-results=0: want at least 1",
		"--magnetic-visibility-delay=25h: want 0 to 24h0m0s", "--window.future-grace=-1s: must not be negative", "--retention-interval=0s: must be positive",
		"--allow-actions=Select,WriteRecord: is no action of Timestream",
	} {
		arg, want, _ := strings.Cut(bad, ": ")
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		err := run(t.Context(), []string{arg, "--data-dir", t.TempDir()}, io.Discard, io.Discard)
		if err == nil || !errors.As(err, new(process.UsageError)) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", arg, err, want)
		}
	}
	for _, bad := range [][]string{{"--limits=none"}, {"--memory-retention-hours=0"}, {"--default-table="}, {"--tls-key=x"}, {"extra"}, {"--memory-limit=1"}, {"--faults=throttle=2"}} {
		if err := run(t.Context(), append([]string{"--data-dir", t.TempDir()}, bad...), io.Discard, io.Discard); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}
