import { nameOf, type Dataset, type DatasetColumn, type Spec } from './datasets';

// What a form for exports asks for, and the job that it makes: docs/files.md has the payload.

export type Format = 'csv' | 'ndjson' | 'xlsx' | 'parquet';
export type Compression = '' | 'gzip' | 'zstd';

/** The formats, in the order in which they are offered, each with what it is good for. */
export const formats: readonly { readonly format: Format; readonly name: string; readonly text: string }[] = [
  { format: 'csv', name: 'CSV', text: 'Text that spreadsheets and databases read' },
  { format: 'xlsx', name: 'Excel', text: 'A workbook; over 1,048,576 rows in several sheets' },
  { format: 'ndjson', name: 'NDJSON', text: 'One JSON object a line, for programs' },
  { format: 'parquet', name: 'Parquet', text: 'Typed columns, for DuckDB, Spark and pandas' },
];

export const delimiters: readonly { readonly value: string; readonly name: string }[] = [
  { value: ',', name: 'Comma' }, { value: ';', name: 'Semicolon' }, { value: '\t', name: 'Tab' }, { value: '|', name: 'Bar' },
];

/** Comparisons by what people call them. */
export const comparisons: Readonly<Record<string, string>> = {
  equal: 'is', not_equal: 'is not', less: 'is less than', at_most: 'is at most', more: 'is more than', at_least: 'is at least',
  contains: 'contains', is_null: 'is empty', not_null: 'is not empty',
};

/** The most conditions of a filter. */
export const mostConditions = 32;

/** What holds of the rows that are exported. */
export interface Condition {
  readonly column: string;
  readonly is: string;
  readonly value: string;
}

/** What the form holds. */
export interface Choice {
  readonly format: Format;
  readonly compression: Compression;
  readonly delimiter: string;
  readonly header: boolean;
  /** Texts that a spreadsheet would run stay as they are. */
  readonly formulas: boolean;
  /** Of the file, without its extension. */
  readonly name: string;
  /** The columns that are chosen, in their order. */
  readonly columns: readonly string[];
  readonly filter: readonly Condition[];
  /** How many rows at most, as it was typed; empty for all. */
  readonly limit: string;
}

/** A field of the form that is not as it must be, and what is wrong with it. */
export interface Fault {
  /** `name`, `columns`, `limit`, or `filter` with the place of its condition, from 0. */
  readonly field: string;
  readonly text: string;
}

export function hasDelimiter(format: Format): boolean {
  return format === 'csv';
}

export function hasHeader(format: Format): boolean {
  return format === 'csv' || format === 'xlsx';
}

export function canBeCompressed(format: Format): boolean {
  return format === 'csv' || format === 'ndjson';
}

/** What the name of the file ends in. */
export function extensionOf({ format, compression }: Pick<Choice, 'format' | 'compression'>): string {
  const packed = { '': '', gzip: '.gz', zstd: '.zst' }[canBeCompressed(format) ? compression : ''];
  return `.${format}${packed}`;
}

/** A file's name for an export of a dataset, without an extension, of the signs that such a name may have. */
export function fileNameOf(name: string | undefined): string {
  const plain = (name ?? '').replace(/(\.(csv|tsv|tab|psv|txt|ndjson|jsonl|json|gz|zst|zip))+$/i, '');
  return plain.normalize('NFKD').replace(/\p{M}/gu, '').replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[.-]+|-+$/g, '').slice(0, 100) || 'export';
}

/** The comparisons that columns of a kind have. */
export function comparisonsOf(kind: string): string[] {
  const all = Object.keys(comparisons);
  if (kind === 'text') return ['equal', 'not_equal', 'contains', ...all.filter((is) => !['equal', 'not_equal', 'contains'].includes(is))];
  return kind === 'json' ? ['is_null', 'not_null'] : all.filter((is) => is !== 'contains');
}

export function hasValue(is: string): boolean {
  return is !== 'is_null' && is !== 'not_null';
}

/** How a value of a kind is written. */
export const examples: Readonly<Record<string, string>> = {
  integer: '42', float: '1.5', decimal: '12.50', boolean: 'true', date: '2026-12-31', timestamp: '2026-12-31T23:59:00Z',
};

const forms: Readonly<Record<string, RegExp>> = {
  integer: /^[+-]?\d+$/, decimal: /^-?(\d+\.?\d*|\.\d+)$/, boolean: /^(true|false)$/, date: /^\d{4}-\d{2}-\d{2}$/,
  float: /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/, timestamp: /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/,
};

/** What is wrong with a choice, in the order of the form. */
export function faultsOf(choice: Choice, columns: readonly DatasetColumn[]): Fault[] {
  const faults: Fault[] = [];
  if (choice.columns.length === 0) faults.push({ field: 'columns', text: 'Choose at least one column.' });
  const { limit } = choice;
  if (limit !== '' && !(/^\d+$/.test(limit) && Number(limit) >= 1 && Number.isSafeInteger(Number(limit)))) {
    faults.push({ field: 'limit', text: 'Write a whole number from 1, or nothing for all rows.' });
  }
  choice.filter.forEach(({ column, is, value }, i) => {
    const kind = columns.find(({ name }) => name === column)?.kind ?? 'text';
    const form = hasValue(is) ? forms[kind] : undefined;
    if (form && !form.test(value)) faults.push({ field: `filter${i}`, text: `${column} is of kind ${kind}: write a value such as ${examples[kind]}.` });
    else if (new TextEncoder().encode(value).length > 4096) faults.push({ field: `filter${i}`, text: 'The value is longer than 4 KiB.' });
  });
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/.test(choice.name)) {
    faults.push({ field: 'name', text: 'Write at most 100 letters from a to z, digits, dots, _ and -, and no dot first.' });
  }
  return faults;
}

/** The job that exports a dataset as chosen. */
export function exportOf(dataset: Dataset, choice: Choice): Spec {
  const { format, compression, delimiter, header, formulas, name, columns, filter, limit } = choice;
  const payload = {
    dataset: dataset.id, format, name,
    ...(canBeCompressed(format) && compression && { compression }),
    ...(hasDelimiter(format) && delimiter !== ',' && { delimiter }),
    ...(hasHeader(format) && !header && { no_header: true }),
    ...(format === 'csv' && formulas && { run_formulas: true }),
    ...(columns.length < dataset.columns.length && { columns }),
    ...(filter.length > 0 && { filter: filter.map(({ column, is, value }) => ({ column, is, ...(hasValue(is) && { value }) })) }),
    ...(limit !== '' && { limit: Number(limit) }),
  };
  const called = formats.find((each) => each.format === format)?.name ?? format;
  return { type: 'export', title: `${nameOf(dataset)} as ${called}`, payload };
}
