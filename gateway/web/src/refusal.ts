import { count, bytes as sizeOf } from './view/format';

// What a file shows before it is sent. Package table of the worker decides the same, of the same
// bytes and with the same words, for files that come another way.

/** What refusalOf needs of a File. */
export interface Head {
  readonly name: string;
  readonly size: number;
  slice(from: number, to: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

export interface Wanted {
  /** The most bytes that the server takes; 0 where it does not say. */
  readonly maxBytes: number;
  /** Only tables as text are of use. */
  readonly tables: boolean;
  /** Excel workbooks, Parquet files, and tables in gzip, Zstandard or a zip archive are of use too. */
  readonly packed?: boolean;
}

const headBytes = 4096;
const tableNames = ['.csv', '.tsv', '.tab', '.psv', '.txt', '.json', '.ndjson', '.jsonl', '.ldjson'];

const packedNames = ['.xlsx', '.parquet', '.gz', '.zst', '.zip'];

/** Whether files with these extensions are tables as text, and packed ones. */
export function areTables(extensions: readonly string[]): Pick<Wanted, 'tables' | 'packed'> {
  const text = extensions.filter((e) => !packedNames.includes(e));
  return { tables: text.length > 0 && text.every((e) => tableNames.includes(e)), packed: text.length < extensions.length };
}

const saveSheet = 'Save the sheet as CSV, and take that.';
const unpack = 'Unpack it, and take the CSV or NDJSON file that is in it.';
const exported = 'Export its rows as CSV or NDJSON, and take that.';
const onlyText = 'CSV, NDJSON, Excel (.xlsx) and Parquet files can be read.';
const saveUTF8 = 'Save it as UTF-8, and take that.';
const oneALine = 'NDJSON has one JSON object a line:';

/** First bytes, what has them, and what to do. */
const contents: readonly (readonly [prefix: string, what: string, advice: string])[] = [
  ['PAR1', 'a Parquet file', exported],
  ['SQLite format 3\0', 'an SQLite database', exported],
  ['\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', 'an Excel workbook or another Office document of the old kind', saveSheet],
  ['\x1f\x8b', 'compressed with gzip', unpack],
  ['(\xb5/\xfd', 'compressed with Zstandard', unpack],
  ['BZh', 'compressed with bzip2', unpack],
  ['\xfd7zXZ\0', 'compressed with xz', unpack],
  ['\x04"M\x18', 'compressed with LZ4', unpack],
  ['7z\xbc\xaf\x27\x1c', 'a 7-Zip archive', unpack],
  ['Rar!\x1a\x07', 'a RAR archive', unpack],
  ['Obj\x01', 'an Avro file', exported],
  ['ORC', 'an ORC file', exported],
  ['ARROW1', 'an Arrow file', exported],
  ['FEA1', 'a Feather file', exported],
  ['\x89HDF\r\n\x1a\n', 'an HDF5 file', exported],
  ['$FL2', 'an SPSS file', exported],
  ['\x7fELF', 'a program', onlyText],
  ['MZ', 'a program', onlyText],
  ['%PDF-', 'a PDF document', 'A table in it has to be copied into a sheet and saved as CSV.'],
  ['{\\rtf', 'an RTF document', onlyText],
  ['\0\0\xfe\xff', 'text in UTF-32', saveUTF8],
  ['\xff\xfe\0\0', 'text in UTF-32', saveUTF8],
  ['\x89PNG\r\n\x1a\n', 'an image', onlyText],
  ['\xff\xd8\xff', 'an image', onlyText],
  ['GIF87a', 'an image', onlyText],
  ['GIF89a', 'an image', onlyText],
  ['BM', 'an image', onlyText],
];

/** The first bytes of gzip, Zstandard and Parquet. */
const packings = ['\x1f\x8b', '(\xb5/\xfd', 'PAR1'];

/** Prefixes that text may begin with too. */
const textual = new Set(['PAR1', 'BZh', 'ORC', 'FEA1', 'MZ', 'GIF87a', 'GIF89a', 'BM']);

/** Why a file is of no use, in sentences; undefined where it may be. Rejects when it cannot be read. */
export async function refusalOf(file: Head, { maxBytes, tables, packed = false }: Wanted): Promise<string | undefined> {
  if (file.size === 0) return 'This file is empty.';
  if (maxBytes > 0 && file.size > maxBytes) return tooLarge(file.size, maxBytes);
  if (!tables) return undefined;
  const head = new Uint8Array(await file.slice(0, headBytes).arrayBuffer());
  return ofContent(file.name, String.fromCharCode(...head), packed);
}

function tooLarge(size: number, most: number): string {
  const [is, may] = [sizeOf(size), sizeOf(most)];
  return is === may
    ? `This file has ${count(size)} bytes; at most ${count(most)} can be sent.`
    : `This file has ${is}; at most ${may} can be sent.`;
}

/** Head has a byte in each character. */
function ofContent(name: string, head: string, packed: boolean): string | undefined {
  const text = isText(head);
  if (packed && packings.some((prefix) => head.startsWith(prefix) && !(text && textual.has(prefix)))) return undefined;
  for (const [prefix, what, advice] of contents) {
    if (head.startsWith(prefix) && !(text && textual.has(prefix))) return `This is ${what}. ${advice}`;
  }
  if (head.startsWith('PK\x03\x04')) return ofArchive(name.toLowerCase(), head, packed);
  const start = head.replace(/^\xef\xbb\xbf/, '').trimStart();
  if (/^<(!doctype )?html/i.test(start)) {
    return 'This is an HTML page. If it should be a table, download it again: a server may have sent its sign-in page in its place.';
  }
  if (/^<\?xml/i.test(start)) return `This is XML. ${exported}`;
  if (!/\.(csv|tsv|tab|psv)$/i.test(name)) {
    if (/^\[\s*\{/.test(start)) return `This is a JSON array. ${oneALine} jq -c '.[]' FILE writes it so.`;
    if (/^\{\s*\n/.test(start)) return `This is JSON, but not one object a line. ${oneALine} jq -c . FILE writes it so.`;
  }
  const zero = head.indexOf('\0');
  if (zero >= 0 && !isUTF16(head)) return `This is binary data and no text: there is a zero byte at offset ${zero}. ${onlyText}`;
  return undefined;
}

function ofArchive(name: string, head: string, packed: boolean): string | undefined {
  const ends = (...all: string[]): boolean => all.some((e) => name.endsWith(e));
  if (head.includes('opendocument.spreadsheet') || ends('.ods')) return `This is an OpenDocument sheet. ${saveSheet}`;
  if (head.includes('word/') || ends('.docx')) return `This is a Word document. ${onlyText}`;
  if (head.includes('ppt/') || ends('.pptx')) return `This is a PowerPoint presentation. ${onlyText}`;
  if (head.includes('[Content_Types].xml') || head.includes('xl/') || /\.xls[a-z]*$/.test(name)) {
    return packed ? undefined : `This is an Excel workbook. ${saveSheet}`;
  }
  if (head.includes('Index/Document.iwa') || ends('.numbers')) return `This is a Numbers sheet. ${saveSheet}`;
  return packed ? undefined : `This is a zip archive. ${unpack}`;
}

/** The first bytes have no controls that text has not. */
function isText(head: string): boolean {
  return !/[\0-\x08\x0b\x0e-\x1f\x7f]/.test(head.slice(0, 64));
}

/** A byte-order mark, or lines that end in two bytes and zeros on one side alone. */
function isUTF16(head: string): boolean {
  if (/^(\xff\xfe|\xfe\xff)/.test(head)) return true;
  let [left, right] = [0, 0];
  let [leftEnds, rightEnds] = [false, false];
  for (let i = 0; i + 1 < head.length; i += 2) {
    const [a, b] = [head[i], head[i + 1]];
    if (a === '\0') left++;
    if (b === '\0') right++;
    leftEnds ||= a === '\0' && (b === '\n' || b === '\r');
    rightEnds ||= b === '\0' && (a === '\n' || a === '\r');
  }
  if (Math.max(left, right) <= head.length / 16) return false;
  return (left === 0 && rightEnds) || (right === 0 && leftEnds);
}
