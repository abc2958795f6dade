// SPDX-License-Identifier: Apache-2.0

package sqlfunc

import (
	"errors"
	"fmt"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/javaregexp"
)

// regexps are the functions of regular expressions, all of (text, pattern, …, quiet). Their rows share the steps that a chunk may take; when those are
// used up TRY does not hide it, since it would be tried again with each row.
func regexps() []duck.Function {
	type row func(re *javaregexp.Regexp, text string, left *budget, in []duck.Column, i int, out *duck.Vector) error
	function := func(name string, more []duck.Kind, result duck.Kind, f row) duck.Function {
		return duck.Function{
			Name: name, In: append(append([]duck.Kind{duck.Varchar(), duck.Varchar()}, more...), duck.Boolean()), Out: result,
			Call: eachRow(true, func() func([]duck.Column, int, *duck.Vector) error {
				patterns := remember(javaregexp.Compile)
				left := budget{javaregexp.Steps, maxMadeTogether}
				return func(in []duck.Column, i int, out *duck.Vector) error {
					re, err := patterns(in[1].Bytes(i))
					if err == nil {
						err = f(re, in[0].String(i), &left, in, i, out)
					}
					if errors.Is(err, javaregexp.ErrSteps) || errors.Is(err, errMade) {
						return fmt.Errorf("%w%w", err, errAlways)
					}
					return err
				}
			}),
		}
	}
	group := func(re *javaregexp.Regexp, n int64) error {
		if n < 0 || n > int64(re.Groups) {
			return fmt.Errorf("Pattern has %d groups. Cannot access group %d", re.Groups, n) //nolint:staticcheck // Trino's text
		}
		return nil
	}
	list := duck.List(duck.Varchar())
	return []duck.Function{
		function(RegexpLike, nil, duck.Boolean(), func(re *javaregexp.Regexp, text string, left *budget, _ []duck.Column, i int, out *duck.Vector) error {
			found, err := re.Match(text, &left.steps)
			if err == nil {
				out.SetBool(i, found)
			}
			return err
		}),
		function(RegexpExtract, []duck.Kind{duck.Bigint()}, duck.Varchar(), func(re *javaregexp.Regexp, text string, left *budget, in []duck.Column, i int, out *duck.Vector) error {
			n := in[2].Int64(i)
			if err := group(re, n); err != nil {
				return err
			}
			return re.Each(text, &left.steps, func(at []int) bool {
				if at[2*n] >= 0 {
					out.SetString(i, text[at[2*n]:at[2*n+1]])
				}
				return false
			})
		}),
		function(RegexpExtractAll, []duck.Kind{duck.Bigint()}, list, func(re *javaregexp.Regexp, text string, left *budget, in []duck.Column, i int, out *duck.Vector) error {
			n := in[2].Int64(i)
			if err := group(re, n); err != nil {
				return err
			}
			var found [][2]int
			err := re.Each(text, &left.steps, func(at []int) bool {
				found = append(found, [2]int{at[2*n], at[2*n+1]})
				return true
			})
			if err == nil {
				pieces(out, i, text, found)
			}
			return err
		}),
		function(RegexpSplit, nil, list, func(re *javaregexp.Regexp, text string, left *budget, _ []duck.Column, i int, out *duck.Vector) error {
			var parts [][2]int
			end := 0
			err := re.Each(text, &left.steps, func(at []int) bool {
				parts = append(parts, [2]int{end, at[0]})
				end = at[1]
				return true
			})
			if err == nil {
				pieces(out, i, text, append(parts, [2]int{end, len(text)}))
			}
			return err
		}),
		function(RegexpReplace, []duck.Kind{duck.Varchar()}, duck.Varchar(), func(re *javaregexp.Regexp, text string, left *budget, in []duck.Column, i int, out *duck.Vector) error {
			with, ok := re.Template(in[2].String(i))
			if !ok {
				return fmt.Errorf("Illegal replacement sequence: %s", in[2].Bytes(i)) //nolint:staticcheck // an answer of the dialect
			}
			var made []byte
			end := 0
			err := re.Each(text, &left.steps, func(at []int) bool {
				made = with.Append(append(made, text[end:at[0]]...), text, at)
				end = at[1]
				return len(made) <= maxMade
			})
			if len(made) > maxMade {
				return fmt.Errorf("The result of regexp_replace has more than %d bytes", maxMade) //nolint:staticcheck // an answer of the dialect
			}
			if err != nil {
				return err
			}
			made = append(made, text[end:]...)
			if left.made -= len(made); left.made < 0 {
				return errMade
			}
			out.SetBytes(i, made)
			return nil
		}),
		// The texts between the matches, each with the groups of the match behind it, and at last the rest of the text.
		function(RegexpParts, nil, duck.List(list), func(re *javaregexp.Regexp, text string, left *budget, _ []duck.Column, i int, out *duck.Vector) error {
			var parts [][][2]int
			end := 0
			err := re.Each(text, &left.steps, func(at []int) bool {
				part := [][2]int{{end, at[0]}}
				for k := 2; k < len(at); k += 2 {
					part = append(part, [2]int{at[k], at[k+1]})
				}
				parts = append(parts, part)
				end = at[1]
				return true
			})
			if err != nil {
				return err
			}
			parts = append(parts, [][2]int{{end, len(text)}})
			lists, first := out.SetList(i, len(parts))
			for k, part := range parts {
				pieces(lists, first+k, text, part)
			}
			return nil
		}),
	}
}

// budget is what the rows of a chunk may take together.
type budget struct{ steps, made int }

// maxMade bounds the text that regexp_replace makes, maxMadeTogether those of a chunk's rows, of which DuckDB's limit of memory knows nothing. A text
// of the service's has 2 KB.
const (
	maxMade         = 16 << 20
	maxMadeTogether = 64 << 20
)

var errMade = fmt.Errorf("The results of regexp_replace for some thousand rows have more than %d bytes", maxMadeTogether) //nolint:staticcheck // an answer of the dialect

// pieces sets a row to a list of pieces of a text, NULL for one that begins at -1.
func pieces(out *duck.Vector, i int, text string, places [][2]int) {
	list, first := out.SetList(i, len(places))
	for k, p := range places {
		if p[0] >= 0 {
			list.SetString(first+k, text[p[0]:p[1]])
		}
	}
}
