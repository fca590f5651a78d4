// Package workbook reads the first worksheet of an Excel workbook (XLSX; Office Open XML, ECMA-376, in its
// transitional and its strict form) as the text of a CSV, for the readers of package table and package dataset.
//
// [Open] finds the sheet, the cell formats and the shared texts by the relationships of the package, and never by
// their usual names. The sheet is the first visible worksheet in the order of the workbook, or the first worksheet
// where all are hidden; chart sheets are passed over, and no other sheet is read. [Reader.Read] unpacks the sheet
// as a stream. The same workbook gives the same text each time, so a reader goes on at an offset of the text when
// it reads the text anew and throws away what is before.
//
// The text is CSV with commas whose first record is the header, or data where there is none. Who reads it should say
// so (table.Options.Format, Delimiter and Untitled): a first cell such as sep=;, "# of orders" or {x} looks otherwise.
//
// # Rows
//
// Each row of the sheet from its header on is a record. A row without a value is an empty line, and so is a title
// above the header, whose cells are left out: records stand in the line of their row's number where no cell has a line
// end. Rows and cells behind the last value are left out. The readers need rows that have as many fields as the
// header, also where their last cells are empty. So the first 200 rows with a value, or 64 KiB of them, decide:
//
//   - a full row has as many values as a tenth of the rows have, and at least two rows; of fewer than five rows the
//     one with the most values is full. One wide row, or a few in many, do not decide;
//   - the header is the first row with at least half as many values as a full one, such as one with merged cells; one
//     with exactly half of them is a title where an empty row follows;
//   - without a header nothing is a title: the first row with a value is data;
//   - the width is where the header, or that row, ends, or the last column in which two or more rows from there on
//     have a value, whichever is further;
//   - rows get empty fields up to the width.
//
// A row that is wider keeps its fields, and the reader may reject it, but it widens no other: a note beside the
// table costs the row that it is in. The sheet's dimension is not used, since it counts cells that only have a
// format.
//
// # Values
//
// A text is itself, with its spaces; its runs are joined, without those that say how it is read aloud; the escapes
// _x000D_ are undone. An empty text is no value. A formula is its last result, an error its text such as #DIV/0!,
// a boolean true or false.
//
// A number of decimal digits is as written. Numbers with an exponent, and numbers with a point and the 16 or 17
// digits by which programs write out a double, have the fewest digits that read back as the same double.
//
// A number whose format shows a day is 2006-01-02, with a time 2006-01-02T15:04:05.999 to the millisecond, as
// Excel shows it; also where the format shows the day alone and there is a time. A format of times alone, and a
// number below 1, give 15:04:05.999, and a format of elapsed hours has more than 24 of them. Of a format only the
// part for positive numbers counts. Both date systems are read; 1900-02-29 is a day, as in Excel. Numbers that are
// no date in Excel, such as 0 and negative ones, stay numbers.
//
// # What is refused
//
// Archives with a directory of more than 2 MiB, 10,000 parts, or 512 KiB of their names; with two parts of the same name, encrypted parts, or
// parts packed by another method than deflate; with bytes behind the directory. XML that is not UTF-8, with a
// document type, elements deeper than 64, or a tag of more than 2 MiB or 1,024 attributes. Texts of a cell beyond
// 1 MiB; shared texts beyond 1 GiB, 33,554,432 of them, or 4 GiB of XML; a sheet beyond 16 GiB of XML, 1,048,576
// rows or 16,384 columns; other parts beyond 32 MiB, 4,096 sheets, 65,536 cell formats or 16,384 number formats.
// Rows and cells out of order, and references to what is not there. Every refusal wraps [table.ErrRefused]. How
// large the text may be, and against [Reader.Consumed], is up to the caller.
//
// Macros, external links and formulas are never run or followed.
//
// # Memory
//
// Less than 32 MiB, whatever is in the workbook. The most is in use while the list of sheets is read: the directory,
// of which only three parts are kept then, and 4,096 sheets whose relationships have names of 1 KiB each. Shared texts are
// in two temporary files in the system's folder for them, which have no name there while they are open, and 5 MiB of
// their pages are cached.
package workbook
