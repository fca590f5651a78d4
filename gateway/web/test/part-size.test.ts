import assert from 'node:assert/strict';
import test from 'node:test';

import { PartSize } from '../src/part-size';

const MiB = 1 << 20;

test('parts halve at each refusal, down to the least', () => {
  const parts = new PartSize();
  assert.equal(parts.bytes, Infinity);
  const sizes = [];
  parts.begins(0, 100 * MiB);
  while (parts.refused()) {
    sizes.push(parts.bytes);
    parts.begins(0, 100 * MiB);
  }
  assert.deepEqual(sizes, [16 * MiB, 8 * MiB, 4 * MiB, 2 * MiB, MiB, MiB / 2, MiB / 4, MiB / 8, MiB / 16]);
});

test('a part is smaller than what was refused, however little that was', () => {
  const parts = new PartSize();
  parts.begins(0, MiB + 1);
  assert.ok(parts.refused());
  assert.equal(parts.bytes, MiB);
  parts.begins(MiB, 1);
  assert.ok(!parts.refused());
  assert.equal(new PartSize(MiB).bytes, MiB);
});

test('connections that are lost again and again at the same byte make parts smaller', () => {
  const parts = new PartSize();
  parts.begins(0, 8 * MiB);
  parts.cut();
  parts.begins(3 * MiB, 5 * MiB); // some of it has arrived
  parts.cut();
  assert.equal(parts.bytes, Infinity);
  parts.begins(3 * MiB, 5 * MiB);
  parts.cut();
  assert.equal(parts.bytes, 4 * MiB);
  parts.begins(3 * MiB, 5 * MiB);
  parts.cut();
  assert.equal(parts.bytes, 2 * MiB);
  parts.begins(3 * MiB, 5 * MiB);
  parts.begins(5 * MiB, 3 * MiB);
  parts.cut();
  assert.equal(parts.bytes, 2 * MiB);
});
