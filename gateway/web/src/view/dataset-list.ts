import { moment } from '../client';
import { nameOf, type DatasetBrief, type DatasetPage } from '../datasets';
import { DatasetPanel, type DatasetActions } from './dataset';
import { element, setAttribute, setHidden, setText } from './element';
import { bytes, count, exactly, when } from './format';

export interface DatasetPlaces {
  readonly list: HTMLElement;
  readonly count: HTMLElement;
  readonly note: HTMLElement;
  readonly empty: HTMLElement;
  readonly more: HTMLButtonElement;
}

export interface DatasetListActions extends DatasetActions {
  /** A page of the datasets, the first made first. */
  fetch(after: string | undefined): Promise<DatasetPage>;
}

/** Rows come in parts of this many. */
const part = 25;
/** The most pages that are fetched, of a hundred datasets each: the server lists the oldest first. */
const mostPages = 10;

/** The topic's datasets, the last made first. Those that were fetched stay while others are. */
export class DatasetList {
  private readonly rows = new Map<string, DatasetRow>();
  private all: readonly DatasetBrief[] = [];
  private shown = part;
  private isLoading = false;
  private isStale = false;

  constructor(private readonly places: DatasetPlaces, private readonly actions: DatasetListActions) {
    places.more.addEventListener('click', () => {
      const next = this.all[this.shown];
      this.shown += part;
      this.paint();
      if (next) this.rows.get(next.id)?.focus();
    });
  }

  /** Fetches the list, once more where it is being fetched. */
  async load(): Promise<void> {
    this.isStale = true;
    if (this.isLoading) return;
    this.isLoading = true;
    const { note } = this.places;
    if (this.all.length === 0) setText(note, 'Loading the datasets…');
    try {
      while (this.isStale) {
        this.isStale = false;
        const { datasets, isWhole } = await this.fetchAll();
        this.all = datasets.sort((a, b) => moment(b.created_at) - moment(a.created_at) || (a.id < b.id ? 1 : -1));
        setText(note, isWhole ? '' : `There are more: only the ${count(datasets.length)} that were made first are listed.`);
        this.paint();
      }
      setHidden(this.places.empty, this.all.length > 0);
    } catch (error) {
      const again = element('button', { type: 'button', class: 'quiet' }, 'Try again');
      again.addEventListener('click', () => void this.load());
      note.replaceChildren(`The datasets could not be loaded: ${(error as Error).message} `, again);
      setHidden(note, false);
    } finally {
      this.isLoading = false;
    }
  }

  private async fetchAll(): Promise<{ datasets: DatasetBrief[]; isWhole: boolean }> {
    const datasets: DatasetBrief[] = [];
    let after: string | undefined;
    for (let i = 0; i < mostPages; i++) {
      const page = await this.actions.fetch(after);
      datasets.push(...page.datasets);
      after = page.next;
      if (!after) return { datasets, isWhole: true };
    }
    return { datasets, isWhole: false };
  }

  private paint(): void {
    const { places } = this;
    const shown = this.all.slice(0, this.shown);
    const kept = new Set(shown.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (kept.has(id)) continue;
      // The keyboard goes on at the row that takes the place of the one that goes.
      const hadFocus = row.node.contains(document.activeElement);
      const next = row.node.nextElementSibling ?? row.node.previousElementSibling ?? places.list.closest('section');
      row.node.remove();
      this.rows.delete(id);
      if (hadFocus) (next as HTMLElement | null)?.focus({ preventScroll: true });
    }
    shown.forEach((dataset, i) => {
      const row = this.rows.get(dataset.id) ?? new DatasetRow(dataset, this.actions);
      this.rows.set(dataset.id, row);
      if (places.list.children[i] !== row.node) places.list.insertBefore(row.node, places.list.children[i] ?? null);
    });
    const left = this.all.length - shown.length;
    setText(places.count, this.all.length > 0 ? count(this.all.length) : '');
    setHidden(places.more, left <= 0);
    if (left > 0) setText(places.more, `Show ${count(Math.min(part, left))} more of ${count(left)} datasets`);
  }
}

/** A dataset's line, which opens. */
class DatasetRow {
  readonly node = element('li', { class: 'job', tabindex: '-1' });
  private readonly opener: HTMLButtonElement;
  private readonly place: HTMLElement;
  private panel: DatasetPanel | undefined;

  constructor(private readonly dataset: DatasetBrief, private readonly actions: DatasetActions) {
    const { id, rows, size, rejected, created_at } = dataset;
    const name = nameOf(dataset);
    this.place = element('div', { class: 'result', id: `dataset-${id}` });
    this.place.hidden = true;
    this.opener = element('button', { type: 'button', class: 'opener', 'aria-expanded': 'false', 'aria-controls': this.place.id, title: name }, name);
    const exporter = element('button', { type: 'button', class: 'quiet', 'aria-label': `Export ${name}` }, 'Export');
    const made = moment(created_at);
    const facts = [rows === 1 ? '1 row' : `${count(rows)} rows`, bytes(size), rejected > 0 ? `${count(rejected)} rejected` : ''].filter(Boolean);
    this.node.dataset.dataset = id;
    this.node.append(
      element('div', { class: 'head' },
        element('div', { class: 'title', role: 'heading', 'aria-level': '3' }, this.opener),
        element('span', { class: 'about' }, facts.join(' · ')),
        element('span', { class: 'made', title: exactly(made) }, when(made, Date.now())),
        exporter),
      this.place);
    this.opener.addEventListener('click', () => this.open(!this.isOpen));
    exporter.addEventListener('click', () => {
      this.open(true);
      this.panel?.openExport();
    });
  }

  focus(): void {
    this.opener.focus();
  }

  private get isOpen(): boolean {
    return this.opener.getAttribute('aria-expanded') === 'true';
  }

  private open(open: boolean): void {
    setHidden(this.place, !open);
    setAttribute(this.opener, 'aria-expanded', String(open));
    if (!open || this.panel) return;
    this.panel = new DatasetPanel(this.dataset.id, nameOf(this.dataset), this.actions);
    this.place.append(this.panel.node);
  }
}
