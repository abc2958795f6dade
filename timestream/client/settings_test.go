// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go/logging"
)

// environment makes these the only settings of the SDK: no others of this machine, no instance that has credentials.
func environment(t *testing.T, vars map[string]string, profile string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value) // restored afterwards
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

const profiles = `
[default]
region = eu-north-1
[profile other]
region = eu-south-1
endpoint_url = http://profile.test:1
aws_access_key_id = AKIDOTHER
aws_secret_access_key = s
[profile split]
services = split
[services split]
timestream_write =
  endpoint_url = http://write.test:1
`

func TestRegion(t *testing.T) {
	for _, c := range []struct {
		name    string
		flag    string
		env     map[string]string
		profile string
		want    string
	}{
		{name: "nothing says any", want: "us-east-1"},
		{name: "profile", profile: profiles, want: "eu-north-1"},
		{name: "named profile", profile: profiles, env: map[string]string{"AWS_PROFILE": "other"}, want: "eu-south-1"},
		{name: "named profile without", profile: profiles, env: map[string]string{"AWS_PROFILE": "split"}, want: "us-east-1"},
		{name: "AWS_DEFAULT_REGION", profile: profiles, env: map[string]string{"AWS_DEFAULT_REGION": "us-west-1"}, want: "us-west-1"},
		{name: "AWS_REGION", profile: profiles, env: map[string]string{"AWS_DEFAULT_REGION": "us-west-1", "AWS_REGION": "us-west-2"}, want: "us-west-2"},
		{name: "flag", flag: "ap-south-1", profile: profiles, env: map[string]string{"AWS_REGION": "us-west-2"}, want: "ap-south-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, c.env, c.profile)
			cfg := DefaultConfig()
			cfg.Region = c.flag
			loaded, err := cfg.load(t.Context())
			if err != nil || loaded.Region != c.want {
				t.Errorf("got %q, %v, want %q", loaded.Region, err, c.want)
			}
			if c.env["AWS_PROFILE"] != "" {
				return // its endpoints
			}
			if got, want := cfg.Target(), "Amazon Timestream in "+c.want; got != want {
				t.Errorf("target: got %q, want %q", got, want)
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		name        string
		flag        string
		env         map[string]string
		write       string
		query       string
		undiscovery bool
		target      string
	}{
		{name: "nothing says any", target: "Amazon Timestream in eu-north-1"},
		{name: "AWS_ENDPOINT_URL", env: map[string]string{"AWS_ENDPOINT_URL": "http://all.test:1"}, write: "http://all.test:1", query: "http://all.test:1", target: "http://all.test:1"},
		{name: "one for each", env: map[string]string{"AWS_ENDPOINT_URL": "http://all.test:1", "AWS_ENDPOINT_URL_TIMESTREAM_WRITE": "http://w.test:1", "AWS_ENDPOINT_URL_TIMESTREAM_QUERY": "http://q.test:1"},
			write: "http://w.test:1", query: "http://q.test:1", target: "http://w.test:1"},
		{name: "profile", env: map[string]string{"AWS_PROFILE": "other"}, write: "http://profile.test:1", query: "http://profile.test:1", target: "http://profile.test:1"},
		{name: "profile for one service", env: map[string]string{"AWS_PROFILE": "split"}, write: "http://write.test:1", target: "http://write.test:1"},
		{name: "ignored", env: map[string]string{"AWS_PROFILE": "other", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, target: "Amazon Timestream in eu-south-1"},
		{name: "a password is not shown", env: map[string]string{"AWS_ENDPOINT_URL": "http://user:secret@all.test:1"}, write: "http://user:secret@all.test:1", query: "http://user:secret@all.test:1", target: "http://all.test:1"},
		{name: "flag", flag: "http://flag.test:1", env: map[string]string{"AWS_ENDPOINT_URL": "http://all.test:1", "AWS_ENDPOINT_URL_TIMESTREAM_WRITE": "http://w.test:1"},
			write: "http://flag.test:1", query: "http://flag.test:1", undiscovery: true, target: "http://flag.test:1"},
		{name: "no discovery", env: map[string]string{"AWS_ENABLE_ENDPOINT_DISCOVERY": "false"}, undiscovery: true, target: "Amazon Timestream in eu-north-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			environment(t, c.env, profiles)
			cfg := DefaultConfig()
			cfg.Endpoint = c.flag
			w, err := NewWrite(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			q, err := NewQuery(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if got := aws.ToString(w.Options().BaseEndpoint); got != c.write {
				t.Errorf("write: got %q, want %q", got, c.write)
			}
			if got := aws.ToString(q.Options().BaseEndpoint); got != c.query {
				t.Errorf("query: got %q, want %q", got, c.query)
			}
			for api, state := range map[string]aws.EndpointDiscoveryEnableState{
				"write": w.Options().EndpointDiscovery.EnableEndpointDiscovery, "query": q.Options().EndpointDiscovery.EnableEndpointDiscovery,
			} {
				if off := state == aws.EndpointDiscoveryDisabled; off != c.undiscovery {
					t.Errorf("%s: discovery %v", api, state)
				}
			}
			if got := cfg.Target(); got != c.target {
				t.Errorf("target: got %q, want %q", got, c.target)
			}
		})
	}
}

// stub answers every operation and notes the calls; endpoints are discovered at its own address.
func stub(t *testing.T) (url string, calls func() []string) {
	t.Helper()
	var mu sync.Mutex
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		_, key, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		key, _, _ = strings.Cut(key, "/")
		mu.Lock()
		got = append(got, operation+" by "+key)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		switch operation {
		case "DescribeEndpoints":
			fmt.Fprintf(w, `{"Endpoints":[{"Address":"http://%s","CachePeriodInMinutes":1440}]}`, r.Host)
		case "WriteRecords":
			_, _ = io.WriteString(w, `{"RecordsIngested":{"Total":1,"MemoryStore":1,"MagneticStore":0}}`)
		default:
			_, _ = io.WriteString(w, `{"QueryId":"A","Rows":[],"ColumnInfo":[]}`)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
}

// With nothing but the SDK's variables, calls reach the endpoint that these name, signed by the profile's key, after or
// without discovery.
func TestCallsByTheEnvironmentAlone(t *testing.T) {
	for _, c := range []struct {
		discovery string
		want      []string
	}{
		{"", []string{"DescribeEndpoints by AKIDENV", "WriteRecords by AKIDENV", "DescribeEndpoints by AKIDENV", "Query by AKIDENV"}},
		{"true", []string{"DescribeEndpoints by AKIDENV", "WriteRecords by AKIDENV", "DescribeEndpoints by AKIDENV", "Query by AKIDENV"}},
		{"false", []string{"WriteRecords by AKIDENV", "Query by AKIDENV"}},
	} {
		t.Run("discovery "+c.discovery, func(t *testing.T) {
			url, calls := stub(t)
			vars := map[string]string{"AWS_ENDPOINT_URL_TIMESTREAM_WRITE": url, "AWS_ENDPOINT_URL_TIMESTREAM_QUERY": url,
				"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "s", "AWS_RETRY_MODE": "adaptive", "AWS_MAX_ATTEMPTS": "7"}
			if c.discovery != "" {
				vars["AWS_ENABLE_ENDPOINT_DISCOVERY"] = c.discovery
			}
			environment(t, vars, "")
			if err := call(t.Context(), DefaultConfig()); err != nil {
				t.Fatal(err)
			}
			if got := calls(); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	t.Run("profile", func(t *testing.T) {
		url, calls := stub(t)
		environment(t, map[string]string{"AWS_PROFILE": "other", "AWS_ENDPOINT_URL": url, "AWS_ENABLE_ENDPOINT_DISCOVERY": "false"}, profiles)
		if err := call(t.Context(), DefaultConfig()); err != nil {
			t.Fatal(err)
		}
		if got, want := calls(), []string{"WriteRecords by AKIDOTHER", "Query by AKIDOTHER"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
	t.Run("bad retry mode", func(t *testing.T) {
		environment(t, map[string]string{"AWS_RETRY_MODE": "never"}, "")
		if err := call(t.Context(), DefaultConfig()); err == nil || !strings.Contains(err.Error(), "never") {
			t.Errorf("got %v", err)
		}
	})
}

// call makes one call of each API.
func call(ctx context.Context, cfg Config) error {
	w, err := NewWrite(ctx, cfg)
	if err != nil {
		return err
	}
	if _, err := w.WriteRecords(ctx, &timestreamwrite.WriteRecordsInput{
		DatabaseName: aws.String("d"), TableName: aws.String("t"), Records: []types.Record{{MeasureName: aws.String("m")}},
	}); err != nil {
		return err
	}
	q, err := NewQuery(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = q.Query(ctx, &timestreamquery.QueryInput{QueryString: aws.String("SELECT 1")})
	return err
}

func TestSDKLogsThroughTheLogger(t *testing.T) {
	var out bytes.Buffer
	environment(t, nil, "")
	cfg := DefaultConfig()
	cfg.Logger = slog.New(slog.NewTextHandler(&out, nil))
	loaded, err := cfg.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	loaded.Logger.Logf(logging.Warn, "falling back to %s", "IMDSv1")
	loaded.Logger.Logf(logging.Debug, "not worth a line")
	if got := out.String(); !strings.Contains(got, `level=WARN msg="AWS SDK: falling back to IMDSv1"`) || strings.Contains(got, "worth") {
		t.Errorf("got %s", got)
	}
}
