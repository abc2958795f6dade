// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/allinone"
	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
	"github.com/tributary-project/tributary/timestream/client"
	"github.com/tributary-project/tributary/timestream/local"
)

// fault is a way for Timestream to fail.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// refuse answers operations whose name begins with prefix with an error of Timestream.
func refuse(prefix string, status int, class, message string) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if _, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); !strings.HasPrefix(operation, prefix) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"__type":"com.amazonaws.timestream.v20181101#%s","message":%q}`, class, message)
	}
}

// storedUnanswered does what it is asked and never says so.
func storedUnanswered(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// TestOutages lets Timestream fail in every way that waiting can cure while a real Prometheus writes. Each time the gateway
// tells it to try again, and in the end everything is there that Prometheus itself has.
func TestOutages(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{
		// No table: the first of the faults.
		Store: func(c *local.Config) { c.DefaultDatabase, c.DefaultTable = "", "" },
		App: func(c *allinone.Config) {
			// An attempt that is answered is answered within this; one that is not takes all of it.
			c.Gateway.WriteTimeout = 12 * time.Second
			c.Ingest.WriteTimeout, c.Ingest.WriteRetries = 3*time.Second, 2
		},
	})
	ctx := t.Context()
	write := remoteWrite(s.WriteURL(), messageV2)
	prometheus := promtest.Start(t, write, nil)
	target := newTarget(t)
	prometheus.Reload(t, scrape(write, map[string]string{"target": target.Host}))

	probe := func() (rw.Answer, error) {
		return rw.Write(ctx, s.WriteURL(), rw.V2, rw.New("__name__", "probe").At(time.Now().UnixMilli(), 1))
	}
	for _, c := range []struct {
		name  string
		fault fault
		// cure ends the fault; nil means that taking it away does.
		cure func() error
		// reason is in the answer.
		reason string
	}{
		{name: "the configured table is missing", cure: func() error { return createDefaultTable(ctx, s) }, reason: "PrometheusMetricsTable"},
		{name: "away", fault: system.Away, reason: "reached"},
		{name: "slow, and done all the same", fault: storedUnanswered, reason: "time"},
		{name: "throttled", fault: refuse("WriteRecords", http.StatusTooManyRequests, "ThrottlingException", "Rate exceeded"), reason: "throttl"},
		{name: "denied", fault: refuse("", http.StatusForbidden, "AccessDeniedException", "User is not authorized to perform timestream:WriteRecords"), reason: "den"},
		{name: "out of order", fault: refuse("WriteRecords", http.StatusInternalServerError, "InternalServerException", "try again"), reason: ""},
	} {
		before := retried(t, prometheus)
		if c.fault != nil {
			s.Timestream.Set(c.fault)
		}
		until(t, 2*time.Minute, func() error {
			if now := retried(t, prometheus); now <= before {
				return fmt.Errorf("%s: Prometheus does not try again", c.name)
			}
			return nil
		})
		answer, err := probe()
		if err = errors.Join(err, checkDeferred(answer)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !strings.Contains(answer.Text, c.reason) {
			t.Errorf("%s: the answer is %q, want %q in it", c.name, answer.Text, c.reason)
		}
		s.Timestream.Set(nil)
		if c.cure != nil {
			if err := c.cure(); err != nil {
				t.Fatal(err)
			}
		}
		until(t, 2*time.Minute, func() error {
			answer, err := probe()
			if err == nil && answer.Status != http.StatusNoContent {
				err = fmt.Errorf("%s: after it the answer is %d %s", c.name, answer.Status, answer.Text)
			}
			return err
		})
	}

	own := prometheus.Settle(t, idle(write, "target"), 3*time.Minute)
	for _, name := range []string{"samples_failed_total", "samples_dropped_total"} {
		if n, _, err := prometheus.Metric(t.Context(), "prometheus_remote_storage_"+name); err != nil || n > 0 {
			t.Errorf("prometheus_remote_storage_%s is %v (%v), want 0", name, n, err)
		}
	}
	query := everything(own)
	query.Matchers = append(query.Matchers, &prompb.LabelMatcher{Name: "job", Value: "target"})
	got, err := promtest.Read(ctx, s.ReadURL(), query)
	if err != nil {
		t.Fatal(err)
	}
	if c := promtest.Compare(own, got[0].Timeseries); !c.OK() || c.Equal == 0 {
		t.Error(c)
	}
}

// retried is how many samples Prometheus has sent again.
func retried(t *testing.T, p *promtest.Instance) float64 {
	t.Helper()
	n, found, err := p.Metric(t.Context(), "prometheus_remote_storage_samples_retried_total")
	if err != nil || !found {
		t.Fatalf("no count of samples sent again: %v", err)
	}
	return n
}

func writeClient(ctx context.Context, s *system.System) (*timestreamwrite.Client, error) {
	c := client.DefaultConfig()
	c.Endpoint, c.LocalCredentials = s.TimestreamURL, true
	return client.NewWrite(ctx, c)
}

// createDefaultTable creates what a system without a database lacks, by the API.
func createDefaultTable(ctx context.Context, s *system.System) error {
	c, err := writeClient(ctx, s)
	if err != nil {
		return err
	}
	d := local.DefaultConfig()
	if _, err := c.CreateDatabase(ctx, &timestreamwrite.CreateDatabaseInput{DatabaseName: &d.DefaultDatabase}); err != nil {
		return err
	}
	_, err = c.CreateTable(ctx, &timestreamwrite.CreateTableInput{
		DatabaseName: &d.DefaultDatabase, TableName: &d.DefaultTable,
		MagneticStoreWriteProperties: &types.MagneticStoreWriteProperties{EnableMagneticStoreWrites: aws.Bool(true)},
	})
	return err
}
