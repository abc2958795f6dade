// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/gateway"
)

// flagDefaults is what users see; each row is also in the README's table.
func flagDefaults() map[string]string {
	return map[string]string{
		"web.listen-address":         "127.0.0.1:9201",
		"web.telemetry-path":         "/metrics",
		"tls-certificate":            "",
		"tls-key":                    "",
		"tls-client-ca":              "",
		"grpc.listen-address":        "127.0.0.1:9202",
		"grpc.max-connection-age":    "1m0s",
		"grpc.drain-timeout":         "30s",
		"grpc.max-calls":             "1024",
		"grpc.max-receiving":         "8",
		"grpc.receive-timeout":       "10s",
		"grpc.tls-certificate":       "",
		"grpc.tls-key":               "",
		"grpc.tls-client-ca":         "",
		"web.max-request-bytes":      "32MiB",
		"web.max-decompressed-bytes": "32MiB",
		"web.max-inflight-requests":  "1024",
		"web.max-inflight-bytes":     "128MiB",
		"write.timeout":              "25s",
		"read.timeout":               "2m0s",
		"read.max-queries":           "64",
		"query.max-expression-bytes": "512KiB",
		"read.concurrency":           "4",
		"read.max-response-bytes":    "256MiB",
		"read.max-buffer-bytes":      "256MiB",
		"web.max-form-bytes":         "10MiB",
		"web.cors.origin":            ".*",
		"backend.health-interval":    "1s",
		"web.drain-delay":            "0s",
		"web.drain-timeout":          "30s",
	}
}

func TestFlagDefaults(t *testing.T) {
	cfg := gateway.DefaultConfig()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	cfg.RegisterFlags(fs)
	got := map[string]string{}
	fs.VisitAll(func(f *flag.Flag) { got[f.Name] = f.DefValue })
	if want := flagDefaults(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if err := fs.Parse(nil); err != nil {
		t.Fatal(err)
	}
	again := gateway.DefaultConfig()
	again.RegisterFlags(flag.NewFlagSet("test", flag.ContinueOnError)) // it remembers its flags' names
	if !reflect.DeepEqual(cfg, again) {
		t.Errorf("got  %+v\nwant %+v", cfg, again)
	}
	if err := cfg.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	if cfg.IngestMessageBytes() != 32<<20+64<<10 || cfg.QueryMessageBytes() != 256<<20+64<<10 {
		t.Errorf("got message limits %d, %d", cfg.IngestMessageBytes(), cfg.QueryMessageBytes())
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		give func(*gateway.Config)
		want string // empty: valid
	}{
		{func(c *gateway.Config) { c.TelemetryPath = "metrics" }, "--web.telemetry-path"},
		{func(c *gateway.Config) { c.TelemetryPath = "/" }, "--web.telemetry-path"},
		{func(c *gateway.Config) { c.TelemetryPath = "/{x}" }, "--web.telemetry-path"},
		{func(c *gateway.Config) { c.MaxRequestBytes = 0 }, "--web.max-request-bytes"},
		{func(c *gateway.Config) { c.MaxRequestBytes = 2 << 30 }, "--web.max-request-bytes"},
		{func(c *gateway.Config) { c.MaxDecompressedBytes = 0 }, "--web.max-decompressed-bytes"},
		{func(c *gateway.Config) { c.MaxReadResponseBytes = 5 << 30 }, "--read.max-response-bytes"},
		{func(c *gateway.Config) { c.MaxInFlightRequests = -1 }, "--web.max-inflight-requests"},
		{func(c *gateway.Config) { c.MaxInFlightRequests, c.MaxInFlightBytes = 0, 0 }, ""},
		{func(c *gateway.Config) { c.MaxInFlightBytes = 1 << 20 }, "--web.max-inflight-bytes"},
		{func(c *gateway.Config) { c.WriteTimeout = 0 }, "--write.timeout"},
		{func(c *gateway.Config) { c.ReadTimeout = -time.Second }, "--read.timeout"},
		{func(c *gateway.Config) { c.MaxFormBytes = 0 }, "--web.max-form-bytes"},
		{func(c *gateway.Config) { c.CORSOrigin = "(" }, "--web.cors.origin"},
		{func(c *gateway.Config) { c.ReadConcurrency = 0 }, "--read.concurrency"},
		{func(c *gateway.Config) { c.MaxReadQueries = 0 }, "--read.max-queries"},
		{func(c *gateway.Config) { c.HealthInterval = 0 }, "--backend.health-interval"},
		{func(c *gateway.Config) { c.DrainDelay = -1 }, "--web.drain-delay"},
		{func(c *gateway.Config) { c.DrainTimeout = -1 }, "--web.drain-timeout"},
		{func(c *gateway.Config) { c.ListenAddress, c.GRPC.ListenAddress = "", "" }, ""},
	}
	for _, tt := range tests {
		cfg := gateway.DefaultConfig()
		tt.give(&cfg)
		switch err := cfg.Validate(); {
		case tt.want == "" && err != nil:
			t.Errorf("got %v, want none", err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("got %v, want an error that names %s", err, tt.want)
		}
	}
}
