import { moment, type View } from '../client';

interface Sample {
  readonly at: number;
  readonly done: number;
}

const windowMs = 8_000;
/** A rate over less time than this would jump about. */
const leastMs = 600;
/** Without a tick for so long, what was measured says nothing about now. */
const staleMs = 4_000;

/**
 * How fast a job gets on, from its successive records over the last seconds. A new
 * attempt, stage or unit begins anew, since their counts cannot be compared.
 */
export class Pace {
  private samples: Sample[] = [];
  private of = '';
  private grewAt = 0;

  /**
   * Takes a view, at `now` by this machine's clock. `isNews` says that it came as it
   * happened, and not as a part of what was missed.
   */
  add(view: View, now: number, isNews: boolean): void {
    const { progress } = view;
    const of = `${view.attempt}|${view.stage?.index}|${progress?.unit}|${view.state}`;
    if (of !== this.of || !progress) this.samples = [];
    this.of = of;
    if (!progress) return;
    const last = this.samples[this.samples.length - 1];
    if (last && progress.done < last.done) this.samples = [];
    if (last?.done === progress.done) return;
    if (last && isNews) this.grewAt = now;
    this.samples.push({ at: now, done: progress.done });
    while (this.samples.length > 2 && this.samples[0]!.at < now - windowMs) this.samples.shift();
  }

  /** Per second; undefined while it is not known. */
  rate(now: number): number | undefined {
    const first = this.samples[0];
    const last = this.samples[this.samples.length - 1];
    if (!first || !last || last.at - first.at < leastMs || now - last.at > staleMs) return undefined;
    return (1_000 * (last.done - first.done)) / (last.at - first.at);
  }

  /** Seconds until the present count is full: the job's own word if it has one. */
  eta(view: View, now: number): number | undefined {
    if (view.eta_seconds !== undefined) return view.eta_seconds;
    const rate = this.rate(now);
    const { progress } = view;
    if (!rate || !progress?.total || progress.total <= progress.done) return undefined;
    return (progress.total - progress.done) / rate;
  }

  /** Whether the count was seen to grow within the last `ms`. */
  grewWithin(ms: number, now: number): boolean {
    return now - this.grewAt <= ms;
  }
}

/** How long a job took, in seconds, if it has begun and ended. */
export function took(view: View): number | undefined {
  const from = moment(view.started_at);
  const to = moment(view.ended_at);
  return from && to ? (to - from) / 1_000 : undefined;
}
