// SPDX-License-Identifier: Apache-2.0

package catalogue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"go.uber.org/goleak"

	"github.com/tributary-project/tributary/timestream/promschema"
	"github.com/tributary-project/tributary/timestream/tssql"

	"github.com/tributary-project/tributary/services/query/internal/pages"
	"github.com/tributary-project/tributary/services/query/internal/querytest"
	"github.com/tributary-project/tributary/services/query/internal/series"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTable = tssql.Table{Database: "db", Name: "t"}

func newCatalogue(b *querytest.Backend, log *strings.Builder, now func() time.Time) *Catalogue {
	logger := slog.New(slog.NewTextHandler(log, nil))
	return New(pages.New(b, 0, logger, prometheus.NewRegistry()), now, logger)
}

func write(t *testing.T, b *querytest.Backend, cols promschema.Columns, values []float64, ls ...string) {
	t.Helper()
	for i, v := range values {
		records, err := querytest.Records(labels.FromStrings(ls...), []series.Sample{{T: time.Now().UnixMilli() + int64(i), V: v}}, cols)
		if err != nil {
			t.Fatal(err)
		}
		b.Write("db", "t", records...)
	}
}

func denied() error { return &types.AccessDeniedException{Message: aws.String("not authorized")} }

func TestDegradesWhenTheCatalogueIsDenied(t *testing.T) {
	for _, tt := range []struct {
		name     string
		deny     []string
		complete bool
		measures []string
		warned   bool
	}{
		{"allowed", nil, true, []string{promschema.SampleFamily.Measure("up"), "up"}, false},
		{"no SHOW", []string{"SHOW"}, false, []string{promschema.SampleFamily.Measure("up")}, true},
		{"neither", []string{"SHOW", "DESCRIBE"}, false, []string{promschema.SampleFamily.Measure("up")}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &querytest.Backend{}
			write(t, b, querytest.Budget{"job"}, []float64{1, -1e300}, "__name__", "up", "job", "api", "zone", "a")
			b.Before = func(s string) error {
				if slices.ContainsFunc(tt.deny, func(p string) bool { return strings.HasPrefix(s, p) }) {
					return denied()
				}
				return nil
			}
			var log strings.Builder
			clock := time.Now()
			c := newCatalogue(b, &log, func() time.Time { return clock })
			for range 2 { // the second time the denial is known
				clock = clock.Add(time.Minute)
				cols, err := c.Columns(t.Context(), testTable, clock.Add(-time.Second))
				if err != nil {
					t.Fatal(err)
				}
				if want := []string{promschema.NameDimension, promschema.PackedDimension(0), "job"}; !slices.Equal(cols.Dimensions(), want) {
					t.Errorf("dimensions: got %q, want %q", cols.Dimensions(), want)
				}
				if !cols.Value("measure_value::double") || !cols.Value(promschema.BitsAttribute) || cols.Value("time") || cols.Dimension("measure_name") {
					t.Errorf("wrong columns: %+v", cols)
				}
				m, err := c.Measures(t.Context(), testTable, clock.Add(-time.Second))
				if err != nil {
					t.Fatal(err)
				}
				var names []string
				for _, x := range m.All() {
					names = append(names, x.Name)
				}
				if m.Complete() != tt.complete || !slices.Equal(names, tt.measures) {
					t.Errorf("measures: got %q complete %v", names, m.Complete())
				}
			}
			if got := strings.Count(log.String(), "level=WARN"); (got == 1) != tt.warned || got > 1 {
				t.Errorf("%d warnings: %s", got, log.String())
			}
			statements := b.Statements()
			for _, p := range tt.deny {
				if n := len(slices.DeleteFunc(slices.Clone(statements), func(s string) bool { return !strings.HasPrefix(s, p) })); n != 1 {
					t.Errorf("%s was tried %d times", p, n)
				}
			}
			// In time it is tried again.
			clock = clock.Add(deniedFor + time.Second)
			b.Before = nil
			if m, err := c.Measures(t.Context(), testTable, clock.Add(-time.Second)); err != nil || !m.Complete() {
				t.Errorf("after the denial has ended: %v, %v", m, err)
			}
		})
	}
}

