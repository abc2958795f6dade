// SPDX-License-Identifier: Apache-2.0

// Package faults decides which calls fail, and how, when somebody asked for it: throttled, refused, late, cut off, done
// without an answer. A plan is a list of rules, each a line of text (see Syntax), so that a flag, an HTTP request and a test can
// set it; there is an endpoint that shows and changes it while a process runs, with counters of what each rule did. Package wire
// carries the faults out.
package faults

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Kind is a way to fail.
type Kind uint8

// The kinds, in the order in which a rule's are tried. Of those up to Stuck a call suffers at most one, the first.
const (
	// Cut ends the connection before anything was done.
	Cut Kind = iota
	// Throttle answers ThrottlingException.
	Throttle
	// Rate answers ThrottlingException to the calls that are above a rate.
	Rate
	// Error answers InternalServerException.
	Error
	// Unavailable answers status 503 without a body, as a load balancer does.
	Unavailable
	// InvalidEndpoint answers InvalidEndpointException.
	InvalidEndpoint
	// Validation answers ValidationException to the whole call.
	Validation
	// AccessDenied answers AccessDeniedException.
	AccessDenied
	// NotFound answers ResourceNotFoundException.
	NotFound
	// Conflict answers ConflictException.
	Conflict
	// Quota answers ServiceQuotaExceededException.
	Quota
	// Execution answers QueryExecutionException to a query.
	Execution
	// Reset resets the connection before anything was done, as when the other machine went away.
	Reset
	// Stuck does nothing and never answers: the connection stays open until the caller has had enough.
	Stuck
	// Reject refuses one of the records of a WriteRecords call, chosen at random; the others are stored.
	Reject
	// RejectShare refuses each record of a WriteRecords call with a probability; the others are stored.
	RejectShare
	// Late counts what a WriteRecords call stores as stored in the magnetic store.
	Late
	// Hide lets queries see what a WriteRecords call stores only after a while.
	Hide
	// EmptyPage answers Query with a page without rows, and a token for those that should have been on it.
	EmptyPage
	// LostAnswer does what the call asks, and then ends the connection or answers InternalServerException, with equal
	// chances: the caller cannot know what happened.
	LostAnswer
	// CutAfter does what the call asks, and then ends the connection.
	CutAfter
	// ResetAfter does what the call asks, and then resets the connection.
	ResetAfter
	// Truncate does what the call asks, and ends the connection in the middle of the answer.
	Truncate
	// StuckAfter does what the call asks, and never answers.
	StuckAfter
	// Latency answers later, before anything is done.
	Latency
	// LatencyAfter does what the call asks at once, and answers later.
	LatencyAfter
	kinds // their number
)

// names are what the kinds are called in a rule.
var names = [kinds]string{
	"cut", "throttle", "rate", "error", "unavailable", "invalid-endpoint", "validation", "access-denied", "not-found", "conflict", "quota", "execution", "reset", "stuck",
	"reject", "reject-share", "late", "hide", "empty-page", "lost-answer", "cut-after", "reset-after", "truncate", "stuck-after", "latency", "latency-after",
}

// String returns the name of a kind in a rule.
func (k Kind) String() string { return names[k] }

// classes are other names of kinds: those of the API's errors.
var classes = map[string]Kind{
	"ThrottlingException": Throttle, "InternalServerException": Error, "InvalidEndpointException": InvalidEndpoint, "ValidationException": Validation,
	"AccessDeniedException": AccessDenied, "ResourceNotFoundException": NotFound, "ConflictException": Conflict, "ServiceQuotaExceededException": Quota,
	"QueryExecutionException": Execution, "RejectedRecordsException": Reject,
}

func kindOf(name string) (Kind, bool) {
	if k, ok := classes[name]; ok {
		return k, true
	}
	i := slices.Index(names[:], name)
	return Kind(max(i, 0)), i >= 0
}

// only is the one operation that a kind is about, empty for any.
func (k Kind) only() string {
	switch k {
	case Reject, RejectShare, Late, Hide:
		return writeRecords
	case EmptyPage, Execution:
		return query
	}
	return ""
}

// The operations that rules are about unless they say otherwise, and their short names.
const (
	writeRecords = "WriteRecords"
	query        = "Query"
	shortWrite   = "write"
	shortQuery   = "query"
)

