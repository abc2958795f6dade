// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
)

// scriptsVariable is set in the processes in which the scripts run, because an evaluation that fails fails its test.
const scriptsVariable = "TRIBUTARY_RUN_SCRIPTS"

// TestPrometheusScripts runs every test script of Prometheus, with the last sample of each step pushed down and without.
func TestPrometheusScripts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		pushDown bool
	}{
		{"all", false},
		{"pushed", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if os.Getenv(scriptsVariable) != "" {
				c := testConfig()
				c.PushDown = tt.pushDown
				e := newEngine(t, c, nil)
				promqltest.RunBuiltinTestsWithStorage(t, pushing{e}, func(testing.TB) storage.Storage { return newTestStorage(e) })
				return
			}
			exprs, err := promqltest.GetBuiltInExprs()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPrometheusScripts$/^"+tt.name+"$", "-test.v")
			cmd.Env = append(cmd.Environ(), scriptsVariable+"=1")
			out, err := cmd.Output() // fails when an evaluation does
			if len(out) == 0 {
				t.Fatal(err)
			}
			ran := 0
			for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
				verdict, name, ok := strings.Cut(strings.TrimSpace(lines.Text()), ": TestPrometheusScripts/"+tt.name+"/testdata/")
				if !ok || !strings.HasPrefix(verdict, "--- ") || !strings.Contains(name, "/line_") {
					continue
				}
				ran++
				name = name[:strings.LastIndex(name, " (")]
				if verdict != "--- PASS" {
					t.Errorf("%s: %s", name, verdict)
				}
			}
			if ran != len(exprs) {
				t.Errorf("%d evaluations ran of %d; the output ends with\n%s", ran, len(exprs), out[max(0, len(out)-2000):])
			}
		})
	}
}
