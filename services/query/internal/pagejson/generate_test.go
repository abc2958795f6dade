// SPDX-License-Identifier: Apache-2.0

package pagejson

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/tributary-project/tributary/timestream/result"
)

// cellValue is what a generated cell holds, for comparison: points as texts that tell every bit.
type cellValue struct {
	Null bool
	Text string
	// Points are "time bits" or "time text".
	Points []string
}

// values copies rows as they are given out.
func values(rows *[][]cellValue, kinds []result.Kind) func(result.Row) error {
	return func(r result.Row) error {
		row := make([]cellValue, len(r))
		for i, c := range r {
			row[i] = cellValue{Null: c.Null, Text: string(c.Text)}
			for _, p := range c.Points {
				row[i].Points = append(row[i].Points, fmt.Sprintf("%d %016x", p.T, math.Float64bits(p.V)))
			}
			for _, p := range c.Texts {
				row[i].Points = append(row[i].Points, fmt.Sprintf("%d %s", p.T, p.Text))
			}
			if kinds[i] == result.Scalar && row[i].Points != nil {
				return fmt.Errorf("a scalar with points")
			}
		}
		*rows = append(*rows, row)
		return nil
	}
}

// generator writes pages in any form that JSON allows.
type generator struct {
	r *rand.Rand
	// plain writes the form of the service, names writes names without escape sequences: those of a page are looked for.
	plain, names bool
}

// page returns a page of rows whose columns have the kinds, and what they hold.
func (g *generator) page(kinds []result.Kind, rows int) (string, [][]cellValue) {
	var want [][]cellValue
	var all []string
	at := time.Unix(1_600_000_000, 0).UTC()
	for range rows {
		var cells []string
		row := make([]cellValue, len(kinds))
		for i, k := range kinds {
			var text string
			text, row[i] = g.cell(k, &at)
			cells = append(cells, text)
		}
		want = append(want, row)
		all = append(all, g.object("Data", g.array(cells)))
	}
	members := []string{
		"ColumnInfo", `[{"Name":"a","Type":{"ScalarType":"VARCHAR"}},{"Name":"s","Type":{"TimeSeriesMeasureValueColumnInfo":{"Type":{"ScalarType":"DOUBLE"}}}}]`,
		"NextToken", g.text("T=="), "QueryId", g.text("Q1"),
		"QueryStatus", g.object("CumulativeBytesMetered", "10000000", "CumulativeBytesScanned", "0", "ProgressPercentage", "100.0"),
		"Rows", g.array(all),
	}
	g.names = true
	defer func() { g.names = false }()
	return g.object(members...), want
}

func (g *generator) cell(k result.Kind, at *time.Time) (string, cellValue) {
	switch {
	case g.r.IntN(8) == 0:
		return g.object("NullValue", "true"), cellValue{Null: true}
	case k == result.Scalar:
		s := g.words()
		return g.object("ScalarValue", g.text(s)), cellValue{Text: s}
	}
	var points []string
	var v cellValue
	for range g.r.IntN(12) {
		*at = at.Add(time.Duration(g.r.Int64N(int64(90 * time.Minute))))
		text := g.words()
		if k == result.Doubles {
			f := g.float()
			text = java(f)
			v.Points = append(v.Points, fmt.Sprintf("%d %016x", at.UnixMilli(), math.Float64bits(f)))
		} else {
			v.Points = append(v.Points, fmt.Sprintf("%d %s", at.UnixMilli(), text))
		}
		points = append(points, g.object("Time", g.text(at.Format("2006-01-02 15:04:05.000000000")), "Value", g.object("ScalarValue", g.text(text))))
	}
	return g.object("TimeSeriesValue", g.array(points)), v
}

func (g *generator) float() float64 {
	switch g.r.IntN(6) {
	case 0:
		return []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, 1, 5e-324, math.MaxFloat64}[g.r.IntN(8)]
	case 1:
		if f := math.Float64frombits(g.r.Uint64()); !math.IsNaN(f) {
			return f
		}
	case 2:
		return g.r.Float64()
	case 3:
		return 1.6e9 + g.r.Float64()*1e6
	}
	return float64(g.r.IntN(1_000_000)) / 1000
}

// java writes a double as Double.toString does, near enough.
func java(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	}
	if a := math.Abs(v); v == 0 || a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	m, e, _ := strings.Cut(strconv.FormatFloat(v, 'E', -1, 64), "E")
	if !strings.Contains(m, ".") {
		m += ".0"
	}
	n, _ := strconv.Atoi(e)
	return m + "E" + strconv.Itoa(n)
}

