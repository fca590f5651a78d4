import type { DatasetColumn } from '../datasets';
import { comparisons, comparisonsOf, examples, hasValue, mostConditions, type Condition } from '../export-request';
import { columnName } from './columns';
import { element, setAttribute, setHidden, setText } from './element';
import { select } from './field';

/** Conditions that all hold of the rows that are exported. */
export class FilterEditor {
  readonly node: HTMLElement;
  private readonly list = element('div', { class: 'conditions' });
  private readonly add = element('button', { type: 'button', class: 'quiet' }, 'Add a condition');
  private rows: ConditionRow[] = [];

  constructor(private readonly columns: readonly DatasetColumn[], private readonly changed: () => void) {
    this.add.addEventListener('click', () => this.addRow());
    this.node = element('div', { class: 'filter', role: 'group', 'aria-label': 'Conditions that all hold' }, this.list, this.add);
  }

  get conditions(): Condition[] {
    return this.rows.map((row) => row.condition);
  }

  /** Says what is wrong with a condition; with an empty text that nothing is. */
  say(i: number, text: string): void {
    this.rows[i]?.say(text);
  }

  focus(i: number): void {
    this.rows[i]?.focus();
  }

  private addRow(): void {
    const row = new ConditionRow(this.columns, this.changed, () => this.remove(row));
    this.rows.push(row);
    this.list.append(row.node);
    row.focus();
    this.paint();
  }

  private remove(row: ConditionRow): void {
    const at = this.rows.indexOf(row);
    this.rows.splice(at, 1);
    row.node.remove();
    this.paint();
    if (this.rows.length > 0) this.focus(Math.min(at, this.rows.length - 1));
    else this.add.focus();
  }

  private paint(): void {
    setHidden(this.add, this.rows.length >= mostConditions);
    this.rows.forEach((row, i) => row.number(i + 1));
    this.changed();
  }
}

class ConditionRow {
  readonly node: HTMLElement;
  private readonly column: HTMLSelectElement;
  private readonly is = element('select');
  private readonly value = element('input', { type: 'text', autocomplete: 'off' });
  private readonly drop = element('button', { type: 'button', class: 'quiet' }, 'Remove');
  private readonly fault = element('p', { class: 'error', role: 'alert' });

  constructor(private readonly columns: readonly DatasetColumn[], private readonly changed: () => void, dropped: () => void) {
    this.column = select(columns.map((column) => ({ value: column.name, name: columnName(column) })));
    this.node = element('div', { class: 'condition' }, this.column, this.is, this.value, this.drop, this.fault);
    this.fault.hidden = true;
    this.drop.addEventListener('click', dropped);
    this.column.addEventListener('change', () => this.paint());
    this.is.addEventListener('change', () => this.paint());
    this.value.addEventListener('input', changed);
    this.paint();
  }

  get condition(): Condition {
    return { column: this.column.value, is: this.is.value, value: hasValue(this.is.value) ? this.value.value : '' };
  }

  number(n: number): void {
    setAttribute(this.column, 'aria-label', `Column of condition ${n}`);
    setAttribute(this.is, 'aria-label', `Comparison of condition ${n}`);
    setAttribute(this.value, 'aria-label', `Value of condition ${n}`);
    setAttribute(this.drop, 'aria-label', `Remove condition ${n}`);
  }

  focus(): void {
    (this.fault.hidden ? this.column : this.value).focus();
  }

  say(text: string): void {
    setText(this.fault, text);
    setAttribute(this.value, 'aria-invalid', text ? 'true' : undefined);
  }

  /** Offers what a column of the kind that is chosen may be compared by. */
  private paint(): void {
    const kind = this.columns[this.column.selectedIndex]?.kind ?? 'text';
    const offered = comparisonsOf(kind);
    const before = this.is.value;
    this.is.replaceChildren(...offered.map((is) => element('option', { value: is }, comparisons[is])));
    this.is.value = offered.includes(before) ? before : offered[0]!;
    this.value.placeholder = examples[kind] ?? '';
    setHidden(this.value, !hasValue(this.is.value));
    this.changed();
  }
}
