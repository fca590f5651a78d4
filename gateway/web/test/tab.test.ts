import assert from 'node:assert/strict';
import test from 'node:test';

import type { Job, View } from '../src/client';
import { tabTitle } from '../src/view/tab';
import { view } from './world';

function job(id: string, percent: number, more: Partial<View>): Job {
  return { view: view(id, 1, percent, { title: id, ...more }), percent, appliedAt: 0 };
}

test('a tab says how far the newest job is that moves', () => {
  assert.equal(tabTitle([]), 'Tidemark');
  const orders = job('orders.csv', 63.9, { created_at: '2026-11-20T18:00:01Z' });
  const ended = job('stock.csv', 100, { state: 'succeeded', created_at: '2026-11-20T18:00:05Z' });
  assert.equal(tabTitle([ended]), 'Tidemark');
  assert.equal(tabTitle([ended, orders]), '63 % orders.csv · Tidemark');
  const waits = job('later.csv', 0, { state: 'queued', created_at: '2026-11-20T18:00:09Z' });
  const part = job('part', 50, { parent: 'orders.csv', created_at: '2026-11-20T18:00:09Z' });
  assert.equal(tabTitle([waits, part, orders]), '63 % orders.csv and 1 more · Tidemark');
  assert.equal(tabTitle([waits]), '0 % later.csv · Tidemark');
  const newer = job('new.csv', 99.9, { state: 'receiving', created_at: '2026-11-20T18:00:02Z' });
  assert.equal(tabTitle([orders, newer, waits]), '99 % new.csv and 2 more · Tidemark');
});
