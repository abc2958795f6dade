// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"flag"
	"math/rand/v2"
	"testing"
)

// seedFlag is the same for everybody unless another is asked for, so that a change is judged by what it changed. 0 looks for what no
// run has met yet: go test ./e2e -run 'Ledger|Differential' -seed 0 -count 20.
var seedFlag = flag.Uint64("seed", 1, "seed of the tests with random input; 0 chooses one")

// newSeed returns the seed of a test with random input, and logs how to repeat it.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	return seed
}
