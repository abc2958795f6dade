// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/timestreamwrite"
	wtypes "github.com/aws/aws-sdk-go-v2/service/timestreamwrite/types"
	"github.com/aws/smithy-go"

	"github.com/tributary-project/tributary/timestream/local/internal/duck"
	"github.com/tributary-project/tributary/timestream/local/internal/listing"
	"github.com/tributary-project/tributary/timestream/local/internal/shape"
)

// WriteOption is the type of the options that the SDK's client methods take. They configure the client, so a DB
// ignores them.
type WriteOption = func(*timestreamwrite.Options)

// maxListResults is the largest page of ListDatabases and ListTables (API reference).
const maxListResults = 20

// Members of requests, as the service's front door names them.
const (
	memberDatabase = "databaseName"
	memberTable    = "tableName"
	memberKey      = "kmsKeyId"
)

// listSize is the number of names on a page of a list.
func listSize(maxResults *int32) (int, error) {
	var v shape.Violations
	shape.Number(&v, maxResults, 1, maxListResults, "maxResults")
	if err := v.AsWrite(); err != nil || maxResults == nil {
		return maxListResults, err
	}
	return int(*maxResults), nil
}

// allowWrite tells whether an operation of the Write API may be called.
func (db *DB) allowWrite(operation string) error {
	if !db.Allowed(operation) {
		return &wtypes.AccessDeniedException{Message: db.cfg.denied(operation)}
	}
	if !db.quotas.call(operation, db.now()) {
		return writeThrottled()
	}
	return nil
}

// change runs a change of the catalogue through the writer. Errors that are not the API's are logged and become
// InternalServerException.
func (db *DB) change(ctx context.Context, change func(*duck.Conn) error, applied func()) error {
	err := db.writer.control(ctx, change, applied)
	var api smithy.APIError
	if err == nil || errors.As(err, &api) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	db.log.Error("catalogue change failed", "err", explain(db.cfg.Dir, err))
	return writeFailed(err)
}

func (db *DB) arn(database, table string) *string {
	s := "arn:aws:timestream:" + db.cfg.Region + ":" + db.cfg.AccountID + ":database/" + database
	if table != "" {
		s += "/table/" + table
	}
	return &s
}

// CreateDatabase creates a database (API reference, CreateDatabase). A KMS key id is stored and shown, nothing more.
func (db *DB) CreateDatabase(ctx context.Context, in *timestreamwrite.CreateDatabaseInput, _ ...WriteOption) (*timestreamwrite.CreateDatabaseOutput, error) {
	if err := db.allowWrite("CreateDatabase"); err != nil {
		return nil, err
	}
	var v shape.Violations
	name := v.NewName(in.DatabaseName, memberDatabase)
	v.KMSKey(in.KmsKeyId, false, memberKey)
	v.Tags(in.Tags)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	d, err := db.createDatabase(ctx, name, str(in.KmsKeyId), tagMap(in.Tags))
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.CreateDatabaseOutput{Database: db.describeDatabase(d)}, nil
}

func (db *DB) createDatabase(ctx context.Context, name, kms string, tags map[string]string) (*database, error) {
	if kms == "" {
		// The service shows its own key in the account.
		kms = "arn:aws:kms:" + db.cfg.Region + ":" + db.cfg.AccountID + ":key/timestream-local"
	}
	now := db.now()
	d := &database{name: name, kmsKey: kms, created: now, updated: now, tables: map[string]*table{}, tags: tags}
	err := db.change(ctx, func(c *duck.Conn) error {
		if name == systemDatabase {
			return writeInvalid(textSystem)
		}
		if db.cat.databases[name] != nil {
			return &wtypes.ConflictException{Message: text(textExists)}
		}
		if err := db.quotas.room(len(db.cat.databases), db.quotas.databases, "databases"); err != nil {
			return err
		}
		return c.Exec(fmt.Sprintf("INSERT INTO cat_databases VALUES (%s, %s, %d, %d);", literal(name), literal(kms), now.UnixNano(), now.UnixNano()) + insertTags(name, "", tags))
	}, func() { db.cat.databases[name] = d })
	return d, err
}

