import assert from 'node:assert/strict';
import test from 'node:test';

import { LocalStore, type View } from '../src/client';
import { Scene } from './scene';
import { cursor, FakeStorage, view } from './world';

test('takes a snapshot in parts, then records, and is live', () => {
  const scene = new Scene();
  const socket = scene.enter();
  assert.deepEqual(socket.subscribed, { type: 'subscribe', sid: 's1', topic: 'user:42' });
  socket.say({ type: 'subscribed', sid: 's1', mode: 'snapshot', reason: 'fresh', cursor: cursor(9) });
  socket.say({ type: 'snapshot', sid: 's1', part: 1, cursor: cursor(9), jobs: [view('a', 8, 10)] });
  socket.say({ type: 'snapshot', sid: 's1', part: 2, final: true, cursor: cursor(9), jobs: [view('b', 9, 20)] });
  scene.records(9, 10, view('a', 10, 11));
  socket.say({ type: 'live', sid: 's1', cursor: cursor(10), replayed: 1 });
  assert.deepEqual([scene.percent('a'), scene.percent('b')], [11, 20]);
  assert.equal(scene.follower.state.name, 'live');
});

test('resumes from its cursor with a sid of its own', () => {
  const scene = new Scene();
  scene.begin(9, [view('a', 8, 10)]);
  scene.records(9, 12, view('a', 12, 30));
  const socket = scene.cut();
  assert.equal(socket.subscribed.after, cursor(12));
  assert.ok(socket.sid !== 's1');
});

test('an older view changes nothing, and a newer one never lowers the bar', () => {
  const scene = new Scene();
  scene.begin(9, [view('a', 15, 40)]);
  scene.records(9, 14, view('a', 14, 39, { message: 'old' }));
  assert.equal(scene.follower.jobs.get('a')?.view.message, undefined);
  scene.records(14, 16, view('a', 16, 5, { message: 'new' }));
  assert.equal(scene.follower.jobs.get('a')?.view.message, 'new');
  assert.equal(scene.percent('a'), 40);
});

test('records that do not follow the cursor are not taken: it subscribes again from it', () => {
  const scene = new Scene();
  const socket = scene.begin(9, [view('a', 8, 10)]);
  const sid = socket.sid;
  scene.records(11, 12, view('a', 12, 30));
  assert.equal(scene.percent('a'), 10);
  assert.deepEqual(socket.of('unsubscribe'), [{ type: 'unsubscribe', sid }]);
  assert.equal(socket.of('subscribe').length, 2);
  assert.equal(socket.subscribed.after, cursor(9));
  assert.ok(socket.sid !== sid);
});

test('a gap that returns leads to a snapshot, after a wait', () => {
  const scene = new Scene();
  const socket = scene.begin(9, [view('a', 8, 10)]);
  scene.records(11, 12, view('a', 12, 30));
  socket.say({ type: 'subscribed', sid: socket.sid, mode: 'replay', reason: 'resumed', cursor: cursor(9) });
  scene.records(11, 12, view('a', 12, 30));
  assert.equal(socket.of('subscribe').length, 2);
  scene.clock.pass(1_000);
  assert.equal(socket.of('subscribe').length, 3);
  assert.equal(socket.subscribed.after, undefined);
});

test('a missing part of a snapshot is not overlooked', () => {
  const scene = new Scene();
  const socket = scene.enter();
  socket.say({ type: 'subscribed', sid: 's1', mode: 'snapshot', reason: 'fresh', cursor: cursor(9) });
  socket.say({ type: 'snapshot', sid: 's1', part: 2, final: true, cursor: cursor(9), jobs: [view('b', 9, 20)] });
  assert.equal(scene.percent('b'), undefined);
  assert.equal(socket.of('subscribe').length, 2);
});

