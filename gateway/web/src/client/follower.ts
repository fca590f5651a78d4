import { Backoff } from './backoff';
import type { Connection, ConnectionState } from './connection';
import { Jobs } from './jobs';
import { Keeper } from './keeper';
import { Parents } from './parents';
import { Alarm, type Clock, type Random } from './ports';
import { hasEnded, type Filter, type Reason, type StreamRecord, type SubscriptionFrame, type View } from './protocol';
import type { Store } from './store';

/**
 * What a follower is at: `waiting` for a connection, `catching up`, `live`, `stalled` (the
 * server's storage does not answer; it goes on by itself) or `refused` for good.
 */
export type FollowerState =
  | { readonly name: 'waiting' | 'catching up' | 'live' | 'stalled' }
  | { readonly name: 'refused'; readonly code: string; readonly message: string };

export interface FollowerOptions {
  readonly connection: Connection;
  readonly topic: string;
  /** Only the jobs that it selects, and records of those. */
  readonly filter?: Filter;
  /** The most live jobs that a snapshot has, 1 to 100,000: the newest. Without it, all. */
  readonly limit?: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Where the cursor and the jobs survive a reload. Without it nothing does. */
  readonly store?: Store;
  /**
   * Asks for one job over HTTP: its view, or undefined if there is none any more. It is
   * asked about jobs that were live when last seen and that a snapshot does not have, and
   * about parents of children that it has.
   */
  readonly fetchJob?: (id: string) => Promise<View | undefined>;
}

/** Hears of a follower, once for each frame and not for each record. */
export interface FollowerListener {
  /** These jobs are new, changed or gone. */
  jobsChanged?(ids: ReadonlySet<string>): void;
  stateChanged?(state: FollowerState): void;
  /** A record, whether or not its view was news. */
  record?(record: StreamRecord): void;
}

const inquiryPauseMs = 5_000;

/** The type of the record that a job is gone, with its view as it was. */
const removed = 'job.removed';

/** A snapshot that has begun to arrive. */
interface Arriving {
  readonly reason: Reason;
  readonly seen: Set<string>;
  parts: number;
}

/**
 * Follows a topic as docs/protocol.md says under "What a client does": it holds a cursor
 * and the jobs, and over losses, gaps, trimmed and rewritten streams what it shows is
 * either complete or being made so, and no percent falls.
 */
export class TopicFollower {
  readonly jobs = new Jobs();
  private current: FollowerState = { name: 'waiting' };
  private cursor = '';
  private history = 0;
  private principal: string | undefined;
  private sid: string | undefined;
  private arriving: Arriving | undefined;
  private behind: string | undefined;
  private askedFrom = '';
  /** Jobs to ask about once there is a connection again. */
  private readonly unanswered = new Set<string>();
  private readonly parents = new Parents(this.jobs, (id) => void this.inquire(id));
  private readonly listeners = new Set<FollowerListener>();
  private readonly mismatches: Backoff;
  private readonly again: Alarm;
  private readonly keeper: Keeper | undefined;
  private stopListening: (() => void) | undefined;

  constructor(private readonly options: FollowerOptions) {
    this.mismatches = new Backoff(options.random);
    this.again = new Alarm(options.clock);
    if (options.store) this.keeper = new Keeper(options.store, options.clock);
  }

  get state(): FollowerState {
    return this.current;
  }