// describeDatabase renders a database; the lock is taken here.
func (db *DB) describeDatabase(d *database) *wtypes.Database {
	db.cat.mu.RLock()
	defer db.cat.mu.RUnlock()
	name, kms, created, updated := d.name, d.kmsKey, d.created, d.updated
	return &wtypes.Database{
		Arn: db.arn(name, ""), DatabaseName: &name, KmsKeyId: &kms, CreationTime: &created, LastUpdatedTime: &updated,
		TableCount: int64(len(d.tables)),
	}
}

// DescribeDatabase describes a database (API reference, DescribeDatabase).
func (db *DB) DescribeDatabase(_ context.Context, in *timestreamwrite.DescribeDatabaseInput, _ ...WriteOption) (*timestreamwrite.DescribeDatabaseOutput, error) {
	if err := db.allowWrite("DescribeDatabase"); err != nil {
		return nil, err
	}
	var v shape.Violations
	name := v.Name(in.DatabaseName, memberDatabase)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	d := db.cat.database(name)
	if d == nil {
		return nil, noDatabase(name)
	}
	return &timestreamwrite.DescribeDatabaseOutput{Database: db.describeDatabase(d)}, nil
}

// UpdateDatabase changes the KMS key id (API reference, UpdateDatabase).
func (db *DB) UpdateDatabase(ctx context.Context, in *timestreamwrite.UpdateDatabaseInput, _ ...WriteOption) (*timestreamwrite.UpdateDatabaseOutput, error) {
	if err := db.allowWrite("UpdateDatabase"); err != nil {
		return nil, err
	}
	var v shape.Violations
	name := v.Name(in.DatabaseName, memberDatabase)
	kms := v.KMSKey(in.KmsKeyId, true, memberKey)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	now := db.now()
	var d *database
	err := db.change(ctx, func(c *duck.Conn) error {
		if d = db.cat.databases[name]; d == nil {
			return noDatabase(name)
		}
		return c.Exec(fmt.Sprintf("UPDATE cat_databases SET kms = %s, updated = %d WHERE name = %s", literal(kms), now.UnixNano(), literal(name)))
	}, func() { d.kmsKey, d.updated = kms, now })
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.UpdateDatabaseOutput{Database: db.describeDatabase(d)}, nil
}

// DeleteDatabase deletes an empty database; one with tables is a ValidationException (API reference, DeleteDatabase).
func (db *DB) DeleteDatabase(ctx context.Context, in *timestreamwrite.DeleteDatabaseInput, _ ...WriteOption) (*timestreamwrite.DeleteDatabaseOutput, error) {
	if err := db.allowWrite("DeleteDatabase"); err != nil {
		return nil, err
	}
	var v shape.Violations
	name := v.Name(in.DatabaseName, memberDatabase)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	err := db.change(ctx, func(c *duck.Conn) error {
		d := db.cat.databases[name]
		if d == nil {
			return noDatabase(name)
		}
		if len(d.tables) > 0 {
			return writeInvalid("The database %s still has %d tables. All tables must be deleted before the database.", name, len(d.tables))
		}
		return c.Exec("DELETE FROM cat_databases WHERE name = " + literal(name) + ";" + deleteTags(name, ""))
	}, func() {
		delete(db.cat.databases, name)
		db.quotas.forget(name)
	})
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.DeleteDatabaseOutput{}, nil
}

