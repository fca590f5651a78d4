import assert from 'node:assert/strict';
import test from 'node:test';

import { amount, bytes, figure, percentTenths, rate, share, span } from '../src/view/format';
import { Pace } from '../src/view/pace';
import * as words from '../src/view/words';
import { view } from './world';

const receiving = { state: 'receiving', progress: { done: 1_000, total: 9_000, unit: 'bytes' } } as const;

function reading(done: number, attempt = 1): ReturnType<typeof view> {
  return view('a', done, 10, { attempt, progress: { done, total: 10_000, unit: 'rows' } });
}

test('numbers, sizes and times as people read them', () => {
  assert.deepEqual([percentTenths(0), percentTenths(61.4), percentTenths(100)], ['0.0', '61.4', '100.0']);
  assert.deepEqual([bytes(0), bytes(1_023), bytes(1_536), bytes(78_933_407)], ['0 B', '1,023 B', '1.5 KiB', '75.3 MiB']);
  assert.deepEqual([amount(12 << 20, 48 << 20, 'bytes'), amount(3_000, 10_000, 'rows'), amount(7, undefined, undefined)],
    ['12.0 of 48.0 MiB', '3,000 of 10,000 rows', '7']);
  assert.deepEqual([rate(2.5 * 1_048_576, 'bytes'), rate(1_234.5, 'rows'), rate(0.25, undefined)], ['2.5 MiB/s', '1,235 rows/s', '0.3/s']);
  assert.deepEqual([span(0.4), span(59.4), span(80), span(3_600), span(90_000)], ['0 s', '59 s', '1 min 20 s', '1 h', '1 d 1 h']);
  assert.deepEqual([share(0, 10), share(1, 100_000), share(1, 12), share(1, 2), share(99_999, 100_000)],
    ['0 %', '< 0.1 %', '8.3 %', '50 %', '> 99.9 %']);
  assert.deepEqual([figure(1_234_567), figure(0.000_012_3), figure('123456789012345678901')], ['1,234,567', '1.2300e-5', '123456789012345678901']);
});

test('a rate comes from successive records, and goes when they stop', () => {
  const pace = new Pace();
  pace.add(reading(0), 0, true);
  assert.equal(pace.rate(0), undefined);
  pace.add(reading(500), 1_000, true);
  pace.add(reading(1_000), 2_000, true);
  assert.equal(pace.rate(2_000), 500);
  assert.equal(pace.eta(reading(1_000), 2_000), 18);
  assert.equal(pace.rate(6_001), undefined);
});

test('a new attempt is measured anew, and no rate is below zero', () => {
  const pace = new Pace();
  pace.add(reading(5_000), 0, true);
  pace.add(reading(6_000), 1_000, true);
  pace.add(reading(1_000, 2), 2_000, true);
  assert.equal(pace.rate(2_000), undefined);
  pace.add(reading(2_000, 2), 3_000, true);
  assert.equal(pace.rate(3_000), 1_000);
});

test('the job’s own word on what is left counts', () => {
  const pace = new Pace();
  assert.equal(words.etaOf({ ...reading(1), eta_seconds: 75 }, { now: 0, pace, feeding: false }), '1 min 15 s left');
});

test('a file that nobody sends waits to be dropped again', () => {
  const now = 50_000;
  const job = view('a', 1, 5, receiving);
  const about = { now, pace: new Pace(), feeding: false };
  assert.equal(words.noteOf(job, about), 'Waiting for the file: drop it again to go on');
  assert.equal(words.isOrphan(job, { ...about, feeding: true }), false);
  // Another window is sending it: its count grows as we look.
  about.pace.add(job, now - 1_000, true);
  about.pace.add({ ...job, rev: 2, progress: { ...receiving.progress, done: 2_000 } }, now, true);
  assert.equal(words.isOrphan(job, about), false);
  assert.equal(words.isOrphan(job, { ...about, now: now + 3_000 }), true);
  // What was missed says nothing about now.
  const missed = new Pace();
  missed.add(job, now, false);
  missed.add({ ...job, rev: 2, progress: { ...receiving.progress, done: 2_000 } }, now, false);
  assert.equal(words.isOrphan(job, { ...about, pace: missed }), true);
});

test('states, attempts, waits and ends in words', () => {
  const about = { now: Date.parse('2026-11-20T18:00:00Z'), pace: new Pace(), feeding: false };
  assert.equal(words.attemptOf(view('a', 1, 5, { attempt: 1 })), '');
  assert.equal(words.attemptOf(view('a', 1, 5, { attempt: 3, resumed_from: 58.9 })), 'attempt 3, goes on from 58.9 %');
  assert.equal(words.stageOf(view('a', 1, 5, { stage: { name: 'read', index: 1, count: 3 } })), 'read, step 2 of 3');
  assert.equal(words.noteOf(view('a', 1, 5, { state: 'retrying', retry_at: '2026-11-20T18:01:20Z' }), about), 'Next attempt in 1 min 20 s');
  assert.equal(words.stateOf(view('a', 1, 5, { canceling: true, pausing: true })), 'Canceling…');
  assert.equal(words.stateOf(view('a', 1, 5, { pausing: true })), 'Pausing…');
  assert.equal(words.stateOf(view('a', 1, 5, { state: 'somewhere' as never })), 'somewhere');
  assert.equal(words.noteOf(view('a', 1, 5, { state: 'paused' }), about), 'Rests until it is resumed');
  const error = { code: 'timeout', message: 'it took too long' };
  assert.equal(words.troubleOf(view('a', 1, 5, { state: 'failed', error })), error);
  assert.equal(words.troubleOf(view('a', 1, 5, { state: 'running', error })), undefined);
});

test('an attempt without a checkpoint starts over, unless it is the one after the children', () => {
  assert.equal(words.attemptOf(view('a', 2, 62, { attempt: 2, resumed_from: 0 })), 'attempt 2, starts over');
  const parent = view('a', 2, 90, { attempt: 2, resumed_from: 0, children: { count: 3, ended: 3, failed: 0 } });
  assert.equal(words.attemptOf(parent), 'attempt 2');
});

test('a lost worker is told in plain words, before and after another has taken over', () => {
  const about = { now: 0, pace: new Pace(), feeding: false };
  const stalled = view('a', 1, 62, { state: 'retrying', attempt: 1 });
  assert.equal(words.noteOf(stalled, about), 'Its worker was lost, another takes over');
  assert.equal(words.troubleOf(stalled), undefined);
  assert.equal(words.attemptOf(view('a', 2, 62, { attempt: 2, resumed_from: 58.9 })), 'attempt 2, goes on from 58.9 %');
  const goesOn = view('a', 2, 62, { attempt: 2, resumed_from: 58.9, message: 'reading' });
  assert.equal(words.noteOf(goesOn, { ...about, now: 9_000, lostAt: 0 }), 'Its worker was lost, another goes on');
  assert.equal(words.noteOf(goesOn, { ...about, now: 10_000, lostAt: 0 }), 'reading');
  const failed = view('a', 1, 62, { state: 'retrying', error: { code: 'error', message: 'no such table' } });
  assert.equal(words.noteOf(failed, about), 'Next attempt any moment');
});

test('children are counted in words', () => {
  const of = (ended: number, failed: number): string => words.partsOf(view('a', 1, 5, { children: { count: 10_000, ended, failed } }));
  assert.deepEqual([words.partsOf(view('a', 1, 5)), of(0, 0), of(4, 1)], ['', '0 of 10,000 parts', '4 of 10,000 parts, 1 failed']);
});