  listen(listener: FollowerListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Shows what the store holds, at once, and follows as soon as there is a connection. */
  start(): void {
    this.recall();
    const hear = (state: ConnectionState): void => this.connectionChanged(state);
    this.stopListening = this.options.connection.listen({ changed: hear, isBusy: () => this.isBusy() });
    hear(this.options.connection.state);
  }

  /** Something runs, so records are expected. */
  private isBusy(): boolean {
    for (const { view } of this.jobs.all()) if (view.state === 'running' || view.state === 'receiving') return true;
    return false;
  }

  /** Ends the subscription and writes what is held to the store. */
  stop(): void {
    this.stopListening?.();
    this.unsubscribe();
    this.flush();
    this.enter({ name: 'waiting' });
  }

  /** Writes what is held to the store now, as before a page goes away. */
  flush(): void {
    this.keeper?.flush();
  }

  /** Takes a view that came over HTTP, if it is news. */
  offer(view: View): void {
    if (this.jobs.apply(view, this.options.clock.now())) this.tell([view.id]);
  }

  /** Drops a job that was removed over HTTP, before its record comes. */
  drop(id: string): void {
    this.tell(this.jobs.removeForGood(id));
  }

  /** Where the live jobs that the limit left out begin: the `after` of a list of them. */
  get more(): string | undefined {
    return this.behind === undefined ? undefined : `live:${this.behind}`;
  }

  /** Whether a parent that is not held may still turn up. */
  isSought(id: string): boolean {
    return this.parents.isSought(id);
  }

  private recall(): void {
    const saved = this.options.store?.load();
    if (!saved) return;
    this.principal = saved.principal;
    this.history = saved.history;
    this.cursor = saved.cursor;
    for (const view of saved.jobs) {
      this.jobs.raise(view.id, saved.marks[view.id] ?? 0);
      this.jobs.apply(view, this.options.clock.now());
    }
    for (const [id, mark] of Object.entries(saved.marks)) this.jobs.raise(id, mark);
    this.tell(saved.jobs.map((view) => view.id));
  }

  private connectionChanged(state: ConnectionState): void {
    if (state.name !== 'live') {
      this.sid = undefined;
      this.arriving = undefined;
      this.again.clear();
      if (this.current.name !== 'refused') this.enter({ name: 'waiting' });
      return;
    }
    if (this.principal !== undefined && this.principal !== state.welcome.principal) this.forget();
    this.principal = state.welcome.principal;
    this.subscribe();
    for (const id of this.unanswered) void this.inquire(id);
    this.unanswered.clear();
  }

  /** What is held is another user's. */
  private forget(): void {
    const ids = [...this.jobs.all()].map((job) => job.view.id);
    this.jobs.clear();
    this.unanswered.clear();
    this.parents.forget();
    this.cursor = '';
    this.history = 0;
    this.keeper?.forget();
    this.tell(ids);
  }

  private subscribe(): void {
    this.unsubscribe();
    this.arriving = undefined;
    this.askedFrom = this.cursor;
    this.sid = this.options.connection.subscribe(
      this.options.topic, this.cursor || undefined, this.options, (frame) => this.take(frame));
    if (this.sid !== undefined) this.enter({ name: 'catching up' });
  }

  private unsubscribe(): void {
    this.again.clear();
    if (this.sid !== undefined) this.options.connection.unsubscribe(this.sid);
    this.sid = undefined;
  }

  private take(frame: SubscriptionFrame): void {
    switch (frame.type) {
      case 'subscribed':
        this.judged(frame.mode, frame.reason, frame.cursor);
        break;
      case 'snapshot':
        this.takeSnapshot(frame);
        break;
      case 'records':
        this.takeRecords(frame.after, frame.cursor, frame.records);
        break;
      case 'live':
        this.enter({ name: 'live' });
        break;
      case 'error':
        this.failed(frame.code, frame.message);
        break;
    }
  }

  private judged(mode: 'replay' | 'snapshot', reason: Reason, cursor: string): void {
    if (this.current.name !== 'catching up') this.enter({ name: 'catching up' });
    this.arriving = undefined;
    if (mode === 'replay') {
      if (cursor !== this.cursor) this.mismatch();
      return;
    }
    if (reason === 'rewritten') {
      this.jobs.forgetRevisions();
      this.history++;
    }
    this.arriving = { reason, seen: new Set(), parts: 0 };
  }

  private takeSnapshot(frame: SubscriptionFrame & { type: 'snapshot' }): void {
    const arriving = this.arriving;
    if (!arriving || frame.part !== arriving.parts + 1) {
      this.mismatch();
      return;
    }
    arriving.parts = frame.part;
    const changed = this.applyAll(frame.jobs);
    for (const view of frame.jobs) arriving.seen.add(view.id);
    if (frame.final) {
      this.arriving = undefined;
      this.cursor = frame.cursor;
      this.mismatches.reset();
      this.behind = frame.more?.replace('live:', '');
      for (const id of this.replaced(arriving.seen)) changed.push(id);
      this.seekParents([...this.jobs.all()].map((job) => job.view));
    }
    this.tell(changed);
  }

  /** Drops what the snapshot replaces. A job that was live is asked about first. */
  private replaced(seen: ReadonlySet<string>): string[] {
    const dropped: string[] = [];
    // Jobs behind the snapshot's bound were left out, or have left the filter's state: then they go.
    const behind = this.options.filter?.state ? undefined : this.behind;
    for (const { view } of [...this.jobs.all()]) {
      if (seen.has(view.id) || (!hasEnded(view.state) && behind !== undefined && view.id < behind)) continue;
      if (!hasEnded(view.state) && this.options.fetchJob) void this.inquire(view.id);
      else if (this.jobs.remove(view.id)) dropped.push(view.id);
    }
    return dropped;
  }

  private async inquire(id: string): Promise<void> {
    const owner = this.principal;
    let view: View | undefined;
    try {
      view = await this.options.fetchJob?.(id);
    } catch {
      // Nothing else would ever tell of this job again.
      this.options.clock.setTimer(() => {
        if (owner === this.principal && this.sid !== undefined) void this.inquire(id);
        else this.unanswered.add(id);
      }, inquiryPauseMs * (1 + this.options.random()));
      return;
    }
    if (owner !== this.principal) return;
    const wasSought = this.parents.answered(id, view !== undefined);
    const isNews = view ? this.jobs.apply(view, this.options.clock.now()) : this.jobs.remove(id);
    if (isNews || wasSought) this.tell([id]);
  }

  private seekParents(views: Iterable<View>): void {
    if (this.options.fetchJob) this.parents.seek(views);
  }

  private takeRecords(after: string, cursor: string, records: readonly StreamRecord[]): void {
    if (this.arriving || after !== this.cursor) {
      this.mismatch();
      return;
    }
    this.mismatches.reset();
    if (this.current.name === 'stalled') this.enter({ name: 'catching up' });
    const changed: string[] = [];
    const views: View[] = [];
    for (const { type, job } of records) {
      if (job && type === removed) {
        changed.push(...this.jobs.removeForGood(job.id));
      } else if (job) {
        views.push(job);
        changed.push(...this.applyAll([job]));
      }
    }
    this.seekParents(views);
    this.cursor = cursor;
    this.tell(changed);
    for (const record of records) {
      for (const listener of this.listeners) listener.record?.(record);
    }
  }

  private applyAll(views: readonly View[]): string[] {
    const now = this.options.clock.now();
    const changed: string[] = [];
    for (const view of views) if (this.jobs.apply(view, now)) changed.push(view.id);
    return changed;
  }

  // Something is lost: subscribe again from the cursor. If that does not mend it, the
  // cursor itself is in doubt, and a snapshot is asked for, less and less often.
  private mismatch(): void {
    this.unsubscribe();
    this.arriving = undefined;
    const repeated = this.mismatches.attempts > 0;
    const wait = this.mismatches.next();
    if (repeated) this.cursor = '';
    this.enter({ name: 'catching up' });
    if (repeated) this.again.set(wait, () => this.subscribe());
    else this.subscribe();
  }

  private failed(code: string, message: string): void {
    if (code === 'unavailable') {
      this.enter({ name: 'stalled' });
      return;
    }
    this.sid = undefined;
    if (code === 'sid_in_use') {
      this.subscribe();
    } else if (code === 'invalid' && this.askedFrom !== '') {
      this.cursor = '';
      this.subscribe();
    } else {
      this.enter({ name: 'refused', code, message });
    }
  }

  private tell(ids: readonly string[]): void {
    const changed = new Set(ids);
    for (const id of this.jobs.trim()) changed.add(id);
    const { principal } = this;
    if (principal !== undefined) {
      this.keeper?.keep(() => ({ principal, history: this.history, cursor: this.cursor, jobs: this.jobs }));
    }
    if (changed.size === 0) return;
    for (const listener of this.listeners) listener.jobsChanged?.(changed);
  }

  private enter(state: FollowerState): void {
    if (state.name === this.current.name && state.name !== 'refused') return;
    this.current = state;
    for (const listener of this.listeners) listener.stateChanged?.(state);
  }
}

