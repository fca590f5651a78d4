import { Problem } from '../api';
import { analysisOf, fetchDataset, type Dataset, type Spec } from '../datasets';
import { columnName } from './columns';
import { element, setAttribute, setHidden, setText } from './element';
import { ExportForm } from './export-form';
import { bytes, count } from './format';
import { delimiterName } from './profile';

/** What a dataset offers. Each rejects with what to tell. */
export interface DatasetActions {
  readonly topic: string;
  /** Makes a job, and shows it. */
  make(spec: Spec): Promise<unknown>;
  remove(id: string): Promise<void>;
}

/** Tables of thousands of columns are shown in parts of this many. */
const columnsPart = 30;
/** So many rejected rows are shown at first. */
const rejectionsPart = 5;

const deleted = 'This dataset has been deleted.';
const packings: Readonly<Record<string, string>> = { gzip: 'gzip', zstd: 'Zstandard', zip: 'zip', xlsx: 'an Excel workbook', parquet: 'Parquet' };
const encodings: Readonly<Record<string, string>> = { 'utf-16le': 'UTF-16', 'utf-16be': 'UTF-16', 'windows-1252': 'Windows-1252' };

/** A dataset, which is fetched once it is shown. */
export class DatasetPanel {
  readonly node = element('div', { class: 'dataset' });
  private form: ExportForm | undefined;
  private readonly exporter = element('button', { type: 'button' });
  private readonly place = element('div');
  private readonly trouble = element('p', { class: 'error', role: 'alert' });
  private dataset: Dataset | undefined;
  private opens = false;
  private leads = false;

  constructor(private readonly id: string, private readonly title: string, private readonly actions: DatasetActions) {
    this.place.hidden = this.trouble.hidden = true;
    this.paint(false);
    this.exporter.addEventListener('click', () => this.openExport(this.exporter.getAttribute('aria-expanded') !== 'true'));
    void this.load();
  }

  /** Opens the form for exports, or, while the dataset is fetched, has it open then. `leads`: the focus goes there. */
  openExport(open = true, leads = true): void {
    this.opens = open;
    this.leads = leads;
    if (!this.dataset) return;
    if (open && !this.form) {
      this.form = new ExportForm(this.dataset, async (spec) => {
        await this.actions.make(spec);
        this.openExport(false);
      });
      this.place.append(this.form.node);
    }
    setHidden(this.place, !open);
    this.paint(open);
    if (open && leads) this.form?.focus();
  }

  private paint(isOpen: boolean): void {
    const text = isOpen ? 'Close the form' : 'Export';
    setText(this.exporter, text);
    setAttribute(this.exporter, 'aria-label', isOpen ? `${text} of ${this.title}` : `${text} ${this.title}`);
    setAttribute(this.exporter, 'aria-expanded', String(isOpen));
    setAttribute(this.exporter, 'class', isOpen ? undefined : 'primary');
  }

  private async load(): Promise<void> {
    this.node.replaceChildren(element('p', { class: 'note' }, 'Loading the dataset…'));
    try {
      this.dataset = await fetchDataset(this.actions.topic, this.id);
    } catch (error) {
      this.node.replaceChildren(this.failed(error as Error));
      return;
    }
    this.show(this.dataset);
    if (this.opens) this.openExport(true, this.leads);
  }

  private failed(error: Error): HTMLElement {
    if (error instanceof Problem && error.status === 404) return element('p', { class: 'note' }, deleted);
    const again = element('button', { type: 'button', class: 'quiet', 'aria-label': `Try again to load ${this.title}` }, 'Try again');
    again.addEventListener('click', () => void this.load());
    return element('p', { class: 'error', role: 'alert' }, `The dataset could not be loaded: ${error.message} `, again);
  }

  private show(dataset: Dataset): void {
    const analysis = analysisOf(dataset);
    const analyze = element('button', { type: 'button', 'aria-label': `Analyze ${this.title}` }, 'Analyze');
    analyze.addEventListener('click', () => void this.ask(analyze, 'It could not be analyzed', () => this.actions.make(analysis)));
    this.node.replaceChildren(facts(dataset), element('div', { class: 'actions' }, this.exporter, analyze, ...this.deletion()), this.trouble, this.place,
      preview(dataset, this.title), ...rejections(dataset));
  }

