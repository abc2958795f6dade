// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"log/slog"
	"sync"
	"time"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/store"
)

// noticeEvery is how often a matter of one kind is logged: a broken sender repeats itself hundreds of times a second, and
// the metrics count anyway.
const noticeEvery = 10 * time.Second

// notices logs what senders should be told about, seldom enough.
type notices struct {
	logger *slog.Logger
	now    func() time.Time

	mu   sync.Mutex
	last map[string]*notice
}

type notice struct {
	at         time.Time
	suppressed int
}

func newNotices(logger *slog.Logger, now func() time.Time) *notices {
	return &notices{logger: logger, now: now, last: map[string]*notice{}}
}

// due tells whether a matter may be logged again, and how often it came up unlogged since it was. There are as many
// matters as reasons and causes, a few dozen.
func (n *notices) due(matter string) (suppressed int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	x := n.last[matter]
	if x == nil {
		x = &notice{}
		n.last[matter] = x
	} else if now.Sub(x.at) < noticeEvery {
		x.suppressed++
		return 0, false
	}
	suppressed = x.suppressed
	*x = notice{at: now}
	return suppressed, true
}

func (n *notices) account(d store.Destination, caller string, a *ledger.Account) {
	if f := a.Deferral; f != nil {
		if suppressed, ok := n.due("deferred " + f.Cause); ok {
			n.logger.Warn("write deferred: the sender has to try again", "cause", f.Cause, "reason", f.Text, "detail", f.Detail, "table", d.String(), "caller", caller, "more_since_last", suppressed)
		}
		return
	}
	for _, r := range a.Rejections {
		if r.Reason == ledger.Unsupported && r.Kind != ledger.Histograms {
			continue // no failure, and every request of some senders has them
		}
		if suppressed, ok := n.due("rejected " + r.Kind.String() + " " + string(r.Reason)); ok {
			example := ""
			if len(r.Examples) > 0 {
				example = r.Examples[0]
			}
			n.logger.Warn("entries refused for good", "kind", r.Kind.String(), "reason", string(r.Reason), "count", r.Count, "example", example, "table", d.String(), "caller", caller, "more_since_last", suppressed)
		}
	}
}
