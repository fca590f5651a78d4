import assert from 'node:assert/strict';
import test from 'node:test';

import { areTables, refusalOf } from '../src/refusal';

const file = (name: string, latin1: string, size = latin1.length) => ({
  name, size,
  slice: (from: number, to: number) => ({
    arrayBuffer: () => Promise.resolve(Uint8Array.from(latin1.slice(from, to), (c) => c.charCodeAt(0)).buffer),
  }),
});

test('a file is refused for what its size and first bytes show', async () => {
  const cases: [what: string, name: string, head: string, want: string | undefined][] = [
    ['a table', 'a.csv', 'id,name\n1,a\n', undefined],
    ['nothing', 'a.csv', '', 'This file is empty.'],
    ['Excel', 'a.csv', 'PK\x03\x04\x14\0\x08\0[Content_Types].xml', 'This is an Excel workbook. Save the sheet as CSV, and take that.'],
    ['Excel by name', 'a.xlsx', 'PK\x03\x04\x14\0', 'This is an Excel workbook. Save the sheet as CSV, and take that.'],
    ['old Excel', 'a.xls', '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0', 'This is an Excel workbook or another Office document of the old kind. Save the sheet as CSV, and take that.'],
    ['a zip', 'a.zip', 'PK\x03\x04\x14\0', 'This is a zip archive. Unpack it, and take the CSV or NDJSON file that is in it.'],
    ['gzip', 'a.csv.gz', '\x1f\x8b\x08\0', 'This is compressed with gzip. Unpack it, and take the CSV or NDJSON file that is in it.'],
    ['Parquet', 'a.parquet', 'PAR1\x15\x04', 'This is a Parquet file. Export its rows as CSV or NDJSON, and take that.'],
    ['a header like Parquet', 'a.csv', 'PAR1,PAR2\n', undefined],
    ['a header like an image', 'a.csv', 'BMI,age\n', undefined],
    ['PNG', 'a.csv', '\x89PNG\r\n\x1a\n\0', 'This is an image. CSV, NDJSON, Excel (.xlsx) and Parquet files can be read.'],
    ['HTML', 'a.csv', '\xef\xbb\xbf\n<!DOCTYPE html>', 'This is an HTML page. If it should be a table, download it again: a server may have sent its sign-in page in its place.'],
    ['an array', 'a.json', '[\n {"a":1}]', "This is a JSON array. NDJSON has one JSON object a line: jq -c '.[]' FILE writes it so."],
    ['pretty JSON', 'a.jsonl', '{\r\n "a":1}', 'This is JSON, but not one object a line. NDJSON has one JSON object a line: jq -c . FILE writes it so.'],
    ['NDJSON', 'a.jsonl', '{"a":1}\n', undefined],
    ['UTF-16', 'a.csv', '\xff\xfea\0,\0b\0\n\0', undefined],
    ['UTF-16 without a mark', 'a.csv', 'a\0,\0b\0\n\0', undefined],
    ['UTF-32', 'a.csv', '\xff\xfe\0\0a\0\0\0', 'This is text in UTF-32. Save it as UTF-8, and take that.'],
    ['Windows-1252', 'a.csv', 'M\xfcller,1\n', undefined],
    ['binary data', 'a.csv', 'PNG\0PNG\0', 'This is binary data and no text: there is a zero byte at offset 3. CSV, NDJSON, Excel (.xlsx) and Parquet files can be read.'],
  ];
  for (const [what, name, head, want] of cases) {
    assert.equal(await refusalOf(file(name, head), { maxBytes: 1 << 20, tables: true }), want, what);
  }
});

test('a file that is too large is refused, and where other files are of use only its size counts', async () => {
  const large = (size: number, maxBytes: number) => refusalOf(file('a.csv', 'a\n', size), { maxBytes, tables: true });
  assert.equal(await large(3 << 20, 1 << 20), 'This file has 3.0 MiB; at most 1.0 MiB can be sent.');
  assert.equal(await large((1 << 20) + 1, 1 << 20), 'This file has 1,048,577 bytes; at most 1,048,576 can be sent.');
  assert.equal(await large(3 << 20, 0), undefined, 'the server does not say');
  assert.equal(await refusalOf(file('a.png', '\x89PNG\r\n\x1a\n'), { maxBytes: 0, tables: false }), undefined);
  const cases: [string[], boolean, boolean][] = [
    [['.csv', '.jsonl'], true, false], [['.csv', '.png'], false, false], [[], false, false], [['.csv', '.gz'], true, true], [['.zip'], false, true], [['.csv', '.xlsx'], true, true],
  ];
  for (const [extensions, tables, packed] of cases) assert.deepEqual(areTables(extensions), { tables, packed }, extensions.join());
});

test('where packed tables are of use they pass, and other archives do not', async () => {
  const refused = (head: string, packed: boolean) => refusalOf(file('a', head), { maxBytes: 0, tables: true, packed });
  for (const head of ['\x1f\x8b\x08', '(\xb5/\xfd', 'PK\x03\x04\x14orders.csv', 'PK\x03\x04\x14[Content_Types].xml', 'PAR1\x15\x04']) {
    assert.equal(await refused(head, true), undefined);
    assert.ok(await refused(head, false));
  }
  for (const head of ['PK\x03\x04\x14[Content_Types].xml word/', 'BZh91AY&SY\x00', '\x89PNG\r\n\x1a\n']) assert.ok(await refused(head, true), head);
});