// ListDatabases lists the databases by name, at most 20 on a page (API reference, ListDatabases).
func (db *DB) ListDatabases(_ context.Context, in *timestreamwrite.ListDatabasesInput, _ ...WriteOption) (*timestreamwrite.ListDatabasesOutput, error) {
	if err := db.allowWrite("ListDatabases"); err != nil {
		return nil, err
	}
	n, err := listSize(in.MaxResults)
	if err != nil {
		return nil, err
	}
	names, next, err := listing.Page(db.Databases(), in.NextToken, n)
	if err != nil {
		return nil, writeInvalid("%v", err)
	}
	out := &timestreamwrite.ListDatabasesOutput{NextToken: next, Databases: []wtypes.Database{}}
	for _, n := range names {
		if d := db.cat.database(n); d != nil {
			out.Databases = append(out.Databases, *db.describeDatabase(d))
		}
	}
	return out, nil
}

// CreateTable creates a table; it is ACTIVE at once (API reference, CreateTable).
func (db *DB) CreateTable(ctx context.Context, in *timestreamwrite.CreateTableInput, _ ...WriteOption) (*timestreamwrite.CreateTableOutput, error) {
	if err := db.allowWrite("CreateTable"); err != nil {
		return nil, err
	}
	var v shape.Violations
	dbName, name := v.Name(in.DatabaseName, memberDatabase), v.NewName(in.TableName, memberTable)
	checkProperties(&v, in.RetentionProperties, in.MagneticStoreWriteProperties, in.Schema)
	v.Tags(in.Tags)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	p := properties{
		memoryHours: db.cfg.MemoryRetentionHours, magneticDays: db.cfg.MagneticRetentionDays,
		partitionKey: wtypes.PartitionKey{Type: wtypes.PartitionKeyTypeMeasure},
	}
	p.change(in.RetentionProperties, in.MagneticStoreWriteProperties)
	if err := p.setPartitionKey(in.Schema); err != nil {
		return nil, err
	}
	t, err := db.createTable(ctx, dbName, name, p, tagMap(in.Tags))
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.CreateTableOutput{Table: db.describeTable(t)}, nil
}

func (db *DB) createTable(ctx context.Context, dbName, name string, p properties, tags map[string]string) (*table, error) {
	now := db.now()
	p.updated = now
	var t *table
	var d *database
	err := db.change(ctx, func(c *duck.Conn) error {
		if d = db.cat.databases[dbName]; d == nil {
			return noDatabase(dbName)
		}
		if d.tables[name] != nil {
			return &wtypes.ConflictException{Message: text(textExists)}
		}
		tables := 0
		for _, d := range db.cat.databases {
			tables += len(d.tables)
		}
		if err := db.quotas.room(tables, db.quotas.tables, "tables"); err != nil {
			return err
		}
		t = newTable(db.cat.nextID+1, dbName, name, now)
		t.props.Store(&p)
		t.tags = tags
		return c.Exec(fmt.Sprintf("INSERT INTO cat_tables VALUES (%d, %s, %s, %d, %s); CREATE TABLE %s (sid BIGINT, m VARCHAR);",
			t.id, literal(dbName), literal(name), now.UnixNano(), p.row(), t.seriesTable()) + insertTags(dbName, name, tags))
	}, func() {
		db.cat.nextID = t.id
		d.tables[name] = t
	})
	return t, err
}

// row is the properties as values of cat_tables, from `updated` on.
func (p *properties) row() string {
	location := "NULL"
	if p.rejectedTo != nil {
		b, _ := json.Marshal(p.rejectedTo)
		location = literal(string(b))
	}
	key, _ := json.Marshal(p.partitionKey)
	return fmt.Sprintf("%d, %d, %d, %t, %s, %s", p.updated.UnixNano(), p.memoryHours, p.magneticDays, p.magneticWrites, location, literal(string(key)))
}

