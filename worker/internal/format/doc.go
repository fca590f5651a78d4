// Package format writes tables as CSV, NDJSON, XLSX and Parquet files, of any size, such that a file
// can be continued by another process.
//
// # Boundaries
//
// [New] begins a file, [Resume] continues one. In between, [Writer.Boundary] reports whether everything
// written so far is in the io.Writer and later bytes depend on nothing but [Writer.State]. The rows alone
// decide where boundaries are, never a clock or the caller. So a file that was resumed any number of times
// has the bytes of one that was not. A caller that resumes must cut its file back to where it was when it
// took the state.
//
//	        Write          Write, the block is full        Write
//	(New) ────────▶ rows in memory ────────────────▶ boundary ────▶ rows in memory …
//	                                                 State ▼
//	                                       (Resume) ─▶ boundary
//
// CSV and NDJSON have a boundary each 1 MiB before compression, XLSX each 1 MiB of a sheet's XML, Parquet
// each row group: 50,000 rows or 32 MiB of values.
//
// # Compression
//
// A gzip file is one member of independent deflate blocks. Each starts with an empty window and ends on a
// byte, so the state has nothing but the checksum and the length. Several members would serve gunzip as
// well, but Chromium's DecompressionStream reads only the first. A zstd file has a frame for each block,
// which all readers put together.
//
// # Values
//
// CSV: null is an empty cell and an empty text is "", except that a row of one null is "" too, since
// readers skip an empty line. NDJSON: every column is in every object, null as null. Integers and decimals
// have all their digits; floats have the fewest digits that read back as the same double. NaN and the
// infinities are NaN, Infinity and -Infinity in CSV, null in NDJSON, text in XLSX, and themselves in
// Parquet. A date is 2006-01-02, a timestamp 2006-01-02T15:04:05.123456Z without the zeros at the end of
// its fraction. Bytes are \x and hexadecimal digits, in Parquet themselves. A JSON value is itself in
// NDJSON and Parquet, where one that is no JSON becomes a string, and a text elsewhere. Bytes of a text
// that are no UTF-8 become U+FFFD, one for each.
//
// # Formulas
//
// A spreadsheet runs a CSV file's cell that begins with = + - @, a tab or a carriage return, also behind
// spaces, quotes and invisible characters, and also where the sign is a full-width one. Such a text gets an
// apostrophe before it, names of columns as well. Numbers never do, nor do texts that are but a number with
// a sign. Options.RunFormulas leaves texts as they are. XLSX needs none of this: its strings are strings.
//
// # XLSX
//
// A sheet has Excel's 1,048,576 rows, with the names of the columns in the first, or 2 GiB of XML; then the
// next one begins. A file has up to 1,000 sheets and 4 GiB. Texts are cut off after Excel's 32,767 UTF-16
// code units, and [Writer.Clipped] counts them. Integers and decimals of more than 15 digits are texts,
// since Excel would round them. Dates and timestamps are Excel's from 1900-03-01 to 9999-12-31, and texts
// beyond.
//
// # Parquet
//
// Pages are plain and compressed with zstd. Decimals are strings, since a column does not say how many digits
// it needs; timestamps are microseconds in UTC. Up to 256 columns, row groups say which integers, dates and
// timestamps are their least and greatest. All row groups have to be in the state with a few bytes for each
// column, about 50,000 columns of row groups together: ErrTooLarge says that there is no room for another.
//
// # Memory
//
// A row has at most 8 MiB of values. Beside the row, a Writer of CSV, NDJSON or XLSX holds one block, at
// most 1 MiB and the row's text, which is up to six times as long as its values, and as much again
// for the compressed block, with a few MiB of tables. A Writer of Parquet holds a row group: its values, 32
// MiB with 8 bytes for each cell, of which up to 256 KiB of each column are not compressed yet and take up to
// three times as much, and some 5 KiB for each column.
package format
