import { cursorNumber, type View } from './protocol';

/** What a follower knows, as one thing: views and marks are those at the cursor. */
export interface Saved {
  readonly principal: string;
  /** Grows when the server says that its history is not the one of the cursor. */
  readonly history: number;
  /** Empty when the views are not all there; then nothing may be followed from it. */
  readonly cursor: string;
  readonly jobs: readonly View[];
  /** The percent shown for each job. */
  readonly marks: Readonly<Record<string, number>>;
}

/**
 * Keeps what a follower knows where a reload finds it. A store never fails: what cannot
 * be kept is fetched again.
 */
export interface Store {
  load(): Saved | undefined;
  save(saved: Saved): void;
  forget(): void;
}

/** The part of a browser's Storage that is used. */
export interface StringStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

const layout = 1;

/**
 * A Store in a browser's localStorage. Everything is one item, so that a reload in the
 * middle of a change finds either the one before or the one after. Several tabs share
 * it: the last one to write wins, but not with an older cursor than is there, and never
 * lowering a mark.
 */
export class LocalStore implements Store {
  constructor(private readonly storage: StringStorage, private readonly key: string) {}

  load(): Saved | undefined {
    try {
      const text = this.storage.getItem(this.key);
      return text === null ? undefined : parse(text);
    } catch {
      return undefined; // storage that is switched off, or what somebody else left there
    }
  }

  save(saved: Saved): void {
    const there = this.load();
    const kept = there && there.principal === saved.principal ? newer(there, saved) : saved;
    if (this.write(kept)) return;
    // Too much for the storage's quota. The marks alone keep the bars where they are.
    if (this.write({ ...kept, cursor: '', jobs: [] })) return;
    this.forget();
  }

  forget(): void {
    try {
      this.storage.removeItem(this.key);
    } catch {
      // As in load.
    }
  }

  private write(saved: Saved): boolean {
    try {
      this.storage.setItem(this.key, JSON.stringify({ layout, ...saved }));
      return true;
    } catch {
      return false;
    }
  }
}

function newer(there: Saved, mine: Saved): Saved {
  const ahead = there.history > mine.history
    || (there.history === mine.history && cursorNumber(there.cursor) > cursorNumber(mine.cursor));
  const kept = ahead ? there : mine;
  const marks: Record<string, number> = { ...kept.marks };
  for (const from of [there.marks, mine.marks]) {
    for (const id of Object.keys(marks)) marks[id] = Math.max(marks[id] ?? 0, from[id] ?? 0);
  }
  return { ...kept, marks };
}

function parse(text: string): Saved | undefined {
  const got = JSON.parse(text) as Partial<Saved> & { layout?: unknown } | null;
  if (got?.layout !== layout || typeof got.principal !== 'string' || typeof got.cursor !== 'string') return undefined;
  if (typeof got.history !== 'number' || !Array.isArray(got.jobs) || !got.marks) return undefined;
  const { principal, history, cursor, jobs, marks } = got as Saved;
  return { principal, history, cursor, jobs, marks };
}
