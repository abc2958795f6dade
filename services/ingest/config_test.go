// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/internal/flags"
)

func TestDefaultsAreThoseOfTheFlags(t *testing.T) {
	cfg := DefaultConfig()
	fs := flag.NewFlagSet("ingest", flag.ContinueOnError)
	cfg.RegisterFlags(fs)
	// Every flag set to the default that its help shows gives the same configuration.
	fs.VisitAll(func(f *flag.Flag) {
		if err := fs.Set(f.Name, f.DefValue); err != nil {
			t.Errorf("--%s=%q: %v", f.Name, f.DefValue, err)
		}
		if f.Usage == "" {
			t.Errorf("--%s has no help", f.Name)
		}
	})
	want := DefaultConfig()
	fresh := flag.NewFlagSet("ingest", flag.ContinueOnError)
	want.RegisterFlags(fresh)
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got %+v, want %+v", cfg, want)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

// The connector's flags and environment names work, and mean what its users mean by them.
func TestConnectorNames(t *testing.T) {
	cfg := DefaultConfig()
	fs := flag.NewFlagSet("ingest", flag.ContinueOnError)
	cfg.RegisterFlags(fs)
	env := map[string]string{
		"default_database": "from_env", "default_table": "t", "region": "eu-west-1", "enable_logging": "false",
		"log_level": "debug", "log_format": "json", "fail_on_long_label": "true", "fail_on_invalid_sample_value": "true",
	}
	err := flags.Parse(fs, []string{"--default-table=line"}, flags.Options{
		Prefix: EnvPrefix, LowerCase: LowerCaseEnv(), LookupEnv: func(k string) (string, bool) { v, ok := env[k]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Service
	if s.Database != "from_env" || s.Table != "line" || cfg.Timestream.Region != "eu-west-1" || cfg.Log.Enabled || !s.FailOnLongLabel || !s.FailOnInvalidSampleValue || cfg.Log.Level != "debug" || cfg.Log.Format != "json" {
		t.Errorf("got %+v", cfg)
	}
	for _, name := range []string{"fail-on-long-label", "fail-on-invalid-sample-value"} {
		if !strings.Contains(fs.Lookup(name).Usage, "Changed from the awslabs connector") {
			t.Errorf("the help of --%s does not say that its meaning changed", name)
		}
	}
	if fs.Lookup("max-retries") != nil {
		t.Error("--max-retries is about reads")
	}
}

// AWS_MAX_ATTEMPTS is the default of --ingest.write-retries, which does not count the first attempt.
func TestAttemptsOfTheSDK(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		args []string
		want int
		bad  bool
	}{
		{want: 5},
		{env: map[string]string{"AWS_MAX_ATTEMPTS": "1"}, want: 0},
		{env: map[string]string{"AWS_MAX_ATTEMPTS": "9"}, want: 8},
		{env: map[string]string{"AWS_MAX_ATTEMPTS": "0"}, want: 5}, // nothing, to the SDK
		{env: map[string]string{"AWS_MAX_ATTEMPTS": ""}, want: 5},
		{env: map[string]string{"AWS_MAX_ATTEMPTS": "9", "TRIBUTARY_INGEST_WRITE_RETRIES": "2"}, want: 2},
		{env: map[string]string{"AWS_MAX_ATTEMPTS": "9"}, args: []string{"--ingest.write-retries=1"}, want: 1},
		{env: map[string]string{"AWS_MAX_ATTEMPTS": "many"}, bad: true},
		{env: map[string]string{"AWS_MAX_ATTEMPTS": "-1"}, bad: true},
	} {
		cfg := DefaultConfig()
		fs := flag.NewFlagSet("ingest", flag.ContinueOnError)
		cfg.RegisterFlags(fs)
		err := flags.Parse(fs, c.args, flags.Options{
			Prefix: EnvPrefix, Foreign: ForeignEnv(), LookupEnv: func(k string) (string, bool) { v, ok := c.env[k]; return v, ok },
		})
		if c.bad {
			if err == nil || !strings.Contains(err.Error(), "AWS_MAX_ATTEMPTS") {
				t.Errorf("%v: got %v", c.env, err)
			}
		} else if err != nil || cfg.Service.WriteRetries != c.want {
			t.Errorf("%v %v: got %d, %v, want %d", c.env, c.args, cfg.Service.WriteRetries, err, c.want)
		}
	}
}

func TestValidateNamesTheFlag(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Service.Database = "" }, "--default-database"},
		{func(c *Config) { c.Service.Table = "a b" }, "--default-table"},
		{func(c *Config) { c.Service.MaxDecompressedBytes = 0 }, "--ingest.max-decompressed-bytes"},
		{func(c *Config) { c.Service.MaxDecompressedBytes = 2 << 30 }, "--ingest.max-decompressed-bytes"},
		{func(c *Config) { c.Service.MaxSamples = 0 }, "--ingest.max-samples-per-request"},
		{func(c *Config) { c.Service.MaxInFlightRequests = 0 }, "--ingest.max-inflight-requests"},
		{func(c *Config) { c.Service.MaxInFlightBytes = 1 << 20 }, "--ingest.max-inflight-bytes"},
		{func(c *Config) { c.Service.Timeout = 0 }, "--ingest.timeout"},
		{func(c *Config) { c.Service.MaxInFlightWrites = 0 }, "--ingest.max-inflight-writes"},
		{func(c *Config) { c.Service.MaxInFlightWritesPerRequest = 0 }, "--ingest.max-inflight-writes-per-request"},
		{func(c *Config) { c.Service.WriteRetries = -1 }, "--ingest.write-retries"},
		{func(c *Config) { c.Service.WriteTimeout = 0 }, "--ingest.write-timeout"},
		{func(c *Config) { c.Service.MinBackoff = time.Hour }, "--ingest.write-min-backoff"},
		{func(c *Config) { c.Service.LabelColumns = "ok, time" }, `--ingest.label-columns: "time"`},
		{func(c *Config) { c.Service.PackedLabels = "(" }, "--ingest.packed-labels"},
		{func(c *Config) { c.Service.MaxLabelColumns = 128 }, "--ingest.max-label-columns"},
		{func(c *Config) { c.Service.CatalogueRefresh = 0 }, "--ingest.catalogue-refresh"},
		{func(c *Config) { c.Service.SeriesCacheSize = 0 }, "--ingest.series-cache-size"},
		{func(c *Config) { c.Service.MaxTables = 0 }, "--ingest.max-tables"},
		{func(c *Config) { c.Service.Limits = "loose" }, "--timestream.limits"},
		{func(c *Config) { c.Service.OTLP.TranslationStrategy = "None" }, "--otlp.translation-strategy"},
		{func(c *Config) { c.Service.OTLP.PromoteResourceAttributes = "a,,b" }, "--otlp.promote-resource-attributes"},
		{func(c *Config) { c.Service.OTLP.PromoteResourceAttributes = "a, b ,a" }, `--otlp.promote-resource-attributes: "a"`},
		{func(c *Config) {
			c.Service.OTLP.PromoteAllResourceAttributes, c.Service.OTLP.PromoteResourceAttributes = true, "a"
		}, "--otlp.promote-all-resource-attributes"},
		{func(c *Config) { c.Service.OTLP.IgnoreResourceAttributes = "a" }, "--otlp.ignore-resource-attributes"},
		{func(c *Config) {
			c.Service.OTLP.PromoteAllResourceAttributes, c.Service.OTLP.IgnoreResourceAttributes = true, "a, b"
		}, ""},
		{func(c *Config) { c.Service.OTLP.PromoteResourceAttributes = "a, b" }, ""},
		{func(c *Config) { c.TelemetryPath = "metrics" }, "--web.telemetry-path"},
		{func(c *Config) { c.Timestream.MaxConnections = 1 }, "--timestream.max-connections"},
		{func(c *Config) { c.Log.Level = "loud" }, "--log.level"},
		{func(c *Config) {
			c.Service.PackedLabels, c.Service.LabelColumns, c.Service.Limits = "", "a, b", "observed"
		}, ""},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
