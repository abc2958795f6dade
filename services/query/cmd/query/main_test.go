// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/tributary-project/tributary/internal/process"
)

func TestHelpListsEveryFlagAndVariable(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"--default-database=PrometheusDatabase", "--region\n", "AWS_REGION", "--max-retries=3", "--enable-logging=true", "--log.format=logfmt", "--query.catalogue-max-age=0s", "TRIBUTARY_DEFAULT_TABLE", "healthcheck"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %q", want)
		}
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		env  [2]string
		want string
	}{
		{"unknown flag", []string{"--nope"}, [2]string{}, "nope"},
		{"invalid value", []string{"--query.timeout=0s"}, [2]string{}, "--query.timeout"},
		{"invalid endpoint", []string{"--timestream.endpoint=x"}, [2]string{}, "--timestream.endpoint"},
		{"the connector's variable", nil, [2]string{"default_database", "not a name"}, "--default-database"},
		{"ours before the connector's", nil, [2]string{"TRIBUTARY_MAX_RETRIES", "-1"}, "--max-retries"},
		{"health check of nothing", []string{"healthcheck", "--bad"}, [2]string{}, "bad"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.env[0] != "" {
				t.Setenv("max_retries", "5")
				t.Setenv(tt.env[0], tt.env[1])
			}
			var out bytes.Buffer
			err := run(t.Context(), tt.args, &out, &out)
			if usage := (process.UsageError{}); !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a usage error about %q", err, tt.want)
			}
		})
	}
}

func TestRunStartsAndStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var log bytes.Buffer
	if err := run(ctx, []string{"--grpc.listen-address=127.0.0.1:0", "--web.listen-address=127.0.0.1:0", "--timestream.endpoint=http://127.0.0.1:1", "--timestream.local-credentials"}, &log, &log); err != nil {
		t.Errorf("got %v, log %s", err, log.String())
	}
	if !strings.Contains(log.String(), "protocol=grpc") {
		t.Errorf("log: %s", log.String())
	}
}
