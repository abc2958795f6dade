// SPDX-License-Identifier: Apache-2.0

package sqlfunc

import (
	"crypto/md5"  //nolint:gosec // asked for by name
	"crypto/sha1" //nolint:gosec // asked for by name
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// binaries are the functions of binary values, as Trino's binary functions: hashes (binary) -> binary, and readers (text or binary, quiet).
func binaries() []duck.Function {
	hash := func(name string, f func([]byte) []byte) duck.Function {
		return duck.Function{
			Name: name, In: []duck.Kind{duck.Blob()}, Out: duck.Blob(),
			Call: eachRow(false, func() func([]duck.Column, int, *duck.Vector) error {
				return func(in []duck.Column, i int, out *duck.Vector) error {
					out.SetBytes(i, f(in[0].Bytes(i)))
					return nil
				}
			}),
		}
	}
	read := func(name string, from, to duck.Kind, f func(x []byte, i int, out *duck.Vector) error) duck.Function {
		return duck.Function{
			Name: name, In: []duck.Kind{from, duck.Boolean()}, Out: to,
			Call: eachRow(true, func() func([]duck.Column, int, *duck.Vector) error {
				return func(in []duck.Column, i int, out *duck.Vector) error { return f(in[0].Bytes(i), i, out) }
			}),
		}
	}
	return []duck.Function{
		hash(MD5, func(x []byte) []byte { h := md5.Sum(x); return h[:] }),   //nolint:gosec // asked for by name
		hash(SHA1, func(x []byte) []byte { h := sha1.Sum(x); return h[:] }), //nolint:gosec // asked for by name
		hash(SHA256, func(x []byte) []byte { h := sha256.Sum256(x); return h[:] }),
		hash(SHA512, func(x []byte) []byte { h := sha512.Sum512(x); return h[:] }),
		hash(XXHash64, func(x []byte) []byte { return binary.BigEndian.AppendUint64(nil, xxhash.Sum64(x)) }),
		{
			Name: ToBigEndian64, In: []duck.Kind{duck.Bigint()}, Out: duck.Blob(),
			Call: eachRow(false, func() func([]duck.Column, int, *duck.Vector) error {
				return func(in []duck.Column, i int, out *duck.Vector) error {
					out.SetBytes(i, binary.BigEndian.AppendUint64(nil, uint64(in[0].Int64(i))))
					return nil
				}
			}),
		},
		read(FromBigEndian64, duck.Blob(), duck.Bigint(), func(x []byte, i int, out *duck.Vector) error {
			if len(x) != 8 {
				return fmt.Errorf("expected 8-byte input, but got instead: %d", len(x))
			}
			out.SetInt64(i, int64(binary.BigEndian.Uint64(x)))
			return nil
		}),
		read(FromUTF8, duck.Blob(), duck.Varchar(), func(x []byte, i int, out *duck.Vector) error {
			out.SetString(i, strings.ToValidUTF8(string(x), "\ufffd"))
			return nil
		}),
		read(FromHex, duck.Varchar(), duck.Blob(), func(x []byte, i int, out *duck.Vector) error {
			if len(x)%2 != 0 {
				return fmt.Errorf("invalid input length %d", len(x))
			}
			b, err := hex.DecodeString(string(x))
			var invalid hex.InvalidByteError
			if errors.As(err, &invalid) {
				return fmt.Errorf("invalid hex character: %c", byte(invalid))
			}
			out.SetBytes(i, b)
			return nil
		}),
		read(FromBase64, duck.Varchar(), duck.Blob(), func(x []byte, i int, out *duck.Vector) error {
			b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(string(x), "="))
			if err != nil {
				return errors.New("Illegal base64 text") //nolint:staticcheck // an answer of the dialect
			}
			out.SetBytes(i, b)
			return nil
		}),
	}
}