  /** A button that asks before it deletes. */
  private deletion(): HTMLElement[] {
    const begin = element('button', { type: 'button', 'aria-label': `Delete ${this.title}` }, 'Delete');
    const sure = element('button', { type: 'button', class: 'danger', 'aria-label': `Delete it: ${this.title}` }, 'Delete it');
    const keep = element('button', { type: 'button', class: 'quiet', 'aria-label': `Keep it: ${this.title}` }, 'Keep it');
    const question = element('div', { class: 'question', role: 'group', 'aria-label': `Delete ${this.title}?` }, 'Delete this dataset?', sure, keep);
    const ask = (is: boolean): void => {
      setHidden(begin, is);
      setHidden(question, !is);
      (is ? keep : begin).focus();
    };
    question.hidden = true;
    begin.addEventListener('click', () => ask(true));
    keep.addEventListener('click', () => ask(false));
    question.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') ask(false);
    });
    sure.addEventListener('click', (event) => {
      if (event.detail <= 1) void this.remove(sure); // the second click of a double one is not meant
    });
    return [begin, question];
  }

  private async remove(button: HTMLElement): Promise<void> {
    await this.ask(button, 'It could not be deleted', async () => {
      await this.actions.remove(this.id);
      const row = this.node.closest<HTMLElement>('.job');
      this.node.replaceChildren(element('p', { class: 'note' }, deleted));
      row?.focus({ preventScroll: true });
    });
  }

  /** Does what a button asks, once at a time, and says why it could not be done. */
  private async ask(button: HTMLElement, refusal: string, run: () => Promise<unknown>): Promise<void> {
    if (button.getAttribute('aria-disabled') === 'true') return;
    button.setAttribute('aria-disabled', 'true');
    setText(this.trouble, '');
    try {
      await run();
    } catch (error) {
      setText(this.trouble, `${refusal}: ${(error as Error).message}`);
    } finally {
      button.removeAttribute('aria-disabled');
    }
  }
}

function facts(dataset: Dataset): HTMLElement {
  const { packing, format, dialect } = dataset;
  const how = [format.toUpperCase(), delimiterName(dialect.delimiter), packing && `in ${packings[packing] ?? packing}`, encodings[dialect.encoding]];
  const list: [string, string][] = [
    ['Rows', count(dataset.rows)],
    ['Columns', count(dataset.columns.length)],
    ['Size', bytes(dataset.size) + (packing ? `, unpacked ${bytes(dataset.unpacked_size)}` : '')],
    ['Format', how.filter(Boolean).join(', ')],
  ];
  if ((dataset.sheets ?? 0) > 1) list.push(['Sheet', `the first of ${count(dataset.sheets ?? 0)}`]);
  if (dataset.rejected > 0) list.push(['Rejected rows', count(dataset.rejected)]);
  return element('dl', { class: 'facts' }, ...list.map(([name, value]) =>
    element('div', {}, element('dt', {}, name), element('dd', {}, value))));
}

/** The columns with their kinds, and the first rows below them. */
function preview({ columns, preview, rows }: Dataset, title: string): HTMLElement {
  const head = element('tr');
  const cells = (preview ?? []).map(() => element('tr'));
  const more = element('button', { type: 'button', class: 'quiet more' });
  let shown = 0;
  const show = (): void => {
    for (const column of columns.slice(shown, shown + columnsPart)) {
      head.append(element('th', { scope: 'col' }, element('span', { class: 'clip', title: column.name }, columnName(column)), ' ',
        element('span', { class: 'type' }, column.kind)));
    }
    cells.forEach((row, i) => row.append(...preview![i]!.slice(shown, shown + columnsPart).map(cell)));
    shown += columnsPart;
    const left = columns.length - shown;
    more.hidden = left <= 0;
    more.textContent = `Show ${count(Math.min(columnsPart, left))} more of ${count(left)} columns`;
    more.setAttribute('aria-label', `${more.textContent} of ${title}`);
  };
  more.addEventListener('click', show);
  show();
  const first = cells.length === 0 ? 'Columns' : rows <= cells.length ? 'All rows' : `The first ${count(cells.length)} of ${count(rows)} rows`;
  return element('div', { class: 'preview' },
    element('p', { class: 'hint' }, first),
    element('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `First rows of ${title}` },
      element('table', {}, element('thead', {}, head), element('tbody', {}, ...cells))),
    more);
}

function cell(value: string | null): HTMLElement {
  if (value === null) return element('td', { class: 'null' }, 'null');
  return element('td', {}, element('span', { class: 'clip', title: value }, value));
}

/** Why rows are none of the dataset: the first of them, more on a click. */
function rejections({ rejected, rejections = [] }: Dataset): HTMLElement[] {
  if (rejections.length === 0) return [];
  const list = element('ul');
  const put = (from: number, to: number): void => list.append(...rejections.slice(from, to).map(({ line, reason }) =>
    element('li', {}, `Line ${count(line)}: ${reason}`)));
  put(0, rejectionsPart);
  const parts: (Node | string)[] = [list];
  if (rejections.length > rejectionsPart) {
    const more = element('button', { type: 'button', class: 'quiet more' },
      rejected > rejections.length ? `Show the first ${count(rejections.length)}` : `Show all ${count(rejections.length)}`);
    more.addEventListener('click', () => {
      put(rejectionsPart, rejections.length);
      list.tabIndex = -1;
      list.focus({ preventScroll: true });
      more.remove();
    });
    parts.push(more);
  }
  const heading = rejected === 1 ? '1 row was rejected' : `${count(rejected)} rows were rejected`;
  return [element('section', { class: 'warnings', 'aria-label': 'Rejected rows' }, element('b', {}, heading), ...parts)];
}
