// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"sync"
	"time"

	qtypes "github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"

	"github.com/tributary-project/tributary/timestream/local/internal/sqlplan"
)

// Quotas chooses whether the service's quotas of an account hold (Developer Guide, ts-limits, default quotas; General Reference).
// Its limits always do.
type Quotas string

const (
	// QuotasOff has no quotas: a local database is one's own.
	QuotasOff Quotas = "off"
	// QuotasService has the service's: the rate of calls of the control plane, 500 databases, 50,000 tables, 250 active partitions of the
	// magnetic store in a database, one UNLOAD a second.
	QuotasService Quotas = "service"
)

// The quotas of an account.
const (
	maxDatabases        = 500
	maxTables           = 50_000
	maxActivePartitions = 250
	// partitionActive is how long a partition of the magnetic store counts after a record for it came (ts-limits: up to six hours).
	partitionActive = 6 * time.Hour
	// partitionSpan is what we take for a partition: a day of a table. The service splits tables by time and by the partition key,
	// adaptively, and says no more.
	partitionSpan = 24 * time.Hour
	// insightsPerSecond is the rate of queries with QueryInsights (ts-limits), which holds without quotas too: the mode's name says so.
	insightsPerSecond = 1
)

// callsPerSecond is the rate of an operation, 0 for one without a quota. Create, Update and Delete have one call a second each, List, Describe
// Prepare and ExecuteScheduledQuery five, but for the account's settings.
func callsPerSecond(operation string) float64 {
	switch operation {
	case "CreateDatabase", "UpdateDatabase", "DeleteDatabase", "CreateTable", "UpdateTable", "DeleteTable", "CreateBatchLoadTask", "ResumeBatchLoadTask", "DescribeAccountSettings", "UpdateAccountSettings",
		"CreateScheduledQuery", "UpdateScheduledQuery", "DeleteScheduledQuery":
		return 1
	case sqlplan.ActionUnload:
		return unloadsPerSecond
	case "ListDatabases", "DescribeDatabase", "ListTables", "DescribeTable", "DescribeBatchLoadTask", "ListBatchLoadTasks", "PrepareQuery",
		"ListScheduledQueries", "DescribeScheduledQuery", "ExecuteScheduledQuery":
		return 5
	}
	return 0
}

// quotas counts what quotas are about.
type quotas struct {
	on                bool
	databases, tables int
	partitions        int

	mu sync.Mutex
	// calls by operation, and QueryInsights by its name.
	calls map[string]*tokens
	// active has the partitions of each database by when they end.
	active map[string]map[partition]time.Time
}

// partition is a day of a table.
type partition struct{ table, day int64 }

// tokens is how many calls are left: it fills with time, up to a second's worth. A full one lets that many through at once, as the
// service's do nobody knows how.
type tokens struct {
	left float64
	at   time.Time
}

func newQuotas(on bool) *quotas {
	return &quotas{on: on, databases: maxDatabases, tables: maxTables, partitions: maxActivePartitions, calls: map[string]*tokens{}, active: map[string]map[partition]time.Time{}}
}

// take counts a call and tells whether there was one left.
func (q *quotas) take(name string, perSecond float64, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.calls[name]
	if b == nil {
		b = &tokens{left: perSecond, at: now}
		q.calls[name] = b
	}
	b.left = min(perSecond, b.left+perSecond*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// call tells whether an operation may be called now.
func (q *quotas) call(operation string, now time.Time) bool {
	rate := callsPerSecond(operation)
	return !q.on || rate == 0 || q.take(operation, rate, now)
}

// magnetic counts the partitions that the records of a request make active, and refuses the request when they are too many: nothing of it is
// written then.
func (q *quotas) magnetic(t *table, recs []prepared, now time.Time) error {
	if !q.on {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	active := q.active[t.database]
	fresh := map[partition]bool{}
	for i := range recs {
		if r := &recs[i]; r.late && r.reason == "" {
			fresh[partition{t.id, r.time / int64(partitionSpan)}] = true
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	for p, until := range active {
		if !now.Before(until) {
			delete(active, p)
		}
	}
	more := 0
	for p := range fresh {
		if _, ok := active[p]; !ok {
			more++
		}
	}
	if len(active)+more > q.partitions {
		return &wtypes.ThrottlingException{Message: text(textPartitions, t.database, q.partitions)}
	}
	if active == nil {
		active = map[partition]time.Time{}
		q.active[t.database] = active
	}
	for p := range fresh {
		active[p] = now.Add(partitionActive)
	}
	return nil
}

// forget drops what belongs to a database that is no more.
func (q *quotas) forget(database string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.active, database)
}

// room tells whether there may be one more of what there are n of.
func (q *quotas) room(n, most int, what string) error {
	if !q.on || n < most {
		return nil
	}
	return &wtypes.ServiceQuotaExceededException{Message: text("The account has the maximum of %d %s.", most, what)}
}

// textPartitions points where the service's text does (Developer Guide, troubleshoot-writethrottles); its words are not published.
const textPartitions = "The database %s has more than %d active magnetic store partitions. Check the CloudWatch metric ActiveMagneticStorePartitions of this database."

// insights tells whether a query may have QueryInsights now.
func (q *quotas) insights(now time.Time) error {
	if q.take("QueryInsights", insightsPerSecond, now) {
		return nil
	}
	return &qtypes.ThrottlingException{Message: text(textRateExceeded)}
}

type quotasFlag Quotas

func (q *quotasFlag) String() string { return string(*q) }

func (q *quotasFlag) Set(s string) error {
	if s != string(QuotasOff) && s != string(QuotasService) {
		return fmt.Errorf("want %s or %s", QuotasOff, QuotasService)
	}
	*q = quotasFlag(s)
	return nil
}
