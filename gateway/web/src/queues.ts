import type { View } from './client';

/** How a queue is served, as `GET /v1/queues` tells it: as much of it as the page reads. */
export interface Queue {
  readonly name: string;
  /** Another program's queue, in which adopted jobs wait. */
  readonly foreign?: boolean;
  readonly paused: boolean;
  readonly workers: number;
  readonly refusing?: number;
  readonly types: readonly string[];
}

/** What the queues of jobs are asked of, and for. */
export interface QueueSources {
  /** The jobs that the page holds and that have not ended. */
  live(): Iterable<{ readonly view: View; readonly appliedAt: number }>;
  /** The queues in which these jobs wait. */
  fetch(jobs: readonly string[]): Promise<readonly Queue[]>;
  /** Something else is known of them. */
  changed(): void;
}

/** A job starts at once where a worker is free: only a wait of so long is asked about. */
const patienceMs = 1_000;
const askEveryMs = 3_000;
/** After an error, such as that of a gateway that does not tell. */
const afterErrorMs = 15_000;
/** The most jobs that a request may name. */
const most = 32;

/**
 * What is known of the queues in which jobs wait. They change without a record, so they are
 * asked for again and again, while a job waits, and while the page is looked at.
 */
export class Queues {
  private known: readonly Queue[] = [];
  private nextAt = 0;
  private isAsking = false;

  constructor(private readonly sources: QueueSources) {}

  /** The queue in which a job waits, if it is known. */
  of(view: View): Queue | undefined {
    return this.known.find((queue) => queue.name === view.queue && !queue.foreign === !view.adopted);
  }

  /** To be called every second while the page is looked at. */
  async look(now: number): Promise<void> {
    if (this.isAsking || now < this.nextAt) return;
    const jobs = this.waiting(now);
    if (jobs.length === 0) {
      this.take([]);
      return;
    }
    this.isAsking = true;
    this.nextAt = now + askEveryMs;
    try {
      this.take(await this.sources.fetch(jobs));
    } catch {
      this.nextAt = now + afterErrorMs; // what is known stays
    } finally {
      this.isAsking = false;
    }
  }

  /** One job of each queue in which jobs have waited for a while. */
  private waiting(now: number): string[] {
    const first = new Map<string, string>();
    for (const { view, appliedAt } of this.sources.live()) {
      if (!isWaiting(view) || view.queue === undefined || now - appliedAt < patienceMs || first.size === most) continue;
      const queue = `${view.adopted === true} ${view.queue}`;
      if (!first.has(queue)) first.set(queue, view.id);
    }
    return [...first.values()];
  }

  private take(queues: readonly Queue[]): void {
    const differs = JSON.stringify(queues) !== JSON.stringify(this.known);
    this.known = queues;
    if (differs) this.sources.changed();
  }
}

/** Whether a job waits for a worker, or for the time of its attempt. */
export function isWaiting({ state, canceling }: View): boolean {
  return (state === 'queued' || state === 'retrying') && !canceling;
}

/** Why no worker takes a job from its queue, in words; empty where one will. */
export function holdOf(view: View, queue: Queue | undefined): string {
  if (!queue || !isWaiting(view)) return '';
  if (queue.paused) return `Queue ${queue.name} is paused`;
  if (queue.workers === 0 && queue.refusing) return `The workers take nothing from queue ${queue.name}: it holds tasks of another program`;
  if (queue.workers === 0) return `No worker serves queue ${queue.name}`;
  if (!queue.foreign && !queue.types.includes(view.type)) return `No worker of queue ${queue.name} knows type ${view.type}`;
  return '';
}
