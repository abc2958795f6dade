// SPDX-License-Identifier: Apache-2.0

package sqlplan

import "github.com/tributary-project/tributary/timestream/local/internal/sqlfunc"

// binaryOverloads are the signatures of Trino's functions of varbinary. The guide does not list them, but a data-modeling example has three of
// them, and statements that the service has run were seen to use a fourth; the others are here because they belong to these.
func (b *binder) binaryOverloads(name string) []overload {
	of := func(in, out Scalar, sql string) []overload { return []overload{{[]Scalar{in}, out, sql, true}} }
	// reader is a function that takes varchars too, or may fail.
	reader := func(function string) string { return function + "($1, " + b.quiet() + ")" }
	switch name {
	case "to_utf8":
		return of(Varchar, Varbinary, "encode($1)")
	case "from_utf8":
		return of(Varbinary, Varchar, reader(sqlfunc.FromUTF8))
	case "to_hex":
		return of(Varbinary, Varchar, "hex($1)")
	case "from_hex":
		return of(Varchar, Varbinary, reader(sqlfunc.FromHex))
	case "to_base64":
		return of(Varbinary, Varchar, "to_base64($1)")
	case "from_base64":
		return of(Varchar, Varbinary, reader(sqlfunc.FromBase64))
	case "md5":
		return of(Varbinary, Varbinary, sqlfunc.MD5+"($1)")
	case "sha1":
		return of(Varbinary, Varbinary, sqlfunc.SHA1+"($1)")
	case "sha256":
		return of(Varbinary, Varbinary, sqlfunc.SHA256+"($1)")
	case "sha512":
		return of(Varbinary, Varbinary, sqlfunc.SHA512+"($1)")
	case "xxhash64":
		return of(Varbinary, Varbinary, sqlfunc.XXHash64+"($1)")
	case "to_big_endian_64":
		return of(Bigint, Varbinary, sqlfunc.ToBigEndian64+"($1)")
	case "from_big_endian_64":
		return of(Varbinary, Bigint, reader(sqlfunc.FromBigEndian64))
	}
	return nil
}
