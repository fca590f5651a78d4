import assert from 'node:assert/strict';
import test from 'node:test';

import { LocalStore, type Saved } from '../src/client';
import { cursor, FakeStorage, view } from './world';

function saved(n: number, percent: number, more: Partial<Saved> = {}): Saved {
  return { principal: 'alice', history: 0, cursor: cursor(n), jobs: [view('a', n, percent)], marks: { a: percent }, ...more };
}

test('an older cursor of another tab does not replace a newer one', () => {
  const storage = new FakeStorage();
  new LocalStore(storage, 'k').save(saved(20, 50));
  new LocalStore(storage, 'k').save(saved(10, 40));
  const got = new LocalStore(storage, 'k').load();
  assert.equal(got?.cursor, cursor(20));
  assert.equal(got?.jobs[0]?.rev, 20);
});

test('marks of several tabs only grow', () => {
  const storage = new FakeStorage();
  const store = new LocalStore(storage, 'k');
  store.save(saved(20, 50, { marks: { a: 60 } }));
  store.save(saved(30, 55));
  assert.equal(store.load()?.marks.a, 60);
});

test('a rewritten history has lower cursors and still wins', () => {
  const store = new LocalStore(new FakeStorage(), 'k');
  store.save(saved(20, 50));
  store.save(saved(5, 10, { history: 1 }));
  assert.equal(store.load()?.cursor, cursor(5));
  assert.equal(store.load()?.marks.a, 50);
});

test('another principal’s save replaces everything', () => {
  const store = new LocalStore(new FakeStorage(), 'k');
  store.save(saved(20, 50));
  store.save(saved(1, 2, { principal: 'bob' }));
  assert.deepEqual(store.load(), saved(1, 2, { principal: 'bob' }));
});

test('what exceeds the quota leaves the marks, and no cursor to follow from', () => {
  const storage = new FakeStorage();
  const store = new LocalStore(storage, 'k');
  storage.quota = 150;
  store.save(saved(20, 50));
  assert.deepEqual(store.load(), saved(20, 50, { cursor: '', jobs: [] }));
  storage.quota = 10;
  store.save(saved(30, 60));
  assert.equal(store.load(), undefined);
});

test('what somebody else left there is not taken', () => {
  const storage = new FakeStorage();
  for (const text of ['', 'null', '7', '{"layout":1}', '{"layout":2,"principal":"a","cursor":"","history":0,"jobs":[],"marks":{}}']) {
    storage.items.set('k', text);
    assert.equal(new LocalStore(storage, 'k').load(), undefined, text);
  }
});
