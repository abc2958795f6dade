// SPDX-License-Identifier: Apache-2.0

package series

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	l := func(pairs ...string) (out []Label) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, Label{[]byte(pairs[i]), []byte(pairs[i+1])})
		}
		return out
	}
	for _, c := range []struct {
		give []Label
		want string
	}{
		{nil, "{}"},
		{l("__name__", "up"), "up{}"},
		{l("__name__", "a:b", "job", "x", "le", "0.5"), `a:b{job="x", le="0.5"}`},
		{l("job", "x"), `{job="x"}`},
		{l("__name__", "a b", "é", "1\n"), `"a b"{"é"="1\n"}`},
		{l("__name__", "m\xff", "", "\x00"), `"m\xff"{""="\x00"}`},
	} {
		if got := Text(c.give); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	for _, long := range [][]Label{l("__name__", strings.Repeat("é", 5000)), l("a", strings.Repeat("🦀", 5000)), l(strings.Repeat("n", 5000), "")} {
		if got := Text(long); len(got) > 2*maxText || !utf8.ValidString(got) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}
