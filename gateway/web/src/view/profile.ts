import { frequent, portion, spread } from './charts';
import { element } from './element';
import { brief, bytes, count, figure, share } from './format';
import type { Column, Profile } from './profile-data';

/** Tables of thousands of columns are shown in parts of this many. */
const part = 40;

const delimiters: Readonly<Record<string, string>> = { ',': 'comma', ';': 'semicolon', '\t': 'tab', '|': 'bar' };

/** A delimiter in words, as in "comma separated"; empty where there is none. */
export function delimiterName(delimiter: string | undefined): string {
  return delimiter ? `${delimiters[delimiter] ?? delimiter} separated` : '';
}

/** Where a profile is on the page: whose it is, and the level of its headings. */
export interface ProfilePlace {
  readonly title: string;
  readonly level: number;
}

/** A profile: the file's figures, then a table of its columns, each of which opens. */
export function profileNode(profile: Profile, { title, level }: ProfilePlace): HTMLElement {
  const body = element('tbody');
  const more = element('button', { type: 'button', class: 'quiet more' });
  let shown = 0;
  const show = (): void => {
    for (const column of profile.columns.slice(shown, shown + part)) body.append(columnRow(column, profile.rows, level));
    shown += part;
    const left = profile.columns.length - shown;
    more.hidden = left <= 0;
    more.textContent = `Show ${Math.min(part, left)} more of ${count(left)} columns`;
    more.setAttribute('aria-label', `${more.textContent} of ${title}`);
  };
  more.addEventListener('click', show);
  show();
  const heads = ['Column', 'Type', 'Missing', 'Distinct', 'Least', 'Mean', 'Greatest', 'Spread'];
  return element('section', { class: 'profile', 'aria-label': `Profile of ${title}` },
    facts(profile),
    ...warnings(profile),
    element('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Columns of ${title}` },
      element('table', {},
        element('thead', {}, element('tr', {}, ...heads.map((h) => element('th', { scope: 'col' }, h)))), body)),
    more);
}

function facts(profile: Profile): HTMLElement {
  const { format, delimiter, encoding = 'utf-8' } = profile;
  const separated = delimiter ? `, ${delimiterName(delimiter)}` : '';
  const list: [string, string][] = [
    ['Rows', count(profile.rows)],
    ['Columns', count(profile.columns.length)],
    ['Size', bytes(profile.bytes)],
    ['Format', (format === 'csv' ? 'CSV' : format.toUpperCase()) + separated],
  ];
  if (encoding !== 'utf-8') list.push(['Encoding', encoding === 'windows-1252' ? 'Windows-1252' : encoding.toUpperCase()]);
  if (profile.ragged > 0) list.push(['Ragged rows', count(profile.ragged)]);
  if (profile.malformed > 0) list.push(['Malformed', count(profile.malformed)]);
  return element('dl', { class: 'facts' }, ...list.map(([name, value]) =>
    element('div', {}, element('dt', {}, name), element('dd', {}, value))));
}

/** What may not be as it was meant, and how it was read. */
function warnings({ warnings = [] }: Profile): HTMLElement[] {
  if (warnings.length === 0) return [];
  return [element('ul', { class: 'warnings', 'aria-label': 'How the file was read' }, ...warnings.map(({ column, message }) =>
    element('li', {}, ...(column === undefined ? [] : [element('b', {}, column), ': ']), message)))];
}

function columnRow(column: Column, rows: number, level: number): HTMLElement {
  const name = column.name === '' ? '(no name)' : column.name;
  const opener = element('button', { type: 'button', class: 'opener', 'aria-expanded': 'false', title: name }, name);
  const [least, greatest] = range(column);
  const row = element('tr', { class: 'column' },
    element('th', { scope: 'row' }, opener),
    cell('Type', element('span', { class: 'type' }, column.type)),
    cell('Missing', column.nulls > 0 ? portion(column.nulls, rows) : undefined, share(column.nulls, rows)),
    cell('Distinct', `${column.distinct_exact ? '' : '≈ '}${brief(column.distinct)}`),
    cell('Least', clipped(least)),
    cell('Mean', column.number && figure(column.number.mean)),
    cell('Greatest', clipped(greatest)),
    element('td', { class: 'chart', 'data-label': 'Spread' }, glance(column, rows)));
  let detail: HTMLElement | undefined;
  opener.addEventListener('click', () => {
    detail ??= afterRow(row, columnDetail(column, rows, level));
    const open = opener.getAttribute('aria-expanded') !== 'true';
    opener.setAttribute('aria-expanded', String(open));
    detail.hidden = !open;
  });
  return row;
}

function afterRow(row: HTMLElement, content: HTMLElement): HTMLElement {
  const detail = element('tr', { class: 'detail' }, element('td', { colspan: '8' }, content));
  row.after(detail);
  return detail;
}

function cell(label: string, ...content: (Node | string | undefined)[]): HTMLElement {
  return element('td', { 'data-label': label }, ...content);
}

function clipped(text: string | undefined): HTMLElement | undefined {
  return text === undefined ? undefined : element('span', { class: 'clip', title: text }, text);
}

function range({ number, time, text }: Column): [least?: string, greatest?: string] {
  if (number) return [figure(number.min), figure(number.max)];
  if (time) return [time.min, time.max];
  return text ? [text.min, text.max] : [];
}

/** The one small chart that says most about a column. */
function glance(column: Column, rows: number): Element | undefined {
  const few = column.distinct <= 12 && column.top?.length;
  const chart = column.number && !few ? spread(column.number) : undefined;
  return chart ?? (column.top?.length ? frequent(column.top, rows, 3) : undefined);
}

function columnDetail(column: Column, rows: number, level: number): HTMLElement {
  const { number, text, types, top } = column;
  const parts: HTMLElement[] = [];
  const panel = (title: string, content: Element): HTMLElement =>
    element('section', {}, element('div', { class: 'panel-title', role: 'heading', 'aria-level': String(level) }, title), content);
  if (number) {
    const q = number.quantiles;
    const list: [string, string][] = [
      ['Least', figure(number.min)], ['Mean', figure(number.mean)], ['Deviation', figure(number.stddev)], ['Greatest', figure(number.max)],
    ];
    if (q) {
      for (const [name, value] of [['1 %', q.p1], ['5 %', q.p5], ['25 %', q.p25], ['Median', q.p50], ['75 %', q.p75], ['95 %', q.p95], ['99 %', q.p99]] as const) {
        list.push([name, figure(value)]);
      }
    }
    const numbers = panel(q && !q.exact ? 'Numbers (quantiles estimated)' : 'Numbers', table(list));
    numbers.classList.add('wide');
    parts.push(numbers);
  }
  if (text) {
    parts.push(panel('Text', table([
      ['First', text.min], ['Last', text.max], ['Shortest', bytes(text.min_length)], ['Longest', bytes(text.max_length)],
    ])));
  }
  if (types) parts.push(panel('Kinds of values', table(Object.entries(types).map(([name, n]) => [name, count(n)]))));
  if (top?.length) {
    const about = column.top_error > 0 ? `Most frequent (counts up to ${count(column.top_error)} too low)` : 'Most frequent';
    parts.push(panel(about, frequent(top, rows, 10)));
  }
  if (parts.length === 0) parts.push(element('p', { class: 'note' }, 'There is nothing more to tell of this column.'));
  return element('div', { class: 'panels' }, ...parts);
}

function table(list: readonly (readonly [string, string])[]): HTMLElement {
  return element('dl', { class: 'pairs' }, ...list.map(([name, value]) =>
    element('div', {}, element('dt', {}, name), element('dd', { title: value }, value))));
}
