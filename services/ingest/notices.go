// SPDX-License-Identifier: Apache-2.0

package ingest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	ingestv1 "github.com/tributary-project/tributary/proto/tributary/ingest/v1"
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

// account logs what a request of a type came to: all of it at level debug; what the sender has to repeat, and refusals that
// make the request fail, as warnings; other refusals as information.
func (n *notices) account(ctx context.Context, t ingestv1.MessageType, d store.Destination, caller string, a *ledger.Account) {
	if n.logger.Enabled(ctx, slog.LevelDebug) {
		attrs := []slog.Attr{slog.String("table", d.String()), slog.String("caller", caller)}
		for k, c := range a.Counts {
			if c.Received > 0 {
				attrs = append(attrs, slog.Group(ledger.Kind(k).String(), "received", c.Received, "stored", c.Stored, "late", c.StoredLate, "duplicate", c.Duplicate, "rejected", c.Rejected, "deferred", c.Deferred))
			}
		}
		n.logger.LogAttrs(ctx, slog.LevelDebug, "write", attrs...)
	}
	if f := a.Deferral; f != nil {
		if suppressed, ok := n.due("deferred " + f.Cause); ok {
			n.logger.Warn("write deferred: the sender has to try again", "cause", f.Cause, "reason", f.Text, "detail", f.Detail, "table", d.String(), "caller", caller, "more_since_last", suppressed)
		}
		return
	}
	for _, r := range a.Rejections {
		level := slog.LevelInfo
		if ingestv1.FailsRequest(t, r.Kind.String(), string(r.Reason)) {
			level = slog.LevelWarn
		}
		suppressed, ok := n.due(level.String() + " " + r.Kind.String() + " " + string(r.Reason))
		if !ok {
			continue
		}
		example := ""
		if len(r.Examples) > 0 {
			example = r.Examples[0]
		}
		n.logger.Log(ctx, level, "entries refused for good", "kind", r.Kind.String(), "reason", string(r.Reason), "count", r.Count, "example", example, "table", d.String(), "caller", caller, "more_since_last", suppressed)
	}
}
