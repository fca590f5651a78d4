import assert from 'node:assert/strict';
import test from 'node:test';

import { holdOf, Queues, type Queue } from '../src/queues';
import { Pace } from '../src/view/pace';
import * as words from '../src/view/words';
import type { View } from '../src/client';
import { view } from './world';

const served: Queue = { name: 'exports', paused: false, workers: 1, types: ['export'] };

function waiting(id: string, more: Partial<View> = {}): { view: View; appliedAt: number } {
  return { view: view(id, 1, 0, { state: 'queued', type: 'export', queue: 'exports', ...more }), appliedAt: 0 };
}

test('a waiting job says why no worker takes it', () => {
  const { view: job } = waiting('a');
  assert.equal(holdOf(job, undefined), '');
  assert.equal(holdOf(job, served), '');
  assert.equal(holdOf(job, { ...served, workers: 0 }), 'No worker serves queue exports');
  assert.equal(holdOf(job, { ...served, paused: true, workers: 0 }), 'Queue exports is paused');
  assert.equal(holdOf(job, { ...served, workers: 0, refusing: 1 }), 'The workers take nothing from queue exports: it holds tasks of another program');
  assert.equal(holdOf(job, { ...served, types: ['report'] }), 'No worker of queue exports knows type export');
  assert.equal(holdOf(job, { ...served, types: [], foreign: true }), '');
  assert.equal(holdOf({ ...job, state: 'running' }, { ...served, paused: true }), '');
  assert.equal(holdOf({ ...job, canceling: true }, { ...served, paused: true }), '');
});

test('a row says where a job waits, and what for', () => {
  const { view: job } = waiting('a');
  const about = { now: 0, pace: new Pace(), feeding: false, queue: { ...served, paused: true } };
  assert.equal(words.stageOf(job), 'waiting in queue exports');
  assert.equal(words.noteOf(job, about), 'Queue exports is paused');
  assert.equal(words.noteOf({ ...job, start_at: new Date(90_000).toISOString() }, about), 'Starts in 1 min 30 s');
  assert.equal(words.noteOf({ ...job, start_at: new Date(0).toISOString() }, about), 'Queue exports is paused');
  const again: View = { ...job, state: 'retrying', error: { code: 'error', message: 'no luck' }, retry_at: new Date(30_000).toISOString() };
  assert.equal(words.noteOf(again, about), 'Next attempt in 30 s');
  assert.equal(words.noteOf(again, { ...about, now: 30_000 }), 'Queue exports is paused');
  assert.equal(words.noteOf({ ...job, state: 'paused' }, about), 'Rests until it is resumed');
  assert.equal(words.noteOf({ ...job, state: 'awaiting' }, about), '');
});

test('queues are asked for while jobs wait, one job of each', async () => {
  let jobs = [waiting('a'), waiting('b'), waiting('c', { queue: 'others' }), waiting('d', { adopted: true }), waiting('e', { state: 'running', queue: 'busy' })];
  const asked: (readonly string[])[] = [];
  let answer: readonly Queue[] = [served];
  let changes = 0;
  const queues = new Queues({ live: () => jobs, changed: () => { changes++; }, fetch: (ids) => {
    asked.push(ids);
    return answer.length > 0 ? Promise.resolve(answer) : Promise.reject(new Error('away'));
  } });
  await queues.look(500); // a worker may still take them
  assert.deepEqual(asked, []);
  await queues.look(1_500);
  assert.deepEqual(asked, [['a', 'c', 'd']]);
  assert.equal(queues.of(jobs[0]!.view), served);
  assert.equal(queues.of(jobs[3]!.view), undefined); // of that name, and another program's
  await queues.look(2_500);
  assert.equal(asked.length, 1);
  await queues.look(4_500);
  assert.deepEqual([asked.length, changes], [2, 1]);
  answer = [];
  await queues.look(8_000);
  assert.equal(queues.of(jobs[0]!.view), served);
  jobs = [];
  await queues.look(30_000);
  assert.deepEqual([asked.length, changes, queues.of(waiting('a').view)], [3, 2, undefined]);
});
