// SPDX-License-Identifier: Apache-2.0

package allinone

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPackageNeedsNoCgo holds what AWS Lambda needs: the composition without the embedded store builds without cgo and
// links no DuckDB; only the tributary binary adds it.
func TestPackageNeedsNoCgo(t *testing.T) {
	list := exec.Command("go", "list", "-deps", ".")
	list.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := list.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, banned := range []string{"duckdb", "tributary/timestream/local"} {
		if strings.Contains(string(out), banned) {
			t.Errorf("the package depends on %s", banned)
		}
	}
	build := exec.Command("go", "build", "-o", os.DevNull, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("does not build with CGO_ENABLED=0: %v: %s", err, out)
	}
	// The check above would pass if the store were renamed.
	binary, err := exec.Command("go", "list", "-deps", "./cmd/tributary").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, binary)
	}
	if !strings.Contains(string(binary), "tributary/timestream/local") {
		t.Error("the tributary binary no longer depends on timestream/local under that name: mend this test")
	}
}
