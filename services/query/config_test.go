// SPDX-License-Identifier: Apache-2.0

package query

import (
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tributary-project/tributary/internal/flags"
)

func TestFlagDefaultsAreTheConfigs(t *testing.T) {
	fs := flag.NewFlagSet("query", flag.ContinueOnError)
	c := DefaultConfig()
	c.RegisterFlags(fs)
	if err := flags.Parse(fs, nil, flags.Options{Prefix: "T", LookupEnv: func(string) (string, bool) { return "", false }}); err != nil {
		t.Fatal(err)
	}
	if want := DefaultConfig(); !reflect.DeepEqual(withoutPrefix(c), withoutPrefix(want)) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.GRPC.ListenAddress != "127.0.0.1:9221" || c.ListenAddress != "127.0.0.1:9222" || c.MaxRetries != 3 || c.MaxSamples != 5e7 || c.MaxConcurrent != 10 || c.Timeout != 2*time.Minute {
		t.Errorf("defaults that are documented elsewhere have changed: %+v", c)
	}
}

// withoutPrefix forgets what RegisterFlags notes down for error texts.
func withoutPrefix(c Config) Config {
	c.GRPC.TLS = DefaultConfig().GRPC.TLS
	return c
}

func TestEveryFlagHasHelp(t *testing.T) {
	fs := flag.NewFlagSet("query", flag.ContinueOnError)
	c := DefaultConfig()
	c.RegisterFlags(fs)
	fs.VisitAll(func(f *flag.Flag) {
		if len(f.Usage) < 10 {
			t.Errorf("--%s has no help", f.Name)
		}
	})
}

func TestValidateNamesTheFlag(t *testing.T) {
	for want, set := range map[string]func(*Config){
		"--default-database":                     func(c *Config) { c.Database = "" },
		"--default-table":                        func(c *Config) { c.Table = `t"; --` },
		"--web.telemetry-path":                   func(c *Config) { c.TelemetryPath = "metrics" },
		"--max-retries":                          func(c *Config) { c.MaxRetries = -1 },
		"--storage.remote.read-sample-limit":     func(c *Config) { c.MaxSamples = -1 },
		"--storage.remote.read-concurrent-limit": func(c *Config) { c.MaxConcurrent = 0 },
		"--query.timeout":                        func(c *Config) { c.Timeout = 0 },
		"--query.max-result-bytes":               func(c *Config) { c.MaxResultBytes = 1 },
		"--query.max-samples":                    func(c *Config) { c.MaxQuerySamples = 0 },
		"--query.max-concurrency":                func(c *Config) { c.MaxConcurrency = 0 },
		"--query.lookback-delta":                 func(c *Config) { c.LookbackDelta = 0 },
		"--query.metadata-lookback":              func(c *Config) { c.MetadataLookback = 0 },
		"--query.catalogue-max-age":              func(c *Config) { c.CatalogueMaxAge = -1 },
		"--query.catalogue-refresh-interval":     func(c *Config) { c.CatalogueRefresh = -1 },
	} {
		c := DefaultConfig()
		set(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
