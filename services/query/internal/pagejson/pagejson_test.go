// SPDX-License-Identifier: Apache-2.0

package pagejson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/timestreamquery/types"

	"github.com/tributary-project/tributary/timestream/result"
)

// read parses a page and reads its rows.
func read(body []byte, kinds []result.Kind) (Page, [][]cellValue, error) {
	p, err := Parse(body)
	if err != nil {
		return p, nil, err
	}
	var rows [][]cellValue
	err = NewDecoder(kinds).Rows(&p, values(&rows, kinds))
	return p, rows, err
}

var allKinds = []result.Kind{result.Scalar, result.Doubles, result.Texts, result.Scalar}

func TestPagesOfAnyForm(t *testing.T) {
	for seed := range uint64(3000) {
		checkGenerated(t, seed)
	}
}

func FuzzGeneratedPages(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkGenerated)
}

func checkGenerated(t *testing.T, seed uint64) {
	g := &generator{r: rand.New(rand.NewPCG(seed, 7)), plain: seed%4 == 0}
	body, want := g.page(allKinds, g.r.IntN(6))
	p, got, err := read([]byte(body), allKinds)
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", seed, err, body)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("seed %d:\ngot  %+v\nwant %+v\n%s", seed, got, want, body)
	}
	if p.NextToken != "T==" || p.QueryID != "Q1" || p.MeteredBytes != 10_000_000 || p.HasRows() != (len(want) > 0) {
		t.Fatalf("seed %d: got %q, %q, %d, %v\n%s", seed, p.NextToken, p.QueryID, p.MeteredBytes, p.HasRows(), body)
	}
	if byJSON, token, err := reference([]byte(body), allKinds); err != nil || token != "T==" || !reflect.DeepEqual(byJSON, want) {
		t.Fatalf("seed %d: encoding/json reads it otherwise: %v", seed, err)
	}
	// The SDK's types hold the same.
	var sdk struct{ Rows []types.Row }
	if err := json.Unmarshal([]byte(body), &sdk); err != nil {
		t.Fatal(err)
	}
	got = nil
	if err := NewDecoder(allKinds).SDKRows(sdk.Rows, values(&got, allKinds)); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("seed %d, from the SDK's types: %v\ngot  %+v\nwant %+v\n%s", seed, err, got, want, body)
	}
	// What breaks off is never taken for the whole, and where there is white space nobody cares.
	if cut := g.r.IntN(len(body)); cut > 0 {
		if _, _, err := read([]byte(body[:cut]), allKinds); err == nil {
			t.Fatalf("seed %d: a page cut after %d bytes was read\n%s", seed, cut, body[:cut])
		}
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(body), "", "\t"); err != nil {
		t.Fatal(err)
	}
	if _, got, err := read(indented.Bytes(), allKinds); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("seed %d, indented: %v, got %+v", seed, err, got)
	}
}

// FuzzPage: no document is read otherwise than encoding/json reads it, and none is a reason to panic.
func FuzzPage(f *testing.F) {
	for seed := range uint64(40) {
		g := &generator{r: rand.New(rand.NewPCG(seed, 7)), plain: seed%2 == 0}
		body, _ := g.page(allKinds[:1+seed%4], 2)
		f.Add([]byte(body), byte(1+seed%4))
	}
	f.Fuzz(func(t *testing.T, body []byte, columns byte) {
		kinds := allKinds[:columns%5]
		p, got, err := read(bytes.Clone(body), kinds)
		want, token, wantErr := reference(body, kinds)
		if wantErr != nil || repeats(body) {
			return // numbers are not looked at, so not everything that encoding/json refuses is refused
		}
		if err != nil {
			// What the rows do not need is not looked at in the reference.
			if p.NextToken == "" && !p.HasRows() {
				return
			}
			t.Fatalf("%v, where encoding/json finds %+v", err, want)
		}
		if !reflect.DeepEqual(got, want) || p.NextToken != token {
			t.Fatalf("got  %+v %q\nwant %+v %q", got, p.NextToken, want, token)
		}
	})
}

