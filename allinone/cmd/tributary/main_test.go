// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/tributary-project/tributary/internal/flags"
	"github.com/tributary-project/tributary/internal/process"
	"github.com/tributary-project/tributary/timestream/local"
)

func TestFlagDefaultsAreTheConfigsDefaults(t *testing.T) {
	got := defaultConfig()
	fs := flag.NewFlagSet("all", flag.ContinueOnError)
	got.registerFlags(fs)
	if err := flags.Parse(fs, nil, flags.Options{Prefix: "T", LookupEnv: func(string) (string, bool) { return "", false }}); err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.registerFlags(flag.NewFlagSet("", flag.ContinueOnError)) // some configurations keep the prefix of their flags
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := got.validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no command", nil, "no command"},
		{"unknown command", []string{"sell"}, `unknown command "sell"`},
		{"unknown store", []string{"all", "--store=floppy"}, `--store="floppy"`},
		{"endpoint without effect", []string{"all", "--timestream.endpoint=http://x"}, "add --store=timestream"},
		{"bad flag of a part", []string{"all", "--timestream.limits=lax"}, "--timestream.limits"},
		{"too few connections", []string{"all", "--store=timestream", "--timestream.max-connections=8"}, "--ingest.max-inflight-writes"},
		{"no list of tables", []string{"all", "--allowed-tables=one"}, "allowed-tables"},
		{"bad flag of the store", []string{"all", "--local.memory-retention-hours=0"}, "--local.memory-retention-hours=0"},
		{"two bad flags of the store", []string{"all", "--local.write-queue=0", "--local.query.concurrency=-1"}, "--local.write-queue=0: want at least 1\n--local.query.concurrency=-1: want at least 1"},
		{"deltas converted and not", []string{"all", "--otlp.convert-delta", "--otlp.native-delta"}, "--otlp.convert-delta: has no place beside --otlp.native-delta"},
		{"no streams", []string{"all", "--otlp.convert-delta.max-streams=0"}, "--otlp.convert-delta.max-streams=0"},
		{"bad flag of the store's API", []string{"all", "--local.read-timeout=0s"}, "--local.read-timeout=0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			err := run(t.Context(), c.args, &out, &errOut)
			var usage process.UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a usage error with %q", err, c.want)
			}
		})
	}
}

// TestLimitsOfTheStore: what ingest is told of Timestream's limits holds for the embedded store too, unless that is told
// otherwise.
func TestLimitsOfTheStore(t *testing.T) {
	for _, tt := range []struct {
		name string
		give []string
		want local.Limits
	}{
		{"default", nil, local.LimitsStrict},
		{"follow", []string{"--timestream.limits=observed"}, local.LimitsObserved},
		{"own", []string{"--timestream.limits=observed", "--local.limits=strict"}, local.LimitsStrict},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := defaultConfig()
			fs := flag.NewFlagSet("all", flag.ContinueOnError)
			cfg.registerFlags(fs)
			if err := fs.Parse(tt.give); err != nil {
				t.Fatal(err)
			}
			if got := cfg.storeConfig().Limits; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if err := cfg.validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var out, errOut bytes.Buffer
	if err := run(t.Context(), []string{"all", "--help"}, &out, &errOut); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	// The options of the awslabs connector, and where the data is.
	for _, want := range []string{"default-database", "default-table", "region", "tls-certificate", "tls-key", "web.listen-address", "web.telemetry-path",
		"max-retries", "enable-logging", "fail-on-long-label", "fail-on-invalid-sample-value", "log.level", "log.format", "data-dir"} {
		if !strings.Contains(out.String(), "--"+want) {
			t.Errorf("help lacks --%s", want)
		}
	}
}

// The status page of the embedded store shows its own settings and those it shares, no others.
func TestStoreSettings(t *testing.T) {
	cfg := defaultConfig()
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	cfg.registerFlags(fs)
	got := map[string]bool{}
	for _, s := range storeSettings(flags.Settings(fs)) {
		got[s.Name] = true
	}
	for _, want := range []string{"data-dir", "default-database", "default-table", "region", "local.limits", "local.listen-address", "local.admin.listen-address"} {
		if !got[want] {
			t.Errorf("no %s", want)
		}
	}
	for _, other := range []string{"store", "web.listen-address", "timestream.endpoint", "tls-key"} {
		if got[other] {
			t.Errorf("%s is among them", other)
		}
	}
}

// The snapshot command has the names and defaults of `tributary all`.
func TestSnapshotCommand(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"snapshot", "--help"}, &out, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	for _, want := range []string{"--to", "--data-dir=./data", "--local.listen-address=127.0.0.1:9231", "--local.admin.listen-address"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help has no %s: %s", want, &out)
		}
	}
	dir := t.TempDir()
	if err := run(t.Context(), []string{"snapshot", "--data-dir", dir, "--to", dir + "/copy"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no database to copy") {
		t.Errorf("got %v", err)
	}
}

// The cost command, too.
func TestCostCommand(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"cost", "--help"}, &out, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
	for _, want := range []string{"tributary cost", "--url", "--local.listen-address=127.0.0.1:9231", "--local.tls-client-ca"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help has no %s: %s", want, &out)
		}
	}
	nobody := "http://127.0.0.1:1"
	if err := run(t.Context(), []string{"cost", "--url", nobody}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no answer from "+nobody) {
		t.Errorf("got %v", err)
	}
}
