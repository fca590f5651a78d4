import { hasEnded, moment, type Job } from '../client';
import { titleOf } from './words';

const program = 'Tidemark';

/**
 * The title of the browser's tab: how far the newest job is that moves, or waits where none
 * moves, and how many others are under way. The percent is a whole number that is not rounded
 * up: 100 is for what is done.
 */
export function tabTitle(jobs: Iterable<Job>): string {
  let first: Job | undefined;
  let others = -1;
  for (const job of jobs) {
    if (hasEnded(job.view.state) || job.view.parent !== undefined) continue;
    others++;
    if (!first || isBefore(job, first)) first = job;
  }
  if (!first) return program;
  const more = others > 0 ? ` and ${others} more` : '';
  return `${Math.floor(first.percent)} % ${titleOf(first.view)}${more} · ${program}`;
}

function isBefore({ view: a }: Job, { view: b }: Job): boolean {
  if (moves(a.state) !== moves(b.state)) return moves(a.state);
  return moment(a.created_at) > moment(b.created_at);
}

function moves(state: Job['view']['state']): boolean {
  return state === 'running' || state === 'receiving' || state === 'awaiting';
}
