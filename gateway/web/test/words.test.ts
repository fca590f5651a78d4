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
  assert.equal(pace.rate(12_001), undefined);
});

test('the speed of the last seconds counts, and in a young stage that of its last third', () => {
  const pace = new Pace();
  const grow = (from: number, step: number, seconds: number, at: number): void => {
    for (let i = 1; i <= seconds; i++) pace.add(reading(from + i * step), at + i * 1_000, true);
  };
  pace.add(reading(0), 0, true);
  grow(0, 100, 6, 0);
  assert.equal(pace.rate(6_000), 100);
  grow(600, 10, 3, 6_000);
  assert.equal(pace.rate(9_000), 10);
  grow(630, 10, 51, 9_000);
  grow(1_140, 40, 10, 60_000);
  assert.equal(pace.rate(70_000), 40);
  // A time left goes by the third of 70 s: 400 in 10 s, and 140 in the 14 before.
  assert.equal(pace.eta(reading(1_540), 70_000), 8_460 / (540 / 24));
});

test('the time left does not rise while the count stands', () => {
  const pace = new Pace();
  for (let i = 0; i <= 5; i++) pace.add(reading(i * 100), i * 1_000, true);
  assert.equal(pace.eta(reading(500), 5_000), 95);
  assert.equal(pace.eta(reading(500), 65_000), 95);
  pace.add(reading(501), 66_000, true);
  assert.ok(pace.eta(reading(501), 66_000)! > 95);
});

test('nothing that was measured is shown while the page or the sender is cut off', () => {
  const pace = new Pace();
  for (let i = 0; i <= 5; i++) pace.add(reading(i * 100), i * 1_000, true);
  const job = { ...reading(500), eta_seconds: 95 };
  const about = { now: 5_000, pace, feeding: false };
  assert.deepEqual([words.rateOf(job, about), words.etaOf(job, about)], ['100 rows/s', '1 min 35 s left']);
  const cut = { ...about, isCutOff: true };
  assert.deepEqual([words.rateOf(job, cut), words.etaOf(job, cut)], ['', '']);
  // The bytes of an upload have stopped, be its sender this page or another one.
  const sent = new Pace();
  const upload = (done: number): ReturnType<typeof view> => view('a', done, 5, { ...receiving, progress: { ...receiving.progress, done }, eta_seconds: 4 });
  for (let i = 0; i <= 5; i++) sent.add(upload(1_000 + i), i * 1_000, true);
  const feeds = { now: 5_000, pace: sent, feeding: true };
  assert.equal(words.etaOf(upload(1_005), feeds), '4 s left to upload');
  assert.deepEqual([words.rateOf(upload(1_005), { ...feeds, now: 10_000 }), words.etaOf(upload(1_005), { ...feeds, now: 10_000 })], ['', '']);
});

test('an upload says what its bytes are and what follows', () => {
  const job = view('a', 1, 5, { ...receiving, type: 'analysis', progress: { done: 1_900_000, total: 2_000_000, unit: 'bytes' } });
  const about = { now: 0, pace: new Pace(), feeding: true };
  assert.equal(words.countOf(job, about), 'uploading 1.8 of 1.9 MiB; then analysis');
  assert.equal(words.countOf(job, { ...about, feeding: false }), '1.8 of 1.9 MiB uploaded; then analysis');
});

test('a canceled job says why, and what a job took begins with its first byte', () => {
  const at = { started_at: '2026-11-20T18:00:00Z', ended_at: '2026-11-20T18:01:20Z' };
  const now = Date.parse('2026-12-24T00:00:00Z');
  const asked = view('a', 1, 5, { state: 'canceled', ...at });
  assert.ok(/^on request, .* · took 1 min 20 s$/.test(words.endOf(asked, now)));
  assert.equal(words.troubleOf(asked), undefined);
  const error = { code: 'parent_ended', message: 'its parent A has failed' };
  const bereft = view('a', 1, 5, { state: 'canceled', error, ...at });
  assert.ok(!words.endOf(bereft, now).includes('on request'));
  assert.equal(words.troubleOf(bereft), error);
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
  const parent = (attempt: number, awaited: number): string =>
    words.attemptOf(view('a', 2, 90, { attempt, resumed_from: 40, children: { count: 3, ended: 3, failed: 0, awaited } }));
  assert.deepEqual([parent(2, 1), parent(3, 2), parent(3, 1)], ['', '', 'attempt 2, goes on from 40.0 %']);
  assert.equal(words.etaOf(view('a', 2, 40, { state: 'awaiting', eta_seconds: 30 }), { now: 0, pace: new Pace(), feeding: false }), '30 s left');
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
  assert.deepEqual([words.partsOf(view('a', 1, 5)), of(0, 0), of(4, 1)], ['', '0 of 10,000 parts done', '4 of 10,000 parts done, 1 failed']);
});
