// Package table reads CSV and NDJSON files as people have them: it finds out how a file is
// written, its [Dialect], and cuts it into records with the byte offset of each.
//
// [Open] decides the dialect from the file's name and its first 64 KiB. [Resume] continues at
// the offset of any record with the dialect of that offset, and gives the same records as a
// reader that was never interrupted.
//
// # What Open decides
//
// Encoding: a byte-order mark decides; else zero bytes in every second place mean UTF-16. Else
// the text is ASCII until its first other byte, and the 64 KiB from there decide between UTF-8
// and Windows-1252, wherever in the file they are. So the choice depends on the file alone.
// Everything that a Reader returns is UTF-8, and offsets are those of the file.
//
// Line endings: LF or CR LF, or CR alone where the head has no other outside quotes.
//
// Delimiter: the one by which most records of the head have the same number of fields, those
// that the first record has before others. A first line such as sep=; decides alone.
//
// Quotes: in text with tabs or bars a quote is a character (IANA's text/tab-separated-values),
// unless the head shows fields that are quoted because they must be, or a header that is quoted
// throughout. With commas and semicolons quotes follow RFC 4180.
//
// Header: the first record with as many fields as most have. Titles and comments above it are
// skipped where the record looks like a header, and counted in Dialect.Skipped; but with
// Options.Untitled the first record is the header.
//
// # Errors
//
// An error that lies in the file is a [*Refusal]. Its text is one or two sentences about the
// file, for the person who has it.
package table
