// SPDX-License-Identifier: Apache-2.0

package delimited_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-project/tributary/timestream/local/internal/delimited"
)

var plain = delimited.Options{Separator: ',', Quote: '"', MaxRow: 1 << 20, MaxFields: 1000}

func with(f func(*delimited.Options)) delimited.Options {
	o := plain
	f(&o)
	return o
}

// lines renders all rows of a text as «first-last: field|field», with ∅ for fields without a value.
func lines(text string, o delimited.Options) ([]string, error) {
	r := delimited.NewReader(strings.NewReader(text), o, 1)
	out := []string{}
	for {
		row, err := r.Next()
		var bad *delimited.RowError
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case errors.As(err, &bad):
			out = append(out, fmt.Sprintf("%d-%d! %s", row.First, row.Last, bad.Reason))
			continue
		case err != nil:
			return out, err
		}
		fields := make([]string, min(row.Len(), o.MaxFields))
		for i := range fields {
			s, null := row.Field(i)
			if null {
				s = "∅"
			}
			fields[i] = s
		}
		out = append(out, fmt.Sprintf("%d-%d: %s", row.First, row.Last, strings.Join(fields, "|")))
	}
}

func TestRows(t *testing.T) {
	escape := with(func(o *delimited.Options) { o.Escape = '\\' })
	trim := with(func(o *delimited.Options) { o.Trim = true })
	for _, tc := range []struct {
		name, give string
		opts       delimited.Options
		want       []string
	}{
		{"plain", "a,b\n1,2\n", plain, []string{"1-1: a|b", "2-2: 1|2"}},
		{"no line end at the end", "a,b\n1,2", plain, []string{"1-1: a|b", "2-2: 1|2"}},
		{"carriage returns", "a,b\r\n1,2\r\n\"x\",\"y\"\r\n", plain, []string{"1-1: a|b", "2-2: 1|2", "3-3: x|y"}},
		{"a carriage return within", "a\rb,c\n", plain, []string{"1-1: a\rb|c"}},
		{"empty fields", ",\n,,\"\"\n", plain, []string{"1-1: ∅|∅", "2-2: ∅|∅|∅"}},
		{"empty lines", "\na\n\n\r\nb\n\n", plain, []string{"2-2: a", "5-5: b"}},
		{"quotes", `"a,b","c""d",e"f`, plain, []string{`1-1: a,b|c"d|e"f`}},
		{"line ends in quotes", "\"a\nb\",c\nd,e\n", plain, []string{"1-2: a\nb|c", "3-3: d|e"}},
		{"no end of quotes", "a\n\"b,c\nd", plain, []string{"1-1: a", "2-3! A quoted field has no end."}},
		{"text behind quotes", "\"a\"b,c\nd,e\n", plain, []string{"1-1! There is text behind the closing quote of a field.", "2-2: d|e"}},
		{"spaces stay", " a , \"b\" \n", plain, []string{"1-1:  a | \"b\" "}},
		{"spaces are trimmed", " a ,\t\" b \" , ,c d\n", trim, []string{"1-1: a| b |∅|c d"}},
		{"not UTF-8", "a\xff,b\nc,d\n", plain, []string{"1-1! The row is not UTF-8.", "2-2: c|d"}},
		{"a backslash is nothing special", `a\,b\n`, plain, []string{`1-1: a\|b\n`}},
		{"escapes", `a\,b,"c\"d",\\,"\\",\"e` + "\n" + `x\` + "\ny,z\n", escape, []string{`1-1: a,b|c"d|\|\|"e`, "2-3: x\ny|z"}},
		{"doubled quotes beside escapes", `"a""b"`, escape, []string{`1-1: a"b`}},
		{"an escape at the end", `a\`, escape, []string{"1-1! The file ends behind an escape character."}},
		{"the quote escapes itself", `"a""b","c",d"e` + "\n", with(func(o *delimited.Options) { o.Escape = '"' }), []string{`1-1: a"b|c|d"e`}},
		{"single quotes", `'a,"b',c''d` + "\n", with(func(o *delimited.Options) { o.Quote = '\'' }), []string{`1-1: a,"b|c''d`}},
		{"no quotes", `"a,b"` + "\n", with(func(o *delimited.Options) { o.Quote = 0 }), []string{`1-1: "a|b"`}},
		{"pipes", "a|b,c\n", with(func(o *delimited.Options) { o.Separator = '|' }), []string{"1-1: a|b,c"}},
		{"spaces", "a b  c\n", with(func(o *delimited.Options) { o.Separator, o.Trim = ' ', true }), []string{"1-1: a|b|∅|c"}},
		{"null", "NULL,\"NULL\", NULL\n", with(func(o *delimited.Options) { o.Null = "NULL" }), []string{"1-1: ∅|NULL| NULL"}},
		{"a space is null", " ,  ,a\n", with(func(o *delimited.Options) { o.Null = " " }), []string{"1-1: ∅|  |a"}},
		{"null and trimmed", " - , x\n", with(func(o *delimited.Options) { o.Null, o.Trim = "-", true }), []string{"1-1: ∅|x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := lines(tc.give, tc.opts)
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("got %q, %v\nwant %q", got, err, tc.want)
			}
		})
	}
}

func TestFileErrors(t *testing.T) {
	for _, tc := range []struct {
		give string
		want error
	}{
		{"\xef\xbb\xbfa,b\n", delimited.ErrMark},
		{"\x1f\x8b\x08\x00", delimited.ErrCompressed},
		{"", io.EOF},
		{"a,b\n", nil},
		{"a", nil},
	} {
		if _, err := delimited.NewReader(strings.NewReader(tc.give), plain, 1).Header(); !errors.Is(err, tc.want) {
			t.Errorf("%q: got %v, want %v", tc.give, err, tc.want)
		}
	}
	short := with(func(o *delimited.Options) { o.MaxRow = 4 })
	if got, err := lines("abc\nabcd\nabc\n", short); !errors.Is(err, delimited.ErrTooLong) || len(got) != 1 || !strings.Contains(err.Error(), "line 2 has more than 4 bytes") {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := lines("\"a\nb\nc\n\"", short); !errors.Is(err, delimited.ErrTooLong) {
		t.Errorf("got %v", err)
	}
}

// TestEnd: reading may go on at the end of any row.
func TestEnd(t *testing.T) {
	const text = "h1,h2\n\n\"a\nb\",1\nbad\"x\"\n\"c\"d,\n2,3"
	var all []string
	r := delimited.NewReader(strings.NewReader(text), plain, 1)
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		rest := text[row.End:]
		tail, err := lines(rest, plain)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(len(tail)))
		if next := delimited.NewReader(strings.NewReader(rest), plain, row.Last+1); len(tail) > 0 {
			n, err := next.Next()
			var bad *delimited.RowError
			if err != nil && !errors.As(err, &bad) {
				t.Fatal(err)
			}
			if n.First <= row.Last {
				t.Errorf("line %d after line %d", n.First, row.Last)
			}
		}
	}
	if want := []string{"4", "3", "2", "1", "0"}; !slices.Equal(all, want) {
		t.Errorf("got %v, want %v", all, want)
	}
}

