// Writes a workbook as SheetJS does, and prints a sheet of it as CSV. The workbook is JSON on standard input: sheets
// with a name, whether they are hidden, and rows of values or of SheetJS's cells; print says which sheet is printed.
import { readFileSync, writeFileSync } from "node:fs";
import { read, utils, write } from "xlsx";

const { sheets, print, date1904 } = JSON.parse(readFileSync(0, "utf8"));
const book = utils.book_new();
for (const { name, rows } of sheets) utils.book_append_sheet(book, utils.aoa_to_sheet(rows), name);
book.Workbook = { Sheets: sheets.map(({ hidden }) => ({ Hidden: hidden ? 1 : 0 })), WBProps: { date1904: !!date1904 } };
const file = write(book, { type: "buffer", bookType: "xlsx", bookSST: true, compression: true });
writeFileSync(process.argv[2], file);
process.stdout.write(utils.sheet_to_csv(read(file).Sheets[sheets[print].name], { rawNumbers: false }));
