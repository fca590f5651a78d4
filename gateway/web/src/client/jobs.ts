import { hasEnded, isStalled, type View } from './protocol';

/** A job as it is to be shown. */
export interface Job {
  readonly view: View;
  /** What to show: the highest percent of any view so far. */
  readonly percent: number;
  /** When the view came, in milliseconds since 1970. */
  readonly appliedAt: number;
  /** When its last loss of a worker was heard of, if there was one. */
  readonly lostAt?: number | undefined;
}

export interface JobsOptions {
  /**
   * How many ended jobs are held, and as many ended children of others beside them; the
   * ones that ended first go. Defaults to 200.
   */
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
  private readonly children = new Map<string, Set<string>>();
  private readonly retries = new Map<string, string>();
  private readonly endedCount = { whole: 0, part: 0 };
  /** Jobs that are gone for good: a view of one is from before that. */
  private readonly gone = new Set<string>();

  constructor(private readonly options: JobsOptions = {}) {}

  get(id: string): Job | undefined {
    return this.held.get(id);
  }

  all(): IterableIterator<Job> {
    return this.held.values();
  }

  /** The children of a job that are held, whether or not it is itself. */
  childrenOf(id: string): ReadonlySet<string> {
    return this.children.get(id) ?? none;
  }

  /** The job that tries an ended one again, if it is held. */
  retryOf(id: string): string | undefined {
    return this.retries.get(id);
  }

  get size(): number {
    return this.held.size;
  }

  /** Takes a view if it is newer; says whether it was. */
  apply(view: View, now: number): boolean {
    if (this.gone.has(view.id)) return false;
    const before = this.held.get(view.id);
    if (before && !this.stale.has(view.id) && view.rev <= before.view.rev) return false;
    this.stale.delete(view.id);
    const percent = this.raise(view.id, view.percent);
    this.held.set(view.id, { view, percent, appliedAt: now, lostAt: isStalled(view) ? now : before?.lostAt });
    this.endedCount[kindOf(view)] += Number(hasEnded(view.state)) - Number(!!before && hasEnded(before.view.state));
    if (!before) this.relate(view);
    return true;
  }

  private relate({ id, parent, retry_of }: View): void {
    if (retry_of !== undefined) this.retries.set(retry_of, id);
    if (parent === undefined) return;
    const siblings = this.children.get(parent);
    if (siblings) siblings.add(id);
    else this.children.set(parent, new Set([id]));
  }

  private unrelate({ id, parent, retry_of }: View): void {
    if (retry_of !== undefined && this.retries.get(retry_of) === id) this.retries.delete(retry_of);
    const siblings = parent === undefined ? undefined : this.children.get(parent);
    if (siblings?.delete(id) && siblings.size === 0) this.children.delete(parent!);
  }

  /** Raises the mark of a job, which may not be held, and returns it. */
  raise(id: string, percent: number): number {
    const mark = Math.max(percent, this.highest.get(id) ?? 0);
    this.highest.set(id, mark);
    return mark;
  }

  /** The revisions held, and removals, are of a history that is gone: any view counts. The marks stay. */
  forgetRevisions(): void {
    this.gone.clear();
    this.stale = new Set(this.held.keys());
  }

  remove(id: string): boolean {
    const job = this.held.get(id);
    if (!job) return false;
    if (hasEnded(job.view.state)) this.endedCount[kindOf(job.view)]--;
    this.unrelate(job.view);
    this.stale.delete(id);
    this.highest.delete(id);
    return this.held.delete(id);
  }

  /** Removes a job for good, with its children, and names those that were held. */
  removeForGood(id: string): string[] {
    const family = this.familyOf(id);
    for (const each of family) this.gone.add(each);
    for (const first of this.gone) {
      if (this.gone.size <= goneKept) break;
      this.gone.delete(first);
    }
    return family.filter((each) => this.remove(each));
  }

  /** Lets the jobs that ended first go, their children with them, and names them. */
  trim(): string[] {
    const most = this.options.ended ?? 200;
    const gone = this.endedCount.whole > most ? this.ended().slice(most).flatMap((job) => this.familyOf(job.view.id)) : [];
    for (const id of gone) this.remove(id);
    if (this.endedCount.part > most) {
      for (const { view } of this.endedParts().slice(most)) {
        gone.push(view.id);
        this.remove(view.id);
      }
    }
    return gone;
  }

  private familyOf(id: string): string[] {
    return [id, ...[...this.childrenOf(id)].flatMap((child) => this.familyOf(child))];
  }

  /** The ended jobs that are no job's children, last ended first. */
  ended(): Job[] {
    return this.endedOf('whole').sort(lastFirst);
  }

  /**
   * The ended children: those that failed, the first one first, since it may be why others
   * did, then the rest, last ended first.
   */
  endedParts(): Job[] {
    const ended = this.endedOf('part').sort(lastFirst);
    const failed = ended.filter((job) => job.view.state === 'failed');
    return [...failed.reverse(), ...ended.filter((job) => job.view.state !== 'failed')];
  }

  private endedOf(kind: Kind): Job[] {
    return [...this.held.values()].filter(({ view }) => hasEnded(view.state) && kindOf(view) === kind);
  }

  live(): Job[] {
    return [...this.held.values()].filter((job) => !hasEnded(job.view.state));
  }

  clear(): void {
    this.held.clear();
    this.highest.clear();
    this.stale.clear();
    this.children.clear();
    this.retries.clear();
    this.gone.clear();
    this.endedCount.whole = this.endedCount.part = 0;
  }
}

const none: ReadonlySet<string> = new Set();

/** A view that is this many removals late is none that still comes. */
const goneKept = 10_000;

/** Ten thousand children that end must not push the other jobs out, so each kind has room of its own. */
type Kind = 'whole' | 'part';

function kindOf(view: View): Kind {
  return view.parent === undefined ? 'whole' : 'part';
}

function lastFirst(a: Job, b: Job): number {
  return moment(b.view.ended_at) - moment(a.view.ended_at) || b.view.rev - a.view.rev;
}

/** Milliseconds since 1970; 0 for a time that is absent or malformed. */
export function moment(time: string | undefined): number {
  return (time && Date.parse(time)) || 0;
}
