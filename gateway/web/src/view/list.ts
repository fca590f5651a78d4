import type { Job, Jobs } from '../client';
import { setHidden, setText } from './element';
import { count } from './format';
import { choose } from './parts';
import { Row, type RowActions } from './row';
import type { Unfolded } from './unfolded';

export interface ListPlaces {
  readonly live: HTMLElement;
  readonly liveCount: HTMLElement;
  readonly liveSection: HTMLElement;
  readonly liveClose: HTMLElement;
  readonly ended: HTMLElement;
  readonly endedCount: HTMLElement;
  readonly endedSection: HTMLElement;
  readonly endedClose: HTMLElement;
  readonly empty: HTMLElement;
}

/** What the list asks of the world beside the jobs. */
export interface ListActions extends Omit<RowActions, 'resultToggled'> {
  /** Whether a parent that is not there may still turn up. */
  isSought(id: string): boolean;
}

/** A frame's share for rows; the rest of its 16 ms is the browser's. */
const budgetMs = 10;
/** How often the children below a job are chosen and ordered anew, at most. */
const arrangeMs = 250;

/**
 * The two lists of jobs, in which children stand below their parent. Whatever comes between
 * two frames of the screen is painted once, row by row, and what does not fit a frame is
 * painted in the next.
 */
export class JobList {
  private readonly rows = new Map<string, Row>();
  private readonly dirty = new Set<string>();
  /** Parents whose children are to be arranged anew. */
  private readonly unarranged = new Set<string>();
  /** Rows whose results are open. */
  private readonly open = new Set<Row>();
  private readonly live: Placement;
  private readonly ended: Placement;
  private readonly rowActions: RowActions;
  /** The job whose row is to have the focus once it is there, and whether its result is to open. */
  private sought: { readonly id: string; readonly opens: boolean } | undefined;
  private frame = 0;
  private clock = 0;
  private arrangedAt = -Infinity;
  private later = 0;

  constructor(
    private readonly jobs: Jobs, private readonly places: ListPlaces, private readonly unfolded: Unfolded, private readonly actions: ListActions,
  ) {
    this.live = new Placement(places.live);
    this.ended = new Placement(places.ended);
    this.rowActions = {
      ...actions,
      resultToggled: (row) => {
        if (row.isOpen) this.open.add(row);
        else this.open.delete(row);
        this.schedule();
      },
    };
    places.liveClose.addEventListener('click', () => this.closeAll(places.live, places.liveSection));
    places.endedClose.addEventListener('click', () => this.closeAll(places.ended, places.endedSection));
  }

  /** Marks jobs that are new, changed or gone. */
  mark(ids: Iterable<string>): void {
    for (const id of ids) this.dirty.add(id);
    this.schedule();
  }

  /** Leads to a job's row, once it is there, and opens its result if it has one already. */
  lead(id: string, opens: boolean): void {
    this.sought = { id, opens };
    this.mark([id]);
  }

  /** Marks all rows whose words depend on more than their job. */
  markLive(): void {
    this.mark(this.jobs.live().map((job) => job.view.id));
  }

  /** A job's file is no longer kept. */
  fileGone(job: string, file: string): void {
    this.rows.get(job)?.files.gone(file);
  }

  /** Once a second: waits count down, rates go stale, and files expire. */
  tick(): void {
    const now = Date.now();
    for (const list of [this.live, this.ended]) for (const row of list.rows) row.tick(now);
  }

