// Package workbook reads the first worksheet of an Excel workbook (XLSX; Office Open XML, ECMA-376, in its
// transitional and its strict form) as the text of a CSV, for the readers of package table and package dataset.
//
// [Open] finds the sheet, the cell formats and the shared texts by the relationships of the package, and never by
// their usual names. The sheet is the first visible worksheet in the order of the workbook, or the first worksheet
// where all are hidden; chart sheets are passed over, and no other sheet is read. [Reader.Read] unpacks the sheet
// as a stream. The same workbook gives the same text each time, so a reader goes on at an offset of the text when
// it reads the text anew and throws away what is before.
//
// The text is CSV with commas, and who reads it should say so (table.Options.Format and Delimiter): a first cell
// such as sep=; or {x} looks otherwise.
//
// # Rows
//
// Each row of the sheet is a record, and a row without a value is an empty line, so records stand in the line of
// their row's number where no cell has a line end. Rows and cells behind the last value are left out. What the
// readers need is that the rows of the table have as many fields as its header, also where their last cells are
// empty, and that titles above do not. So the first 200 rows with a value, or 64 KiB of them, decide:
//
//   - the header is the first row with more than half as many values as the fullest row;
//   - the width is where the header ends, or the last column in which two or more rows have a value, whichever is
//     further;
//   - rows from the header on get empty fields up to the width, and rows above it end with their last value.
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
// Archives with a directory of more than 2 MiB or 10,000 parts; with two parts of the same name, encrypted parts, or
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
// Less than 24 MiB, whatever is in the workbook: shared texts are in two temporary files in the system's folder for
// them, which have no name there while they are open, and 5 MiB of their pages are cached.
package workbook
