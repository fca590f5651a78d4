import type { Random } from './ports';

export interface BackoffOptions {
  /** The bound of the first wait, in milliseconds. Defaults to 1,000. */
  readonly firstMs?: number;
  /** The bound that no wait exceeds. Defaults to 30,000. */
  readonly longestMs?: number;
}

/**
 * Waits of a random part of 1 s, then 2 s, 4 s … up to 30 s. The whole wait is random,
 * so that clients that were cut off together do not come back together.
 */
export class Backoff {
  private count = 0;

  constructor(private readonly random: Random, private readonly options: BackoffOptions = {}) {}

  /** How many waits there were since the last reset. */
  get attempts(): number {
    return this.count;
  }

  next(): number {
    const { firstMs = 1_000, longestMs = 30_000 } = this.options;
    const bound = Math.min(longestMs, firstMs * 2 ** Math.min(this.count, 20));
    this.count++;
    return Math.round(this.random() * bound);
  }

  reset(): void {
    this.count = 0;
  }
}
