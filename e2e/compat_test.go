// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/golang/snappy"

	"github.com/tributary-project/tributary/e2e/internal/proc"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// tributaryAll starts `tributary all` with the environment of the test and env. Its output is in dir/tributary.log.
func tributaryAll(t *testing.T, dir, readyURL string, env []string, args ...string) *proc.Process {
	t.Helper()
	p, err := proc.StartCommand(t.Context(), "tributary", dir, readyURL, tributaryCommand(t, env, args...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func tributaryCommand(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := proc.Binary("tributary")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, append([]string{"all"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

func logOf(t *testing.T, p *proc.Process) string {
	t.Helper()
	text, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// printedBlock waits for what is to be pasted into prometheus.yml and returns it.
func printedBlock(t *testing.T, p *proc.Process) string {
	t.Helper()
	var block string
	until(t, 2*time.Minute, func() error {
		_, after, found := strings.Cut(logOf(t, p), "prometheus.yml:\n\n")
		yaml, _, ended := strings.Cut(after, "\n\n")
		if !found || !ended {
			return errors.New("nothing is printed to paste into prometheus.yml")
		}
		block = yaml + "\n"
		return nil
	})
	return block
}

// quietAddress is an address of 127.0.0.1 whose port can be had on all addresses too, and is none of those that the system gives to
// who asks for any port.
func quietAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(15_000 + mathrand.IntN(15_000))
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", ":"+port)
		if err == nil {
			_ = ln.Close()
			return "127.0.0.1:" + port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// TestFlagsOfTheConnector runs `tributary all` with every option of the awslabs connector, as flags and then, on the same
// data, by the names of the environment.
func TestFlagsOfTheConnector(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	address, storeAddress, grpcAddress := quietAddress(t), promtest.FreeAddress(t), promtest.FreeAddress(t)
	base := "http://" + address
	where := []string{"--data-dir=" + filepath.Join(dir, "data"), "--local.listen-address=" + storeAddress, "--grpc.listen-address=" + grpcAddress}
	now := time.Now().UnixMilli()
	write := func(p rw.Protocol, s ...rw.Series) rw.Answer {
		t.Helper()
		answer, err := rw.Write(ctx, base+"/write", p, s...) // the connector's path
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	stored := func(want ...rw.Series) {
		t.Helper()
		got, err := promtest.ReadAll(ctx, base+"/read", 0, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		if c := promtest.Compare(series(want), got); !c.OK() {
			t.Error(c)
		}
	}
	first := rw.New("__name__", "first", "job", "compat").At(now, 1)
	second := rw.New("__name__", "second", "job", "compat").At(now, 2)
	third := rw.New("__name__", "third", "job", "compat").At(now, math.Inf(1)).At(now+1, 3)
	long := rw.New("__name__", strings.Repeat("long_", 60), "job", "compat").At(now, 4)

	// By flags.
	p := tributaryAll(t, dir, base+"/-/ready", nil, append(where,
		"--default-database=compatDatabase", "--default-table=compatTable", "--region=eu-west-1", "--web.listen-address="+address,
		"--web.telemetry-path=/timestream-metrics", "--max-retries=10", "--enable-logging=true", "--fail-on-long-label=true",
		"--fail-on-invalid-sample-value=true", "--log.level=warn", "--log.format=json")...)
	if answer := write(rw.V1, first); answer.Status != http.StatusNoContent {
		t.Errorf("write: %d %s", answer.Status, answer.Text)
	}
	for _, c := range []struct {
		give rw.Series
		want string
	}{{long, "--fail-on-long-label"}, {third, "--fail-on-invalid-sample-value"}} {
		// What offends is refused, the rest is stored, and the process goes on.
		answer := write(rw.V2, c.give, second)
		if answer.Status != http.StatusBadRequest || !strings.Contains(answer.Text, c.want) {
			t.Errorf("answered %d %s, want 400 and %s in it", answer.Status, answer.Text, c.want)
		}
	}
	stored(first, second, rw.New("__name__", "third", "job", "compat").At(now+1, 3))
	if answer, err := get(ctx, base+"/timestream-metrics"); err != nil || !strings.Contains(answer.Text, "tributary_ingest_") {
		t.Errorf("metrics: %d %.200s (%v)", answer.Status, answer.Text, err)
	}
	if answer, err := get(ctx, base+"/metrics"); err != nil || answer.Status != http.StatusNotFound {
		t.Errorf("/metrics: %d (%v), want 404: the metrics are elsewhere", answer.Status, err)
	}
	if got := region(t, "http://"+storeAddress); got != "eu-west-1" {
		t.Errorf("the table is in region %q, want eu-west-1", got)
	}
	levels := map[string]bool{}
	for line := range strings.Lines(logOf(t, p)) {
		if !strings.Contains(line, `"msg"`) {
			continue // what is printed for people
		}
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Msg == "" {
			t.Errorf("not JSON: %s", line)
		}
		levels[entry.Level] = true
	}
	if text := logOf(t, p); !levels["WARN"] || levels["INFO"] || strings.Contains(text, "level=") {
		t.Errorf("want a log in JSON, of warnings:\n%.2000s", text)
	}

	// A second process on the same data is told why it cannot.
	var stderr bytes.Buffer
	other := tributaryCommand(t, nil, where[0], "--web.listen-address="+promtest.FreeAddress(t), "--grpc.listen-address="+promtest.FreeAddress(t), "--local.listen-address="+promtest.FreeAddress(t))
	other.Stderr = &stderr
	if err := other.Run(); err == nil || other.ProcessState.ExitCode() != 1 {
		t.Errorf("a second process on the same data: %v, want exit code 1", err)
	}
	if text := lastError(stderr.String()); !strings.Contains(text, filepath.Join(dir, "data")) || !strings.Contains(text, "process") {
		t.Errorf("the second process says %q, want the directory and that another process has it", text)
	}

	if err := p.End(os.Interrupt); err != nil {
		t.Error(err)
	}

	// By the names of the environment, the data still there. The flags of the connector that had none stay flags.
	if err := os.Rename(p.Log, p.Log+".1"); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	p = tributaryAll(t, dir, base+"/-/ready", []string{
		"default_database=compatDatabase", "default_table=compatTable", "region=us-west-2", "max_retries=10", "enable_logging=false",
		"fail_on_long_label=true", "fail_on_invalid_sample_value=false", "log_level=debug", "log_format=json",
	}, append(where, "--web.listen-address=:"+port)...) // on all addresses, as the connector's users write it
	stored(first, second, rw.New("__name__", "third", "job", "compat").At(now+1, 3))
	if answer := write(rw.V2, long, third); answer.Status != http.StatusBadRequest || answer.Written() != "2 0 0" {
		t.Errorf("only the long name is to be refused: %d %s", answer.Status, answer.Text)
	}
	stored(first, second, third)
	if got := region(t, "http://"+storeAddress); got != "us-west-2" {
		t.Errorf("the table is in region %q, want us-west-2", got)
	}
	if block := printedBlock(t, p); !strings.Contains(block, "http://localhost:"+port+"/api/v1/write") {
		t.Errorf("on all addresses, it prints\n%s", block)
	}
	if text := logOf(t, p); strings.Contains(text, `"msg"`) || strings.Contains(text, "msg=") {
		t.Errorf("logging is off, and yet:\n%.2000s", text)
	}
	if err := p.End(os.Interrupt); err != nil {
		t.Error(err)
	}
}

// lastError returns the error that a process ended with, from its standard error.
func lastError(s string) string { return s[max(0, strings.LastIndex(s, "error: ")):] }

// region returns the region in the ARN of the only table of compatDatabase.
func region(t *testing.T, url string) string {
	t.Helper()
	c, err := writeClient(t.Context(), &system.System{TimestreamURL: url})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.DescribeTable(t.Context(), &timestreamwrite.DescribeTableInput{DatabaseName: aws.String("compatDatabase"), TableName: aws.String("compatTable")})
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(aws.ToString(out.Table.Arn), ":")
	if len(parts) < 4 {
		return aws.ToString(out.Table.Arn)
	}
	return parts[3]
}

// TestFiveMinutes does what the README promises: start it without any flag but those that keep tests apart, paste what it
// prints into prometheus.yml, and Prometheus writes to it and reads from it. Ctrl-C ends it; started again, all is there.
func TestFiveMinutes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	address := promtest.FreeAddress(t)
	base := "http://" + address
	args := []string{"--data-dir=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--local.listen-address=" + promtest.FreeAddress(t), "--grpc.listen-address=" + promtest.FreeAddress(t)}
	p := tributaryAll(t, dir, base+"/-/ready", nil, args...)
	block := printedBlock(t, p)
	for _, url := range []string{base + "/api/v1/write", base + "/api/v1/read"} {
		if before, _, _ := strings.Cut(logOf(t, p), "Paste"); !strings.Contains(before, url) || !strings.Contains(block, "url: "+url) {
			t.Errorf("%s is not printed:\n%s", url, logOf(t, p))
		}
	}

	// Pasted as it is, between what a prometheus.yml has anyway.
	target := newTarget(t)
	config := "global: {scrape_interval: 500ms}\n" + block
	first := promtest.Start(t, config, nil)
	first.Reload(t, scrape(config, map[string]string{"target": target.Host}))
	if err := first.Wait(ctx, func() error { return target.Scraped(3) }, 3*time.Minute); err != nil {
		t.Fatal(err)
	}
	own := first.Settle(t, idle(config, "target"), 3*time.Minute)

	for range 2 {
		got, err := promtest.Read(ctx, base+"/api/v1/read", everything(own))
		if err != nil {
			t.Fatal(err)
		}
		if c := promtest.Compare(own, got[0].Timeseries); !c.OK() || c.Equal == 0 {
			t.Error(c)
		}
		if err := p.End(os.Interrupt); err != nil {
			t.Error(err)
		}
		p = tributaryAll(t, dir, base+"/-/ready", nil, args...)
	}
	if err := p.Stop(); err != nil { // by SIGTERM
		t.Error(err)
	}
}

// TestTLS serves HTTPS with the connector's two flags.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	address := promtest.FreeAddress(t)
	certificate, pool := newCertificate(t, dir, netip.MustParseAddrPort(address).Addr())
	base := "https://" + address
	p := tributaryAll(t, dir, base+"/-/ready", nil, "--data-dir="+filepath.Join(dir, "data"), "--web.listen-address="+address,
		"--local.listen-address=", "--grpc.listen-address="+promtest.FreeAddress(t), "--tls-certificate="+certificate, "--tls-key="+filepath.Join(dir, "key.pem"))
	if block := printedBlock(t, p); !strings.Contains(block, "url: "+base+"/api/v1/write") {
		t.Errorf("with TLS, it prints\n%s", block)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	body := snappy.Encode(nil, rw.Request{Series: []rw.Series{rw.New("__name__", "tls").At(time.Now().UnixMilli(), 1)}}.Encode(rw.V1))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/write", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", rw.V1.ContentType())
	req.Header.Set("Content-Encoding", "snappy")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusNoContent {
		t.Errorf("write: %s", res.Status)
	}
	if answer, err := get(t.Context(), "http://"+address+"/-/ready"); err == nil && answer.Status == http.StatusOK {
		t.Error("plain text is answered, too")
	}
	if err := p.End(os.Interrupt); err != nil {
		t.Error(err)
	}
}

// newCertificate writes a self-signed certificate for an address to dir/cert.pem and its key to dir/key.pem.
func newCertificate(t *testing.T, dir string, address netip.Addr) (path string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tributary"}, IPAddresses: []net.IP{address.AsSlice()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "cert.pem")
	for name, block := range map[string]*pem.Block{path: {Type: "CERTIFICATE", Bytes: der}, filepath.Join(dir, "key.pem"): {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(certificate)
	return path, pool
}

// TestBadOptions checks that a value that an option of the connector does not have ends the process before it begins, with
// the name of the option.
func TestBadOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{args: []string{"--enable-logging=maybe"}, want: "enable-logging"},
		{args: []string{"--max-retries=some"}, want: "max-retries"},
		{args: []string{"--max-retries=-1"}, want: "max-retries"},
		{args: []string{"--log.level=loud"}, want: "log.level"},
		{args: []string{"--log.format=xml"}, want: "log.format"},
		{args: []string{"--default-database=no spaces"}, want: "default-database"},
		{args: []string{"--web.telemetry-path=metrics"}, want: "web.telemetry-path"},
		{args: []string{"--tls-certificate=/does/not/exist", "--tls-key=/neither"}, want: "--tls-certificate=/does/not/exist"},
		{args: []string{"--tls-key=/neither"}, want: "tls-certificate"},
		{env: []string{"fail_on_long_label=perhaps"}, want: "fail_on_long_label"},
		{env: []string{"fail_on_invalid_sample_value=perhaps"}, want: "fail_on_invalid_sample_value"},
	} {
		t.Run(strings.Join(append(c.env, c.args...), " "), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			like := tributaryCommand(t, c.env, append(c.args, "--data-dir="+t.TempDir(), "--web.listen-address=127.0.0.1:0", "--local.listen-address=", "--grpc.listen-address=127.0.0.1:0")...)
			cmd := exec.CommandContext(ctx, like.Path, like.Args[1:]...)
			cmd.Env = like.Env
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() < 1 {
				t.Errorf("it ends with %v, want an exit code", err)
			}
			if text := lastError(stderr.String()); !strings.Contains(text, c.want) {
				t.Errorf("it says %q, want %s", text, c.want)
			}
		})
	}
}
