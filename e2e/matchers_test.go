// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tributary-project/tributary/e2e/internal/promtest"
	"github.com/tributary-project/tributary/e2e/internal/rw"
	"github.com/tributary-project/tributary/e2e/internal/system"
)

// hostileValues are label values that quoting, LIKE, regular expressions, JSON or Unicode could trip over.
func hostileValues() []string {
	return []string{
		"", // absent
		"plain", "PLAIN", "under_score", "underXscore", "100%", "100", "a%b_c", "axbyc",
		`it's`, `''`, `'`, `"`, `""`, `with "quotes"`, "semi;colon", "new\nline", "new", "line", "\n", "cr\r\nlf", "tab\t", "nul\x00byte", "\x00", "\x7f",
		`back\slash`, `\`, `\\`, `\%`, `\_`, `\n`, `\u0041`, `\x41`, "A", `$1`, `${x}`, "$", "^", "a|b", "a.b", "[a]", "(a)", "{2}", "a*", "a+", "?",
		`'; DROP TABLE "PrometheusDatabase"."PrometheusMetricsTable"; --`, `' OR '1'='1`, `") OR 1=1 --`, "--", "/* comment */", "#", "x --y",
		`":"`, `","`, `{"v":"x"}`, `x","label_v":"plain`, `,`, `:`, `=`, "NULL", "null", "true", "0", "1e5", " ", " a ", "a", "b", "c",
		"Ünïcödé", "ünïcödé", "straße", "STRASSE", "e\u0301", "\u00e9", "\u00c9", "日本語", "日", "😀", "😀 \U0001F601", "\u2028", "\u2029", "\u00a0", "\ufeff", "\ufffd", "ſ", "s", "S", "K", "k", "\u212a", "ǅ", "ǆ", "٣", "3",
		"aa", "aaa", "aaaa", "abc", "foo-bar", "foo--bar", "foo:bar", "word", "two words", "_", "-", ".", strings.Repeat("long ", 150),
	}
}

