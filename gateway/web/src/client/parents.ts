import type { Jobs } from './jobs';
import type { View } from './protocol';

/**
 * Parents that children name and that are not among the jobs held. A job that failed while
 * thousands of its children lived is followed by their ends, so a snapshot, which has the
 * jobs that ended last, then has children without their parent. Each is asked for once.
 */
export class Parents {
  private readonly sought = new Set<string>();
  private readonly lost = new Set<string>();

  constructor(private readonly jobs: Jobs, private readonly ask: (id: string) => void) {}

  seek(views: Iterable<View>): void {
    for (const { parent } of views) {
      if (parent === undefined || this.jobs.get(parent) || this.sought.has(parent) || this.lost.has(parent)) continue;
      this.sought.add(parent);
      this.ask(parent);
    }
  }

  /** Notes the answer about a job, and says whether it was sought. */
  answered(id: string, exists: boolean): boolean {
    const wasSought = this.sought.delete(id);
    if (wasSought && !exists) this.lost.add(id);
    return wasSought;
  }

  isSought(id: string): boolean {
    return this.sought.has(id);
  }

  forget(): void {
    this.sought.clear();
    this.lost.clear();
  }
}
