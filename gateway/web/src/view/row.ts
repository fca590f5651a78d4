import { jobPath } from '../api';
import { hasEnded, moment, type Job, type View } from '../client';
import type { Queue } from '../queues';
import { Controls, type ControlActions } from './controls';
import type { DatasetActions } from './dataset';
import { element, setAttribute, setHidden, setText } from './element';
import { Family } from './family';
import { Files } from './files';
import { exactly, percentTenths } from './format';
import { Pace } from './pace';
import { profileArtifact } from './profile-data';
import { ResultPanel } from './result';
import * as words from './words';

export interface RowActions extends ControlActions {
  /** What is known of the queue in which the job waits. */
  queueOf(view: View): Queue | undefined;
  /** Whether this page is sending the job's file. */
  feeding(id: string): boolean;
  /** Whether a job's file has been uploaded, and may become a dataset. */
  hasFile(view: View): boolean;
  readonly datasets: DatasetActions;
  /** Whether the result of a job that has just ended opens by itself. It is asked once for each. */
  opens(id: string): boolean;
  /** A row's result was opened or closed. */
  resultToggled(row: Row): void;
  /** Whether what comes now comes as it happens. */
  isLive(): boolean;
}

/** What a row shows of other jobs. */
export interface Relations {
  /** The job is tried again by another one. */
  readonly isRetried: boolean;
  /** How many of its children the page knows of. */
  readonly parts: number;
  readonly isUnfolded: boolean;
}

/** More than any two jobs' creations lie apart. */
const aheadMs = 1e14;

/** A job's row. It is built once, and each update touches what differs alone. */
export class Row {
  readonly node = element('li', { class: 'job', tabindex: '-1' });
  private readonly title = element('span', { class: 'title', role: 'heading' });
  private readonly kind = element('span', { class: 'kind' });
  private readonly link: HTMLAnchorElement;
  private readonly state = element('span', { class: 'state' });
  private readonly fill = element('div', { class: 'fill' });
  private readonly bar = element('div', { class: 'bar', role: 'progressbar', 'aria-valuemin': '0', 'aria-valuemax': '100' }, this.fill);
  private readonly percent = element('span', { class: 'percent' });
  private readonly figures = ['stage', 'count', 'rate', 'attempt', 'eta', 'end'].map((name) => element('span', { class: name }));
  private readonly note = element('p', { class: 'note' });
  private readonly errorCode = element('code');
  private readonly errorText = element('span');
  private readonly error = element('p', { class: 'error' }, this.errorText, ' ', this.errorCode);
  private readonly controls: Controls;
  private readonly result: ResultPanel;
  readonly family: Family;
  readonly files = new Files();
  private readonly pace = new Pace();
  private painted = -1;
  private lastRev = -1;
  private isRetried = false;

  constructor(private job: Job, private readonly actions: RowActions, toggled: () => void) {
    const { id } = job.view;
    this.controls = new Controls(this.node, actions);
    this.result = new ResultPanel(id, this.files, actions.datasets, () => actions.resultToggled(this));
    this.family = new Family(id, toggled);
    this.node.dataset.job = id;
    // It leads away from a page that may be sending a file.
    this.link = element('a', { class: 'id', href: jobPath(id), target: '_blank', rel: 'noopener', title: `${id}, as JSON` }, id.slice(-6));
    this.node.append(
      element('div', { class: 'head' }, this.title, this.kind, this.link, this.state, this.result.toggle, this.controls.node),
      this.bar,
      element('div', { class: 'figures' }, this.percent, ...this.figures),
      this.note, this.error, this.controls.refusal, this.files.node, this.family.node, this.result.node);
    this.error.hidden = true;
    this.level = 3;
  }

  /** The level of its title among the page's headings. */
  set level(level: number) {
    setAttribute(this.title, 'aria-level', String(level));
    this.result.level = level + 1;
  }

  get level(): number {
    return Number(this.title.getAttribute('aria-level'));
  }

  get id(): string {
    return this.job.view.id;
  }

  get parent(): string | undefined {
    return this.job.view.parent;
  }

  get retryOf(): string | undefined {
    return this.job.view.retry_of;
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

  get isOpen(): boolean {
    return this.result.isOpen;
  }

  /** Opens its result, if it has one. */
  open(): void {
    this.result.openFully();
  }

  /** Closes its result. */
  close(): void {
    this.result.close();
  }

  update(job: Job, now: number, relations: Relations): void {
    const wasLive = this.lastRev >= 0 && this.isLive;
    this.job = job;
    const { view } = job;
    if (view.rev !== this.lastRev) this.pace.add(view, job.appliedAt, this.actions.isLive());
    this.lastRev = view.rev;
    this.isRetried = relations.isRetried;
    this.paintBar();
    this.paintWords(now);
    this.controls.offer(view, relations.isRetried, this.actions.hasFile(view));
    this.family.paint(view, relations.parts, relations.isUnfolded);
    this.node.classList.toggle('ended', !this.isLive);
    this.files.show(view, now, profileArtifact(view.result));
    if (!this.isLive) this.result.show(view, () => wasLive && this.actions.opens(view.id));
  }

  /** Repaints what changes with time alone: waits, rates, whether anything still comes, and which files are kept. */
  tick(now: number): void {
    if (this.isLive) this.paintWords(now);
    this.files.tick(now);
    for (const row of this.family.rows) row.tick(now);
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
    const about = { now, pace: this.pace, feeding: this.actions.feeding(view.id), lostAt: this.job.lostAt, queue: this.actions.queueOf(view),
      isCutOff: !this.actions.isLive() };
    const status = words.statusOf(view, about);
    setAttribute(this.node, 'data-status', status);
    setText(this.title, words.titleOf(view));
    setAttribute(this.title, 'title', words.titleOf(view));
    setText(this.kind, view.title ? view.type : '');
    setAttribute(this.link, 'aria-label', `${view.id.slice(-6)}: job ${view.id}, ${words.titleOf(view)}, as JSON in a new tab`);
    setText(this.state, status === 'orphan' ? 'Waiting' : words.stateOf(view));
    const texts = [
      words.stageOf(view), words.countOf(view, about), words.rateOf(view, about), words.attemptOf(view),
      words.etaOf(view, about), words.endOf(view, now),
    ];
    this.figures.forEach((node, i) => setText(node, texts[i] ?? ''));
    const end = moment(view.ended_at);
    if (end) setAttribute(this.figures[5]!, 'title', exactly(end));
    setText(this.note, this.isRetried ? 'Tried again by another job' : words.noteOf(view, about));
    const trouble = words.troubleOf(view);
    setHidden(this.error, !trouble);
    if (trouble) {
      setText(this.errorCode, trouble.code);
      setText(this.errorText, trouble.message);
    }
  }
}