// operations are the names of the API (service models of timestream-write and timestream-query, 2018-11-01).
var operations = []string{
	"DescribeEndpoints", writeRecords, query, "CancelQuery", "PrepareQuery",
	"CreateDatabase", "DescribeDatabase", "UpdateDatabase", "DeleteDatabase", "ListDatabases",
	"CreateTable", "DescribeTable", "UpdateTable", "DeleteTable", "ListTables",
	"TagResource", "UntagResource", "ListTagsForResource", "DescribeAccountSettings", "UpdateAccountSettings",
	"CreateBatchLoadTask", "DescribeBatchLoadTask", "ListBatchLoadTasks", "ResumeBatchLoadTask",
	"CreateScheduledQuery", "DescribeScheduledQuery", "ExecuteScheduledQuery", "UpdateScheduledQuery", "DeleteScheduledQuery", "ListScheduledQueries",
}

// Short returns the name of an operation in metrics: write, query, or that of the API.
func Short(operation string) string {
	switch operation {
	case writeRecords:
		return shortWrite
	case query:
		return shortQuery
	}
	return operation
}

// Call is what is decided about.
type Call struct {
	// Operation is its name in the API.
	Operation string
	// Tables returns the tables it is about, as database.table, or only the database where no table is named. It is called only when
	// a rule asks for tables, and may be nil.
	Tables func() []string
}

// Decision is what happens to one call.
type Decision struct {
	// Delay comes first.
	Delay time.Duration
	// Instead is the fault that takes the place of the call, if Replaced, and Text what it says, empty for the usual.
	Instead  Kind
	Replaced bool
	Text     string
	// Reject tells to refuse one record; Pick, in [0, 1), which.
	Reject bool
	Pick   float64
	// RejectShare tells to refuse each record with this probability, by random numbers from RejectSeed.
	RejectShare float64
	RejectSeed  uint64
	// Reason is why records are refused: one of the Reason constants or a text of its own.
	Reason string
	// Late tells to count all as stored in the magnetic store.
	Late bool
	// Hide is how long queries do not see what is stored.
	Hide time.Duration
	// EmptyPage tells to answer Query by a page without rows.
	EmptyPage bool
	// Lost tells to drop the answer; LostCut, to end the connection for that rather than to answer with an error.
	Lost, LostCut bool
	// CutAfter, ResetAfter, Truncate and StuckAfter are what happens to the answer of a call that was carried out, DelayAfter how
	// late it is.
	CutAfter, ResetAfter, Truncate, StuckAfter bool
	DelayAfter                                 time.Duration
}

// Reasons that a rule has short names for. Any other text is a reason, too.
const (
	// ReasonOnDemand is the default: the record is refused on demand.
	ReasonOnDemand = ""
	// ReasonVersion is that of a record with the same time, dimensions, measure name and version, and another value.
	ReasonVersion = "version"
	// ReasonLowerVersion is that of a record with a lower version than the one that is stored.
	ReasonLowerVersion = "lower-version"
	// ReasonWindow is that of a record outside the time range that its table takes.
	ReasonWindow = "window"
	// ReasonDimensions is that of a record with a dimension too many for its table.
	ReasonDimensions = "dimensions"
)

// Count calls f for each fault of the decision, once.
func (d *Decision) Count(f func(Kind)) {
	for _, h := range [...]struct {
		is bool
		k  Kind
	}{
		{d.Delay > 0, Latency}, {d.Replaced, d.Instead}, {d.Reject, Reject}, {d.RejectShare > 0, RejectShare}, {d.Late, Late}, {d.Hide > 0, Hide},
		{d.EmptyPage, EmptyPage}, {d.Lost, LostAnswer}, {d.CutAfter, CutAfter}, {d.ResetAfter, ResetAfter}, {d.Truncate, Truncate}, {d.StuckAfter, StuckAfter}, {d.DelayAfter > 0, LatencyAfter},
	} {
		if h.is {
			f(h.k)
		}
	}
}

// maxRules bounds a plan.
const maxRules = 100

// Injector decides about calls by the rules that are set. The zero value has none, and may be used by many goroutines at
// once. It is a flag.Value, an http.Handler that shows and changes the rules, and a prometheus.Collector.
type Injector struct {
	// Now is the clock of rules that begin, change or end with time; nil means time.Now.
	Now func() time.Time

	// active is the list of rules, nil without any; change is held by those who replace it.
	active atomic.Pointer[[]*rule]
	change sync.Mutex
	// made numbers the rules without a name.
	made int
	log  atomic.Pointer[slog.Logger]
}

// LogTo makes the injector log changes of the rules.
func (i *Injector) LogTo(l *slog.Logger) { i.log.Store(l) }

func (i *Injector) now() time.Time {
	if i.Now != nil {
		return i.Now()
	}
	return time.Now()
}

func (i *Injector) rules() []*rule {
	if i == nil {
		return nil
	}
	if rules := i.active.Load(); rules != nil {
		return *rules
	}
	return nil
}