// expressions are regular expressions that RE2 and Java, or an optimiser, read differently, and others that are hard.
func expressions() []string {
	return []string{
		``, `.*`, `.+`, `.`, `..`, `.{3}`, `.{0,2}`, `(.*)`, `(?:.+)`, `.*.*`, `(.*|a)`, `.?`,
		`(?P<n>a.*)`, `(?P<first>with).*`, `(?:a|b|c)`, `(a|b|c).*`, `a|b||plain`, `(plain|)`, `plain|PLAIN`, `()`, `a{0}`,
		`(?i)plain`, `(?i)PLAIN|x`, `(?i)pl.*`, `(?i).*LAIN`, `(?i)ſ`, `(?i)s`, `(?i)k`, `(?i)\x{212a}`, `(?i:UNDER)_score`, `(?i)straße`, `(?i)STRASSE`, `(?i)é`, `(?i)É`, "(?i)e\u0301", `(?i)ü.*`, `(?i)Ünïcödé`, `(?i)ǆ`, `(?i)[a-z]+`, `(?i)[K]`, `(?i)under.*|.*bar`,
		`(?U)a.+`, `(?U)a.+b`, `(?s).*line`, `(?-s).*`, `(?-s).+`, `(?-s:new.line)`, `(?s:new.line)`, `(?m)^line$`, `(?m)new$.*`, `(?m)new$\nline`, `(?m:^)line`,
		`new.line`, `new\nline`, "new\nline", `new[\s\S]line`, `new\sline`, `\n`, `.*\n.*`, `cr\r?\nlf`, `[^\n]+`, `[^a]`, `[^a]*`, `new$`, `line$`, `^new`, `^$`, `$`, `^`, `^^plain$$`, `\A.*\z`, `\Aplain`, `plain\z`, `a^b`, `$a`,
		`[[:alpha:]]+`, `[[:^alpha:]]+`, `[[:word:]]+`, `[[:space:]]+`, `[[:punct:]]+`, `[[:cntrl:]]`, `[[:upper:][:digit:]]+`, `[[:alpha:]_]+`,
		`\pN+`, `\PN+`, `\p{N}+`, `\pL+`, `\p{L}.*`, `\PL+`, `\p{Greek}`, `\p{Han}+`, `\p{Lu}+`, `\p{^Lu}+`, `\P{^Lu}+`, `[\pL\pN]+`, `[^\pL]+`,
		`\d+`, `\D+`, `\w+`, `\W+`, `\s`, `\S+`, `\bwith\b.*`, `.*\bwords`, `\Bx.*`, `.*\b`, `foo\b.*`,
		`\x41`, `\x{41}`, `\x{1F600}.*`, `😀.`, `.*\x{1F601}`, `\101`, `\QA.B\E`, `\Qa.b\E`, `\Qa|b`, `\Q\E`, `\a`, `\f`, `\t`, `tab\t`, `\v`, `\x00`, `nul\x00byte`, `\x7f`, "\x00",
		`a{2,3}`, `a{2}`, `a{2,}`, `a+?`, `a*?a`, `(aa)+`, `(?:aa)*`, `a??a`, `(a+)+`, `((a*)*)*`,
		`[a-c&&b]+`, `[a&&b]`, `[a[bc]]`, `[]a]`, `[^]a]+`, `[a\]]`, `[\[\]]a[\[\]]`, `\[a\]`, `[a-]`, `[-a]`, `[.]`, `[*+?]`, `\$1`, `\$\{x\}`, `\{2\}`, `{2}`, `a\.b`, `a.b`, `a\|b`, `\\`, `\\.`, `\\%`, `back\\slash`, `\\u0041`, `\\\\`,
		`#`, `#.*`, `.*#`, `a #comment`, `%`, `.*%`, `.*%.*`, `.*_.*`, `a%b_c`, `a.b.c`, `100.*`, `1.*%`, `_`, `.*\\.*`, `.+\..+`, `.*'.*`, `.*".*`, `'|"`, `[';"\\]+`, `.*;.*`, `.*--.*`, `'; DROP.*`, `.*DROP TABLE.*`, `/\*.*\*/`, `foo-bar`, `foo--?bar`, `foo[-:]bar`, `foo.+bar`,
		` `, `.* `, ` .*`, `日.*`, `.*語`, `日本.`, `[日-語]+`, `é`, `.{2}`, `[^\x00-\x7f]+`, `[\x00-\x1f]+`, `[^[:ascii:]]`, `\x{ffff}|3`, `long .*`, `(long )+`, `(long ){150}`, `.*long `,
		strings.Repeat("(", 50) + "a" + strings.Repeat(")", 50), strings.Repeat("a|", 300) + "b", alternatives(2000, 20), alternatives(6000, 60) + "|plain", alternatives(300, 5) + "|a.*",
		// Refused by Prometheus.
		`(`, `)`, `[`, `a**`, `a{2}{3}{1000}`, `a{1001}`, `\C`, `\1`, `(?=a)`, `(?!a)`, `(?>a)`, `a++`, `(?x)a`, `\Z`, `\h`, `\R`, `\cA`, `[[:foo:]]`, `\p{Foo}`, `\pX`, `(?P<n>a)(?P<n>b)`, `[b-a]`, `\`, `(?i`, `\uu`, `*a`, `\x{110000}`,
	}
}

// alternatives returns n alternatives of so many bytes.
func alternatives(n, size int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%0*d", size, i))
	}
	return strings.Join(all, "|")
}

// suite is a number of series that a table holds, one sample each, and compares selections of them with what
// Prometheus' own matchers select.
type suite struct {
	p      probe
	series []labels.Labels
	at     int64
}

// add writes series.
func (s *suite) add(protocol rw.Protocol, all ...labels.Labels) {
	s.p.t.Helper()
	var out []rw.Series
	for i, ls := range all {
		out = append(out, rw.Of(ls).At(s.at, float64(len(s.series)+i)))
	}
	s.p.accept(protocol, out...)
	s.series = append(s.series, all...)
}

// maxQueries is the default of --read.max-queries.
const maxQueries = 64

// check runs the selections by remote read, and some of them through the API too. The ones that Prometheus refuses must be
// refused.
func (s *suite) check(selections ...[]*prompb.LabelMatcher) {
	s.p.t.Helper()
	var queries []*prompb.Query
	var want [][]string
	flush := func() {
		s.p.t.Helper()
		if len(queries) == 0 {
			return
		}
		results, err := promtest.Read(s.p.t.Context(), s.p.readURL(), queries...)
		if err != nil {
			s.p.t.Fatal(err)
		}
		for i, r := range results {
			got := readLines(s.p.t, r)
			if !slices.Equal(got, want[i]) {
				s.p.t.Errorf("%s: %d found, want %d", show(queries[i].Matchers), len(got), len(want[i]))
				sameLines(s.p.t, got, want[i])
			}
		}
		queries, want = queries[:0], want[:0]
	}
	for i, ms := range selections {
		reference, err := matchersOf(ms)
		if i%6 == 0 || err != nil {
			s.checkAPI(ms, reference)
		}
		if err != nil {
			_, err := promtest.Read(s.p.t.Context(), s.p.readURL(), &prompb.Query{EndTimestampMs: s.at, Matchers: ms})
			if err == nil || !strings.Contains(err.Error(), "400 Bad Request") {
				s.p.t.Errorf("%s: got %v, want 400", show(ms), err)
			}
			continue
		}
		var selected []rw.Series
		for n, ls := range s.series {
			if !slices.ContainsFunc(reference, func(m *labels.Matcher) bool { return !m.Matches(ls.Get(m.Name)) }) {
				selected = append(selected, rw.Of(ls).At(s.at, float64(n)))
			}
		}
		queries = append(queries, &prompb.Query{StartTimestampMs: s.at, EndTimestampMs: s.at, Matchers: ms})
		want = append(want, lines(selected...))
		if len(queries) == maxQueries {
			flush()
		}
	}
	flush()
}

func show(ms []*prompb.LabelMatcher) string {
	var out []string
	for _, m := range ms {
		out = append(out, fmt.Sprintf("%.100q%s%.100q", m.Name, []string{"=", "!=", "=~", "!~"}[m.Type], m.Value))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func matchersOf(ms []*prompb.LabelMatcher) ([]*labels.Matcher, error) {
	var out []*labels.Matcher
	for _, m := range ms {
		t := map[prompb.LabelMatcher_Type]labels.MatchType{
			prompb.LabelMatcher_EQ: labels.MatchEqual, prompb.LabelMatcher_NEQ: labels.MatchNotEqual,
			prompb.LabelMatcher_RE: labels.MatchRegexp, prompb.LabelMatcher_NRE: labels.MatchNotRegexp,
		}[m.Type]
		one, err := labels.NewMatcher(t, m.Name, m.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// matcher returns a matcher of this type.
func matcher(kind prompb.LabelMatcher_Type, name, value string) *prompb.LabelMatcher {
	return &prompb.LabelMatcher{Type: kind, Name: name, Value: value}
}

// allForms returns the value in matchers of all four types, as a literal.
func allForms(name, value string) []*prompb.LabelMatcher {
	return []*prompb.LabelMatcher{
		eq(name, value), matcher(prompb.LabelMatcher_NEQ, name, value),
		re(name, regexp.QuoteMeta(value)), matcher(prompb.LabelMatcher_NRE, name, regexp.QuoteMeta(value)),
	}
}

// TestHostileMatchers writes hostile values as label values, in columns and packed, as metric names and as label names, and
// selects them by all four kinds of matchers, and by regular expressions.
func TestHostileMatchers(t *testing.T) {
	t.Parallel()
	sys := system.Start(t, system.Options{})
	for i, place := range []struct {
		name  string
		label string
		build func(v string) labels.Labels
		// literals leaves the regular expressions out.
		literals bool
	}{
		{"column", "v", func(v string) labels.Labels { return labels.FromStrings("__name__", "hostile", "v", v) }, false},
		{"packed", "label_v", func(v string) labels.Labels { return labels.FromStrings("__name__", "hostile", "label_v", v) }, false},
		{"metric name", "__name__", func(v string) labels.Labels { return labels.FromStrings("__name__", v) }, false},
		{"among other packed labels", "label_v", func(v string) labels.Labels {
			return labels.FromStrings("__name__", "hostile", "label_a", `"label_v":"plain"`, "label_v", v, "label_x", "\n"+v)
		}, true},
	} {
		t.Run(place.name, func(t *testing.T) {
			s := suite{p: probe{t, sys.URL}, at: time.Now().UnixMilli()}
			var all []labels.Labels
			for _, v := range hostileValues() {
				if v == "" && place.label == "__name__" {
					continue
				}
				b := labels.NewBuilder(place.build(v))
				b.Set("place", place.name)
				all = append(all, b.Labels())
			}
			s.add(rw.V1, all[:len(all)/2]...)
			s.add(rw.V2, all[len(all)/2:]...)
			here := eq("place", place.name)
			var selections [][]*prompb.LabelMatcher
			for _, v := range hostileValues() {
				forms := allForms(place.label, v)
				if i > 0 {
					forms = []*prompb.LabelMatcher{forms[0], forms[3]} // the others make the same predicates
				}
				for _, m := range forms {
					selections = append(selections, []*prompb.LabelMatcher{here, m})
				}
			}
			for _, e := range expressions() {
				if place.literals {
					break
				}
				selections = append(selections,
					[]*prompb.LabelMatcher{here, re(place.label, e)},
					[]*prompb.LabelMatcher{here, matcher(prompb.LabelMatcher_NRE, place.label, e)})
			}
			s.check(selections...)
		})
	}
	t.Run("label names", func(t *testing.T) {
		s := suite{p: probe{t, sys.URL}, at: time.Now().UnixMilli()}
		var all []labels.Labels
		var selections [][]*prompb.LabelMatcher
		for _, name := range hostileValues() {
			// Each one that can be a column makes the statements longer: those that ask for quoting are enough.
			if !strings.ContainsAny(name, "'\"\\;\n\x00\x7f%_:=-{}$#") {
				continue
			}
			all = append(all, labels.FromStrings("__name__", "hostile_names", "place", "name", name, "v"))
			for _, m := range []*prompb.LabelMatcher{
				eq(name, "v"), eq(name, ""), matcher(prompb.LabelMatcher_NEQ, name, "v"), re(name, "v.*"), matcher(prompb.LabelMatcher_NRE, name, "w|v"),
			} {
				selections = append(selections, []*prompb.LabelMatcher{eq("place", "name"), m})
			}
		}
		s.add(rw.V2, all...)
		s.check(selections...)
	})
}
