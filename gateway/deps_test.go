// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestDependencies holds what the binary links: the gateway translates protocols and could front any store.
func TestDependencies(t *testing.T) {
	const binary = "github.com/tributary-project/tributary/gateway/cmd/gateway"
	banned := []struct{ prefix, reason string }{
		{"github.com/aws/", "only the services behind the gateway know of AWS"},
		{"github.com/duckdb/", "only timestream-local links DuckDB"},
		{"github.com/tributary-project/tributary/timestream", "the gateway knows nothing of the store"},
		{"github.com/tributary-project/tributary/services/", "the services are reached by gRPC"},
		{"github.com/tributary-project/tributary/allinone", "compositions import the gateway"},
		{"github.com/prometheus/prometheus/tsdb/record", "the gateway stores nothing"},
		{"github.com/prometheus/prometheus/tsdb/wlog", "the gateway stores nothing"},
		{"github.com/prometheus/prometheus/storage/remote", "the gateway has its own small part of it"},
		{"github.com/prometheus/prometheus/web", "it brings all of Prometheus with it"},
		{"runtime/cgo", "the binary is static"},
	}
	cmd := exec.Command("go", "list", "-deps", binary)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(out))
	if len(packages) < 100 {
		t.Fatalf("go list names %d packages only", len(packages))
	}
	for _, p := range packages {
		// The packages below it, and storage, come with the parser of PromQL.
		if p == "github.com/prometheus/prometheus/tsdb" || p == "github.com/prometheus/prometheus/promql" {
			t.Errorf("%s is linked: the gateway neither stores nor evaluates", p)
		}
		for _, b := range banned {
			if strings.HasPrefix(p, b.prefix) {
				t.Errorf("%s is linked: %s", p, b.reason)
			}
		}
	}
	build := exec.Command("go", "build", "-o", os.DevNull, binary)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("build without cgo: %v\n%s", err, out)
	}
}
