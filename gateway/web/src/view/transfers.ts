import type { Transfer } from '../uploads';
import { element } from './element';
import { bytes } from './format';

export interface TransferActions {
  /** Whether there is a row for the job. */
  hasRow(job: string): boolean;
  dismiss(transfer: Transfer): void;
  retry(transfer: Transfer): void;
}

/**
 * The files that no row speaks of yet, or whose sending is in trouble. All the rest is
 * told by the rows of their jobs.
 */
export class TransferList {
  private painted = '';

  constructor(private readonly place: HTMLElement, private readonly actions: TransferActions) {}

  paint(transfers: readonly Transfer[]): void {
    const told = transfers.filter((t) => t.state !== 'done' && !(t.state === 'sending' && t.job && this.actions.hasRow(t.job)));
    // Painting the same again would take the focus from its buttons.
    const signature = JSON.stringify(told.map((t) => [t.file.name, t.state, t.trouble]));
    if (signature === this.painted) return;
    this.painted = signature;
    this.place.replaceChildren(...told.map((transfer) => this.item(transfer)));
    this.place.hidden = told.length === 0;
  }

  private item(transfer: Transfer): HTMLElement {
    const failed = transfer.state === 'failed';
    const item = element('li', { class: 'transfer', 'data-status': transfer.state, role: failed ? 'alert' : undefined },
      element('span', { class: 'title' }, transfer.file.name),
      element('span', { class: 'size' }, bytes(transfer.file.size)),
      element('span', { class: 'what' }, wording(transfer)));
    if (failed) {
      const { name } = transfer.file;
      if (!transfer.isHopeless) {
        const again = element('button', { type: 'button', class: 'quiet', 'aria-label': `Try again: ${name}` }, 'Try again');
        again.addEventListener('click', () => this.actions.retry(transfer));
        item.append(again);
      }
      const close = element('button', { type: 'button', class: 'quiet', 'aria-label': `Dismiss ${name}` }, 'Dismiss');
      close.addEventListener('click', () => this.actions.dismiss(transfer));
      item.append(close);
    }
    return item;
  }
}

function wording({ state, trouble }: Transfer): string {
  switch (state) {
    case 'waiting': return 'Waiting for its turn';
    case 'retrying': return `Cut off, trying again: ${trouble}`;
    case 'failed': return `Not sent: ${trouble}`;
    case 'announcing': return 'Announcing';
    default: return 'Sending';
  }
}
