// The smallest right client, as docs/protocol.md has it, against a server that is the test's.
import assert from 'node:assert/strict';
import test from 'node:test';

import type { View } from '../src/client';
import protocol from '../../../docs/protocol.md';
import { cursor, FakeClock, FakeSocket, record, view } from './world';

interface Watcher { show(job: View): void; gone(id: string): void; say(text: string): void }
type Follow = (url: string, topic: string, watcher: Watcher) => void;

const source = /^## The smallest right client$[^]*?^```js\n([^]*?)^```$/m.exec(protocol)?.[1] ?? '';

/** The client, and what it has shown and said. Chance gives all of each wait. */
class World {
  readonly clock = new FakeClock();
  readonly sockets: FakeSocket[] = [];
  readonly shown: string[] = [];
  readonly said: string[] = [];

  constructor() {
    const { clock, sockets, shown, said } = this;
    class WebSocket extends FakeSocket {
      constructor(readonly url: string, readonly offered: string) {
        super();
        sockets.push(this);
      }
    }
    const build = new Function('WebSocket', 'setTimeout', 'clearTimeout', 'Math', source.replace('export function', 'return function'));
    const follow = build(
      WebSocket, (run: () => void, ms: number) => clock.setTimer(run, ms), (timer: unknown) => clock.clearTimer(timer),
      { max: Math.max, min: Math.min, random: () => 1 },
    ) as Follow;
    follow('ws://test/v1/ws', 'user:42', {
      show: (job) => shown.push(`${job.id} ${job.state} ${job.percent}`),
      gone: (id) => shown.push(`${id} gone`),
      say: (text) => said.push(text),
    });
  }

  get socket(): FakeSocket {
    return this.sockets[this.sockets.length - 1]!;
  }

  /** What has been shown since the last call. */
  news(): string[] {
    return this.shown.splice(0);
  }

  /** Enters with a snapshot of these jobs at the cursor of record 5. */
  enter(...jobs: View[]): void {
    this.socket.welcome();
    this.verdict('fresh');
    this.snapshot(1, true, 5, ...jobs);
    this.frame({ type: 'live', cursor: cursor(5), replayed: 0 });
  }

  frame(frame: object): void {
    this.socket.say({ sid: this.socket.sid, ...frame });
  }

  verdict(reason: string): void {
    this.frame({ type: 'subscribed', mode: reason === 'resumed' ? 'replay' : 'snapshot', reason, cursor: cursor(5) });
  }

  snapshot(part: number, final: boolean, at: number, ...jobs: View[]): void {
    this.frame({ type: 'snapshot', part, final, cursor: cursor(at), jobs });
  }

  records(after: number, at: number, ...jobs: View[]): void {
    this.frame({ type: 'records', after: cursor(after), cursor: cursor(at), records: jobs.map((job) => record(job.rev, job)) });
  }
}

test('follows from a snapshot, and resumes from its cursor', () => {
  const world = new World();
  world.enter(view('A', 4, 10), view('B', 5, 20));
  assert.equal(world.socket.subscribed.after, undefined);
  world.records(5, 7, view('A', 6, 30), view('A', 7, 40));
  assert.deepEqual(world.news(), ['A running 10', 'B running 20', 'A running 30', 'A running 40']);
  world.socket.end(1006);
  world.clock.pass(1_000);
  world.socket.welcome();
  assert.equal(world.socket.subscribed.after, cursor(7));
  assert.equal(world.sockets[1]!.sent.length, 1);
  world.verdict('resumed');
  world.records(7, 8, view('B', 8, 100, { state: 'succeeded' }));
  assert.deepEqual(world.news(), ['B succeeded 100']);
  assert.deepEqual(world.said, ['fresh', 'live', 'reconnecting', 'resumed']);
});

test('drops a job that was removed', () => {
  const world = new World();
  world.enter(view('A', 4, 100, { state: 'succeeded' }), view('B', 5, 20));
  world.news();
  const removed = { ...record(6, view('A', 6, 100, { state: 'succeeded' })), type: 'job.removed' };
  world.frame({ type: 'records', after: cursor(5), cursor: cursor(7), records: [removed, record(7, view('B', 7, 30))] });
  assert.deepEqual(world.news(), ['A gone', 'B running 30']);
});

test('shows no view that is older than the one it has, and no lower percent', () => {
  const world = new World();
  world.enter(view('A', 8, 50));
  world.records(5, 7, view('A', 6, 30), view('A', 7, 40));
  assert.deepEqual(world.news(), ['A running 50']);
  world.verdict('rewritten');
  world.snapshot(1, true, 3, view('A', 2, 20));
  assert.deepEqual(world.news(), ['A running 50']);
  world.records(3, 4, view('A', 4, 60));
  assert.deepEqual(world.news(), ['A running 60']);
});