// FuzzReader: whatever comes, every byte is in a row, lines only grow, and what encoding/csv reads without complaint is read the same.
func FuzzReader(f *testing.F) {
	f.Add("a,b\n\"c\"\"d\",\"e\nf\"\n", byte(0), true, "NULL")
	f.Add("a\\,b,c\n", byte('\\'), false, "")
	f.Add("\"a\"x\n\"", byte('"'), true, " ")
	f.Fuzz(func(t *testing.T, text string, escape byte, trim bool, null string) {
		if escape == '\n' || escape == ',' {
			return
		}
		r := delimited.NewReader(strings.NewReader(text), delimited.Options{Separator: ',', Quote: '"', Escape: escape, Trim: trim, Null: null, MaxRow: 1 << 20, MaxFields: 1000}, 1)
		var end, last int64
		for {
			row, err := r.Next()
			var bad *delimited.RowError
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil && !errors.As(err, &bad) {
				t.Fatal(err)
			}
			if row.First <= last || row.Last < row.First || row.End <= end || row.End > int64(len(text)) {
				t.Fatalf("row of lines %d to %d ends at %d, after line %d and %d", row.First, row.Last, row.End, last, end)
			}
			end, last = row.End, row.Last
			for i := range row.Len() {
				row.Field(i)
			}
		}
		if strings.Contains(text, "\r") || escape != 0 || trim || null != "" {
			return
		}
		std := csv.NewReader(strings.NewReader(text))
		std.FieldsPerRecord = -1
		want, err := std.ReadAll()
		if err != nil || strings.ToValidUTF8(text, "") != text {
			return
		}
		ours := delimited.NewReader(strings.NewReader(text), plain, 1)
		for _, w := range want {
			if len(w) == 1 && w[0] == "" {
				continue
			}
			row, err := ours.Next()
			if err != nil || row.Len() != len(w) {
				t.Fatalf("got %d fields, %v, want %q", row.Len(), err, w)
			}
			for i := range w {
				if got, _ := row.Field(i); got != w[i] {
					t.Fatalf("got %q, want %q", got, w[i])
				}
			}
		}
	})
}

// TestManyFields: a row of nothing but separators is counted and costs no more than another; a header of too many columns is refused.
func TestManyFields(t *testing.T) {
	few := with(func(o *delimited.Options) { o.MaxFields = 3 })
	got, err := lines("a,b,c\n,,,,\nd,e,f\n", few)
	if want := []string{"1-1: a|b|c", "2-2: ∅|∅|∅", "3-3: d|e|f"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	r := delimited.NewReader(strings.NewReader("a,b,c\n"+strings.Repeat(",", 1<<20-1)+"\n"), few, 1)
	if _, err := r.Header(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	row, err := r.Next()
	runtime.ReadMemStats(&after)
	if err != nil || row.Len() != 1<<20 {
		t.Errorf("got %d fields, %v", row.Len(), err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("a row of a megabyte took %d bytes", took)
	}
	_, err = delimited.NewReader(strings.NewReader("a,b,c,d\n"), few, 1).Header()
	if !errors.Is(err, delimited.ErrTooMany) {
		t.Errorf("got %v", err)
	}
}
