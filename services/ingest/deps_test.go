// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The binary is built without cgo, and links neither the emulator nor the other services, nor more of Prometheus' server than
// its translator of OTLP brings along.
func TestDependencies(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "./cmd/ingest")
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	const ours = "github.com/tributary-project/tributary/"
	allowed := []string{ours + "proto/", ours + "internal/", ours + "timestream/client", ours + "timestream/metering", ours + "timestream/promschema", ours + "timestream/tableinfo", ours + "timestream/tssql", ours + "services/ingest"}
	const prometheus = "github.com/prometheus/prometheus/"
	server := []string{
		"config", "discovery", "discovery/targetgroup", "promql/parser/posrange", "storage", "storage/remote/azuread", "storage/remote/googleiam",
		"storage/remote/otlptranslator/prometheusremotewrite", "tsdb/chunkenc", "tsdb/chunks", "tsdb/fileutil",
	}
	for pkg := range strings.Lines(string(out)) {
		pkg = strings.TrimSpace(pkg)
		for _, no := range []string{"duckdb", "ingest/internal/ingesttest", "testing"} {
			if strings.Contains(pkg, no) && (no != "testing" || pkg == no) {
				t.Errorf("links %s", pkg)
			}
		}
		if part, is := strings.CutPrefix(pkg, prometheus); is && !slices.Contains(server, part) &&
			!strings.HasPrefix(part, "model/") && !strings.HasPrefix(part, "prompb") && !strings.HasPrefix(part, "util/") {
			t.Errorf("links %s", pkg)
		}
		if !strings.HasPrefix(pkg, ours) || pkg == ours+"timestream" {
			continue
		}
		ok := false
		for _, a := range allowed {
			ok = ok || strings.HasPrefix(pkg, a)
		}
		if !ok {
			t.Errorf("links %s", pkg)
		}
	}
}