test('only the final part moves the cursor, and jobs may come again', () => {
  const scene = new Scene();
  scene.begin(9, [view('a', 5, 10), view('b', 6, 20)]);
  const part = (n: number, at: number, jobs: View[], final = false): void => {
    scene.socket.say({ type: 'snapshot', sid: scene.socket.sid, part: n, final, cursor: cursor(at), jobs });
  };
  const verdict = (at: number): void => {
    scene.socket.say({ type: 'subscribed', sid: scene.socket.sid, mode: 'snapshot', reason: 'trimmed', cursor: cursor(at) });
  };
  verdict(40);
  part(1, 40, [view('a', 30, 50)]);
  assert.equal(scene.percent('a'), 50); // shown as it comes
  assert.equal(scene.percent('b'), 20);
  scene.cut();
  assert.equal(scene.socket.subscribed.after, cursor(9));
  verdict(60);
  part(1, 60, [view('c', 50, 1)]);
  part(2, 90, [view('c', 80, 2), view('a', 85, 100, { state: 'succeeded' })]);
  part(3, 90, [], true);
  assert.equal(scene.percent('c'), 2);
  assert.equal(scene.follower.jobs.get('b'), undefined);
  assert.equal(scene.follower.jobs.get('a')?.view.state, 'succeeded');
  scene.records(90, 91, view('c', 91, 3));
  assert.equal(scene.percent('c'), 3);
});

test('with a limit, live jobs behind it stay, and what is before it goes', () => {
  const scene = new Scene();
  scene.begin(9, [view('1', 1, 10), view('3', 2, 20), view('5', 3, 30), view('2', 4, 100, { state: 'succeeded' })]);
  const { socket } = scene;
  socket.say({ type: 'subscribed', sid: socket.sid, mode: 'snapshot', reason: 'trimmed', cursor: cursor(40) });
  socket.say({ type: 'snapshot', sid: socket.sid, part: 1, final: true, cursor: cursor(40), more: 'live:4', jobs: [view('4', 30, 1)] });
  assert.deepEqual([...scene.follower.jobs.all()].map((job) => job.view.id).sort(), ['1', '3', '4']);
  assert.equal(scene.follower.more, 'live:4');
  const limited = new Scene({ limit: 7 });
  assert.deepEqual(limited.enter().subscribed, { type: 'subscribe', sid: 's1', topic: 'user:42', limit: 7 });
});

test('after rewritten lower revisions count, and bars stay', () => {
  const scene = new Scene();
  scene.begin(90, [view('a', 80, 70)]);
  scene.snapshot(20, [view('a', 18, 55, { message: 'restored' })], 'rewritten');
  assert.equal(scene.follower.jobs.get('a')?.view.message, 'restored');
  assert.equal(scene.percent('a'), 70);
  scene.records(20, 21, view('a', 21, 71));
  assert.equal(scene.percent('a'), 71);
  scene.records(21, 22, view('a', 20, 1, { message: 'older' }));
  assert.equal(scene.follower.jobs.get('a')?.view.rev, 21);
});

test('after trimmed revisions still count', () => {
  const scene = new Scene();
  scene.begin(9, [view('a', 50, 40)]);
  scene.snapshot(60, [view('a', 45, 35, { message: 'older' })], 'trimmed');
  assert.equal(scene.follower.jobs.get('a')?.view.rev, 50);
});

test('a snapshot replaces what is held: the ended go, the live are asked about', async () => {
  const asked: string[] = [];
  const scene = new Scene({
    fetchJob: (id) => {
      asked.push(id);
      return Promise.resolve(id === 'gone' ? undefined : view(id, 30, 100, { state: 'succeeded' }));
    },
  });
  scene.begin(9, [view('live', 5, 10), view('gone', 6, 20), view('old', 7, 100, { state: 'succeeded' })]);
  scene.snapshot(50, [view('new', 45, 1)], 'trimmed');
  assert.deepEqual(asked, ['live', 'gone']);
  assert.equal(scene.follower.jobs.get('old'), undefined);
  await new Promise<void>((resolve) => queueMicrotask(() => queueMicrotask(resolve)));
  assert.equal(scene.follower.jobs.get('live')?.view.state, 'succeeded');
  assert.equal(scene.follower.jobs.get('gone'), undefined);
  assert.equal(scene.percent('new'), 1);
});

