import type { Dataset, Spec } from '../datasets';
import {
  canBeCompressed, delimiters, exportOf, extensionOf, faultsOf, fileNameOf, formats, hasDelimiter, hasHeader, type Choice, type Compression, type Format,
} from '../export-request';
import { randomKey } from '../key';
import { ColumnPicker } from './columns';
import { element, setHidden, setText } from './element';
import { check, Field, select } from './field';
import { FilterEditor } from './filter';
import { count } from './format';

const packings = [{ value: '', name: 'None' }, { value: 'gzip', name: 'gzip' }, { value: 'zstd', name: 'Zstandard' }];

/** Asks how a dataset is exported. What few need is folded away, each with what is chosen in its summary. */
export class ExportForm {
  readonly node: HTMLFormElement;
  private readonly formats: readonly HTMLInputElement[];
  private readonly picker: ColumnPicker;
  private readonly filter: FilterEditor;
  private readonly limit = new Field('Rows at most', element('input', { type: 'text', inputmode: 'numeric', autocomplete: 'off' }), 'Empty for all');
  private readonly name: Field<HTMLInputElement>;
  private readonly compression = new Field('Compression', select(packings));
  private readonly delimiter = new Field('Between cells', select(delimiters));
  private readonly header = check('Names of columns in the first row', true);
  private readonly guard = check('Keep spreadsheets from running text as formulas', true);
  private readonly columnsFold: Fold;
  private readonly rowsFold: Fold;
  private readonly fileFold: Fold;
  private readonly submit = element('button', { type: 'submit', class: 'primary' });
  private readonly trouble = element('p', { class: 'error', role: 'alert' });
  private readonly columnsFault = element('p', { class: 'error' });
  /** What was sent last and has not been answered, and its key. */
  private unanswered: { readonly text: string; readonly key: string } | undefined;

  constructor(private readonly dataset: Dataset, private readonly send: (spec: Spec) => Promise<void>) {
    const group = `format-${randomKey()}`;
    this.formats = formats.map(({ format }, i) => {
      const radio = element('input', { type: 'radio', name: group, value: format });
      radio.checked = i === 0;
      return radio;
    });
    const changed = (): void => this.paint();
    this.picker = new ColumnPicker(dataset.columns, changed);
    this.filter = new FilterEditor(dataset.columns, changed);
    this.name = new Field('Name of the file', element('input', { type: 'text', autocomplete: 'off', spellcheck: 'false' }));
    this.name.control.value = fileNameOf(dataset.name);
    this.columnsFold = new Fold('Columns', this.picker.node, this.columnsFault);
    this.rowsFold = new Fold('Rows', this.limit.node, this.filter.node);
    this.fileFold = new Fold('File', this.name.node, this.compression.node, this.delimiter.node, this.header.node, this.guard.node);
    this.trouble.hidden = this.columnsFault.hidden = true;
    const cards = formats.map(({ name, text }, i) => element('label', { class: 'card' }, this.formats[i],
      element('span', {}, element('b', {}, name), element('span', { class: 'hint' }, text))));
    this.node = element('form', { class: 'export', novalidate: '', 'aria-label': `Export ${dataset.name ?? dataset.id}` },
      element('fieldset', { class: 'formats' }, element('legend', {}, 'Format'), ...cards),
      this.columnsFold.node, this.rowsFold.node, this.fileFold.node,
      element('div', { class: 'actions' }, this.submit), this.trouble);
    this.node.addEventListener('change', changed);
    this.node.addEventListener('input', changed);
    this.node.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.submitted();
    });
    this.paint();
  }

  focus(): void {
    this.formats.find((radio) => radio.checked)?.focus();
  }

  private get choice(): Choice {
    return {
      format: this.formats.find((radio) => radio.checked)?.value as Format, compression: this.compression.control.value as Compression,
      delimiter: this.delimiter.control.value, header: this.header.box.checked, formulas: !this.guard.box.checked,
      name: this.name.control.value.trim(), columns: this.picker.chosen, filter: this.filter.conditions,
      limit: this.limit.control.value.replace(/[\s,]/g, ''),
    };
  }

  private paint(): void {
    const { choice, dataset } = this;
    const { format } = choice;
    setHidden(this.compression.node, !canBeCompressed(format));
    setHidden(this.delimiter.node, !hasDelimiter(format));
    setHidden(this.header.node, !hasHeader(format));
    setHidden(this.guard.node, format !== 'csv');
    const all = dataset.columns.length;
    this.columnsFold.say(choice.columns.length === all ? `all ${count(all)}` : `${count(choice.columns.length)} of ${count(all)}`);
    this.rowsFold.say(rowsOf(choice, dataset.rows));
    this.fileFold.say(choice.name + extensionOf(choice));
    setText(this.submit, `Export as ${formats.find((each) => each.format === format)?.name}`);
  }

  private async submitted(): Promise<void> {
    const { choice } = this;
    if (this.submit.getAttribute('aria-disabled') === 'true' || this.isFaulty(choice)) return;
    this.submit.setAttribute('aria-disabled', 'true');
    setText(this.trouble, '');
    try {
      const spec = exportOf(this.dataset, choice);
      const text = JSON.stringify(spec);
      if (this.unanswered?.text !== text) this.unanswered = { text, key: randomKey() };
      await this.send({ ...spec, key: this.unanswered.key });
      this.unanswered = undefined;
    } catch (error) {
      setText(this.trouble, `It could not be exported: ${(error as Error).message}`);
    } finally {
      this.submit.removeAttribute('aria-disabled');
    }
  }

  /** Says what is wrong where it is, and leads to the first. */
  private isFaulty(choice: Choice): boolean {
    const faults = faultsOf(choice, this.dataset.columns);
    const of = (field: string): string => faults.find((fault) => fault.field === field)?.text ?? '';
    setText(this.columnsFault, of('columns'));
    choice.filter.forEach((_, i) => this.filter.say(i, of(`filter${i}`)));
    this.limit.say(of('limit'));
    this.name.say(of('name'));
    const first = faults[0]?.field;
    if (first === undefined) return false;
    if (first === 'columns') this.columnsFold.lead(() => this.picker.focus());
    else if (first === 'limit') this.rowsFold.lead(() => this.limit.control.focus());
    else if (first === 'name') this.fileFold.lead(() => this.name.control.focus());
    else this.rowsFold.lead(() => this.filter.focus(Number(first.slice('filter'.length))));
    return true;
  }
}

/** A part of the form behind a summary that says what is chosen in it. */
class Fold {
  readonly node: HTMLDetailsElement;
  private readonly said = element('span', { class: 'hint' });

  constructor(name: string, ...content: Node[]) {
    this.node = element('details', {}, element('summary', {}, name, ' ', this.said), element('div', { class: 'fold' }, ...content));
  }

  say(text: string): void {
    setText(this.said, text);
  }

  lead(focus: () => void): void {
    this.node.open = true;
    focus();
  }
}

function rowsOf({ limit, filter }: Choice, rows: number): string {
  const most = limit === '' ? `all ${count(rows)}` : `at most ${/^\d+$/.test(limit) ? count(Number(limit)) : limit}`;
  if (filter.length === 0) return most;
  const conditions = filter.length === 1 ? '1 condition' : `${filter.length} conditions`;
  return limit === '' ? `those that meet ${conditions}` : `${most} that meet ${conditions}`;
}
