// SPDX-License-Identifier: Apache-2.0

package sqlfunc

import (
	"time"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/joda"
)

// times are go_date_format and go_format_datetime (time, format, now, quiet) -> text, and go_date_parse and go_parse_datetime (text, format, now, quiet) ->
// time. Times are nanoseconds.
func times(zones *joda.Zones) []duck.Function {
	mysql := func(format string, _ time.Time) (*joda.Format, error) { return joda.MySQL(format) }
	format := func(name string, read func(string, time.Time) (*joda.Format, error)) duck.Function {
		return duck.Function{
			Name: name, In: []duck.Kind{duck.Bigint(), duck.Varchar(), duck.Bigint(), duck.Boolean()}, Out: duck.Varchar(),
			Call: eachRow(true, func() func([]duck.Column, int, *duck.Vector) error {
				formats := formats(read)
				var text []byte
				return func(in []duck.Column, i int, out *duck.Vector) error {
					f, err := formats(&in[1], &in[2], i)
					if err != nil {
						return err
					}
					text = f.Append(text[:0], in[0].Int64(i))
					out.SetBytes(i, text)
					return nil
				}
			}),
		}
	}
	parse := func(name string, read func(string, time.Time) (*joda.Format, error)) duck.Function {
		return duck.Function{
			Name: name, In: []duck.Kind{duck.Varchar(), duck.Varchar(), duck.Bigint(), duck.Boolean()}, Out: duck.Bigint(),
			Call: eachRow(true, func() func([]duck.Column, int, *duck.Vector) error {
				formats := formats(read)
				return func(in []duck.Column, i int, out *duck.Vector) error {
					f, err := formats(&in[1], &in[2], i)
					if err != nil {
						return err
					}
					ns, err := f.Parse(in[0].String(i), zones)
					if err != nil {
						return err
					}
					out.SetInt64(i, ns)
					return nil
				}
			}),
		}
	}
	return []duck.Function{format(DateFormat, mysql), format(FormatDatetime, joda.Pattern), parse(DateParse, mysql), parse(ParseDatetime, joda.Pattern)}
}

// formats reads the format of a row; now is the same in all rows.
func formats(read func(string, time.Time) (*joda.Format, error)) func(format, now *duck.Column, i int) (*joda.Format, error) {
	var at int64
	known := remember(func(s string) (*joda.Format, error) { return read(s, time.Unix(0, at)) })
	return func(format, now *duck.Column, i int) (*joda.Format, error) {
		at = now.Int64(i)
		return known(format.Bytes(i))
	}
}
