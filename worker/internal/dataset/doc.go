// Package dataset reads tables by a rule that does not bend: every row has a value for each column, each of
// the column's kind, and what cannot be such a row is rejected, with a reason.
//
// A [Scanner] cuts a file into rows and rejected ones, and a [Schema] learns the columns' kinds from the rows.
// That is how package upload makes a dataset. [Open] reads a dataset's rows again, with the same Scanner, as
// values of the kinds that its manifest names, for exports.
//
// # Rejected rows
//
// Of a CSV: a record with more or fewer fields than the table has columns (empty ones behind the last are
// passed over), one whose quotes break RFC 4180, one with bytes that are no text in the file's encoding, and
// one longer than the limit. A record that is too long, or whose quote is not closed, is rejected up to the end
// of its first line, and the next line is read as a record of its own: one missing quote does not cost the
// rest of the file. Of NDJSON: a line that is no JSON object, or that is too long. Blank lines are no rows.
//
// # Kinds
//
// A column has the narrowest kind that keeps each of its cells exactly: an integer within 64 bits; a decimal
// of any length, without leading zeros; a float where a cell has an exponent, or no digit before or after its
// point, and doubles keep all cells; true or false; a day, or a moment to the microsecond, which
// begin with the year. Everything else is text, or in NDJSON, where values have types of their own, JSON. Codes
// with leading zeros stay text.
//
// Of a column of text an empty cell is null, and nothing else. Of other columns of a CSV the words NULL, null,
// \N, N/A and #N/A are null as well. In NDJSON null and a member that is not there are, and an empty string is
// not.
package dataset
