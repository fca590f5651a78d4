import type { Job, Jobs } from './jobs';
import { Alarm, type Clock } from './ports';
import type { Saved, Store } from './store';

export interface Holding {
  readonly principal: string;
  readonly history: number;
  readonly cursor: string;
  readonly jobs: Jobs;
}

const endedKept = 100;
/** More live jobs than this are too much to write ever again; a reload asks for a snapshot. */
const liveKept = 2_000;
const leastMs = 400;
/** Writing takes this share of the time at most: one part in so many. */
const idleShare = 20;

/** Writes to a store what a follower holds, soon after a change, and not with every one. */
export class Keeper {
  private readonly alarm: Alarm;
  private pending: (() => Holding) | undefined;
  private pauseMs = leastMs;

  constructor(private readonly store: Store, private readonly clock: Clock) {
    this.alarm = new Alarm(clock);
  }

  /** Notes that `holding`, read when it is written, is to be kept. */
  keep(holding: () => Holding): void {
    this.pending = holding;
    if (!this.alarm.isSet) this.alarm.set(this.pauseMs, () => this.flush());
  }

  flush(): void {
    this.alarm.clear();
    const holding = this.pending?.();
    this.pending = undefined;
    if (!holding) return;
    const began = this.clock.now();
    this.store.save(bounded(holding));
    this.pauseMs = Math.max(leastMs, (this.clock.now() - began) * idleShare);
  }

  forget(): void {
    this.alarm.clear();
    this.pending = undefined;
    this.store.forget();
  }
}

function bounded({ principal, history, cursor, jobs }: Holding): Saved {
  const live = jobs.live();
  // A cursor stands for all the live jobs up to it. Some of them alone would be shown
  // for ever as they were.
  const whole = live.length <= liveKept;
  const kept = whole ? [...live, ...endedOf(jobs, live)] : [];
  const marks: Record<string, number> = {};
  for (const job of whole ? kept : live.slice(0, 5 * liveKept)) marks[job.view.id] = job.percent;
  return { principal, history, cursor: whole ? cursor : '', jobs: kept.map((job) => job.view), marks };
}

/** The jobs that ended last, and the ended children of what is kept. */
function endedOf(jobs: Jobs, live: readonly Job[]): Job[] {
  const ended = jobs.ended().slice(0, endedKept);
  const parents = new Set([...live, ...ended].map((job) => job.view.id));
  return [...ended, ...jobs.endedParts().filter(({ view }) => parents.has(view.parent!)).slice(0, endedKept)];
}
