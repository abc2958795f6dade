// SPDX-License-Identifier: Apache-2.0

package sqlplan

// moreOverloads are further signatures of mathematics (Timestream Developer Guide, mathematical-functions and bitwise-functions).
func (b *binder) moreOverloads(name string) []overload {
	// Java answers NaN where a function has no value, DuckDB an error.
	where := func(cond, sql string) []overload {
		return []overload{{[]Scalar{Double}, Double, "(CASE WHEN " + cond + " THEN " + sql + " WHEN $1 IS NOT NULL THEN CAST('nan' AS DOUBLE) END)", false}}
	}
	below := func(t Scalar) overload {
		return overload{[]Scalar{t}, t, "CAST(floor(random() * (CASE WHEN $1 <= 0 THEN " + b.raise("bound must be positive") + " ELSE $1 END)) AS " + duckType(ScalarOf(t)) + ")", true}
	}
	switch name {
	case "sin", "cos", "tan":
		return where("isfinite($1)", name+"($1)")
	case "asin", "acos":
		return where("abs($1) <= 1", name+"($1)")
	case "atan", "cosh", "tanh", "degrees", "radians":
		return []overload{{[]Scalar{Double}, Double, name + "($1)", false}}
	case "atan2":
		return []overload{{[]Scalar{Double, Double}, Double, "atan2($1, $2)", false}}
	case "rand", "random":
		return []overload{
			{nil, Double, "random()", true},
			below(Integer), below(Bigint),
		}
	case "to_base":
		// DuckDB has no digits for a number below zero, and none for the one that has no positive twin.
		return []overload{{[]Scalar{Bigint, Bigint}, Varchar, "(CASE WHEN $2 NOT BETWEEN 2 AND 36 THEN " + b.raise("Radix must be between 2 and 36") +
			" WHEN $1 >= 0 THEN lower(to_base($1, CAST($2 AS INTEGER))) ELSE '-' || coalesce(nullif(lower(to_base((- (CAST($1 AS HUGEINT) // $2))::BIGINT, CAST($2 AS INTEGER))), '0'), '') ||" +
			" lower(to_base((- (CAST($1 AS HUGEINT) % $2))::BIGINT, CAST($2 AS INTEGER))) END)", true}}
	case "from_base":
		// As Java's Long.parseLong: digits of any case after a sign.
		const digits = "list_transform(str_split(lower(ltrim($1, '+-')), ''), lambda c: strpos('0123456789abcdefghijklmnopqrstuvwxyz', c) - 1)"
		invalid := b.raiseSQL("'Not a valid base-' || $2 || ' number: ' || $1")
		return []overload{{[]Scalar{Varchar, Bigint}, Bigint, "(CASE WHEN NOT $2 BETWEEN 2 AND 36 THEN " + b.raise("Radix must be between 2 and 36") +
			" WHEN NOT regexp_full_match($1, '[+-]?[0-9a-zA-Z]+') OR len(list_filter(" + digits + ", lambda d: d >= $2)) > 0 THEN " + invalid +
			" WHEN $1 IS NOT NULL AND $2 IS NOT NULL THEN coalesce(TRY_CAST((CASE WHEN left($1, 1) = '-' THEN -1 ELSE 1 END) * list_reduce(list_transform(" + digits +
			", lambda d: CAST(d AS HUGEINT)), lambda n, d: CASE WHEN n < CAST(1 AS HUGEINT) << 64 THEN n * $2 + d ELSE n END) AS BIGINT), " + invalid + ") END)", true}}
	case "bit_count":
		return []overload{{[]Scalar{Bigint, Bigint}, Bigint, "(CASE WHEN $2 NOT BETWEEN 2 AND 64 THEN " +
			b.raiseSQL("'Bits specified in bit_count must be between 2 and 64, got ' || CAST($2 AS VARCHAR)") +
			" WHEN $2 = 64 THEN CAST(bit_count($1) AS BIGINT) WHEN $1 >= (CAST(1 AS BIGINT) << ($2 - 1)) OR $1 < - (CAST(1 AS BIGINT) << ($2 - 1)) THEN " +
			b.raiseSQL("'Number must be representable with the bits specified. ' || CAST($1 AS VARCHAR) || ' can not be represented with ' || CAST($2 AS VARCHAR) || ' bits'") +
			" ELSE CAST(bit_count($1 & ((CAST(1 AS BIGINT) << $2) - 1)) AS BIGINT) END)", true}}
	}
	return nil
}
