// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
)

func TestDefaultsAreThoseOfTheFlags(t *testing.T) {
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	d := DefaultConfig()
	d.RegisterFlags(fs)
	if err := fs.Parse(nil); err != nil || d != DefaultConfig() {
		t.Errorf("got %+v, %v, want %+v", d, err, DefaultConfig())
	}
}

func TestValidateNamesTheFlag(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Region = "eu-west-1" }, ""},
		{func(c *Config) { c.MaxConnections = 0 }, "--timestream.max-connections=0"},
		{func(c *Config) { c.LocalCredentials = true }, "--timestream.local-credentials needs --timestream.endpoint"},
		{func(c *Config) { c.Endpoint = "localhost:9231" }, `--timestream.endpoint="localhost:9231"`},
		{func(c *Config) { c.Endpoint = "ftp://x" }, "--timestream.endpoint"},
		{func(c *Config) { c.Endpoint = "http://user:secret@x:1" }, "--timestream.endpoint: must not hold"},
		{func(c *Config) { c.Endpoint = "http://user@x:1" }, "--timestream.endpoint: must not hold"},
		{func(c *Config) { c.Endpoint = "user:secret@x:1" }, "--timestream.endpoint: must not hold"},
		{func(c *Config) { c.Endpoint = "http://user:secret/%zz@x:1" }, "--timestream.endpoint: must not hold"},
		{func(c *Config) { c.Endpoint = "http://x:1"; c.LocalCredentials = true }, ""},
		{func(*Config) {}, ""},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", cfg, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

// The clients sign with the local key, discover no endpoint when one is given, name the product, and retry nothing.
func TestClients(t *testing.T) {
	type call struct{ target, authorization, agent string }
	var mu sync.Mutex
	var calls []call
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		calls = append(calls, call{r.Header.Get("X-Amz-Target"), r.Header.Get("Authorization"), r.Header.Get("User-Agent")})
		mu.Unlock()
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"__type":"com.amazonaws.timestream.v20181101#ThrottlingException","message":"slow down"}`)
	}))
	defer srv.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDOFSOMEBODY")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	cfg := DefaultConfig()
	cfg.Endpoint, cfg.LocalCredentials, cfg.UserAgent, cfg.Region = srv.URL, true, "tributary-test/1.2", "eu-west-1"
	w, err := NewWrite(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.WriteRecords(context.Background(), &timestreamwrite.WriteRecordsInput{
		DatabaseName: aws.String("d"), TableName: aws.String("t"), Records: []types.Record{{MeasureName: aws.String("m")}},
	})
	if err == nil || !strings.Contains(err.Error(), "slow down") {
		t.Errorf("write: got %v", err)
	}
	q, err := NewQuery(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = q.Query(context.Background(), &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1")}); err == nil || !strings.Contains(err.Error(), "slow down") {
		t.Errorf("query: got %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(calls) != 2 {
		t.Fatalf("%d calls, want one each: %+v", len(calls), calls)
	}
	for i, target := range []string{"Timestream_20181101.WriteRecords", "Timestream_20181101.Query"} {
		c := calls[i]
		if c.target != target || !strings.Contains(c.authorization, "Credential=local/") || !strings.Contains(c.authorization, "/eu-west-1/timestream/") || !strings.Contains(c.agent, "tributary-test") {
			t.Errorf("call %d: %+v", i, c)
		}
	}
}

func TestWithhold(t *testing.T) {
	for give, hidden := range map[string]bool{
		"":                         false,
		"Invalid time for record.": false,
		"a dimension 'signature' of the credential store": false,
		"Authorization: AWS4-HMAC-SHA256 Credential=AKID/20261121/us-east-1/timestream/aws4_request, SignedHeaders=host, Signature=00": true,
		"{\"X-Amz-Security-Token\": [\"t\"]}":       true,
		"?X-Amz-Credential=AKID&X-Amz-Signature=00": true,
	} {
		if got := Withhold(give); (got != give) != hidden {
			t.Errorf("%q: got %q", give, got)
		}
	}
}
