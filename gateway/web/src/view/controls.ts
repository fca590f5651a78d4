import type { View } from '../client';
import { element, setAttribute, setHidden, setText } from './element';
import { offers, type Verb } from './offers';
import { titleOf } from './words';

/** Each rejects with what to tell. */
export type ControlActions = Readonly<Record<Verb, (id: string) => Promise<void>>>;

const labels: Readonly<Record<Verb, string>> = { pause: 'Pause', resume: 'Resume', retry: 'Retry', export: 'Export', cancel: 'Cancel', remove: 'Remove' };
const refusals: Readonly<Record<Verb, string>> = {
  pause: 'It could not be paused', resume: 'It could not be resumed', retry: 'It could not be tried again', cancel: 'It could not be stopped',
  export: 'It could not be exported', remove: 'It could not be removed',
};
/** What is asked before what cannot be taken back. */
const questions = {
  cancel: { verb: 'Stop', text: 'Stop this job?', sure: 'Stop it' },
  remove: { verb: 'Remove', text: 'Remove this job and its files?', sure: 'Remove it' },
} as const;
type Doubted = keyof typeof questions;
const verbs = Object.keys(labels) as Verb[];

/** The buttons of a job's row, each there when it makes sense and disabled while one is under way. */
export class Controls {
  readonly node = element('div', { class: 'controls' });
  /** Why the last request was refused. */
  readonly refusal = element('p', { class: 'error', role: 'alert' });
  private readonly buttons = new Map<Verb, HTMLButtonElement>();
  private readonly asked = element('span');
  private readonly sure = element('button', { type: 'button', class: 'danger' });
  private readonly keep = element('button', { type: 'button', class: 'quiet' }, 'Keep it');
  private readonly question = element('div', { class: 'question', role: 'group' }, this.asked, this.sure, this.keep);
  private doubted: Doubted = 'cancel';
  private view: View | undefined;
  private offered: readonly Verb[] = [];
  private isBusy = false;
  /** Counts requests, and records that show the effect of one before it is answered. */
  private turn = 0;

  /** `row` takes the focus when the button that had it goes and there is no other one. */
  constructor(private readonly row: HTMLElement, private readonly actions: ControlActions) {
    for (const verb of verbs) {
      const button = element('button', { type: 'button', class: 'quiet', 'data-verb': verb }, labels[verb]);
      button.addEventListener('click', () => (verb in questions ? this.ask(verb as Doubted) : void this.run(verb)));
      this.buttons.set(verb, button);
    }
    this.node.append(...this.buttons.values(), this.question);
    // What comes to stand where a button was is not meant by the second click of a double
    // one, in another row neither, nor by a key that is held.
    this.node.addEventListener('click', (event) => {
      if (this.isBusy || event.detail > 1) event.stopPropagation();
    }, { capture: true });
    this.node.addEventListener('keydown', (event) => {
      if (event.repeat && event.key === 'Enter') event.preventDefault();
    });
    this.question.hidden = this.refusal.hidden = true;
    this.keep.addEventListener('click', () => this.answer());
    this.sure.addEventListener('click', () => void this.run(this.doubted));
    this.question.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.answer();
    });
  }

  /** Offers what makes sense for the job as it is. */
  offer(view: View, isRetried: boolean, hasFile: boolean): void {
    const before = this.offered;
    this.view = view;
    this.offered = offers(view, isRetried, hasFile);
    // A refusal was of what the job is no more, and a request has had its effect.
    if (this.offered.join() !== before.join()) {
      setText(this.refusal, '');
      this.turn++;
      this.setBusy(false);
    }
    if (!this.offered.includes(this.doubted)) setHidden(this.question, true);
    for (const [verb, button] of this.buttons) setAttribute(button, 'aria-label', `${labels[verb]} ${titleOf(view)}`);
    this.name();
    this.paint();
  }

  private paint(): void {
    const { activeElement } = document;
    const hadFocus = this.node.contains(activeElement);
    for (const [verb, button] of this.buttons) setHidden(button, !this.offered.includes(verb) || !this.question.hidden);
    setHidden(this.node, this.offered.length === 0);
    if (hadFocus && activeElement?.closest('[hidden]')) this.refocus();
  }

  // Otherwise a user who pressed the button by the keyboard would begin anew at the top of
  // the page.
  private refocus(): void {
    const next = this.offered.length > 0 ? [...this.buttons.values()].find((button) => !button.hidden) : undefined;
    (next ?? this.row).focus({ preventScroll: true });
  }

  // Work that a worker has begun is lost by stopping it; the rest is stopped at once.
  private ask(verb: Doubted): void {
    if (this.view?.state === 'queued') {
      void this.run(verb);
      return;
    }
    this.doubted = verb;
    this.name();
    setHidden(this.question, false);
    this.paint();
    this.keep.focus();
  }

  /** Words the question, and names it and its answers with the job. */
  private name(): void {
    const { verb, text, sure } = questions[this.doubted];
    const title = this.view ? titleOf(this.view) : '';
    setText(this.asked, text);
    setText(this.sure, sure);
    setAttribute(this.question, 'aria-label', `${verb} ${title}?`);
    setAttribute(this.sure, 'aria-label', `${sure}: ${title}`);
    setAttribute(this.keep, 'aria-label', `Keep it: ${title}`);
  }

  private answer(): void {
    setHidden(this.question, true);
    this.paint();
    this.buttons.get(this.doubted)?.focus();
  }

  private async run(verb: Verb): Promise<void> {
    if (!this.view) return;
    const turn = ++this.turn;
    this.setBusy(true);
    setText(this.refusal, '');
    try {
      await this.actions[verb](this.view.id);
    } catch (error) {
      // Meanwhile the job may have become one of which it is not asked any more.
      if (this.offered.includes(verb)) setText(this.refusal, `${refusals[verb]}: ${(error as Error).message}`);
    }
    if (turn !== this.turn) return;
    this.setBusy(false);
    setHidden(this.question, true);
    this.paint();
  }

  // A button that is disabled in earnest loses the focus.
  private setBusy(is: boolean): void {
    this.isBusy = is;
    for (const button of [...this.buttons.values(), this.sure, this.keep]) setAttribute(button, 'aria-disabled', is ? 'true' : undefined);
  }
}
