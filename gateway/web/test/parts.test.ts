import assert from 'node:assert/strict';
import test from 'node:test';

import { Jobs, LocalStore, type Job, type View } from '../src/client';
import { choose } from '../src/view/parts';
import { Scene } from './scene';
import { FakeStorage, view } from './world';

function part(i: number, state: View['state']): Job {
  return { view: view(`c${i}`, i + 1, 5, { state, parent: 'p', title: `Part ${i}` }), percent: 5, appliedAt: 0 };
}

function names(jobs: readonly Job[]): string {
  return jobs.map((job) => job.view.title!.slice(5)).join(' ');
}

test('few children are all shown, what failed and what moves first', () => {
  const jobs = (['succeeded', 'queued', 'running', 'failed', 'canceled', 'paused', 'succeeded', 'queued'] as const).map((state, i) => part(i, state));
  assert.equal(names(choose(jobs)), '3 2 5 1 7 4 0 6');
  assert.equal(names(choose([part(10, 'queued'), part(9, 'queued'), part(100, 'queued')])), '9 10 100');
});

test('of thousands only some are, and neither what failed nor what moves is crowded out', () => {
  const many = (n: number, state: View['state'], from: number): Job[] => Array.from({ length: n }, (_, i) => part(from + i, state));
  const count = (jobs: readonly Job[]): number[] => ['failed', 'running', 'queued', 'succeeded'].map((s) => jobs.filter((j) => j.view.state === s).length);
  const waiting = many(9_000, 'queued', 1_000);
  assert.deepEqual(count(choose(waiting)), [0, 0, 50, 0]);
  assert.deepEqual(count(choose([...waiting, ...many(3, 'failed', 0), ...many(10, 'running', 10)])), [3, 10, 37, 0]);
  assert.deepEqual(count(choose([...many(300, 'failed', 0), ...many(300, 'running', 300), ...waiting])), [25, 25, 0, 0]);
  assert.deepEqual(count(choose([...many(300, 'failed', 0), ...many(10, 'running', 300), ...many(90, 'succeeded', 400)])), [40, 10, 0, 0]);
  assert.equal(names(choose([...many(100, 'queued', 0)].reverse(), 4)), '0 1 2 3');
});

const done = (id: string, rev: number, more: Partial<View> = {}): View =>
  view(id, rev, 100, { state: 'succeeded', ended_at: new Date(1_800_000_000_000 + rev * 1_000).toISOString(), ...more });

test('children that end push no other job out, and the first that failed stay longest', () => {
  const jobs = new Jobs({ ended: 3 });
  for (let i = 0; i < 3; i++) jobs.apply(done(`j${i}`, i + 1), 0);
  jobs.apply(view('p', 4, 10, { state: 'awaiting', children: { count: 9, ended: 0, failed: 0 } }), 0);
  jobs.apply(done('c0', 5, { parent: 'p', state: 'failed' }), 0);
  for (let i = 1; i < 9; i++) jobs.apply(done(`c${i}`, 5 + i, { parent: 'p' }), 0);
  assert.deepEqual(jobs.trim().sort(), ['c1', 'c2', 'c3', 'c4', 'c5', 'c6']);
  assert.deepEqual([...jobs.childrenOf('p')].sort(), ['c0', 'c7', 'c8']);
  assert.deepEqual(jobs.ended().map((job) => job.view.id), ['j2', 'j1', 'j0']);
  assert.deepEqual(jobs.trim(), []);
  for (let i = 9; i < 12; i++) jobs.apply(done(`c${i}`, 5 + i, { parent: 'p', state: 'failed' }), 0);
  assert.deepEqual(jobs.trim().sort(), ['c11', 'c7', 'c8']);
});

test('a job that is let go takes its children along', () => {
  const jobs = new Jobs({ ended: 1 });
  jobs.apply(done('c', 1, { parent: 'p' }), 0);
  jobs.apply(done('p', 2), 0);
  jobs.apply(done('j', 3), 0);
  assert.deepEqual(jobs.trim().sort(), ['c', 'p']);
  assert.equal(jobs.childrenOf('p').size, 0);
});

test('who tries a job again is known while it is held', () => {
  const jobs = new Jobs();
  jobs.apply(view('b', 2, 5, { retry_of: 'a' }), 0);
  assert.equal(jobs.retryOf('a'), 'b');
  jobs.remove('b');
  assert.equal(jobs.retryOf('a'), undefined);
});

test('children whose parent is in no snapshot have it asked for, once', async () => {
  const asked: string[] = [];
  const parent = done('p', 3, { state: 'failed' });
  const scene = new Scene({
    fetchJob: (id) => {
      asked.push(id);
      return Promise.resolve(id === 'p' ? parent : undefined);
    },
  });
  const orphans = ['c1', 'c2'].map((id, i) => done(id, 4 + i, { parent: 'p', state: 'canceled' }));
  scene.begin(9, [...orphans, done('c3', 6, { parent: 'gone' })]);
  assert.ok(scene.follower.isSought('p') && scene.follower.isSought('gone'));
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(scene.follower.isSought('p') || scene.follower.isSought('gone'), false);
  assert.equal(scene.follower.jobs.get('p')?.view.state, 'failed');
  assert.ok(scene.changed.includes('gone'), 'that it is no more is told, so that its children are shown');
  scene.records(9, 10, done('c4', 10, { parent: 'p' }), done('c5', 10, { parent: 'gone' }));
  assert.deepEqual(asked.sort(), ['gone', 'p']);
});

test('children are kept over a reload with their parent, and do not crowd other jobs out', () => {
  const storage = new FakeStorage();
  const scene = new Scene({ store: new LocalStore(storage, 'k') });
  scene.begin(999, [
    done('j', 1), view('p', 2, 50, { state: 'awaiting' }),
    ...Array.from({ length: 150 }, (_, i) => done(`c${i}`, 3 + i, { parent: 'p' })), done('o', 200, { parent: 'gone' }),
  ]);
  scene.follower.flush();
  const kept = new Set(new LocalStore(storage, 'k').load()?.jobs.map((v) => v.id));
  assert.deepEqual(['j', 'p', 'c149', 'c50', 'c49', 'o'].map((id) => kept.has(id)), [true, true, true, true, false, false]);
});

test('it is kept when a job lost its worker, however soon another went on', () => {
  const jobs = new Jobs();
  jobs.apply(view('a', 1, 5, { state: 'running', attempt: 1 }), 1_000);
  assert.equal(jobs.get('a')?.lostAt, undefined);
  jobs.apply(view('a', 2, 5, { state: 'retrying', attempt: 1 }), 2_000);
  jobs.apply(view('a', 3, 5, { state: 'running', attempt: 2 }), 2_001);
  assert.equal(jobs.get('a')?.lostAt, 2_000);
});
