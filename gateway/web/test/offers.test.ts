import assert from 'node:assert/strict';
import test from 'node:test';

import type { View } from '../src/client';
import { offers } from '../src/view/offers';
import { Unfolded } from '../src/view/unfolded';
import { FakeStorage, view } from './world';

test('each button is there when it makes sense', () => {
  const receive = { name: 'receive', index: 0, count: 0 };
  const cases: [string, Partial<View>, string][] = [
    ['it waits', { state: 'queued' }, 'pause cancel'],
    ['it runs', { state: 'running' }, 'pause cancel'],
    ['it will be tried again', { state: 'retrying' }, 'pause cancel'],
    ['it waits for its children', { state: 'awaiting' }, 'pause cancel'],
    ['its file arrives', { state: 'receiving' }, 'cancel'],
    ['its file arrives, and it is to pause', { state: 'receiving', pausing: true }, 'resume cancel'],
    ['it is to pause', { state: 'running', pausing: true }, 'resume cancel'],
    ['it rests', { state: 'paused' }, 'resume cancel'],
    ['it is to stop', { state: 'running', canceling: true, pausing: true }, ''],
    ['it has succeeded', { state: 'succeeded' }, 'remove'],
    ['it has failed', { state: 'failed', attempt: 1 }, 'retry remove'],
    ['it has failed for good', { state: 'failed', attempt: 1, error: { code: 'permanent', message: '' } }, 'remove'],
    ['it was canceled', { state: 'canceled' }, 'retry remove'],
    ['it was canceled, having been paused', { state: 'canceled', pausing: true }, 'retry remove'],
    ['a child has failed', { state: 'failed', attempt: 1, parent: 'p' }, ''],
    ['its file never came', { state: 'failed', error: { code: 'upload_expired', message: '' } }, 'remove'],
    ['it was canceled before its file had come', { state: 'canceled', stage: receive, progress: { done: 1, total: 2 } }, 'remove'],
    ['it was canceled once its file had come', { state: 'canceled', stage: receive, progress: { done: 2, total: 2 } }, 'retry remove'],
  ];
  for (const [what, more, want] of cases) assert.equal(offers(view('a', 1, 5, more), false).join(' '), want, what);
  assert.deepEqual(offers(view('a', 1, 5, { state: 'failed' }), true), ['remove'], 'what is tried again already is not again');
  const exported = (more: Partial<View>): boolean => offers(view('a', 1, 5, { type: 'analysis', ...more }), false, true).includes('export');
  for (const state of ['queued', 'running', 'paused', 'succeeded'] as const) assert.ok(exported({ state }), state);
  for (const state of ['receiving', 'failed', 'canceled'] as const) assert.ok(!exported({ state }), state);
  assert.ok(!exported({ state: 'succeeded', parent: 'p' }) && !exported({ state: 'succeeded', type: 'upload' }));
  assert.ok(!offers(view('a', 1, 5, { type: 'analysis', state: 'succeeded' }), false, false).includes('export'), 'it has no file');
});

test('what is unfolded is remembered, up to a bound, and wherever it can be', () => {
  const storage = new FakeStorage();
  const before = new Unfolded('k', storage);
  for (let i = 0; i < 60; i++) before.set(`j${i}`, true);
  before.set('j59', false);
  const after = new Unfolded('k', storage);
  assert.deepEqual(['j9', 'j10', 'j58', 'j59'].map((id) => after.has(id)), [false, true, true, false]);
  storage.quota = 1;
  after.set('j1', true);
  assert.ok(after.has('j1'));
  for (const text of ['7', '{', '[1,null]']) {
    storage.items.set('k', text);
    assert.equal(new Unfolded('k', storage).has('1'), false, text);
  }
  const nowhere = new Unfolded('k');
  nowhere.set('j1', true);
  assert.ok(nowhere.has('j1'));
});
