// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the import path of the project.
const root = "github.com/tributary-project/tributary/"

// TestModuleDirections holds the table of docs/modules.md: who may import whom, and what each module keeps out. Test
// files count: even a test-only import would make an image download it.
func TestModuleDirections(t *testing.T) {
	const plumbing, contracts = "internal", "proto"
	for _, c := range []struct {
		module string
		may    []string // modules of ours besides itself
		keep   map[string]string
	}{
		{contracts, nil, map[string]string{"github.com/prometheus/": "a client of the API takes only the contracts"}},
		{plumbing, nil, map[string]string{"github.com/prometheus/prometheus": "plumbing knows no domain words", "github.com/aws/": "plumbing knows no domain words"}},
		{"timestream", nil, map[string]string{
			"github.com/prometheus/prometheus/tsdb": "pure rules, fast tests", "github.com/prometheus/prometheus/storage": "pure rules, fast tests",
			"github.com/duckdb/": "only timestream-local needs cgo",
		}},
		{"timestream/local", []string{"timestream", plumbing}, nil},
		{"gateway", []string{contracts, plumbing}, map[string]string{"github.com/aws/": "the gateway could front any store", "github.com/duckdb/": "only timestream-local needs cgo"}},
		{"services/ingest", []string{contracts, "timestream", plumbing}, map[string]string{"github.com/duckdb/": "only timestream-local needs cgo"}},
		{"services/query", []string{contracts, "timestream", plumbing}, map[string]string{"github.com/duckdb/": "only timestream-local needs cgo"}},
		{"allinone", []string{contracts, plumbing, "timestream", "timestream/local", "gateway", "services/ingest", "services/query"}, nil},
	} {
		t.Run(c.module, func(t *testing.T) {
			t.Parallel()
			packages := imports(t, c.module)
			if len(packages) == 0 {
				t.Fatal("no package found: was the module moved?")
			}
			for from, all := range packages {
				for _, to := range all {
					if rest, ours := strings.CutPrefix(to, root); ours && !within(rest, c.module) && !oneOf(rest, c.may) {
						t.Errorf("%s imports %s; module %s may import %v only", from, to, c.module, c.may)
					}
					for prefix, why := range c.keep {
						if strings.HasPrefix(to, prefix) {
							t.Errorf("%s imports %s: %s", from, to, why)
						}
					}
				}
			}
		})
	}
}

// imports returns the direct imports of every package of a module, those of its tests included.
func imports(t *testing.T, module string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = filepath.Join("..", module)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v", module, err)
	}
	packages := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = append(append(p.Imports, p.TestImports...), p.XTestImports...)
	}
}

// within tells whether a package, without root, is of a module. timestream/local is not of timestream.
func within(pkg, module string) bool {
	if module == "timestream" && (pkg == "timestream/local" || strings.HasPrefix(pkg, "timestream/local/")) {
		return false
	}
	return pkg == module || strings.HasPrefix(pkg, module+"/")
}

func oneOf(pkg string, modules []string) bool {
	for _, m := range modules {
		if within(pkg, m) {
			return true
		}
	}
	return false
}
