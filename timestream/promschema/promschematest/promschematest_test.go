// SPDX-License-Identifier: Apache-2.0

package promschematest

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestHistogramsAreValid(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	seen := map[string]int{}
	for range 5000 {
		h := Histogram(r, 30)
		var err error
		kind := "int"
		if h.IsFloatHistogram() {
			kind = "float"
			err = h.ToFloatHistogram().Validate()
		} else {
			err = h.ToIntHistogram().Validate()
		}
		if err != nil {
			t.Fatalf("%v: %v", h, err)
		}
		if h.Schema < -4 {
			kind += " custom"
		}
		if len(h.NegativeSpans) > 0 {
			kind += " negative"
		}
		if h.Sum == 0 && math.Signbit(h.Sum) {
			seen["sum -0"]++
		}
		seen[kind]++
	}
	for _, kind := range []string{"int", "float", "int custom", "float custom", "int negative", "float negative", "sum -0"} {
		if seen[kind] == 0 {
			t.Errorf("none of 5000 is %s", kind)
		}
	}
}
