import { element, setAttribute, setText } from './element';

let serial = 0;

/** A control below its label, and what is wrong with it. */
export class Field<C extends HTMLElement> {
  readonly node: HTMLElement;
  private readonly fault = element('p', { class: 'error' });

  constructor(label: string, readonly control: C, hint?: string) {
    const id = `field-${++serial}`;
    control.id = id;
    this.fault.id = `${id}-fault`;
    this.fault.hidden = true;
    const note = hint === undefined ? undefined : element('span', { class: 'hint', id: `${id}-hint` }, hint);
    control.setAttribute('aria-describedby', [note?.id, this.fault.id].filter(Boolean).join(' '));
    this.node = element('div', { class: 'field' }, element('label', { for: id }, label), control, note, this.fault);
  }

  /** Says what is wrong, or with an empty text that nothing is. */
  say(text: string): void {
    setText(this.fault, text);
    setAttribute(this.control, 'aria-invalid', text ? 'true' : undefined);
  }
}

/** A select of values, each with its name. */
export function select(options: readonly { readonly value: string; readonly name: string }[]): HTMLSelectElement {
  return element('select', {}, ...options.map(({ value, name }) => element('option', { value }, name)));
}

/** A checkbox before its label. */
export function check(label: string, checked: boolean): { readonly node: HTMLLabelElement; readonly box: HTMLInputElement } {
  const box = element('input', { type: 'checkbox' });
  box.checked = checked;
  return { node: element('label', { class: 'check' }, box, element('span', {}, label)), box };
}
