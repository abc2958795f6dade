// SPDX-License-Identifier: Apache-2.0

package javaregexp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"regexp/syntax"
	"strings"
	"testing"
)

// all lists the matches of a text with their groups.
func all(re *Regexp, text string) (string, error) {
	var out []string
	steps := Steps
	err := re.Each(text, &steps, func(at []int) bool {
		var groups []string
		for i := 0; i < len(at); i += 2 {
			if at[i] < 0 {
				groups = append(groups, "-")
				continue
			}
			groups = append(groups, text[at[i]:at[i+1]])
		}
		out = append(out, strings.Join(groups, ","))
		return true
	})
	return strings.Join(out, "|"), err
}

// TestMatches are answers of Java's Pattern.
func TestMatches(t *testing.T) {
	for _, tt := range []struct{ pattern, text, want string }{
		{`a(?=b)`, "ab ac ab", "a|a"},
		{`a(?!b).`, "ab ac", "ac"},
		{`(?<=\$)\d+`, "$12 €34 $5", "12|5"},
		{`(?<!\d)\d{2}(?!\d)`, "12 345 67", "12|67"},
		{`(?<=a|bcd)x`, "ax bcdx cdx", "x|x"},
		{`(\w)\1`, "aabbcd", "aa,a|bb,b"},
		{`(?<q>['"]).*?\k<q>`, `'a' "b'c"`, `'a','|"b'c","`},
		{`a*+a`, "aaa", ""},
		{`a*a`, "aaa", "aaa"},
		{`(?>a|ab)c`, "abc ac", "ac"},
		{`(?:a|ab)c`, "abc ac", "abc|ac"},
		{`"(?>[^"\\]|\\.)*+"`, `x "a\"b" y`, `"a\"b"`},
		{`[a-z&&[^aeiou]]+`, "education", "d|c|t|n"},
		{`[a-c[x-z]]+`, "abxydz", "abxy|z"},
		{`[^a-c[x-z]]+`, "abxydz", "d"},
		{`\p{Alpha}+\p{Punct}`, "ab! c1?", "ab!"},
		{`\p{IsLatin}+`, "añb 日本", "añb"},
		{`\p{javaUpperCase}`, "aÉB", "É|B"},
		{`\h+\R`, "a \t\r\nb", " \t\r\n"},
		{`\u00e9\x{1F600}\0101`, "é😀A", "é😀A"},
		{`(?x) a b # c`, "ab", "ab"},
		{`(?i:A)b(?-i)C`, "abC abc", "abC"},
		{`(?iu)É`, "é", "é"},
		{`(?i)É(?=)`, "é", ""},
		{`\QA.B\E+`, "A.BBB A.B", "A.BBB|A.B"},
		{`b*`, "abc", "|b||"},
		{``, "aé", "||"},
		{`(a)?`, "ab", "a,a|,-|,-"},
		{`a$(?=)`, "a\n", "a"},
		{`a\Z`, "a\r\n", "a"},
		{`a\z(?=)`, "a\n", ""},
		{`\Ga`, "aaba", "a|a"},
		{`(?m)^.(?=)`, "a\r\nb\u2028c", "a|b|c"},
		{`.+(?=)`, "a\rb", "a|b"},
		{`(?d).+(?=)`, "a\rb", "a\rb"},
		{`(a|b(?=c))*`, "abc", "ab,b|,-|,-"},
		{`(?:(a)|b)*(?=)`, "ab", "ab,a|,-"},
		{`(a*)*(?=)`, "aa", "aa,|,"},
		{`(a*)+(?=)`, "b", ",|,"},
		{`(?=(a+))a*b\1`, "baaabac", "aba,a"},
		{`^(a+)+$(?=)`, "aaaa", "aaaa,aaaa"},
		{`(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)\10`, "abcdefghijj", "abcdefghijj,a,b,c,d,e,f,g,h,i,j"},
		{`(a)\11`, "aa1", "aa1,a"},
		{`x{2,3}+x`, "xxxx xxx", "xxxx"},
		{`(?:ab){2,}?(?!c)`, "abababc", "abab"},
		{`a++`, "aa", "aa"},
		{`[]a]`, "]a", "]|a"},
		{`[a\-z&&\w]`, "a-z", "a|z"},
		{`(?<!^)x`, "xx", "x"},
		{`$*`, "0", "|"},
		{`\b\w(?=)`, "été ab", "a"},
	} {
		re, err := Compile(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		got, err := all(re, tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%s of %q: got %q (%v), want %q", tt.pattern, tt.text, got, err, tt.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, p := range []string{`(`, `)`, `a)`, `[`, `[a`, `*`, `a**`, `(?<=a*)b`, `\1`, `(a)\2`, `\k<x>`, `(?<x>a)(?<x>b)`, `(?q)`, `\y`, `\p{Nothing}`, `a{2,1}(?=)`, `[z-a]`, `\x{110000}`, `\uZZZZ`, `\`, `[\`, `(?<1>a)`, `(?P<a>b)`, `{`, `[&&]`} {
		if _, err := Compile(p); err == nil || err.Error() != "Invalid regular expression: "+p {
			t.Errorf("%s: got %v", p, err)
		}
	}
}

// TestSteps holds that patterns whose search would take for ever, or would need a stack without bound, end with an error.
func TestSteps(t *testing.T) {
	for _, tt := range []struct{ pattern, text string }{
		{`^(a+)+$(?=)`, strings.Repeat("a", 40) + "b"},
		{`(?=(a|aa)+$)x`, strings.Repeat("a", 60) + "b"},
		{`(.*)*\1x`, strings.Repeat("a", 3000)},
		{`(?:a|b)*(?=c)c`, strings.Repeat("ab", 200_000)},
		{`(?<=.{0,900})(?<=.{0,900}x)y`, strings.Repeat("a", 200_000)},
	} {
		re, err := Compile(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		steps := Steps
		if _, err := re.Match(tt.text, &steps); !errors.Is(err, ErrSteps) {
			t.Errorf("%s: got %v with %d steps left", tt.pattern, err, steps)
		}
	}
}

// TestLikeRE2 compares backtracking with Go's engine for what both have.
func TestLikeRE2(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var pattern func(depth int) string
	pattern = func(depth int) string {
		atoms := []string{"a", "b", "é", ".", "[ab]", "[^a]", `\d`, `\w`, "^", "$", `\b`, `\x61`}
		if depth == 0 {
			return atoms[r.IntN(len(atoms))]
		}
		switch r.IntN(6) {
		case 0:
			return "(" + pattern(depth-1) + ")"
		case 1:
			return "(?:" + pattern(depth-1) + "|" + pattern(depth-1) + ")"
		case 2, 3:
			return pattern(depth-1) + pattern(depth-1)
		case 4:
			// A round that takes nothing ends a repetition in Java, not in RE2.
			x := pattern(depth - 1)
			if parsed, err := syntax.Parse(x, syntax.Perl); err != nil || CanBeEmpty(parsed) {
				return x
			}
			return "(" + x + ")" + []string{"*", "+", "?", "*?", "+?", "{1,2}", "{2}"}[r.IntN(7)]
		}
		return atoms[r.IntN(8)] + []string{"*", "+", "?", "*?", "+?", "??", "{0,2}"}[r.IntN(7)]
	}
	ran := 0
	for range 20000 {
		p := pattern(3)
		reference, err := regexp.Compile(p)
		if err != nil {
			continue
		}
		re, err := parse(p)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		var text strings.Builder
		for range r.IntN(8) {
			text.WriteString([]string{"a", "b", "é", "1", "ab", "-"}[r.IntN(6)])
		}
		if strings.Contains(p, `\b`) && strings.Contains(text.String(), "é") {
			continue // RE2's words are ASCII
		}
		steps := Steps
		var got []int
		if err := re.Each(text.String(), &steps, func(at []int) bool { got = append([]int(nil), at...); return false }); err != nil {
			t.Fatal(err)
		}
		want := reference.FindStringSubmatchIndex(text.String())
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s of %q: got %v, want %v", p, text.String(), got, want)
		}
		ran++
	}
	if ran < 10000 {
		t.Errorf("only %d patterns ran", ran)
	}
}

func TestTemplates(t *testing.T) {
	re, err := Compile(`(?<year>\d+)-(\d+)(x)?`)
	if err != nil {
		t.Fatal(err)
	}
	for give, want := range map[string]string{`$2/${year}`: "06/2022", `\$1\\`: `$1\`, "$0$3": "2022-06", "$11": "20221", "$4": "!", "$": "!", `\`: "!", "${no}": "!", "${year": "!", "": ""} {
		tmpl, ok := re.Template(give)
		got := "!"
		if ok {
			steps := Steps
			if err := re.Each("2022-06", &steps, func(at []int) bool { got = string(tmpl.Append(nil, "2022-06", at)); return true }); err != nil {
				t.Fatal(err)
			}
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", give, got, want)
		}
	}
}

// FuzzRegexp holds that no pattern and no text makes a search end otherwise than with an answer or an error.
func FuzzRegexp(f *testing.F) {
	for _, p := range []string{`(?<=a{1,3})b(?!c)\1*+`, `[a-z&&[^b]]{2,}?`, `(?>(a|b)*)\k<x>`, `(?x)a #b`, `\p{IsLatin}\R`} {
		f.Add(p, "aaabbb ccc\r\n")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := Compile(strings.ToValidUTF8(pattern, ""))
		if err != nil {
			return
		}
		steps := 100_000
		text = strings.ToValidUTF8(text, "")
		last := -1
		err = re.Each(text, &steps, func(at []int) bool {
			if at[0] < last || at[1] < at[0] || at[1] > len(text) || len(at) != 2*(re.Groups+1) {
				t.Fatal(fmt.Sprint(at))
			}
			last = at[1]
			return true
		})
		if err != nil && !errors.Is(err, ErrSteps) {
			t.Fatal(err)
		}
	})
}

// TestStepsAreAll: whatever a search does counts, and no step stands in another without being counted, or a statement could not be ended, or would
// end the process.
func TestStepsAreAll(t *testing.T) {
	for _, tc := range []struct{ name, pattern, text string }{
		{"characters", "(?:" + strings.Repeat("[ab]", 1000) + ")*(?=c)", strings.Repeat("a", 100_000)},
		{"deep", "(?:" + strings.Repeat("[ab]", 1000) + ")*+(?=c)", strings.Repeat("a", 1_000_000)},
		{"anchors", "(?:a" + strings.Repeat(`\B`, 50_000) + ")*(?=c)", strings.Repeat("a", 200)},
		{"looks", "(?:a" + strings.Repeat(`(?=a)`, 10_000) + ")*(?=c)", strings.Repeat("a", 10_000)},
		{"atoms", "(?:" + strings.Repeat(`(?>a)`, 10_000) + ")*(?=c)", strings.Repeat("a", 1_000_000)},
		{"texts", "(?:" + strings.Repeat(`(?i)a(?-i)`, 10_000) + ")*(?=c)", strings.Repeat("a", 1_000_000)},
		{"references", "()(?:a" + strings.Repeat(`\1`, 50_000) + ")*(?=c)", strings.Repeat("a", 200)},
		{"a class", "(?=a)[" + strings.Repeat("c-d", 50_000) + "]", strings.Repeat("a", 200_000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			re, err := Compile(tc.pattern)
			if err != nil {
				t.Fatal(err)
			}
			steps := Steps
			if _, err := re.Match(tc.text, &steps); !errors.Is(err, ErrSteps) {
				t.Errorf("got %v with %d steps left", err, steps)
			}
		})
	}
}

// TestLongPattern: a long pattern is read in a time that grows with its length.
func TestLongPattern(t *testing.T) {
	re, err := Compile("(?=a)" + strings.Repeat("ab", 130_000))
	if err != nil {
		t.Fatal(err)
	}
	steps := Steps
	if ok, err := re.Match(strings.Repeat("ab", 130_000), &steps); !ok || err != nil {
		t.Error(ok, err)
	}
}