// repeats tells whether an object of the document names a member twice: which of them counts is left open.
func repeats(body []byte) bool {
	d := json.NewDecoder(bytes.NewReader(body))
	type level struct {
		names map[string]bool // nil: an array
		name  bool            // a name comes next
	}
	var open []level
	for {
		token, err := d.Token()
		if err != nil {
			return !errors.Is(err, io.EOF)
		}
		top := len(open) - 1
		if s, ok := token.(string); ok && top >= 0 && open[top].name {
			if open[top].names[s] {
				return true
			}
			open[top].names[s], open[top].name = true, false
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{names: map[string]bool{}, name: true})
			continue
		case json.Delim('['):
			open = append(open, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
			top--
		}
		if top >= 0 && open[top].names != nil {
			open[top].name = true
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	const time = "2020-08-08 01:00:00.000000000"
	point := func(value string) string {
		return `{"TimeSeriesValue":[{"Time":"` + time + `","Value":{"ScalarValue":"1.0"}},{"Time":"` + time + `","Value":` + value + `}]}`
	}
	for _, tt := range []struct {
		name, cell string
		kind       result.Kind
		want       string
	}{
		{"an array", `{"ArrayValue":[{"ScalarValue":"1"}]}`, result.Scalar, "row 2: column 3: ArrayValue where a ScalarValue was asked for"},
		{"a row", `{"RowValue":{"Data":[]}}`, result.Doubles, "row 2: column 3: RowValue where a TimeSeriesValue"},
		{"a scalar", `{"ScalarValue":"1.0"}`, result.Doubles, "row 2: column 3: ScalarValue where a TimeSeriesValue"},
		{"a series", `{"TimeSeriesValue":[]}`, result.Scalar, "row 2: column 3: TimeSeriesValue where a ScalarValue"},
		{"nothing", `{}`, result.Scalar, "row 2: column 3: there is no ScalarValue"},
		{"no series", `{"NullValue":false}`, result.Texts, "row 2: column 3: there is no TimeSeriesValue"},
		{"a null", `null`, result.Scalar, "row 2: column 3: byte"},
		{"a time that is none", strings.Replace(point(`{"ScalarValue":"1.0"}`), time, "yesterday", 1), result.Doubles, `row 2: column 3: point 1: timestamp "yesterday"`},
		{"a value that is none", point(`{"ScalarValue":"one"}`), result.Doubles, `row 2: column 3: point 2: double "one"`},
		{"a point without a value", point(`{"NullValue":true}`), result.Doubles, "row 2: column 3: point 2: there is no value"},
		{"a point of an array", point(`{"ArrayValue":[]}`), result.Texts, "row 2: column 3: point 2: ArrayValue where a ScalarValue"},
		{"a point without a time", `{"TimeSeriesValue":[{"Value":{"ScalarValue":"1.0"}}]}`, result.Texts, "row 2: column 3: point 1: there is no Time"},
		{"a comma too many", `{"TimeSeriesValue":[{"Time":"` + time + `","Value":{"ScalarValue":"1.0"}},]}`, result.Doubles, "row 2: column 3: byte"},
		{"no comma", `{"ScalarValue":"a" "NullValue":false}`, result.Scalar, "row 2: column 3: byte"},
		{"a control character", "{\"ScalarValue\":\"a\nb\"}", result.Scalar, "row 2: column 3: byte"},
		{"a control character after an escape", "{\"ScalarValue\":\"\\u0041\nb\"}", result.Scalar, "row 2: column 3: byte"},
		{"no escape", `{"ScalarValue":"\x"}`, result.Scalar, "row 2: column 3: byte"},
		{"no digit", `{"ScalarValue":"\u00g0"}`, result.Scalar, "row 2: column 3: byte"},
		{"deep", `{"Later":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, result.Scalar, "row 2: column 3: more than 100 brackets"},
		{"columns", `{"ScalarValue":"a"},{"ScalarValue":"b"}`, result.Scalar, "row 2: more columns than the 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kinds := []result.Kind{result.Scalar, result.Scalar, tt.kind}
			good := `{"Data":[{"ScalarValue":"a"},{"ScalarValue":"b"},{"NullValue":true}]}`
			body := `{"Rows":[` + good + `,{"Data":[{"ScalarValue":"a"},{"ScalarValue":"b"},` + tt.cell + `]}]}`
			_, rows, err := read([]byte(body), kinds)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || len(rows) != 1 {
				t.Errorf("got %v and %d rows, want %q", err, len(rows), tt.want)
			}
		})
	}
	for body, want := range map[string]string{
		``:                                      "page: the JSON breaks off",
		`[]`:                                    "page: byte 0 is '['",
		`{"Rows":{}}`:                           "page: byte 8",
		`{"Rows":[{}]}`:                         "row 1: there is no Data",
		`{"Rows":[{"Data":null}]}`:              "row 1: there is no Data",
		`{"Rows":[{"Data":[]}]}`:                "row 1: 0 columns where 1 were asked for",
		`{"Rows":[{"Data":[{"NullValue":1}]}]}`: "row 1: column 1: byte",
		`{"Rows":[]}x`:                          "page: byte 11",
		`{"Rows":[1]}`:                          "row 1: byte 1",
		`{"QueryStatus":{"CumulativeBytesMetered":"many"},"Rows":[]}`: "page: a number of bytes",
	} {
		if _, _, err := read([]byte(body), allKinds[:1]); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
}

// TestStrings: strings are read as encoding/json reads them, surrogates that stand alone and what is no UTF-8 included.
func TestStrings(t *testing.T) {
	for _, s := range []string{
		``, `a`, `12345678`, `1234567\"`, `\u0041`, `\b\f\n\r\t\/\"\\`, `\ud83d\ude00`, `\uD83D\uDE00`, `\ud800`, `\ud800x`, `\ud800\n`, `\ud800\u0041`, `\ud800\ud83d\ude00`, `\ude00\ud83d`, `\ud83d\`,
		`é`, `1234567é`, `日本語日本語`, "a\xffb", "1234567\xff", "\xff\\u0041\xfe", "\xe6\x97", "\xed\xa0\x80", "a\x7fb", "\x1f", "1234567\x00", `\u00zz`, `\u00`, `\q`, "12345678\x0012345678", `1234567\n\xe9`,
	} {
		doc := []byte(`"` + s + `"`)
		l := lexer{b: doc}
		got, err := l.str()
		ok := err == nil && l.i == len(doc)
		var want string
		if valid := json.Unmarshal(doc, &want) == nil; ok != valid || ok && string(got) != want {
			t.Errorf("%q: got %q, %v, want %q, valid %v", s, got, err, want, valid)
		}
	}
}

func TestTheReadersErrorIsReturnedAsItIs(t *testing.T) {
	body := `{"Rows":[{"Data":[{"ScalarValue":"a"}]},{"Data":[{"ScalarValue":"b"}]}]}`
	p, err := Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	n := 0
	if err := NewDecoder(allKinds[:1]).Rows(&p, func(result.Row) error { n++; return enough }); err != enough || n != 1 { //nolint:errorlint // the very error is meant
		t.Errorf("got %v after %d rows", err, n)
	}
}

// TestMembersAfterTheRows: the order in which other encoders write.
func TestMembersAfterTheRows(t *testing.T) {
	const row = `{"Data":[{"ScalarValue":"a \"NextToken\": b"}]}`
	for _, tail := range []string{``, `,"NextToken":"T"`, `,"QueryStatus":{"CumulativeBytesMetered":7},"NextToken":"T","QueryId":"Q"`, `,"Warnings":[]`, `,"Warnings":["NextToken\""],"Z":1 `, `,"NextToken":null`} {
		body := `{"Rows":[` + row + `]` + tail + `}`
		p, rows, err := read([]byte(body), allKinds[:1])
		if err != nil || len(rows) != 1 || rows[0][0].Text != `a "NextToken": b` {
			t.Errorf("%s: got %+v, %v", body, rows, err)
		}
		if want := strings.Contains(tail, `:"T"`); (p.NextToken == "T") != want {
			t.Errorf("%s: got %+v", body, p)
		}
	}
}

// groupedPage is a page of series with points, in the form of the service.
func groupedPage(series, points int) ([]byte, []result.Kind) {
	kinds := []result.Kind{result.Scalar, result.Scalar, result.Scalar, result.Doubles}
	r := rand.New(rand.NewPCG(1, 1))
	var b bytes.Buffer
	b.WriteString(`{"ColumnInfo":[],"NextToken":"T","QueryId":"Q","QueryStatus":{"CumulativeBytesMetered":10000000,"CumulativeBytesScanned":0,"ProgressPercentage":100.0},"Rows":[`)
	for s := range series {
		if s > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Data":[{"ScalarValue":"host-%05d.example.org:9100"},{"ScalarValue":"node"},{"ScalarValue":"production"},{"TimeSeriesValue":[`, s)
		for p := range points {
			if p > 0 {
				b.WriteByte(',')
			}
			v := float64(r.IntN(1_000_000)) / 100
			if s%4 == 0 {
				v = r.Float64() * 100
			}
			fmt.Fprintf(&b, `{"Time":"2020-08-08 %02d:%02d:%02d.123000000","Value":{"ScalarValue":"%s"}}`, p*15/3600%24, p*15/60%60, p*15%60, java(v))
		}
		b.WriteString(`]}]}`)
	}
	b.WriteString(`]}`)
	return b.Bytes(), kinds
}

func flatPage(rows int) ([]byte, []result.Kind) {
	kinds := []result.Kind{result.Scalar, result.Scalar, result.Scalar, result.Scalar, result.Scalar}
	var b bytes.Buffer
	b.WriteString(`{"ColumnInfo":[],"NextToken":"T","QueryId":"Q","Rows":[`)
	for s := range rows {
		if s > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Data":[{"ScalarValue":"host-%05d.example.org:9100"},{"ScalarValue":"node"},{"NullValue":true},{"ScalarValue":"2020-08-08 01:00:00.123000000"},{"ScalarValue":"12345.%d"}]}`, s, s)
	}
	b.WriteString(`]}`)
	return b.Bytes(), kinds
}

func TestNothingIsAllocatedPerRow(t *testing.T) {
	for name, make := range map[string]func(int) ([]byte, []result.Kind){
		"grouped": func(n int) ([]byte, []result.Kind) { return groupedPage(n, 50) },
		"flat":    flatPage,
	} {
		body, kinds := make(100)
		d := NewDecoder(kinds)
		each := func(result.Row) error { return nil }
		got := testing.AllocsPerRun(20, func() {
			p, err := Parse(body)
			if err == nil {
				err = d.Rows(&p, each)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		if got > 4 {
			t.Errorf("%s: %v allocations for 100 rows", name, got)
		}
	}
}

func BenchmarkPage(b *testing.B) {
	for _, bench := range []struct {
		name string
		make func() ([]byte, []result.Kind)
	}{
		{"grouped", func() ([]byte, []result.Kind) { return groupedPage(45, 240) }},
		{"scalars", func() ([]byte, []result.Kind) { return flatPage(1000) }},
	} {
		body, kinds := bench.make()
		samples := 0
		count := func(r result.Row) error {
			if last := r[len(r)-1]; last.Points != nil {
				samples += len(last.Points)
				return nil
			}
			samples++
			return nil
		}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			samples = 0
			d := NewDecoder(kinds)
			for b.Loop() {
				p, err := Parse(body)
				if err == nil {
					err = d.Rows(&p, count)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(samples)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}
