import { hasEnded, type View } from './protocol';

/** A job as it is to be shown. */
export interface Job {
  readonly view: View;
  /** What to show: the highest percent of any view so far. */
  readonly percent: number;
  /** When the view came, in milliseconds since 1970. */
  readonly appliedAt: number;
}

export interface JobsOptions {
  /** How many ended jobs are held; the ones that ended first go. Defaults to 200. */
  readonly ended?: number;
}

/**
 * The jobs of a topic, by the two rules that make a bar trustworthy: a view counts only
 * if its rev is higher than that of the view held, and the percent shown never falls.
 */
export class Jobs {
  private readonly held = new Map<string, Job>();
  private readonly highest = new Map<string, number>();
  private stale = new Set<string>();
  private endedCount = 0;

  constructor(private readonly options: JobsOptions = {}) {}

  get(id: string): Job | undefined {
    return this.held.get(id);
  }

  all(): IterableIterator<Job> {
    return this.held.values();
  }

  get size(): number {
    return this.held.size;
  }

  /** Takes a view if it is newer; says whether it was. */
  apply(view: View, now: number): boolean {
    const before = this.held.get(view.id);
    if (before && !this.stale.has(view.id) && view.rev <= before.view.rev) return false;
    this.stale.delete(view.id);
    const percent = this.raise(view.id, view.percent);
    this.held.set(view.id, { view, percent, appliedAt: now });
    this.endedCount += Number(hasEnded(view.state)) - Number(!!before && hasEnded(before.view.state));
    return true;
  }

  /** Raises the mark of a job, which may not be held, and returns it. */
  raise(id: string, percent: number): number {
    const mark = Math.max(percent, this.highest.get(id) ?? 0);
    this.highest.set(id, mark);
    return mark;
  }

  /** The revisions held are of a history that is gone: any view counts. The marks stay. */
  forgetRevisions(): void {
    this.stale = new Set(this.held.keys());
  }

  remove(id: string): boolean {
    const job = this.held.get(id);
    if (!job) return false;
    if (hasEnded(job.view.state)) this.endedCount--;
    this.stale.delete(id);
    this.highest.delete(id);
    return this.held.delete(id);
  }

  /** Lets the jobs that ended first go, and names them. */
  trim(): string[] {
    const most = this.options.ended ?? 200;
    if (this.endedCount <= most) return [];
    const gone = this.ended().slice(most).map((job) => job.view.id);
    for (const id of gone) this.remove(id);
    return gone;
  }

  /** The ended jobs, last ended first. */
  ended(): Job[] {
    return [...this.held.values()]
      .filter((job) => hasEnded(job.view.state))
      .sort((a, b) => moment(b.view.ended_at) - moment(a.view.ended_at) || (a.view.id < b.view.id ? 1 : -1));
  }

  live(): Job[] {
    return [...this.held.values()].filter((job) => !hasEnded(job.view.state));
  }

  clear(): void {
    this.held.clear();
    this.highest.clear();
    this.stale.clear();
    this.endedCount = 0;
  }
}

/** Milliseconds since 1970; 0 for a time that is absent or malformed. */
export function moment(time: string | undefined): number {
  return (time && Date.parse(time)) || 0;
}
