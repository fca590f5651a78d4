import type { DatasetColumn } from '../datasets';
import { element, setHidden, setText } from './element';
import { count } from './format';

/** From so many columns on there is a field to search them. */
const searchedFrom = 15;
/** Boxes of thousands of columns come in parts of this many. */
const part = 200;

/** Chooses columns of a dataset, at first all. The choice is kept apart from its boxes, of which there are only some. */
export class ColumnPicker {
  readonly node: HTMLElement;
  private readonly off = new Set<string>();
  private readonly boxes = element('div', { class: 'boxes' });
  private readonly search = element('input', { type: 'search', 'aria-label': 'Find columns', placeholder: 'Find columns' });
  private readonly more = element('button', { type: 'button', class: 'quiet more' });
  private found: readonly DatasetColumn[];
  private shown = 0;

  constructor(private readonly columns: readonly DatasetColumn[], private readonly changed: () => void) {
    this.found = columns;
    const all = element('button', { type: 'button', class: 'quiet', 'aria-label': 'All columns' }, 'All');
    const none = element('button', { type: 'button', class: 'quiet', 'aria-label': 'None of the columns' }, 'None');
    all.addEventListener('click', () => this.set(true));
    none.addEventListener('click', () => this.set(false));
    this.more.addEventListener('click', () => this.showMore());
    this.search.addEventListener('input', () => this.find());
    this.search.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') event.preventDefault(); // or it would submit the form
    });
    this.search.hidden = columns.length < searchedFrom;
    this.boxes.addEventListener('change', (event) => this.toggled(event.target as HTMLInputElement));
    this.node = element('div', { class: 'columns' }, element('div', { class: 'tools' }, all, none, this.search), this.boxes, this.more);
    this.find();
  }

  /** The columns that are chosen, in their order. */
  get chosen(): string[] {
    return this.columns.filter(({ name }) => !this.off.has(name)).map(({ name }) => name);
  }

  focus(): void {
    this.boxes.querySelector<HTMLInputElement>('input')?.focus();
  }

  /** Chooses or leaves out the columns that are found. */
  private set(is: boolean): void {
    for (const { name } of this.found) {
      if (is) this.off.delete(name);
      else this.off.add(name);
    }
    for (const box of this.boxes.querySelectorAll('input')) box.checked = is;
    this.changed();
  }

  private toggled({ checked, value }: HTMLInputElement): void {
    if (checked) this.off.delete(value);
    else this.off.add(value);
    this.changed();
  }

  private find(): void {
    const wanted = this.search.value.trim().toLowerCase();
    this.found = this.columns.filter(({ name }) => name.toLowerCase().includes(wanted));
    this.shown = 0;
    this.boxes.replaceChildren();
    this.showMore();
    if (this.found.length === 0) this.boxes.append(element('p', { class: 'hint' }, 'No column has that in its name.'));
  }

  private showMore(): void {
    for (const column of this.found.slice(this.shown, this.shown + part)) {
      const box = element('input', { type: 'checkbox', value: column.name });
      box.checked = !this.off.has(column.name);
      this.boxes.append(element('label', { class: 'check' }, box, element('span', {}, columnName(column)), element('span', { class: 'hint' }, column.kind)));
    }
    this.shown += part;
    const left = this.found.length - this.shown;
    setHidden(this.more, left <= 0);
    if (left > 0) setText(this.more, `Show ${count(Math.min(part, left))} more of ${count(left)} columns`);
  }
}

/** A column's name, or what stands for it. */
export function columnName({ name }: { readonly name: string }): string {
  return name === '' ? '(no name)' : name;
}
