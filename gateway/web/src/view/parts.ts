import { hasEnded, type Job, type View } from '../client';

/** How many children of a job have rows at the same time, of the thousands that it may have. */
export const mostParts = 50;

const names = new Intl.Collator('en', { numeric: true });

/**
 * The children that are worth a row: those that failed and those that move, before what
 * waits and what went well. Where there are too many of both, each has half of the room.
 */
export function choose(parts: Iterable<Job>, most = mostParts): Job[] {
  const ranks: Job[][] = [[], [], [], [], []];
  for (const job of parts) ranks[rankOf(job.view)]!.push(job);
  const [failed, moving] = [ranks[0]!.length, ranks[1]!.length];
  const quota = Math.max(Math.ceil(most / 2), most - moving);
  const chosen: Job[] = [];
  ranks.forEach((jobs, rank) => {
    const room = rank === 0 ? Math.min(failed, quota) : most - chosen.length;
    chosen.push(...firstOf(jobs, room));
  });
  return chosen;
}

/** The place of a child among its siblings: failed, moving, waiting, stopped, done. */
export function rankOf({ state }: View): number {
  if (state === 'failed') return 0;
  if (!hasEnded(state)) return state === 'queued' ? 2 : 1;
  return state === 'canceled' ? 3 : 4;
}

/** The first n by name. Of ten thousand that are not wanted each costs a comparison or two. */
function firstOf(jobs: readonly Job[], n: number): Job[] {
  const first: Job[] = [];
  for (const job of jobs) {
    if (first.length === n && (n === 0 || byName(job, first[n - 1]!) >= 0)) continue;
    let at = first.length;
    while (at > 0 && byName(job, first[at - 1]!) < 0) at--;
    first.splice(at, 0, job);
    if (first.length > n) first.pop();
  }
  return first;
}

function byName(a: Job, b: Job): number {
  return names.compare(a.view.title ?? '', b.view.title ?? '') || (a.view.id < b.view.id ? -1 : 1);
}
