import type { Jobs } from '../client';
import { setHidden, setText } from './element';
import { count } from './format';
import { Row, type RowActions } from './row';

export interface ListPlaces {
  readonly live: HTMLElement;
  readonly liveCount: HTMLElement;
  readonly liveSection: HTMLElement;
  readonly ended: HTMLElement;
  readonly endedCount: HTMLElement;
  readonly endedSection: HTMLElement;
  readonly empty: HTMLElement;
}

/** A frame's share for rows; the rest of its 16 ms is the browser's. */
const budgetMs = 10;

/**
 * The two lists of jobs. Whatever comes between two frames of the screen is painted once,
 * row by row, and what does not fit a frame is painted in the next.
 */
export class JobList {
  private readonly rows = new Map<string, Row>();
  private readonly dirty = new Set<string>();
  private readonly live: Placement;
  private readonly ended: Placement;
  private frame = 0;
  private clock = 0;

  constructor(private readonly jobs: Jobs, private readonly places: ListPlaces, private readonly actions: RowActions) {
    this.live = new Placement(places.live);
    this.ended = new Placement(places.ended);
  }

  /** Marks jobs that are new, changed or gone. */
  mark(ids: Iterable<string>): void {
    for (const id of ids) this.dirty.add(id);
    this.schedule();
  }

  /** Marks all rows whose words depend on more than their job. */
  markLive(): void {
    this.mark(this.jobs.live().map((job) => job.view.id));
  }

  /** Once a second: waits count down, and rates go stale. */
  tick(): void {
    const now = Date.now();
    for (const row of this.live.rows) row.tick(now);
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
    this.paintCounts();
  }

  private paintJob(id: string): void {
    const job = this.jobs.get(id);
    let row = this.rows.get(id);
    if (!job) {
      if (row) this.place(row, undefined);
      this.rows.delete(id);
      return;
    }
    if (!row) {
      row = new Row(job, this.actions);
      this.rows.set(id, row);
    }
    row.update(job, this.clock);
    this.place(row, row.isLive ? this.live : this.ended);
  }

  private place(row: Row, to: Placement | undefined): void {
    for (const list of [this.live, this.ended]) if (list !== to) list.remove(row);
    to?.put(row);
  }

  private paintCounts(): void {
    const { places } = this;
    const live = this.live.rows.length;
    const ended = this.ended.rows.length;
    setText(places.liveCount, live ? count(live) : '');
    setText(places.endedCount, ended ? count(ended) : '');
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