  private schedule(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  private paint(): void {
    const until = performance.now() + budgetMs;
    this.clock = Date.now();
    for (const id of this.dirty) {
      this.dirty.delete(id);
      this.paintJob(id);
      if (performance.now() > until) break;
    }
    if (this.dirty.size > 0) this.schedule();
    this.arrangeSoon();
    this.paintCounts();
  }

  private paintJob(id: string): void {
    const job = this.jobs.get(id);
    const row = this.rows.get(id);
    // Children are at home below their parent, or nowhere while that is looked for.
    if (!!job !== !!row) this.mark(this.jobs.childrenOf(id));
    if (!job) {
      if (!row) return;
      // The keyboard goes on at the row that takes the place of the one that goes.
      const next = row.node.contains(document.activeElement) ? row.node.nextElementSibling ?? row.node.previousElementSibling : null;
      this.drop(row);
      (next as HTMLElement | null)?.focus({ preventScroll: true });
      if (row.retryOf !== undefined) this.mark([row.retryOf]);
      if (row.parent !== undefined) this.unarranged.add(row.parent);
      return;
    }
    const { parent, retry_of } = job.view;
    if (parent !== undefined && (this.jobs.get(parent) || this.actions.isSought(parent))) {
      this.paintPart(job, parent, row);
      return;
    }
    if (!row && retry_of !== undefined) this.mark([retry_of]);
    const painted = row ?? this.rowOf(job);
    painted.level = 3;
    this.update(painted, job);
    this.place(painted, painted.isLive ? this.live : this.ended);
    if (id !== this.sought?.id) return;
    const { opens } = this.sought;
    this.sought = undefined;
    this.paintCounts(); // or its section may be hidden
    painted.node.focus();
    if (opens) painted.open();
  }

  private paintPart(job: Job, parent: string, row: Row | undefined): void {
    if (row && (this.live.has(row) || this.ended.has(row))) this.drop(row);
    else if (row) this.update(row, job);
    if (this.unfolded.has(parent)) this.unarranged.add(parent);
  }

  private rowOf(job: Job): Row {
    const { id } = job.view;
    const row = new Row(job, this.rowActions, () => this.toggle(id));
    this.rows.set(id, row);
    return row;
  }

  private update(row: Row, job: Job): void {
    const { id } = job.view;
    row.update(job, this.clock, {
      isRetried: this.jobs.retryOf(id) !== undefined, parts: this.jobs.childrenOf(id).size, isUnfolded: this.unfolded.has(id),
    });
    if (this.unfolded.has(id)) this.unarranged.add(id);
  }

  private drop(row: Row): void {
    for (const child of row.family.rows) this.drop(child);
    this.place(row, undefined);
    row.node.remove();
    this.open.delete(row);
    if (this.rows.get(row.id) === row) this.rows.delete(row.id);
  }

  private openIn(list: HTMLElement): Row[] {
    return [...this.open].filter((row) => list.contains(row.node));
  }

  // The button goes with the last result, so its section takes the focus.
  private closeAll(list: HTMLElement, section: HTMLElement): void {
    for (const row of this.openIn(list)) row.close();
    section.focus({ preventScroll: true });
  }

  private toggle(id: string): void {
    this.unfolded.set(id, !this.unfolded.has(id));
    this.mark([id]);
    this.arrangedAt = -Infinity; // who clicked looks
    this.unarranged.add(id);
  }

  private arrangeSoon(): void {
    if (this.unarranged.size === 0) return;
    const wait = this.arrangedAt + arrangeMs - performance.now();
    if (wait > 0) {
      this.later ||= window.setTimeout(() => {
        this.later = 0;
        this.schedule();
      }, wait);
      return;
    }
    this.arrangedAt = performance.now();
    for (const id of this.unarranged) this.arrange(id); // may add those of children, which come in this turn
    this.unarranged.clear();
  }

  /** Puts the rows of a job's children below it: some of them, or none when they are folded. */
  private arrange(id: string): void {
    const row = this.rows.get(id);
    const job = this.jobs.get(id);
    if (!row || !job) return;
    const held = [...this.jobs.childrenOf(id)].flatMap((child) => this.jobs.get(child) ?? []);
    const chosen = this.unfolded.has(id) ? choose(held) : [];
    const rows = chosen.map((child) => this.rows.get(child.view.id) ?? this.rowOf(child));
    const kept = new Set(rows);
    const gone = row.family.rows.filter((child) => !kept.has(child));
    row.family.put(rows, row.level + 1, Math.max(held.length, job.view.children?.count ?? 0) - rows.length);
    for (const child of gone) this.drop(child);
    chosen.forEach((child, i) => this.update(rows[i]!, child));
  }

  private place(row: Row, to: Placement | undefined): void {
    const focused = row.node.contains(document.activeElement) ? (document.activeElement as HTMLElement) : undefined;
    for (const list of [this.live, this.ended]) if (list !== to) list.remove(row);
    to?.put(row);
    if (!focused || !to) return;
    setHidden(to === this.live ? this.places.liveSection : this.places.endedSection, false); // or it cannot have it
    focused.focus({ preventScroll: true }); // which moving it has taken
  }

  private paintCounts(): void {
    const { places } = this;
    const live = this.live.rows.length;
    const ended = this.ended.rows.length;
    setText(places.liveCount, live ? count(live) : '');
    setText(places.endedCount, ended ? count(ended) : '');
    setHidden(places.liveClose, this.openIn(places.live).length === 0);
    setHidden(places.endedClose, this.openIn(places.ended).length === 0);
    setHidden(places.liveSection, live === 0);
    setHidden(places.endedSection, ended === 0);
    // Until it is known that there are none, nothing is said.
    setHidden(places.empty, live + ended > 0 || !this.actions.isLive());
  }
}

/** Rows in their order under one element. A row stands where it first came to stand. */
class Placement {
  readonly rows: Row[] = [];
  private readonly orders = new Map<Row, number>();

  constructor(private readonly parent: HTMLElement) {}

  has(row: Row): boolean {
    return this.orders.has(row);
  }

  put(row: Row): void {
    const order = row.order;
    if (this.orders.get(row) === order) return;
    this.remove(row);
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle]!.order >= order) low = middle + 1;
      else high = middle;
    }
    this.parent.insertBefore(row.node, this.rows[low]?.node ?? null);
    this.rows.splice(low, 0, row);
    this.orders.set(row, order);
  }

  remove(row: Row): void {
    if (!this.orders.delete(row)) return;
    this.rows.splice(this.rows.indexOf(row), 1);
    row.node.remove();
  }
}
