import type { View } from './client';
import type { Queue } from './queues';
import type { Profile } from './view/profile-data';

/** What the gateway refused, in words for a person; `code` and `status` are for programs. */
export class Problem extends Error {
  constructor(readonly status: number, readonly code: string, message: string) {
    super(message);
    this.name = 'Problem';
  }
}

/** Reads the text of an answer that is no success: problem+json, or whatever a proxy sent. */
export function problemOf(status: number, body: string): Problem {
  try {
    const p = JSON.parse(body) as { code?: unknown; detail?: unknown; title?: unknown };
    const text = p.detail ?? p.title;
    if (typeof text === 'string') return new Problem(status, String(p.code ?? ''), text);
  } catch {
    // No JSON.
  }
  return new Problem(status, '', `the server answered ${status}`);
}

/** Sends a request, with a body of JSON if there is one, and gives the text of its answer. Rejects with a Problem. */
export async function request(method: 'GET' | 'POST' | 'DELETE', path: string, body?: string): Promise<string> {
  let response: Response;
  try {
    const headers = { Accept: 'application/json', ...(body !== undefined && { 'Content-Type': 'application/json' }) };
    response = await fetch(path, { method, headers, body: body ?? null, signal: AbortSignal.timeout(20_000) });
  } catch {
    throw new Problem(0, 'unreachable', 'the server cannot be reached; try again once it can');
  }
  const answer = await response.text();
  if (!response.ok) throw problemOf(response.status, answer);
  return answer;
}

interface JobAnswer {
  readonly job: View;
}

/** The job's view, or undefined if there is none any more. */
export async function fetchJob(id: string): Promise<View | undefined> {
  try {
    return (JSON.parse(await request('GET', jobPath(id))) as JobAnswer).job;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return undefined;
    throw error;
  }
}

/** How the queues are served in which jobs wait. */
export async function fetchQueues(jobs: readonly string[]): Promise<readonly Queue[]> {
  const query = jobs.map((id) => `job=${encodeURIComponent(id)}`).join('&');
  return (JSON.parse(await request('GET', `/v1/queues?${query}`)) as { readonly queues: readonly Queue[] }).queues;
}

/** Asks something of a job, and gives its view thereafter. */
export async function controlJob(id: string, verb: 'pause' | 'resume' | 'cancel'): Promise<View> {
  return (JSON.parse(await request('POST', `${jobPath(id)}/${verb}`)) as JobAnswer).job;
}

/** Tries an ended job again, and gives the ID of the job that does. */
export async function retryJob(id: string): Promise<string> {
  return (JSON.parse(await request('POST', `${jobPath(id)}/retry`)) as { readonly id: string }).id;
}

/** Where the gateway has a job's view. */
export function jobPath(id: string): string {
  return `/v1/jobs/${encodeURIComponent(id)}`;
}

/** Where the gateway has a file that a job has written. */
export function artifactPath(id: string): string {
  return `/v1/artifacts/${encodeURIComponent(id)}`;
}

/** Removes an ended job. That it is gone already is no error. */
export async function removeJob(id: string): Promise<void> {
  try {
    await request('DELETE', `/v1/jobs/${encodeURIComponent(id)}`);
  } catch (error) {
    if (!(error instanceof Problem && error.status === 404)) throw error;
  }
}

export async function fetchProfile(artifact: string): Promise<Profile> {
  const text = await request('GET', artifactPath(artifact));
  return JSON.parse(text, exactly) as Profile;
}

// A smallest or largest integer may be beyond what a number holds. Its digits are kept
// where the browser tells them.
function exactly(this: unknown, key: string, value: unknown, context?: { readonly source?: string }): unknown {
  const rounded = typeof value === 'number' && !Number.isSafeInteger(value) && Math.abs(value) > 2 ** 53;
  if (rounded && (key === 'min' || key === 'max') && context?.source) return context.source;
  return value;
}