test('drops what a snapshot does not have once all parts are there', () => {
  const world = new World();
  world.enter(view('A', 4, 10), view('B', 5, 20));
  world.news();
  world.verdict('trimmed');
  world.snapshot(1, false, 8, view('C', 8, 5));
  assert.deepEqual(world.news(), ['C running 5']);
  world.snapshot(2, true, 9, view('B', 9, 30));
  assert.deepEqual(world.news(), ['B running 30', 'A gone']);
});

test('subscribes again, from its cursor, when a record or a part is missing', () => {
  const world = new World();
  world.enter(view('A', 4, 10));
  const first = world.socket.sid;
  world.records(6, 7, view('A', 7, 40));
  assert.deepEqual(world.socket.of('unsubscribe'), [{ type: 'unsubscribe', sid: first }]);
  assert.equal(world.socket.subscribed.after, cursor(5));
  assert.ok(world.socket.sid !== first);
  world.socket.say({ type: 'records', sid: first, after: cursor(5), cursor: cursor(6), records: [] });
  assert.equal(world.socket.of('subscribe').length, 2); // a late frame of the first is left alone
  world.verdict('trimmed');
  world.snapshot(2, true, 9, view('A', 9, 90));
  assert.equal(world.socket.of('subscribe').length, 3);
  assert.equal(world.socket.subscribed.after, cursor(5));
  assert.deepEqual(world.news(), ['A running 10']);
});

test('waits longer after each loss, as long as a goodbye says, and for good after a refusal', () => {
  const world = new World();
  for (const ms of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    const tries = world.sockets.length;
    world.socket.end(1006);
    world.clock.pass(ms - 1);
    assert.equal(world.sockets.length, tries);
    world.clock.pass(1);
    assert.equal(world.sockets.length, tries + 1);
  }
  world.enter();
  world.socket.say({ type: 'goodbye', reason: 'draining', reconnect_after_ms: 1_834 });
  world.socket.end(1012);
  world.clock.pass(1_833);
  assert.equal(world.sockets.length, 8);
  world.clock.pass(1);
  world.socket.end(1006);
  world.clock.pass(1_000); // it was live
  assert.equal(world.sockets.length, 10);
  world.socket.end(4403);
  assert.equal(world.clock.waiting, 0);
  assert.equal(world.said.pop(), 'closed for good: 4403');
});

test('asks a silent socket, and leaves one that does not answer, or never welcomes', () => {
  const world = new World();
  world.enter();
  world.clock.pass(35_000);
  world.socket.say({ type: 'pong' });
  world.clock.pass(35_000);
  assert.equal(world.socket.of('ping').length, 2);
  world.clock.pass(5_000);
  assert.ok(world.socket.isClosed);
  world.clock.pass(1_000);
  assert.equal(world.sockets.length, 2);
  world.clock.pass(15_000);
  assert.ok(world.socket.isClosed);
  world.clock.pass(2_000);
  assert.equal(world.sockets.length, 3);
});

test('asks sooner while a job runs', () => {
  const world = new World();
  world.enter(view('A', 4, 10), view('B', 5, 100, { state: 'succeeded' }));
  world.clock.pass(7_999);
  assert.equal(world.socket.of('ping').length, 0);
  world.clock.pass(1);
  assert.equal(world.socket.of('ping').length, 1);
  world.socket.say({ type: 'pong' });
  world.records(5, 6, view('A', 6, 100, { state: 'succeeded' }));
  world.clock.pass(34_999); // none runs any more
  assert.equal(world.socket.of('ping').length, 1);
  world.records(6, 7, view('C', 7, 10));
  world.clock.pass(8_000);
  assert.equal(world.socket.of('ping').length, 2);
  world.clock.pass(5_000); // 13 s after the last word
  assert.ok(world.socket.isClosed);
  assert.equal(world.said.pop(), 'reconnecting');
});

test('ends at a refusal of its topic, and waits for storage that does not answer', () => {
  const world = new World();
  world.enter(view('A', 4, 10));
  world.frame({ type: 'error', code: 'unavailable', message: 'Redis does not answer' });
  world.records(5, 6, view('A', 6, 20));
  assert.deepEqual(world.news(), ['A running 10', 'A running 20']);
  world.frame({ type: 'error', code: 'forbidden', message: 'you may not read this topic' });
  assert.ok(world.socket.isClosed);
  assert.equal(world.clock.waiting, 0);
  assert.deepEqual(world.said, ['fresh', 'live', 'Redis does not answer', 'you may not read this topic']);
});
