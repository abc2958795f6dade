// SPDX-License-Identifier: Apache-2.0

package timestream

import (
	"strings"
	"testing"
)

func TestValidTableName(t *testing.T) {
	for give, want := range map[string]bool{
		"abc": true, "A-b_c.9": true, strings.Repeat("x", 256): true,
		"": false, "ab": false, strings.Repeat("x", 257): false, `a"bc`: false, "a bc": false, "abé": false, "a/b": false, "a*b": false, "abc\n": false,
		"a(b": false,
	} {
		if got := ValidTableName(give); got != want {
			t.Errorf("%.20q: got %v, want %v", give, got, want)
		}
	}
}

func TestTableList(t *testing.T) {
	type names map[[2]string]bool
	for _, c := range []struct {
		give, text string
		want       names
	}{
		{"", "", names{{"db1", "tab"}: false, {"", ""}: false}},
		{" , ", "", names{{"db1", "tab"}: false}},
		{"db1.tab", "db1/tab", names{{"db1", "tab"}: true, {"db1", "tabs"}: false, {"db1", "ta"}: false, {"DB1", "tab"}: false}},
		{"db1.*, db2.m_?", "db1/*,db2/m_?", names{{"db1", "x.y"}: true, {"db2", "m_1"}: true, {"db2", "m_11"}: false, {"db11", "tab"}: false}},
		{"*/*", "*/*", names{{"any", "any"}: true}},
		// Dots of a name do not move the line between database and table.
		{"a.b/tab", "a.b/tab", names{{"a.b", "tab"}: true, {"a", "b.tab"}: false, {"axb", "tab"}: false}},
	} {
		var l TableList
		if err := l.Set("old.old"); err != nil {
			t.Fatal(err)
		}
		if err := l.Set(c.give); err != nil {
			t.Errorf("%q: %v", c.give, err)
			continue
		}
		if got := l.String(); got != c.text {
			t.Errorf("%q: text %q, want %q", c.give, got, c.text)
		}
		for n, want := range c.want {
			if got := l.Allows(n[0], n[1]); got != want {
				t.Errorf("%q on %q: got %v, want %v", c.give, n, got, want)
			}
		}
	}
	for _, give := range []string{"db1", "db1.", ".tab", "a.b.tab", "a/b/tab", "db1.[a]", `db1.t\*`, "db1 .tab", "db1.tab,x", "*"} {
		l := TableList{entries: []tablePattern{{"old", "old"}}}
		if err := l.Set(give); err == nil || !l.Allows("old", "old") {
			t.Errorf("%q: %v, now %q", give, err, l.String())
		}
	}
}

func TestTableListOfWholeDatabases(t *testing.T) {
	for _, c := range []struct {
		give          string
		database, all bool
	}{
		{"", false, false}, {"db1.tab", false, false}, {"db1.t*", false, false}, {"db1.*", true, false}, {"db?.*", true, false}, {"db2.*", false, false}, {"*.*", true, true}, {"x.y,*/*", true, true},
	} {
		var l TableList
		if err := l.Set(c.give); err != nil {
			t.Fatal(err)
		}
		if l.AllowsDatabase("db1") != c.database || l.AllowsAll() != c.all {
			t.Errorf("%q: got %v and %v, want %v and %v", c.give, l.AllowsDatabase("db1"), l.AllowsAll(), c.database, c.all)
		}
	}
}
