import { moment, type View } from '../client';

interface Sample {
  readonly at: number;
  readonly done: number;
}

/** The time over which the rate that is shown is measured. */
const windowMs = 10_000;
/** The time over which the rate that a time left goes by is measured. */
const spanMs = 30_000;
/** A younger stage is measured over its last third, and over this much at least. */
const youngMs = 2_000;
/** A rate over less time than this would jump about. */
const leastMs = 1_000;
/** So long after its last record a count that grows is not yet slower for it. */
const betweenMs = 1_000;
/** Samples need not be closer. */
const grainMs = 250;

/**
 * How fast a job gets on, from its successive records, as docs/protocol.md says under "Figures". A
 * new attempt, stage or unit begins anew, since their counts cannot be compared.
 */
export class Pace {
  private began: Sample | undefined;
  private last: Sample | undefined;
  private samples: Sample[] = [];
  private of = '';
  private grewAt = -Infinity;
  private left: { readonly seconds: number; readonly at: number } | undefined;

  /**
   * Takes a view, at `now` by this machine's clock. `isNews` says that it came as it
   * happened, and not as a part of what was missed.
   */
  add(view: View, now: number, isNews: boolean): void {
    const { progress } = view;
    const of = `${view.attempt}|${view.stage?.index}|${progress?.unit}|${view.state}`;
    if (of !== this.of || !progress || progress.done < (this.last?.done ?? 0)) this.forget();
    this.of = of;
    if (!progress || this.last?.done === progress.done) return;
    if (this.last && isNews) this.grewAt = now;
    this.last = { at: now, done: progress.done };
    this.began ??= this.last;
    const newest = this.samples[this.samples.length - 1];
    if (!newest || now - newest.at >= grainMs) this.samples.push(this.last);
  }

  private forget(): void {
    this.began = this.last = this.left = undefined;
    this.samples = [];
  }

  /** Per second; undefined while it is not known, and when nothing has come for long. */
  rate(now: number): number | undefined {
    return this.speed(now, windowMs);
  }

  private speed(now: number, window: number): number | undefined {
    const { began, last, samples } = this;
    if (!began || !last || last.at - began.at < leastMs || now - last.at > windowMs) return undefined;
    const until = Math.max(last.at, now - betweenMs);
    while (samples.length > 1 && samples[1]!.at <= until - spanMs) samples.shift();
    const since = until - Math.min(window, Math.max(youngMs, (until - began.at) / 3));
    const from = samples.filter(({ at }) => at <= since).pop() ?? samples[0]!;
    const rate = (1_000 * (last.done - from.done)) / (until - from.at);
    return rate > 0 ? rate : undefined;
  }

  /**
   * Seconds that are left: the job's own word if it has one, else until the present count is full.
   * It does not rise while the count stands.
   */
  eta(view: View, now: number): number | undefined {
    if (view.eta_seconds !== undefined) return view.eta_seconds;
    const { progress } = view;
    if (!progress?.total || progress.total <= progress.done) return undefined;
    if (this.left?.at === progress.done) return this.left.seconds;
    const rate = this.speed(now, spanMs);
    if (!rate) return undefined;
    this.left = { seconds: (progress.total - progress.done) / rate, at: progress.done };
    return this.left.seconds;
  }

  /** Whether the count has grown within the last `ms`. */
  grewWithin(ms: number, now: number): boolean {
    return now - this.grewAt <= ms;
  }
}

/** How long a job took from its first byte or attempt to its end, in seconds, if it has begun and ended. */
export function took(view: View): number | undefined {
  const from = moment(view.started_at);
  const to = moment(view.ended_at);
  return from && to ? (to - from) / 1_000 : undefined;
}
