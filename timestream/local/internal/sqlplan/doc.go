// SPDX-License-Identifier: Apache-2.0

// Package sqlplan turns one statement of Timestream's SQL into one DuckDB query and back into Timestream's rows:
// it resolves names against a Catalog, gives every expression a Timestream type, answers mistakes with the
// service's own texts, prints DuckDB's SQL, and renders the values that come back as the service would.
// It runs nothing and stores nothing: the caller owns the DuckDB connection, the relations and the pages.
//
// # Representation
//
// Timestream's timestamps and day-to-second intervals are BIGINT nanoseconds in DuckDB, year-to-month intervals are
// INTEGER months, dates are INTEGER days since 1970 and times of day BIGINT nanoseconds; arrays are LISTs, rows are STRUCTs of the
// fields f0, f1 and so on, and a time series is a LIST of STRUCT(t, v) in no particular order: whoever reads it sorts it. No identifier
// of a user reaches DuckDB: columns are the expressions that the catalog gives, aliases are generated, and string
// literals pass one quoting function.
//
// A table that is read alone offers the catalog's expressions as they are, so that DuckDB can push predicates into its scan. As soon as a
// second source is in sight (a join, a subquery of an expression), every column has a generated name that exists once in the
// statement, and names need no qualifiers in DuckDB. A grouped query becomes two, one that computes keys and aggregates and one over
// it; window functions stand in the outer one. A common table expression that is read several times is computed once.
//
// # What is served
//
// Statements: SELECT [DISTINCT]; WITH, with names of columns; FROM with tables, subqueries, VALUES, INNER, LEFT, RIGHT, FULL and CROSS
// JOIN with ON or USING, commas, CROSS JOIN UNNEST of arrays and time series, WITH ORDINALITY; WHERE, GROUP BY (expressions and
// places), HAVING, ORDER BY (names, places, expressions; NULLS FIRST and LAST), LIMIT; UNION, INTERSECT and EXCEPT, ALL and DISTINCT;
// DESCRIBE; SHOW DATABASES, TABLES and MEASURES with LIKE and ESCAPE.
//
// Expressions: all of tssql's nodes; subqueries, correlated ones too, as values, with EXISTS, IN, ALL, ANY and SOME; window functions with
// ROWS and RANGE; arrays, rows, subscripts and fields; lambdas in filter and reduce. Functions: isAggregate, isRanking,
// (*binder).overloads, special and higher lead to all of them.
//
// Everything else (FILTER, IGNORE NULLS, GROUPING SETS) is
// a ValidationException with a position. What each function does, and where it differs, is in the files of ../../spec/functions.
//
// # Where it differs from the service, knowingly
//
//   - Regular expressions that RE2 has are RE2's, see javaregexp.RE2 for what it reads a little otherwise than Java. The others may take a number of
//     steps, then the statement fails.
//   - approx_distinct is exact, where the service's answer has a standard error.
//   - approx_percentile is exact: a value that occurs, the smallest that at least the wanted share of the values (or weights) does
//     not exceed. The service's is approximate and may answer a value between two.
//   - NaN in max, min, greatest, least and orders is where Trino has it since 346: behind all numbers. The service does not
//     store NaN, so it only comes from computations. Comparisons and IN with a list treat it as IEEE 754 does, IN with a
//     subquery, ALL and ANY find it.
//   - Interpolation leaves out the times for which there is nothing to go by: before the first point, and for the linear
//     variant and the spline after the last. The guide does not say what the service does. The spline is the natural one.
//   - to_iso8601 of a timestamp ends with nine digits and no zone.
//   - At most maxQueryDepth queries stand in each other's FROM, maxJoins joins and maxQueries queries and tables in a statement.
package sqlplan