// Active tells whether there are rules. A nil injector has none.
func (i *Injector) Active() bool { return i != nil && i.active.Load() != nil }

// Set replaces all rules by those that text describes (see Syntax); an empty text ends all faults. A rule without a seed
// gets one, which String shows. An error leaves the rules as they were.
func (i *Injector) Set(text string) error {
	return i.update("set", func([]*rule) ([]*rule, error) { return parse(text) })
}

// Add puts rules behind those that are there.
func (i *Injector) Add(text string) error {
	return i.update("added", func(old []*rule) ([]*rule, error) {
		added, err := parse(text)
		if err == nil && len(added) == 0 {
			err = fmt.Errorf("want a rule")
		}
		return slices.Concat(old, added), err
	})
}

// SetRule puts a rule in the place of the one with an id, or behind the others when there is none. It counts from the beginning.
func (i *Injector) SetRule(id, text string) error {
	return i.update("set", func(old []*rule) ([]*rule, error) {
		added, err := parse(text)
		switch {
		case err != nil:
			return nil, err
		case len(added) != 1:
			return nil, fmt.Errorf("want one rule, not %d", len(added))
		case added[0].id != "" && added[0].id != id:
			return nil, fmt.Errorf("the rule's id is %q, not %q", added[0].id, id)
		case !validID(id):
			return nil, fmt.Errorf("%q: %s", id, idRule)
		}
		added[0].id = id
		at := slices.IndexFunc(old, func(r *rule) bool { return r.id == id })
		if at < 0 {
			return slices.Concat(old, added), nil
		}
		rules := slices.Clone(old)
		rules[at] = added[0]
		return rules, nil
	})
}

// Remove ends the rule with an id and tells whether there was one.
func (i *Injector) Remove(id string) bool {
	return i.update("removed", func(old []*rule) ([]*rule, error) {
		rules := slices.DeleteFunc(slices.Clone(old), func(r *rule) bool { return r.id == id })
		if len(rules) == len(old) {
			return nil, fmt.Errorf("there is no rule %q", id)
		}
		return rules, nil
	}) == nil
}

// update replaces the rules. Those that are new get what they lack and start.
func (i *Injector) update(what string, f func(old []*rule) ([]*rule, error)) error {
	i.change.Lock()
	defer i.change.Unlock()
	old := i.rules()
	rules, err := f(old)
	if err != nil {
		return err
	}
	if len(rules) > maxRules {
		return fmt.Errorf("%d rules: at most %d", len(rules), maxRules)
	}
	ids := map[string]bool{}
	for _, r := range rules {
		if r.id != "" && ids[r.id] {
			return fmt.Errorf("there is a rule %q already", r.id)
		}
		ids[r.id] = true
	}
	now := i.now()
	for _, r := range rules {
		if r.id == "" {
			for r.id = ""; r.id == "" || ids[r.id]; {
				i.made++
				r.id = "r" + strconv.Itoa(i.made)
			}
			r.unnamed = true
			ids[r.id] = true
		}
		r.start(now)
	}
	if len(rules) == 0 {
		i.active.Store(nil)
	} else {
		i.active.Store(&rules)
	}
	if l := i.log.Load(); l != nil && len(old) > 0 && len(rules) == 0 {
		l.LogAttrs(context.Background(), slog.LevelWarn, "no calls fail on demand any more")
	} else if l != nil && len(rules) > 0 {
		l.LogAttrs(context.Background(), slog.LevelWarn, "calls fail on demand: rules "+what, slog.String("faults", i.String()))
	}
	return nil
}

// String returns the rules in force as Set reads them, their seeds included and with what is left of numbers of calls; nothing
// when nothing is.
func (i *Injector) String() string { return i.print("; ", false) }

// print returns the rules in force with a text between them. The ids of those that nobody gave a name to are shown if there are
// several and ids is set.
func (i *Injector) print(between string, ids bool) string {
	rules := i.rules()
	if len(rules) == 0 {
		return ""
	}
	now := i.now()
	var out []string
	for _, r := range rules {
		if s := r.print(now, ids && len(rules) > 1); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, between)
}

// Decide decides about the next call of an operation, by the rules in their order: delays add up, and the first fault that takes
// the place of the call ends the list. A nil injector, or one without rules, lets everything pass.
func (i *Injector) Decide(c Call) Decision {
	rules := i.rules()
	if rules == nil {
		return Decision{}
	}
	now := i.now()
	var tables []string
	asked := false
	about := func() []string {
		if !asked && c.Tables != nil {
			tables = c.Tables()
		}
		asked = true
		return tables
	}
	var d Decision
	for _, r := range rules {
		if r.decide(c.Operation, about, now, &d); d.Replaced {
			break
		}
	}
	return d
}