test('a question about a job that was not answered is asked again', async () => {
  let asked = 0;
  const scene = new Scene({
    fetchJob: (id) => {
      asked++;
      return asked === 1 ? Promise.reject(new Error('unreachable')) : Promise.resolve(view(id, 30, 80, { state: 'failed' }));
    },
  });
  const settle = (): Promise<void> => new Promise((resolve) => queueMicrotask(() => queueMicrotask(resolve)));
  scene.begin(9, [view('live', 5, 10)]);
  scene.snapshot(50, [], 'trimmed');
  await settle();
  assert.equal(scene.follower.jobs.get('live')?.view.state, 'running');
  scene.clock.pass(7_500);
  await settle();
  assert.equal(asked, 2);
  assert.equal(scene.follower.jobs.get('live')?.view.state, 'failed');
});

test('storage that does not answer is no reason to subscribe again', () => {
  const scene = new Scene();
  const socket = scene.begin(9, []);
  socket.say({ type: 'error', sid: socket.sid, code: 'unavailable', message: '' });
  assert.equal(scene.follower.state.name, 'stalled');
  scene.records(9, 10, view('a', 10, 1));
  assert.equal(scene.percent('a'), 1);
  assert.equal(socket.of('subscribe').length, 1);
});

test('a refusal is for good, a refused cursor is not', () => {
  const scene = new Scene();
  const socket = scene.begin(9, []);
  scene.cut();
  scene.socket.say({ type: 'error', sid: scene.socket.sid, code: 'invalid', message: 'after' });
  assert.equal(scene.socket.subscribed.after, undefined);
  scene.socket.say({ type: 'error', sid: scene.socket.sid, code: 'forbidden', message: 'no' });
  assert.deepEqual(scene.follower.state, { name: 'refused', code: 'forbidden', message: 'no' });
  assert.ok(socket !== scene.socket);
});

test('a reload shows what was held, and resumes from its cursor', () => {
  const storage = new FakeStorage();
  const before = new Scene({ store: new LocalStore(storage, 'k') });
  before.begin(9, [view('a', 8, 10), view('b', 7, 100, { state: 'succeeded' })]);
  before.records(9, 12, view('a', 12, 30));
  before.records(12, 13, view('a', 13, 20));
  before.follower.flush();

  const after = new Scene({ store: new LocalStore(storage, 'k') });
  assert.deepEqual([after.percent('a'), after.percent('b')], [30, 100]);
  assert.equal(after.enter().subscribed.after, cursor(13));
});

test('more live jobs than can be kept leave no cursor that would stand for them', () => {
  const storage = new FakeStorage();
  const scene = new Scene({ store: new LocalStore(storage, 'k') });
  scene.begin(9, Array.from({ length: 2_001 }, (_, i) => view(`j${i}`, i + 1, 10)));
  scene.follower.flush();
  const kept = new LocalStore(storage, 'k').load();
  assert.deepEqual([kept?.cursor, kept?.jobs.length, kept?.marks.j2000], ['', 0, 10]);
});

test('what is held is written by itself, soon', () => {
  const storage = new FakeStorage();
  const scene = new Scene({ store: new LocalStore(storage, 'k') });
  scene.begin(9, [view('a', 8, 10)]);
  assert.equal(storage.items.size, 0);
  scene.clock.pass(400);
  assert.equal(new LocalStore(storage, 'k').load()?.cursor, cursor(9));
});

test('another user’s jobs are forgotten', () => {
  const storage = new FakeStorage();
  const scene = new Scene({ store: new LocalStore(storage, 'k') });
  scene.begin(9, [view('a', 8, 10)]);
  scene.follower.flush();
  const socket = scene.cut({ principal: 'bob' });
  assert.equal(socket.subscribed.after, undefined);
  assert.equal(scene.follower.jobs.size, 0);
  assert.equal(storage.items.size, 0);
  assert.ok(scene.changed.filter((id) => id === 'a').length >= 2, 'its going is told');
});

