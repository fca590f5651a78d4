import type { View } from '../client';
import { element, setAttribute, setHidden, setText } from './element';
import { count } from './format';
import type { Row } from './row';
import { partsOf, titleOf } from './words';

/** The children of a job below its row: a line that counts them, and folded behind it some of their rows. */
export class Family {
  readonly node: HTMLElement;
  private readonly toggle: HTMLButtonElement;
  private readonly fold: HTMLElement;
  private readonly list = element('ul', { class: 'jobs' });
  private readonly more = element('p', { class: 'note' });
  private shown: readonly Row[] = [];

  constructor(parent: string, toggled: () => void) {
    const id = `parts-${parent}`;
    this.toggle = element('button', { type: 'button', class: 'opener', 'aria-expanded': 'false', 'aria-controls': id });
    this.fold = element('div', { id }, this.list, this.more);
    this.node = element('div', { class: 'parts' }, this.toggle, this.fold);
    this.fold.hidden = this.more.hidden = this.node.hidden = true;
    this.toggle.addEventListener('click', toggled);
  }

  get rows(): readonly Row[] {
    return this.shown;
  }

  /** Counts the children; `held` are those that the page knows of. */
  paint(view: View, held: number, isUnfolded: boolean): void {
    const has = !!view.children || held > 0;
    setHidden(this.node, !has);
    if (!has) return;
    const text = partsOf(view) || `${count(held)} parts`;
    setText(this.toggle, text);
    setAttribute(this.toggle, 'aria-label', `${text} of ${titleOf(view)}`);
    setHidden(this.fold, !isUnfolded);
    setAttribute(this.toggle, 'aria-expanded', String(isUnfolded));
  }

  /** Shows these rows, in this order, with titles of a level, and says how many children have none. */
  put(rows: readonly Row[], level: number, hidden: number): void {
    this.shown = rows;
    for (const row of rows) row.level = level;
    const { list } = this;
    const wanted = rows.map((row) => row.node);
    if (!sameOrder(list, wanted)) {
      // What has the focus keeps it, since it is not moved: the others are, around it.
      const still = wanted.findIndex((node) => node.contains(document.activeElement));
      const keep = new Set<Element>(wanted);
      for (const node of [...list.children]) {
        if (keep.has(node)) continue;
        if (node.contains(document.activeElement)) this.toggle.focus({ preventScroll: true });
        node.remove();
      }
      wanted.forEach((node, i) => {
        if (i !== still) list.insertBefore(node, i < still ? wanted[still]! : null);
      });
    }
    setText(this.more, hidden > 0 ? `${rows.length > 0 ? 'and ' : ''}${count(hidden)} more` : '');
  }
}

function sameOrder(list: Element, wanted: readonly Element[]): boolean {
  return list.children.length === wanted.length && wanted.every((node, i) => list.children[i] === node);
}
