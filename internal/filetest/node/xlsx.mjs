// Prints the cells of a workbook as SheetJS reads them.
import { readFileSync } from "node:fs";
import { read, utils } from "xlsx";

const book = read(readFileSync(process.argv[2]), { raw: true });
const sheets = book.SheetNames.map((name) => {
  const sheet = book.Sheets[name];
  const rows = [];
  for (const [address, cell] of Object.entries(sheet)) {
    if (address.startsWith("!")) continue;
    const { r, c } = utils.decode_cell(address);
    (rows[r] ??= [])[c] = { t: cell.t, v: String(cell.v), w: cell.w ?? "" };
  }
  const all = Array.from(rows, (row) => Array.from(row ?? [], (cell) => cell ?? { t: "", v: "", w: "" }));
  return { name, rows: all };
});
process.stdout.write(JSON.stringify(sheets));