func (db *DB) describeTable(t *table) *wtypes.Table {
	p := t.props.Load()
	name, dbName, created, updated := t.name, t.database, t.created, p.updated
	memory, magnetic, writes := p.memoryHours, p.magneticDays, p.magneticWrites
	return &wtypes.Table{
		Arn: db.arn(dbName, name), DatabaseName: &dbName, TableName: &name, TableStatus: wtypes.TableStatusActive,
		CreationTime: &created, LastUpdatedTime: &updated,
		RetentionProperties:          &wtypes.RetentionProperties{MemoryStoreRetentionPeriodInHours: &memory, MagneticStoreRetentionPeriodInDays: &magnetic},
		MagneticStoreWriteProperties: &wtypes.MagneticStoreWriteProperties{EnableMagneticStoreWrites: &writes, MagneticStoreRejectedDataLocation: p.rejectedTo},
		Schema:                       &wtypes.Schema{CompositePartitionKey: []wtypes.PartitionKey{p.partitionKey}},
	}
}

// DescribeTable describes a table (API reference, DescribeTable).
func (db *DB) DescribeTable(_ context.Context, in *timestreamwrite.DescribeTableInput, _ ...WriteOption) (*timestreamwrite.DescribeTableOutput, error) {
	if err := db.allowWrite("DescribeTable"); err != nil {
		return nil, err
	}
	var v shape.Violations
	checkNamed(&v, in.DatabaseName, in.TableName)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	t, err := db.namedTable(in.DatabaseName, in.TableName)
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.DescribeTableOutput{Table: db.describeTable(t)}, nil
}

// UpdateTable changes retention, magnetic-store writes and the enforcement of the partition key, at once (API
// reference, UpdateTable).
func (db *DB) UpdateTable(ctx context.Context, in *timestreamwrite.UpdateTableInput, _ ...WriteOption) (*timestreamwrite.UpdateTableOutput, error) {
	if err := db.allowWrite("UpdateTable"); err != nil {
		return nil, err
	}
	var v shape.Violations
	checkNamed(&v, in.DatabaseName, in.TableName)
	checkProperties(&v, in.RetentionProperties, in.MagneticStoreWriteProperties, in.Schema)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	t, err := db.namedTable(in.DatabaseName, in.TableName)
	if err != nil {
		return nil, err
	}
	var p properties
	err = db.change(ctx, func(c *duck.Conn) error {
		if t.dropped.Load() {
			return noTable(t.name)
		}
		p = *t.props.Load()
		p.updated = db.now()
		p.change(in.RetentionProperties, in.MagneticStoreWriteProperties)
		old := p.partitionKey
		if err := p.setPartitionKey(in.Schema); err != nil {
			return err
		}
		if p.partitionKey.Type != old.Type || str(p.partitionKey.Name) != str(old.Name) {
			return writeInvalid(textKeyFixed)
		}
		return c.Exec(fmt.Sprintf("DELETE FROM cat_tables WHERE id = %d; INSERT INTO cat_tables VALUES (%d, %s, %s, %d, %s)",
			t.id, t.id, literal(t.database), literal(t.name), t.created.UnixNano(), p.row()))
	}, func() { t.props.Store(&p) })
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.UpdateTableOutput{Table: db.describeTable(t)}, nil
}

// DeleteTable deletes a table and its data (API reference, DeleteTable).
func (db *DB) DeleteTable(ctx context.Context, in *timestreamwrite.DeleteTableInput, _ ...WriteOption) (*timestreamwrite.DeleteTableOutput, error) {
	if err := db.allowWrite("DeleteTable"); err != nil {
		return nil, err
	}
	var v shape.Violations
	checkNamed(&v, in.DatabaseName, in.TableName)
	if err := v.AsWrite(); err != nil {
		return nil, err
	}
	t, err := db.namedTable(in.DatabaseName, in.TableName)
	if err != nil {
		return nil, err
	}
	err = db.change(ctx, func(c *duck.Conn) error {
		if t.dropped.Load() {
			return noTable(t.name)
		}
		var sql strings.Builder
		fmt.Fprintf(&sql, "DROP TABLE %s;", t.seriesTable())
		sql.WriteString(t.dropSQL())
		for _, cat := range []string{"cat_columns WHERE table_id", "cat_measures WHERE table_id", "cat_dimensions WHERE table_id", "cat_hidden WHERE table_id", "cat_cost WHERE table_id", "cat_meters WHERE table_id", "cat_tables WHERE id"} {
			fmt.Fprintf(&sql, "DELETE FROM %s = %d;", cat, t.id)
		}
		sql.WriteString(deleteTags(t.database, t.name))
		return c.Exec(sql.String())
	}, func() {
		t.dropped.Store(true)
		used := t.meter.Usage(db.now())
		db.meters.rest.Absorb(&used)
		delete(db.cat.databases[t.database].tables, t.name)
	})
	if err != nil {
		return nil, err
	}
	return &timestreamwrite.DeleteTableOutput{}, nil
}