// words returns any text.
func (g *generator) words() string {
	var b strings.Builder
	for range g.r.IntN(30) {
		switch g.r.IntN(12) {
		case 0:
			b.WriteByte(byte(g.r.IntN(0x20)))
		case 1:
			b.WriteString([]string{`"`, `\`, `/`, "\u2028", "é", "日", "😀", "\ufffd", `\u0041`, `","Rows":[`, `"NextToken":"x"`}[g.r.IntN(11)])
		default:
			b.WriteByte(byte(0x20 + g.r.IntN(0x5f)))
		}
	}
	return b.String()
}

func (g *generator) blank() string {
	if g.plain || g.r.IntN(4) > 0 {
		return ""
	}
	return []string{" ", "\n", "\t", "\r\n  "}[g.r.IntN(4)]
}

func (g *generator) array(elements []string) string {
	var b strings.Builder
	b.WriteString("[" + g.blank())
	for i, e := range elements {
		if i > 0 {
			b.WriteString("," + g.blank())
		}
		b.WriteString(e + g.blank())
	}
	return b.String() + "]"
}

// object writes members, of which names and values take turns.
func (g *generator) object(members ...string) string {
	order := make([]int, 0, len(members))
	for i := 0; i < len(members); i += 2 {
		order = append(order, i)
	}
	if !g.plain {
		switch g.r.IntN(4) {
		case 0:
			members = append(members, "Later", `{"a":[1,-2.5e+7,true,false,null,"x\"]}"],"Data":[]}`)
			order = append(order, len(members)-2)
		case 1:
			if members[0] == "ScalarValue" || members[0] == "TimeSeriesValue" || members[0] == "NullValue" {
				members = append(members, "ArrayValue", "null")
				order = append(order, len(members)-2)
			}
		}
		g.r.Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
	}
	var b strings.Builder
	b.WriteString("{" + g.blank())
	for n, i := range order {
		if n > 0 {
			b.WriteString("," + g.blank())
		}
		name := g.text(members[i])
		if g.names {
			name = strconv.Quote(members[i])
		}
		b.WriteString(name + g.blank() + ":" + g.blank() + members[i+1] + g.blank())
	}
	return b.String() + "}"
}

// text writes a string.
func (g *generator) text(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		short := strings.IndexRune("\"\\/\b\f\n\r\t", r)
		switch {
		case !g.plain && g.r.IntN(20) == 0 && r < 0x10000:
			fmt.Fprintf(&b, `\u%04X`, r)
		case !g.plain && g.r.IntN(2) == 0 && r >= 0x10000:
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		case short >= 0 && (r != '/' || !g.plain):
			b.WriteString(`\` + string(`"\/bfnrt`[short]))
		case r < 0x20:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// reference reads the rows of a page by encoding/json, in the way of the SDK. Not ok: encoding/json refuses it.
func reference(body []byte, kinds []result.Kind) (rows [][]cellValue, token string, err error) {
	var doc any
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, "", err
	}
	defer func() {
		if r := recover(); r != nil { // a value of another type than is wanted
			rows, err = nil, fmt.Errorf("%v", r)
		}
	}()
	page := doc.(map[string]any)
	token, _ = page["NextToken"].(string)
	list, _ := page["Rows"].([]any)
	for _, r := range list {
		cells := r.(map[string]any)["Data"].([]any)
		if len(cells) != len(kinds) {
			panic("columns")
		}
		row := make([]cellValue, len(kinds))
		for i, k := range kinds {
			row[i] = referenceCell(cells[i].(map[string]any), k)
		}
		rows = append(rows, row)
	}
	return rows, token, nil
}

func referenceCell(datum map[string]any, k result.Kind) cellValue {
	var c cellValue
	if null := datum["NullValue"]; null != nil {
		c.Null = null.(bool)
	}
	scalar, series := datum["ScalarValue"], datum["TimeSeriesValue"]
	switch {
	case datum["ArrayValue"] != nil, datum["RowValue"] != nil, scalar != nil && k != result.Scalar, series != nil && k == result.Scalar:
		panic("kind")
	case scalar != nil:
		c.Text = scalar.(string)
	case series != nil:
		for _, p := range series.([]any) {
			point := p.(map[string]any)
			t, err := new(result.Clock).Millis([]byte(point["Time"].(string)))
			value := point["Value"].(map[string]any)
			if err != nil || value["ArrayValue"] != nil || value["RowValue"] != nil || value["TimeSeriesValue"] != nil {
				panic("point")
			}
			text := value["ScalarValue"].(string)
			if k == result.Doubles {
				v, err := strconv.ParseFloat(text, 64)
				if err != nil {
					panic(err)
				}
				text = fmt.Sprintf("%016x", math.Float64bits(v))
			}
			c.Points = append(c.Points, fmt.Sprintf("%d %s", t, text))
		}
	case !c.Null:
		panic("nothing")
	}
	return c
}
