// Package source reads the rows of a named SQL source, which an admin configured: a table or a query in
// Postgres or SQLite, ordered by a key that is unique and NOT NULL.
//
// An attempt reads one snapshot in one statement, and a later one goes on after the last key that a
// position holds, in a snapshot of its own. So rows whose keys moved, came or went in between are
// missed or repeated; Snapshots lists when each snapshot was taken and where it began.
//
// A user names a source and gives the values of its parameters, which are bound, and never any SQL.
// The session can only read. Its settings of time zone, dates, intervals, floats and bytes are fixed, so
// that the same rows have the same text wherever they are read.
//
// # Kinds
//
// From Postgres: smallint, integer, bigint and oid are Int; real and double precision Float; numeric
// Decimal; boolean Bool; date Date; timestamp, as if in UTC, and timestamptz Timestamp; bytea Bytes; json
// and jsonb JSON; all others Text, as Postgres writes them.
//
// From SQLite, whose columns are named freely: a declared type with INT is Int, with CHAR, CLOB or TEXT
// Text, with BLOB Bytes, with REAL, FLOA or DOUBLE Float, with BOOL Bool, with DEC or NUM Decimal; others,
// dates among them, are Text, as CAST(… AS TEXT) writes them. An expression has the type that all
// its values have, or is Text.
//
// A value that its kind does not hold, such as infinity in a date or a word in a column of integers, is
// an error that names the column, never another value.
//
// # Errors
//
// One that is Temporary may be gone later, such as a database that went away; others are for an admin
// to mend, such as a refused login. None holds a URL, a password, or what is in a row.
package source
