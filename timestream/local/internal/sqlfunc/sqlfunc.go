// SPDX-License-Identifier: Apache-2.0

// Package sqlfunc has the functions that DuckDB lacks, in Go: All lists them for duck.Database.Register. They are the halves of functions of
// SQL: which of them stands for what, and all that can be said before a statement runs, is package sqlplan's, whose SQL names them.
// Formats of times are read by package joda, regular expressions by package javaregexp.
//
// A function whose last argument is a boolean named quiet answers NULL in the place of an error where that is true, which TRY asks for. NULL in
// any other argument makes the result NULL.
package sqlfunc

import (
	"errors"
	"fmt"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/joda"
)

// The names of the functions in DuckDB.
const (
	DateFormat       = "go_date_format"
	FormatDatetime   = "go_format_datetime"
	DateParse        = "go_date_parse"
	ParseDatetime    = "go_parse_datetime"
	RegexpLike       = "go_regexp_like"
	RegexpExtract    = "go_regexp_extract"
	RegexpExtractAll = "go_regexp_extract_all"
	RegexpSplit      = "go_regexp_split"
	RegexpReplace    = "go_regexp_replace"
	RegexpParts      = "go_regexp_parts"
	Levenshtein      = "go_levenshtein"
	Upper            = "go_upper"
	Lower            = "go_lower"
	Spline           = "go_spline"
	FromUTF8         = "go_from_utf8"
	FromHex          = "go_from_hex"
	FromBase64       = "go_from_base64"
	XXHash64         = "go_xxhash64"
	SHA1             = "go_sha1"
	SHA256           = "go_sha256"
	SHA512           = "go_sha512"
	MD5              = "go_md5"
	ToBigEndian64    = "go_to_big_endian_64"
	FromBigEndian64  = "go_from_big_endian_64"
)

// Mark begins the texts of errors that are the dialect's own, which tells them from DuckDB's.
const Mark = "\x1f"

// All returns the functions. They share what they remember, which is bounded.
func All() []duck.Function {
	zones := &joda.Zones{}
	var out []duck.Function
	for _, list := range [][]duck.Function{times(zones), regexps(), texts(), binaries()} {
		out = append(out, list...)
	}
	return out
}

// eachRow makes a Call of what is done with one row without NULLs. begin is called once for each chunk, and keeps what rows have in common.
func eachRow(quiet bool, begin func() func(in []duck.Column, i int, out *duck.Vector) error) func([]duck.Column, int, *duck.Vector) error {
	return func(in []duck.Column, rows int, out *duck.Vector) error {
		row := begin()
		for i := range rows {
			null := false
			for k := range in {
				null = null || in[k].IsNull(i)
			}
			if null {
				continue
			}
			if err := row(in, i, out); err != nil && (!quiet || errors.Is(err, errAlways) || !in[len(in)-1].Bool(i)) {
				return fmt.Errorf("%s%w", Mark, err)
			}
		}
		return nil
	}
}

// errAlways is wrapped by errors that TRY must not hide.
var errAlways = errors.New("")

// remember returns f, which calls make for a key that it was not called with just before, or among the last few.
func remember[T any](make_ func(string) (T, error)) func([]byte) (T, error) {
	const few = 64
	type made struct {
		value T
		err   error
	}
	known := map[string]made{}
	return func(key []byte) (T, error) {
		m, ok := known[string(key)]
		if !ok {
			if len(known) >= few {
				clear(known)
			}
			m.value, m.err = make_(string(key))
			known[string(key)] = m
		}
		return m.value, m.err
	}
}