// ListTables lists the tables of one database, or of all, by name, at most 20 on a page (API reference, ListTables).
func (db *DB) ListTables(_ context.Context, in *timestreamwrite.ListTablesInput, _ ...WriteOption) (*timestreamwrite.ListTablesOutput, error) {
	if err := db.allowWrite("ListTables"); err != nil {
		return nil, err
	}
	n, err := listSize(in.MaxResults)
	if err != nil {
		return nil, err
	}
	databases := db.Databases()
	if name := str(in.DatabaseName); name != "" {
		if db.cat.database(name) == nil {
			return nil, noDatabase(name)
		}
		databases = []string{name}
	}
	const sep = "\x00"
	var all []string
	for _, d := range databases {
		tables, _ := db.Tables(d)
		for _, t := range tables {
			all = append(all, d+sep+t)
		}
	}
	slices.Sort(all)
	names, next, err := listing.Page(all, in.NextToken, n)
	if err != nil {
		return nil, writeInvalid("%v", err)
	}
	out := &timestreamwrite.ListTablesOutput{NextToken: next, Tables: []wtypes.Table{}}
	for _, n := range names {
		d, name, _ := strings.Cut(n, sep)
		if t, _ := db.cat.table(d, name); t != nil {
			out.Tables = append(out.Tables, *db.describeTable(t))
		}
	}
	return out, nil
}

// createDefaults creates the configured database and table when they are missing.
func (db *DB) createDefaults(ctx context.Context) error {
	ignore := func(err error) error {
		var conflict *wtypes.ConflictException
		if errors.As(err, &conflict) {
			return nil
		}
		return err
	}
	_, err := db.createDatabase(ctx, db.cfg.DefaultDatabase, "", nil)
	if err := ignore(err); err != nil {
		return err
	}
	_, err = db.createTable(ctx, db.cfg.DefaultDatabase, db.cfg.DefaultTable, properties{
		memoryHours: db.cfg.MemoryRetentionHours, magneticDays: db.cfg.MagneticRetentionDays, magneticWrites: true,
		partitionKey: wtypes.PartitionKey{Type: wtypes.PartitionKeyTypeMeasure},
	}, nil)
	return ignore(err)
}

// checkNamed checks the names of a table that has to exist.
func checkNamed(v *shape.Violations, database, name *string) {
	v.Name(database, memberDatabase)
	v.Name(name, memberTable)
}

// namedTable returns the table that a request names, whose shape was checked.
func (db *DB) namedTable(database, name *string) (*table, error) {
	d, n := str(database), str(name)
	t, ok := db.cat.table(d, n)
	switch {
	case !ok:
		return nil, noDatabase(d)
	case t == nil:
		return nil, noTable(n)
	}
	return t, nil
}

func noDatabase(name string) error {
	if name == systemDatabase {
		return writeInvalid(textSystem)
	}
	return notFound("The database %s does not exist.", name)
}

func noTable(name string) error { return notFound("The table %s does not exist.", name) }

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Databases returns the names of all databases in order.
func (db *DB) Databases() []string {
	db.cat.mu.RLock()
	defer db.cat.mu.RUnlock()
	names := make([]string, 0, len(db.cat.databases))
	for n := range db.cat.databases {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
