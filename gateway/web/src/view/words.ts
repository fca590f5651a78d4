import { hasEnded, isStalled, moment, type Job, type View } from '../client';
import { holdOf, type Queue } from '../queues';
import { amount, count, percentTenths, rate, span, when } from './format';
import { took, type Pace } from './pace';

/** What is known of a job beside its view. */
export interface Circumstances {
  readonly now: number;
  readonly pace: Pace;
  /** This page is sending the job's file. */
  readonly feeding: boolean;
  /** The page is cut off from the server: what was measured says nothing about now. */
  readonly isCutOff?: boolean;
  /** When the job lost its worker, as far as this page has seen. */
  readonly lostAt?: number | undefined;
  /** The queue in which the job waits, if anything is known of it. */
  readonly queue?: Queue | undefined;
}

/** Another worker often takes over at once: that the first was lost is still told for so long. */
const lostMs = 10_000;

const states: Readonly<Record<View['state'], string>> = {
  receiving: 'Receiving', queued: 'Queued', running: 'Running', awaiting: 'Awaiting', paused: 'Paused', retrying: 'Retrying',
  succeeded: 'Done', failed: 'Failed', canceled: 'Canceled',
};

export function titleOf(view: View): string {
  return view.title || `${view.type} ${view.id.slice(-6)}`;
}

export function stateOf(view: View): string {
  if (hasEnded(view.state)) return states[view.state];
  if (view.canceling) return 'Canceling…';
  // There may be more states in future.
  return view.pausing ? 'Pausing…' : states[view.state] ?? view.state;
}

/** What the look of a row depends on. */
export function statusOf(view: View, about: Circumstances): string {
  if (isOrphan(view, about)) return 'orphan';
  if (hasEnded(view.state)) return view.state;
  if (view.canceling) return 'canceling';
  return view.pausing ? 'pausing' : view.state;
}

/** How many of a job's children have ended: "4 of 10 parts done, 1 failed". */
export function partsOf({ children }: View): string {
  if (!children) return '';
  const failed = children.failed > 0 ? `, ${count(children.failed)} failed` : '';
  return `${count(children.ended)} of ${count(children.count)} ${children.count === 1 ? 'part' : 'parts'} done${failed}`;
}

/** A file whose sender is gone: not this page's, and nothing has come of late. */
export function isOrphan(view: View, { now, pace, feeding }: Circumstances): boolean {
  return view.state === 'receiving' && !view.canceling && !feeding && !pace.grewWithin(2_500, now);
}

export function stageOf({ state, stage, canceling, queue }: View): string {
  if (state === 'queued' && !canceling) return queue ? `waiting in queue ${queue}` : 'waiting for a worker';
  if (!stage || hasEnded(state) || state === 'receiving') return '';
  return stage.count > 1 ? `${stage.name}, step ${stage.index + 1} of ${stage.count}` : stage.name;
}

/** What was counted. While a file arrives it says what the bytes are, and that the bar has room for what follows. */
export function countOf(view: View, about: Circumstances): string {
  const { state, progress, type } = view;
  if (!progress || hasEnded(state) || state === 'queued' || state === 'awaiting') return '';
  const counted = amount(progress.done, progress.total, progress.unit);
  if (state !== 'receiving') return counted;
  return isOrphan(view, about) ? `${counted} uploaded; then ${type}` : `uploading ${counted}; then ${type}`;
}

export function rateOf(view: View, about: Circumstances): string {
  const perSecond = view.state !== 'awaiting' && isMoving(view, about) ? about.pace.rate(about.now) : undefined;
  return perSecond ? rate(perSecond, view.progress?.unit) : '';
}

export function etaOf(view: View, about: Circumstances): string {
  const seconds = isMoving(view, about) ? about.pace.eta(view, about.now) : undefined;
  if (seconds === undefined) return '';
  const left = seconds < 1 ? 'a moment left' : `${span(seconds)} left`;
  return view.state === 'receiving' ? `${left} to upload` : left;
}

/** An upload whose bytes have stopped is cut off. */
const stoppedMs = 4_000;

function isMoving({ state }: View, { now, pace, isCutOff }: Circumstances): boolean {
  if (isCutOff) return false;
  return state === 'running' || state === 'awaiting' || (state === 'receiving' && pace.grewWithin(stoppedMs, now));
}

/** The attempt, where it is not simply the first. */
export function attemptOf({ state, attempt, resumed_from, retry_of, children }: View): string {
  const parts = [];
  if (retry_of) parts.push('another try');
  // That a job has waited for its children, and goes on, is no attempt to a person.
  const tries = (attempt ?? 0) - (children?.awaited ?? 0);
  if (tries > 1) parts.push(`attempt ${tries}`);
  if (resumed_from !== undefined && state === 'running' && (tries > 1 || !children?.awaited)) {
    if (resumed_from > 0) parts.push(`goes on from ${percentTenths(resumed_from)} %`);
    else if (!children) parts.push('starts over'); // with children it begins again, and they do not
  }
  return parts.join(', ');
}

/** The line below the bar: what to know, or to do. */
export function noteOf(view: View, about: Circumstances): string {
  if (isOrphan(view, about)) return 'Waiting for the file: drop it again to go on';
  if (view.canceling && !hasEnded(view.state)) return 'Asked to stop';
  if (view.pausing && !hasEnded(view.state)) {
    return view.state === 'receiving' ? 'Pauses once the file has arrived' : 'Pauses once its worker has put down how far it is';
  }
  if (isStalled(view)) return holdOf(view, about.queue) || 'Its worker was lost, another takes over';
  if (view.state === 'retrying') {
    const wait = moment(view.retry_at) - about.now;
    return wait > 500 ? `Next attempt in ${span(wait / 1_000)}` : holdOf(view, about.queue) || 'Next attempt any moment';
  }
  if (view.state === 'queued') {
    const wait = view.started_at ? 0 : moment(view.start_at) - about.now;
    if (wait > 500) return `Starts in ${span(wait / 1_000)}`;
    const hold = holdOf(view, about.queue);
    if (hold) return hold;
  }
  if (view.state === 'running' && about.lostAt !== undefined && about.now - about.lostAt < lostMs) return 'Its worker was lost, another goes on';
  if (view.state === 'paused') return 'Rests until it is resumed';
  return hasEnded(view.state) ? '' : view.message ?? '';
}

export function troubleOf({ state, error }: View): { code: string; message: string } | undefined {
  return state === 'failed' || state === 'retrying' || state === 'canceled' ? error : undefined;
}

/** When a job ended and how long it took. */
export function endOf(view: View, now: number): string {
  const at = moment(view.ended_at);
  if (!at) return '';
  const seconds = took(view);
  const how = view.state === 'canceled' && !view.error ? 'on request, ' : '';
  return how + (seconds === undefined ? when(at, now) : `${when(at, now)} · took ${seconds < 1 ? '< 1 s' : span(seconds)}`);
}

/** A bar in words, for who cannot see it. */
export function spoken({ view, percent }: Job): string {
  const stage = stageOf(view);
  return `${percentTenths(percent)} %, ${stateOf(view)}${stage ? `, ${stage}` : ''}`;
}
