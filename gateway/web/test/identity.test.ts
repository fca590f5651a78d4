import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import test from 'node:test';

import { identityOf, sampleBytes, samples, type Source } from '../src/identity';
import { sha256 } from '../src/sha256';

test('sha256 is what others compute', () => {
  for (const length of [0, 1, 3, 55, 56, 63, 64, 65, 119, 120, 1000, 1 << 20]) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 7919) >> 3);
    assert.equal(sha256(bytes), createHash('sha256').update(bytes).digest('hex'), `of ${length} bytes`);
  }
});

test('samples reach from the first byte to the last, and are bounded', () => {
  for (const size of [1, sampleBytes, sampleBytes + 1, 3_000_000, 5 * 2 ** 30, 5 * 2 ** 40]) {
    const ranges = samples(size);
    assert.equal(ranges[0]![0], 0);
    assert.equal(ranges.at(-1)![1], size);
    ranges.reduce((end, [from, to]) => {
      assert.ok(from >= end && to > from, `${from} to ${to} after ${end}, of ${size}`);
      return to;
    }, 0);
    assert.equal(ranges.reduce((sum, [from, to]) => sum + to - from, 0), Math.min(size, sampleBytes));
  }
});

function fileOf(bytes: Uint8Array, change: Partial<Source> = {}): Source {
  return {
    name: 'data.csv', type: 'text/csv', size: bytes.length, lastModified: 1,
    slice: (from, to) => ({ arrayBuffer: () => Promise.resolve(bytes.slice(from, to).buffer) }), ...change,
  };
}

test('files that look the same are told by their content', async () => {
  for (const size of [100, 5_000_000]) {
    const bytes = new Uint8Array(size).fill(49);
    const first = await identityOf(fileOf(bytes), 'user:1');
    assert.equal(await identityOf(fileOf(bytes.slice()), 'user:1'), first);
    const [, middle] = samples(size);
    for (const at of [0, size - 1, middle?.[0] ?? 50]) {
      const other = bytes.slice();
      other[at] = 50;
      assert.ok(await identityOf(fileOf(other), 'user:1') !== first, `changed at ${at} of ${size}`);
    }
    assert.ok(await identityOf(fileOf(bytes, { name: 'other.csv' }), 'user:1') !== first);
    assert.ok(await identityOf(fileOf(bytes, { lastModified: 2 }), 'user:1') !== first);
    assert.ok(await identityOf(fileOf(bytes), 'user:2') !== first);
  }
});
