// SPDX-License-Identifier: Apache-2.0

package query

import (
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDependencies holds the binary to its side of the fence: no DuckDB, no other service, no cgo.
func TestDependencies(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{len .CgoFiles}}", "./cmd/query")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		path, cgo, _ := strings.Cut(line, " ")
		for _, banned := range []string{"duckdb", "tributary/gateway", "tributary/services/ingest", "tributary/timestream/local", "tributary/allinone", "prometheus/prometheus/storage/remote", "/querytest", "testing"} {
			if strings.Contains(path, banned) && path != "internal/testlog" {
				t.Errorf("the binary links %s", path)
			}
		}
		if path == "github.com/prometheus/prometheus/tsdb" { // the packages below it are small: chunks and their encodings
			t.Errorf("the binary links %s", path)
		}
		if cgo != "0" {
			t.Errorf("%s uses cgo", path)
		}
	}
}
