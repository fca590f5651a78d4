import { hasEnded, moment, type Job, type View } from '../client';
import { amount, percentTenths, rate, span, when } from './format';
import { took, type Pace } from './pace';

/** What is known of a job beside its view. */
export interface Circumstances {
  readonly now: number;
  readonly pace: Pace;
  /** This page is sending the job's file. */
  readonly feeding: boolean;
}

const states: Readonly<Record<View['state'], string>> = {
  receiving: 'Receiving', queued: 'Queued', running: 'Running', paused: 'Paused', retrying: 'Retrying',
  succeeded: 'Done', failed: 'Failed', canceled: 'Canceled',
};

export function titleOf(view: View): string {
  return view.title || `${view.type} ${view.id.slice(-6)}`;
}

export function stateOf(view: View): string {
  return view.canceling ? 'Canceling' : states[view.state];
}

/** A file whose sender is gone: not this page's, and nothing has come of late. */
export function isOrphan(view: View, { now, pace, feeding }: Circumstances): boolean {
  return view.state === 'receiving' && !view.canceling && !feeding && !pace.grewWithin(2_500, now);
}

export function stageOf({ state, stage, canceling }: View): string {
  if (state === 'queued' && !canceling) return 'waiting for a worker';
  if (!stage || hasEnded(state) || state === 'receiving') return '';
  return stage.count > 1 ? `${stage.name}, step ${stage.index + 1} of ${stage.count}` : stage.name;
}

export function countOf({ state, progress }: View): string {
  if (!progress || hasEnded(state) || state === 'queued') return '';
  return amount(progress.done, progress.total, progress.unit);
}

export function rateOf(view: View, { now, pace }: Circumstances): string {
  const perSecond = isMoving(view) ? pace.rate(now) : undefined;
  return perSecond ? rate(perSecond, view.progress?.unit) : '';
}

export function etaOf(view: View, { now, pace }: Circumstances): string {
  const seconds = isMoving(view) ? pace.eta(view, now) : undefined;
  if (seconds === undefined) return '';
  return seconds < 1 ? 'a moment left' : `${span(seconds)} left`;
}

function isMoving(view: View): boolean {
  return view.state === 'running' || view.state === 'receiving';
}

/** The attempt, where it is not simply the first. */
export function attemptOf({ state, attempt, resumed_from }: View): string {
  const parts = [];
  if (attempt && attempt > 1) parts.push(`attempt ${attempt}`);
  if (resumed_from !== undefined && !hasEnded(state)) parts.push(`resumed from ${percentTenths(resumed_from)} %`);
  return parts.join(', ');
}

/** The line below the bar: what to know, or to do. */
export function noteOf(view: View, about: Circumstances): string {
  if (isOrphan(view, about)) return 'Waiting for the file: drop it again to go on';
  if (view.state === 'retrying') {
    const wait = moment(view.retry_at) - about.now;
    return wait > 500 ? `Next attempt in ${span(wait / 1_000)}` : 'Next attempt any moment';
  }
  if (view.canceling && !hasEnded(view.state)) return 'Asked to stop';
  return hasEnded(view.state) ? '' : view.message ?? '';
}

export function troubleOf({ state, error }: View): { code: string; message: string } | undefined {
  return state === 'failed' || state === 'retrying' ? error : undefined;
}

/** When a job ended and how long it took. */
export function endOf(view: View, now: number): string {
  const at = moment(view.ended_at);
  if (!at) return '';
  const seconds = took(view);
  return seconds === undefined ? when(at, now) : `${when(at, now)} · took ${seconds < 1 ? '< 1 s' : span(seconds)}`;
}

/** A bar in words, for who cannot see it. */
export function spoken({ view, percent }: Job): string {
  const stage = stageOf(view);
  return `${percentTenths(percent)} %, ${stateOf(view)}${stage ? `, ${stage}` : ''}`;
}
