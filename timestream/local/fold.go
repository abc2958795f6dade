// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
)

// Contents is what a database holds.
type Contents struct {
	Databases, Tables int
	Records           int64
}

// Fold makes a database that was just copied, and that nobody has open, one file: it replays its log, folds that into the
// file, and then reads all of it, which finds every block that is not as it was written. Of cfg, Dir, MemoryLimit and
// Threads are of use.
func Fold(ctx context.Context, cfg Config) (Contents, error) {
	c, err := fold(ctx, cfg)
	if err != nil {
		return c, fmt.Errorf("check the copy in %s: %w", cfg.Dir, explain(cfg.Dir, err))
	}
	return c, nil
}

func fold(ctx context.Context, cfg Config) (Contents, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return Contents{}, err
	}
	file := filepath.Join(dir, fileName)
	if _, err := os.Stat(file); err != nil {
		return Contents{}, err // rather than make a new one
	}
	db := &DB{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	d, err := db.openDuck(dir)
	if err != nil {
		return Contents{}, err
	}
	if err := withConn(d, func(c *duck.Conn) error {
		db.writer = newWriter(db, c)
		if err := c.Exec("PRAGMA disable_checkpoint_on_shutdown"); err != nil {
			return err
		}
		if _, err := db.meta(ctx); err != nil {
			return err
		}
		return c.Exec("CHECKPOINT")
	}); err != nil {
		return Contents{}, err
	}
	if err := refuseLog(file); err != nil {
		return Contents{}, err
	}
	options := db.options(dir)
	options["access_mode"] = "READ_ONLY"
	if d, err = duck.Open(file, options); err != nil {
		return Contents{}, err
	}
	var contents Contents
	err = withConn(d, func(c *duck.Conn) error {
		db.writer = newWriter(db, c)
		contents, err = db.readAll(ctx)
		return err
	})
	return contents, err
}

// withConn runs f on a connection and closes the database.
func withConn(d *duck.Database, f func(*duck.Conn) error) error {
	defer d.Close()
	c, err := d.Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// refuseLog fails when a file has a log with something in it.
func refuseLog(file string) error {
	if info, err := os.Stat(file + logSuffix); err == nil && info.Size() > 0 {
		return fmt.Errorf("the log of %s could not be folded into it", file)
	}
	return nil
}

var (
	// samplesName is what the relations are called that SQL sees the records by. Before there were parts they were tables.
	samplesName    = regexp.MustCompile(`^t\d+_(double|bigint|varchar|boolean|multi)_all$`)
	oldSamplesName = regexp.MustCompile(`^t\d+_(double|bigint|varchar|boolean|multi)$`)
)

// readAll reads every value of every table, and counts.
func (db *DB) readAll(ctx context.Context) (Contents, error) {
	var out Contents
	var tables []string
	columns := map[string][]string{}
	err := db.each(ctx, "SELECT c.table_name, column_name FROM duckdb_columns() c JOIN duckdb_tables() t USING (table_oid) WHERE NOT c.internal ORDER BY table_oid, column_index", func(c []duck.Column, i int) error {
		name := c[0].String(i)
		if columns[name] == nil {
			tables = append(tables, name)
		}
		columns[name] = append(columns[name], c[1].String(i))
		return nil
	})
	if err != nil {
		return out, err
	}
	rows := map[string]int64{}
	for _, name := range tables {
		err := db.each(ctx, "SELECT count(*), bit_xor(hash("+strings.Join(columns[name], ", ")+")) FROM "+name, func(c []duck.Column, i int) error {
			rows[name] = c[0].Int64(i)
			return nil
		})
		if err != nil {
			return out, fmt.Errorf("table %s: %w", name, err)
		}
	}
	out.Databases, out.Tables = int(rows["cat_databases"]), int(rows["cat_tables"])
	if columns["cat_parts"] == nil {
		for name, n := range rows {
			if oldSamplesName.MatchString(name) {
				out.Records += n
			}
		}
		return out, nil
	}
	var views []string
	if err := db.each(ctx, "SELECT view_name FROM duckdb_views() WHERE NOT internal", func(c []duck.Column, i int) error {
		views = append(views, c[0].String(i))
		return nil
	}); err != nil {
		return out, err
	}
	for _, name := range views {
		if !samplesName.MatchString(name) {
			continue
		}
		if err := db.each(ctx, "SELECT count(*) FROM "+name, func(c []duck.Column, i int) error {
			out.Records += c[0].Int64(i)
			return nil
		}); err != nil {
			return out, fmt.Errorf("view %s: %w", name, err)
		}
	}
	return out, nil
}
