import assert from 'node:assert/strict';
import test from 'node:test';

import type { Artifact } from '../src/client';
import { aboutFile, hasExpired, kindOf } from '../src/view/file-words';

const file: Artifact = { id: 'J.a.csv', name: 'a.csv', size: 1_536, type: 'text/csv; charset=utf-8', sha256: '' };

test('a file is told in words', () => {
  const now = Date.parse('2026-12-01T00:00:00Z');
  assert.equal(aboutFile(file, now), '1.5 KiB · CSV');
  const bounded = { ...file, expires_at: '2026-12-08T12:00:00Z' };
  assert.ok(/^1\.5 KiB · CSV · kept until .*Dec/.test(aboutFile(bounded, now)));
  assert.deepEqual([hasExpired(file, now), hasExpired(bounded, now)], [false, false]);
  const after = Date.parse(bounded.expires_at);
  assert.deepEqual([hasExpired(bounded, after - 1), hasExpired(bounded, after)], [false, true]);
  assert.ok(/gone since$/.test(aboutFile(bounded, after)));
});

test('media types have the names that people know', () => {
  assert.deepEqual(['text/csv; charset=utf-8', 'application/gzip', 'Application/JSON', 'image/png', 'application/octet-stream'].map(kindOf),
    ['CSV', 'gzip', 'JSON', 'image/png', '']);
});