func TestMeasures(t *testing.T) {
	b := &querytest.Backend{PageRows: 1}
	write(t, b, querytest.Budget(nil), []float64{1}, "__name__", "up", "job", "api", "zone", "a")
	write(t, b, querytest.Budget(nil), []float64{1}, "__name__", "a:b", "job", "api")
	c := newCatalogue(b, &strings.Builder{}, time.Now)
	m, err := c.Measures(t.Context(), testTable, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Measure{{Name: "a--b", Double: true, Dimensions: []string{"job"}}, {Name: "up", Double: true, Dimensions: []string{"job", "zone"}}}
	if fmt.Sprint(m.All()) != fmt.Sprint(want) || m.Newer() != nil {
		t.Errorf("got %v, want %v", m.All(), want)
	}
	if x, ok := m.Get("up"); !ok || x.Name != "up" {
		t.Errorf("got %v, %v", x, ok)
	}
	if _, ok := m.Get("down"); ok {
		t.Error("found what is not there")
	}
	b.Write("db", "t", querytest.Record{Measure: "__tributary_2_s_00", Values: map[string]any{"v": 1.0}})
	if m, err = c.Measures(t.Context(), testTable, time.Now()); err != nil || !errors.Is(m.Newer(), promschema.ErrNewerLayout) {
		t.Errorf("got %v, %v", m.Newer(), err)
	}
}

// TestCellSharesReadings: readers share a reading, but nobody is given one that began before what he asks for.
func TestCellSharesReadings(t *testing.T) {
	var c cell[int64]
	var reads, running atomic.Int64
	release := make(chan struct{})
	read := func(context.Context) (int64, error) {
		if running.Add(1) > 1 {
			t.Error("two readings at once")
		}
		defer running.Add(-1)
		n := reads.Add(1)
		<-release
		return n, nil
	}
	var wg sync.WaitGroup
	early := time.Now()
	wg.Add(1)
	started := make(chan struct{})
	go func() {
		defer wg.Done()
		_, err := c.get(t.Context(), early, time.Now, func(ctx context.Context) (int64, error) { close(started); return read(ctx) })
		if err != nil {
			t.Error(err)
		}
	}()
	<-started
	late := time.Now() // after the first reading began
	for range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if n, err := c.get(t.Context(), late, time.Now, read); err != nil || n < 2 {
				t.Errorf("got reading %d, %v", n, err)
			}
		}()
	}
	close(release)
	wg.Wait()
	if n := reads.Load(); n != 2 {
		t.Errorf("%d readings, want 2", n)
	}
	if n, err := c.get(t.Context(), time.Time{}, time.Now, nil); err != nil || n != 2 {
		t.Errorf("whatever is known: %d, %v", n, err)
	}
}

func TestCellFailureIsNotShared(t *testing.T) {
	var c cell[int]
	failed := errors.New("failed")
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	first := make(chan error)
	go func() {
		_, err := c.get(ctx, time.Time{}, time.Now, func(ctx context.Context) (int, error) {
			close(started)
			<-ctx.Done()
			return 0, failed
		})
		first <- err
	}()
	<-started
	second := make(chan error)
	go func() {
		v, err := c.get(t.Context(), time.Time{}, time.Now, func(context.Context) (int, error) { return 7, nil })
		if v != 7 {
			err = fmt.Errorf("got %d, %w", v, err)
		}
		second <- err
	}()
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := c.get(gone, time.Time{}, time.Now, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("one who does not wait: %v", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, failed) {
		t.Errorf("the first: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the second: %v", err)
	}
}

func TestTablesAreBounded(t *testing.T) {
	b := &querytest.Backend{}
	b.CreateTable("db", "t")
	c := newCatalogue(b, &strings.Builder{}, time.Now)
	for i := range 3 * maxTables {
		name := fmt.Sprintf("t%d", i)
		b.CreateTable("db", name)
		if _, err := c.Columns(t.Context(), tssql.Table{Database: "db", Name: name}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.tables); n != maxTables {
		t.Errorf("%d tables remembered, want %d", n, maxTables)
	}
}
