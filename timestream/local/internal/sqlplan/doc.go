// SPDX-License-Identifier: Apache-2.0

// Package sqlplan turns one statement of Timestream's SQL into one DuckDB query and back into Timestream's rows:
// it resolves names against a Catalog, gives every expression a Timestream type, answers mistakes with the
// service's own texts, prints DuckDB's SQL, and renders the values that come back as the service would.
// It runs nothing and stores nothing: the caller owns the DuckDB connection, the relations and the pages.
//
// # Representation
//
// Timestream's timestamps and day-to-second intervals are BIGINT nanoseconds in DuckDB, year-to-month intervals are
// INTEGER months, dates are INTEGER days since 1970 and times of day BIGINT nanoseconds; a time series is a LIST of
// STRUCT(t, v) in no particular order. No identifier of a user reaches DuckDB: columns are the expressions that the
// catalog gives, aliases are generated, and string literals pass one quoting function.
//
// # What is served
//
// Statements: SELECT [DISTINCT] from one table, one subquery or one common table expression, or without FROM; WHERE,
// GROUP BY (expressions and places), HAVING, ORDER BY (names, places, expressions; NULLS FIRST and LAST), LIMIT; DESCRIBE;
// SHOW DATABASES, TABLES and MEASURES with LIKE and ESCAPE.
//
// Expressions: all of tssql's nodes. Functions: overloads, (*binder).special and isAggregate list them.
//
// Everything else (joins, windows, set operations, UNNEST, subqueries in expressions, arrays' and rows' own syntax, lambdas,
// parameters, functions not listed) is a ValidationException with a position.
//
// # Where it differs from the service, knowingly
//
//   - Regular expressions are RE2's, see translateRegexp; a pattern has to be a literal.
//   - approx_distinct is DuckDB's sketch: its error is not the service's 2.3 %, and the second argument is ignored.
//   - For NaN in min, max, greatest and least DuckDB's order holds, in which NaN is the greatest. The service does not
//     store NaN, so it only comes from computations. Comparisons and IN treat it as IEEE 754 does.
//   - substr, strpos and length count code points, as Trino does; replace with an empty text to look for changes nothing.
//   - A varchar column cast to double takes what DuckDB takes (`inf` for one); literals take what Go takes.
//   - At most maxQueryDepth queries stand in each other's FROM.
//   - The texts of errors that only show while a query runs (overflow, failed casts) are DuckDB's, but for division by zero
//     and the ones written in this package.
package sqlplan
