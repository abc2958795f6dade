// SPDX-License-Identifier: Apache-2.0

package timestream

import (
	"flag"
	"fmt"
	"path"
	"slices"
	"strings"
)

// TableNameRule says what ValidTableName wants.
const TableNameRule = "want 3 to 256 of a-z A-Z 0-9 _ . -"

// ValidTableName tells whether a database or a table may have this name: 3 to 256 characters of a-z A-Z 0-9 _ . - (API
// Reference, CreateDatabase and CreateTable; ts-limits, naming constraints).
func ValidTableName(name string) bool {
	return len(name) >= MinNameBytes && len(name) <= MaxNameBytes && strings.Trim(name, nameCharacters) == ""
}

// nameCharacters are those of database and table names.
const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

// AllowedTablesFlag is the flag of a TableList, for error texts.
const AllowedTablesFlag = "allowed-tables"

// TableList is a list of tables that requests may name besides the configured one. It is a flag.Value. The zero value has
// none.
type TableList struct{ entries []tablePattern }

// tablePattern is an entry: two patterns in which * stands for any characters, ? for one.
type tablePattern struct{ database, table string }

// RegisterFlag registers the flag of the list, for a process that has one.
func (l *TableList) RegisterFlag(fs *flag.FlagSet) {
	fs.Var(l, AllowedTablesFlag, "Tables that requests over gRPC and JSON may name besides the default one, comma-separated: database.table, or database/table where a name has dots; * stands for any characters. Empty: none.")
}

// Set replaces the list by a text such as "metrics.*,other/my.table".
func (l *TableList) Set(text string) error {
	var entries []tablePattern
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		database, table, ok := strings.Cut(entry, "/")
		if !ok {
			// Were there more dots, nobody could tell where the database ends.
			if database, table, ok = strings.Cut(entry, "."); strings.Contains(table, ".") {
				ok = false
			}
		}
		if !ok || !validTablePattern(database) || !validTablePattern(table) {
			return fmt.Errorf("%q: want database.table, or database/table where a name has dots, with * for any characters", entry)
		}
		entries = append(entries, tablePattern{database, table})
	}
	l.entries = entries
	return nil
}

func validTablePattern(s string) bool {
	return s != "" && len(s) <= MaxNameBytes && strings.Trim(s, nameCharacters+"*?") == ""
}

// String returns the list as Set takes it.
func (l *TableList) String() string {
	var out []string
	for _, e := range l.entries {
		out = append(out, e.database+"/"+e.table)
	}
	return strings.Join(out, ",")
}

// Allows tells whether the table is on the list.
func (l *TableList) Allows(database, table string) bool {
	return slices.ContainsFunc(l.entries, func(e tablePattern) bool {
		return matches(e.database, database) && matches(e.table, table)
	})
}

// AllowsDatabase tells whether an entry of the list has every table of the database.
func (l *TableList) AllowsDatabase(database string) bool {
	return slices.ContainsFunc(l.entries, func(e tablePattern) bool { return matches(e.database, database) && e.table == "*" })
}

// AllowsAll tells whether an entry of the list has every table of every database.
func (l *TableList) AllowsAll() bool { return slices.Contains(l.entries, tablePattern{"*", "*"}) }

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
