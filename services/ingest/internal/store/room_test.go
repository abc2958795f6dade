// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tributary-project/tributary/services/ingest/internal/ledger"
	"github.com/tributary-project/tributary/services/ingest/internal/series"
)

// TestRoom: series that have to be encoded ask for room first, those in the cache do not, and a request without room is
// not begun.
func TestRoom(t *testing.T) { inBothForms(t, testRoom) }

func testRoom(t *testing.T, form form) {
	s, e := newStore(t, form, Config{})
	var ss []series.Series
	for i := range 150 {
		ss = append(ss, one(uint64(i)*0x9e3779b97f4a7c15, "__name__", "a", "i", fmt.Sprint(i)))
	}
	full := errors.New("full")
	asked := int64(0)
	write := func(limit int64) error {
		asked = 0
		return s.Append(context.Background(), Destination{"d", "t"}, Entries{Series: ss, Room: func(n int64) error {
			if asked += n; asked > limit {
				return full
			}
			return nil
		}}, new(ledger.Account))
	}
	if err := write(50_000); !errors.Is(err, full) || len(e.Calls()) != 0 {
		t.Errorf("without room: %v, %d calls", err, len(e.Calls()))
	}
	if err := write(1 << 30); err != nil || asked < 50_000 || len(e.Stored()) != len(ss) {
		t.Errorf("with room: %v, asked for %d, %d stored", err, asked, len(e.Stored()))
	}
	if err := write(0); err != nil || asked != 0 {
		t.Errorf("in the cache: %v, asked for %d", err, asked)
	}
}
