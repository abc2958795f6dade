// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/tributary-project/tributary/e2e/internal/load"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// TestLoadComesBack writes a few seconds of realistic load by both protocols, through the AWS SDK and handed over in the
// process, and finds every acknowledged sample, bit for bit.
func TestLoadComesBack(t *testing.T) {
	for _, c := range []struct {
		name     string
		protocol load.Protocol
		direct   bool
	}{
		{"remote write 1.0", load.V1, false},
		{"remote write 2.0", load.V2, false},
		{"remote write 2.0, store in the process", load.V2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := system.Start(t, system.Options{Direct: c.direct})
			report, err := load.Run(t.Context(), load.Config{
				URL: s.WriteURL(), Protocol: c.protocol, Set: load.NewSet(1000, "smoke"), SamplesPerRequest: 500,
				Senders: 3, Duration: 2 * time.Second, RetryFor: 10 * time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			if report.Acknowledged == 0 || report.Rejected+report.Abandoned+report.WrongCounts > 0 {
				t.Fatalf("%d acknowledged, %d rejected (%s), %d abandoned, %d with wrong counts", report.Acknowledged, report.Rejected, report.FirstRejection, report.Abandoned, report.WrongCounts)
			}
			v, err := report.Ledger.Verify(t.Context(), http.DefaultClient, s.ReadURL(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if !v.OK() || v.Found == 0 {
				t.Errorf("%d of %d found, %d missing, %d different, %d foreign: %v", v.Found, v.Acknowledged, v.Missing, v.Different, v.Foreign, v.Examples)
			}
			all, err := promtest.ReadAll(context.Background(), s.ReadURL(), 0, math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != 1000 {
				t.Errorf("got %d series, want 1000", len(all))
			}
		})
	}
}
