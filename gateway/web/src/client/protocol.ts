// The frames, records and views of docs/protocol.md, as far as a client reads them.
// Whatever else they carry is left alone.

export const subprotocol = 'tidemark.v1';

export type State =
  | 'receiving' | 'queued' | 'running' | 'awaiting' | 'paused' | 'retrying'
  | 'succeeded' | 'failed' | 'canceled';

/** What selects jobs, and records of jobs: all of it must match. */
export interface Filter {
  readonly job?: string;
  /** A job, or `none` for jobs that are no children. */
  readonly parent?: string;
  readonly type?: string;
  readonly state?: State;
  readonly labels?: Readonly<Record<string, string>>;
  readonly created_from?: string;
  readonly created_to?: string;
}

/** A job as a record shows it: all of it, not a change to it. */
export interface View {
  readonly id: string;
  /** Of two views of a job the one with the higher rev is the newer. */
  readonly rev: number;
  readonly type: string;
  readonly state: State;
  /** 0 to 100 in tenths; 100 only when it has succeeded. */
  readonly percent: number;
  readonly title?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Where the job waits while it is queued or retrying. */
  readonly queue?: string;
  /** A task of an asynq application carries the job; `queue` is the application's. */
  readonly adopted?: boolean;
  readonly created_at: string;
  /** When a delayed job may start. */
  readonly start_at?: string;
  readonly canceling?: boolean;
  readonly pausing?: boolean;
  readonly indeterminate?: boolean;
  readonly progress?: { readonly done: number; readonly total?: number; readonly unit?: string };
  readonly attempt?: number;
  readonly started_at?: string;
  readonly stage?: { readonly name: string; readonly index: number; readonly count: number };
  readonly message?: string;
  readonly eta_seconds?: number;
  readonly resumed_from?: number;
  readonly retry_of?: string;
  readonly parent?: string;
  readonly children?: { readonly count: number; readonly ended: number; readonly failed: number; readonly awaited?: number };
  readonly retry_at?: string;
  readonly ended_at?: string;
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
  /** The files that the job has written, each whole. */
  readonly artifacts?: readonly Artifact[];
}

export interface Artifact {
  readonly id: string;
  readonly name: string;
  readonly size: number;
  readonly type: string;
  readonly sha256: string;
  readonly expires_at?: string;
}

export interface Log {
  readonly level: string;
  readonly text: string;
  readonly suppressed?: number;
}

export interface StreamRecord {
  readonly id: string;
  readonly type: string;
  readonly time: string;
  readonly topic: string;
  readonly job?: View;
  readonly log?: Log;
  readonly notification?: unknown;
  /** With `artifact.expired`: the file that is no longer kept. */
  readonly artifact?: Artifact;
}

export interface Welcome {
  readonly type: 'welcome';
  readonly connection: string;
  readonly principal: string;
  readonly ping_seconds: number;
  readonly session_expires_at?: string;
}

export interface Goodbye {
  readonly type: 'goodbye';
  readonly reason: string;
  readonly reconnect_after_ms: number;
}

export type Reason = 'resumed' | 'fresh' | 'trimmed' | 'rewritten';

/** The frames that belong to a subscription. */
export type SubscriptionFrame =
  | { readonly type: 'subscribed'; readonly sid: string; readonly mode: 'replay' | 'snapshot'; readonly reason: Reason; readonly cursor: string }
  | { readonly type: 'snapshot'; readonly sid: string; readonly part: number; readonly final?: boolean; readonly cursor: string; readonly more?: string; readonly jobs: readonly View[] }
  | { readonly type: 'records'; readonly sid: string; readonly after: string; readonly cursor: string; readonly records: readonly StreamRecord[] }
  | { readonly type: 'live'; readonly sid: string; readonly cursor: string; readonly replayed: number }
  | { readonly type: 'error'; readonly sid: string; readonly code: string; readonly message: string };

export type ServerFrame = Welcome | Goodbye | { readonly type: 'pong' } | SubscriptionFrame;

/** A job in one of these states changes no more; it may be removed. */
export function hasEnded(state: State): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'canceled';
}

/** A job whose worker was lost waits for another one, and no attempt of it has failed. */
export function isStalled({ state, error, retry_at }: View): boolean {
  return state === 'retrying' && !error && !retry_at;
}

/** The number of a cursor's record within its topic; 0 if the cursor is malformed. */
export function cursorNumber(cursor: string): number {
  const n = Number(cursor.slice(cursor.indexOf('-') + 1));
  return Number.isSafeInteger(n) ? n : 0;
}
