import assert from 'node:assert/strict';
import test from 'node:test';

import { analysisOf, datasetOf, nameOf, type Dataset } from '../src/datasets';
import { comparisonsOf, exportOf, extensionOf, faultsOf, fileNameOf, type Choice } from '../src/export-request';

const dataset: Dataset = {
  id: '0701JD8V3QZ4T9M2K6W0X5Y7B1CA', topic: 'user:42', name: 'Orders 2025.csv.gz', size: 12, unpacked_size: 99, media_type: 'application/gzip', packing: 'gzip', format: 'csv',
  rows: 10, rejected: 0, created_at: '2026-11-30T12:00:00Z', dialect: { encoding: 'utf-8', delimiter: ',' }, preview: null,
  columns: [{ name: 'id', kind: 'integer' }, { name: 'name', kind: 'text' }, { name: 'price', kind: 'decimal', nullable: true }],
};
const all = dataset.columns.map(({ name }) => name);
const choice: Choice = {
  format: 'csv', compression: '', delimiter: ',', header: true, formulas: false, name: 'orders', columns: all, filter: [], limit: '',
};
const payload = (more: Partial<Choice>): unknown => exportOf(dataset, { ...choice, ...more }).payload;
const base = { dataset: dataset.id, format: 'csv', name: 'orders' };

test('an export asks for no more than was chosen', () => {
  assert.deepEqual(exportOf(dataset, choice), { type: 'export', title: 'Orders 2025.csv.gz as CSV', payload: base });
  assert.deepEqual(payload({ compression: 'gzip', delimiter: ';', header: false, formulas: true, columns: ['price', 'id'], limit: '100' }),
    { ...base, compression: 'gzip', delimiter: ';', no_header: true, run_formulas: true, columns: ['price', 'id'], limit: 100 });
  assert.deepEqual(payload({ filter: [{ column: 'id', is: 'at_least', value: '7' }, { column: 'price', is: 'is_null', value: '' }] }),
    { ...base, filter: [{ column: 'id', is: 'at_least', value: '7' }, { column: 'price', is: 'is_null' }] });
});

test('what another format has not is left out', () => {
  const every = { compression: 'zstd', delimiter: '\t', header: false, formulas: true } as const;
  assert.deepEqual(payload({ ...every, format: 'ndjson' }), { ...base, format: 'ndjson', compression: 'zstd' });
  assert.deepEqual(payload({ ...every, format: 'xlsx' }), { ...base, format: 'xlsx', no_header: true });
  assert.deepEqual(payload({ ...every, format: 'parquet' }), { ...base, format: 'parquet' });
  assert.deepEqual([extensionOf({ format: 'csv', compression: '' }), extensionOf({ format: 'csv', compression: 'gzip' }), extensionOf({ format: 'xlsx', compression: 'zstd' })],
    ['.csv', '.csv.gz', '.xlsx']);
});

test('faults name their fields', () => {
  const faults = (more: Partial<Choice>): string => faultsOf({ ...choice, ...more }, dataset.columns).map(({ field }) => field).join(' ');
  assert.equal(faults({}), '');
  assert.equal(faults({ columns: [], limit: '0', name: '.hidden' }), 'columns limit name');
  for (const limit of ['1', '1000000', '9007199254740991']) assert.equal(faults({ limit }), '', limit);
  for (const limit of ['-1', '1.5', 'ten', '1e3', '9007199254740993']) assert.equal(faults({ limit }), 'limit', limit);
  for (const name of ['', 'a/b', 'ä', 'x'.repeat(101)]) assert.equal(faults({ name }), 'name', name);
  const condition = (column: string, is: string, value: string): string => faults({ filter: [{ column: 'name', is: 'equal', value: '' }, { column, is, value }] });
  for (const [column, value] of [['id', '-7'], ['price', '.50'], ['name', 'anything']] as const) assert.equal(condition(column, 'equal', value), '', value);
  for (const [column, value] of [['id', '1.5'], ['id', ''], ['price', '1,50'], ['name', 'é'.repeat(2_049)]] as const) assert.equal(condition(column, 'less', value), 'filter1', value);
  assert.equal(condition('id', 'is_null', ''), '');
});

test('each kind has the comparisons that make sense', () => {
  assert.ok(comparisonsOf('text').includes('contains'));
  assert.ok(!comparisonsOf('integer').includes('contains'));
  assert.deepEqual(comparisonsOf('json'), ['is_null', 'not_null']);
});

test('a file has a name that exports take', () => {
  const cases: [string | undefined, string][] = [
    ['orders.csv', 'orders'], ['Orders 2025.csv.gz', 'Orders-2025'], ['Bücher & Köln.tsv', 'Bucher-Koln'], ['v1.2.ndjson', 'v1.2'],
    ['../../etc/passwd', 'etc-passwd'], ['.csv', 'export'], ['日本.csv', 'export'], [undefined, 'export'], [`${'x'.repeat(200)}.csv`, 'x'.repeat(100)],
  ];
  for (const [name, want] of cases) {
    assert.equal(fileNameOf(name), want, name ?? '');
    assert.deepEqual(faultsOf({ ...choice, name: fileNameOf(name) }, dataset.columns), []);
  }
});

test('a dataset is analyzed, packed or not; an upload becomes one dataset', () => {
  const plain = { ...dataset, name: 'orders.csv' };
  assert.deepEqual(analysisOf(plain), { type: 'analysis', title: 'orders.csv', payload: { dataset: dataset.id } });
  const made = datasetOf('user:42', dataset.id, 'orders.csv');
  assert.deepEqual([made.type, made.payload, made.key_life], ['upload', { blob: `incoming/user:42/${dataset.id}`, name: 'orders.csv' }, 'until_failed']);
  assert.equal(made.key, datasetOf('user:42', dataset.id, 'orders.csv').key);
  assert.deepEqual([nameOf(plain), nameOf({ id: dataset.id })], ['orders.csv', 'Dataset Y7B1CA']);
});