test('ended jobs are held up to a bound, the newest', () => {
  const scene = new Scene();
  scene.begin(1, Array.from({ length: 260 }, (_, i) =>
    view(`j${i}`, i + 1, 100, { state: 'succeeded', ended_at: new Date(1_800_000_000_000 + i * 1_000).toISOString() })));
  assert.equal(scene.follower.jobs.size, 200);
  assert.ok(scene.follower.jobs.get('j259'));
  assert.equal(scene.follower.jobs.get('j59'), undefined);
});

test('of jobs that ended at one moment the last record’s comes first', () => {
  const scene = new Scene();
  const over = { state: 'succeeded', ended_at: '2026-11-20T18:02:33.479Z' } as const;
  scene.begin(9, [view('b', 5, 100, over), view('c', 7, 100, over), view('a', 6, 100, over)]);
  assert.deepEqual(scene.follower.jobs.ended().map((job) => job.view.id), ['c', 'a', 'b']);
});

test('a removed job goes with its children, and no view from before brings it back', () => {
  const scene = new Scene();
  const over = { state: 'succeeded', ended_at: '2026-11-20T18:02:33.479Z' } as const;
  scene.begin(9, [view('a', 5, 100, over), view('a1', 6, 100, { ...over, parent: 'a' }), view('b', 7, 100, over)]);
  const told: string[] = [];
  scene.follower.listen({ jobsChanged: (ids) => told.push(...ids) });
  scene.removal(9, 10, view('a', 10, 100, over));
  assert.deepEqual(told.sort(), ['a', 'a1']);
  scene.follower.offer(view('a', 11, 100, over));
  scene.records(10, 12, view('a1', 12, 100, { ...over, parent: 'a' }));
  assert.deepEqual([...scene.follower.jobs.all()].map((job) => job.view.id), ['b']);
  assert.equal(scene.cut().subscribed.after, cursor(12));
});

test('a job that this page has removed goes before its record comes', () => {
  const storage = new FakeStorage();
  const scene = new Scene({ store: new LocalStore(storage, 'k') });
  const over = { state: 'failed', ended_at: '2026-11-20T18:02:33.479Z' } as const;
  scene.begin(9, [view('a', 5, 40, over), view('b', 7, 30)]);
  scene.follower.drop('a');
  scene.follower.flush();
  assert.deepEqual(new LocalStore(storage, 'k').load()?.jobs.map((job) => job.id), ['b']);
  scene.removal(9, 10, view('a', 10, 40, over));
  assert.equal(scene.percent('a'), undefined);
});

test('in another history a removal may not have been', () => {
  const scene = new Scene();
  const over = { state: 'failed', ended_at: '2026-11-20T18:02:33.479Z' } as const;
  scene.begin(9, [view('a', 5, 40, over)]);
  scene.removal(9, 10, view('a', 10, 40, over));
  scene.socket.say({ type: 'subscribed', sid: scene.socket.sid, mode: 'snapshot', reason: 'rewritten', cursor: cursor(8) });
  scene.socket.say({ type: 'snapshot', sid: scene.socket.sid, part: 1, final: true, cursor: cursor(8), jobs: [view('a', 5, 40, over)] });
  assert.equal(scene.percent('a'), 40);
});

test('silence is asked about sooner while a job runs', () => {
  const scene = new Scene();
  scene.begin(9, [view('a', 8, 10)]);
  const socket = scene.socket;
  scene.clock.pass(8_000);
  assert.equal(socket.of('ping').length, 1);
  scene.records(9, 10, view('a', 10, 100, { state: 'succeeded' }));
  scene.clock.pass(20_000);
  assert.equal(socket.of('ping').length, 1);
});
