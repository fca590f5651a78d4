import { hasEnded, moment, type Job } from '../client';
import { element, setAttribute, setHidden, setText } from './element';
import { exactly, percentTenths } from './format';
import { Pace } from './pace';
import { ResultPanel } from './result';
import * as words from './words';

export interface RowActions {
  /** Asks the job to stop; rejects with what to tell. */
  cancel(id: string): Promise<void>;
  /** Whether this page is sending the job's file. */
  feeding(id: string): boolean;
  /** Whether the job's file came from this page, so that its result is to be opened. */
  isOwn(id: string): boolean;
  /** Whether what comes now comes as it happens. */
  isLive(): boolean;
}

/** More than any two jobs' creations lie apart. */
const aheadMs = 1e14;

/** A job's row. It is built once, and each update touches what differs alone. */
export class Row {
  readonly node: HTMLLIElement;
  private readonly title = element('span', { class: 'title' });
  private readonly kind = element('span', { class: 'kind' });
  private readonly state = element('span', { class: 'state' });
  private readonly fill = element('div', { class: 'fill' });
  private readonly bar = element('div', { class: 'bar', role: 'progressbar', 'aria-valuemin': '0', 'aria-valuemax': '100' }, this.fill);
  private readonly percent = element('span', { class: 'percent' });
  private readonly figures = ['stage', 'count', 'rate', 'attempt', 'eta', 'end'].map((name) => element('span', { class: name }));
  private readonly note = element('p', { class: 'note' });
  private readonly errorCode = element('code');
  private readonly errorText = element('span');
  private readonly error = element('p', { class: 'error' }, this.errorText, ' ', this.errorCode);
  private readonly cancel = element('button', { type: 'button', class: 'quiet' }, 'Cancel');
  private readonly sure = element('button', { type: 'button', class: 'danger' }, 'Stop it');
  private readonly keep = element('button', { type: 'button', class: 'quiet' }, 'Keep it');
  private readonly question = element('div', { class: 'question', role: 'group', 'aria-label': 'Stop this job?' },
    element('span', {}, 'Stop this job?'), this.sure, this.keep);
  private readonly refusal = element('p', { class: 'error', role: 'alert' });
  private readonly result: ResultPanel;
  private readonly pace = new Pace();
  private painted = -1;
  private lastRev = -1;

  constructor(private job: Job, private readonly actions: RowActions) {
    const { id } = job.view;
    this.result = new ResultPanel(id);
    this.node = element('li', { class: 'job', 'data-job': id },
      element('div', { class: 'head' }, this.title, this.kind, this.state, this.result.toggle, this.cancel, this.question),
      this.bar,
      element('div', { class: 'figures' }, this.percent, ...this.figures),
      this.note, this.error, this.refusal, this.result.node);
    this.question.hidden = this.refusal.hidden = this.error.hidden = true;
    this.cancel.addEventListener('click', () => this.ask());
    this.keep.addEventListener('click', () => this.answer());
    this.sure.addEventListener('click', () => void this.stop());
    this.question.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.answer();
    });
  }

  get isLive(): boolean {
    return !hasEnded(this.job.view.state);
  }

  /** By what rows are ordered, the highest first: what waits comes after what moves. */
  get order(): number {
    const { state, created_at, ended_at } = this.job.view;
    if (!this.isLive) return moment(ended_at);
    return moment(created_at) + (state === 'queued' ? 0 : aheadMs);
  }

  update(job: Job, now: number): void {
    const wasLive = this.lastRev >= 0 && this.isLive;
    this.job = job;
    const { view } = job;
    if (view.rev !== this.lastRev) this.pace.add(view, job.appliedAt, this.actions.isLive());
    this.lastRev = view.rev;
    this.paintBar();
    this.paintWords(now);
    if (!this.isLive) this.result.show(view, wasLive && this.actions.isOwn(view.id));
  }

  /** Repaints what changes with time alone: waits, rates, and whether anything still comes. */
  tick(now: number): void {
    if (this.isLive) this.paintWords(now);
  }

  private paintBar(): void {
    const { view, percent } = this.job;
    // The rule is kept here as well, where it is seen: what was painted only grows.
    const next = Math.max(this.painted, percent);
    if (next !== this.painted) {
      this.painted = next;
      const text = percentTenths(next);
      this.node.dataset.percent = text;
      this.percent.textContent = `${text} %`;
      this.fill.style.transform = `scaleX(${next / 100})`;
      this.bar.setAttribute('aria-valuenow', text);
    }
    this.bar.classList.toggle('indeterminate', view.indeterminate === true && this.isLive);
    setAttribute(this.bar, 'aria-label', words.titleOf(view));
    setAttribute(this.bar, 'aria-valuetext', words.spoken({ ...this.job, percent: this.painted }));
  }

  private paintWords(now: number): void {
    const { view } = this.job;
    const about = { now, pace: this.pace, feeding: this.actions.feeding(view.id) };
    const orphan = words.isOrphan(view, about);
    setAttribute(this.node, 'data-status', orphan ? 'orphan' : view.canceling && this.isLive ? 'canceling' : view.state);
    setText(this.title, words.titleOf(view));
    setAttribute(this.title, 'title', words.titleOf(view));
    setText(this.kind, view.title ? view.type : '');
    setText(this.state, orphan ? 'Waiting' : words.stateOf(view));
    const texts = [
      words.stageOf(view), words.countOf(view), words.rateOf(view, about), words.attemptOf(view),
      words.etaOf(view, about), words.endOf(view, now),
    ];
    this.figures.forEach((node, i) => setText(node, texts[i] ?? ''));
    const end = moment(view.ended_at);
    if (end) setAttribute(this.figures[5]!, 'title', exactly(end));
    setText(this.note, words.noteOf(view, about));
    const trouble = words.troubleOf(view);
    setHidden(this.error, !trouble);
    if (trouble) {
      setText(this.errorCode, trouble.code);
      setText(this.errorText, trouble.message);
    }
    setHidden(this.cancel, !this.isLive || view.canceling === true || !this.question.hidden);
    if (!this.isLive || view.canceling) setHidden(this.question, true);
  }

  // Work that a worker has begun is lost by stopping it; the rest is stopped at once.
  private ask(): void {
    const { state } = this.job.view;
    if (state === 'queued') {
      void this.stop();
      return;
    }
    setHidden(this.question, false);
    setHidden(this.cancel, true);
    this.keep.focus();
  }

  private answer(): void {
    setHidden(this.question, true);
    setHidden(this.cancel, !this.isLive);
    this.cancel.focus();
  }

  private async stop(): Promise<void> {
    this.sure.disabled = this.cancel.disabled = true;
    try {
      await this.actions.cancel(this.job.view.id);
      setText(this.refusal, '');
    } catch (error) {
      setText(this.refusal, `It could not be stopped: ${(error as Error).message}`);
    }
    this.sure.disabled = this.cancel.disabled = false;
    setHidden(this.question, true);
    setHidden(this.cancel, !this.isLive || this.job.view.canceling === true);
  }
}
