import assert from 'node:assert/strict';
import test from 'node:test';

import { Backoff } from '../src/client';
import { World } from './world';

test('waits are random parts of 1, 2, 4 … 30 s', () => {
  const longest = new Backoff(() => 1);
  assert.deepEqual(Array.from({ length: 7 }, () => longest.next()), [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  const half = new Backoff(() => 0.5);
  assert.deepEqual([half.next(), half.next()], [500, 1_000]);
  half.reset();
  assert.equal(half.next(), 500);
});

test('is live once welcomed, and comes back after a loss', () => {
  const world = new World();
  const names: string[] = [];
  world.connection.listen({ changed: (state) => names.push(state.name) });
  world.enter();
  world.socket.end(1006);
  world.clock.pass(499);
  assert.equal(world.sockets.length, 1);
  world.clock.pass(1);
  assert.equal(world.sockets.length, 2);
  world.socket.welcome();
  assert.deepEqual(names, ['connecting', 'live', 'reconnecting', 'connecting', 'live']);
});

test('waits grow while it is lost soon after each welcome, and begin anew after a good one', () => {
  const world = new World();
  world.enter();
  const waits = [];
  for (let i = 0; i < 3; i++) {
    world.socket.end(1006);
    const { state } = world.connection;
    assert.ok(state.name === 'reconnecting');
    waits.push(state.at - world.clock.now());
    world.clock.pass(waits[i]!);
    world.socket.welcome();
  }
  assert.deepEqual(waits, [500, 1_000, 2_000]);
  world.clock.pass(6_000);
  world.socket.end(1006);
  assert.ok(world.connection.state.name === 'reconnecting' && world.connection.state.attempt === 1);
});

test('a half-open socket is asked, and left when it does not answer', () => {
  const world = new World();
  const socket = world.enter();
  world.clock.pass(34_999);
  assert.equal(socket.of('ping').length, 0);
  world.clock.pass(1);
  assert.equal(socket.of('ping').length, 1);
  world.clock.pass(4_999);
  assert.equal(world.connection.state.name, 'live');
  world.clock.pass(1);
  assert.equal(world.connection.state.name, 'reconnecting');
  assert.ok(socket.isClosed);
});

test('while something runs a half-open socket is left within 15 s', () => {
  const world = new World();
  let runs = false;
  world.connection.listen({ changed: () => {}, isBusy: () => runs });
  const socket = world.enter();
  world.clock.pass(20_000);
  assert.equal(socket.of('ping').length, 0);
  runs = true;
  socket.say({ type: 'a tick, say' });
  world.clock.pass(8_000);
  assert.equal(socket.of('ping').length, 1);
  socket.say({ type: 'pong' });
  world.clock.pass(12_999);
  assert.equal(world.connection.state.name, 'live');
  world.clock.pass(1);
  assert.equal(world.connection.state.name, 'reconnecting');
  assert.ok(socket.isClosed);
});

test('an answer keeps it, and frames put off the question', () => {
  const world = new World();
  const socket = world.enter();
  world.clock.pass(20_000);
  socket.say({ type: 'from the future' });
  world.clock.pass(34_999);
  assert.equal(socket.of('ping').length, 0);
  world.clock.pass(1);
  socket.say({ type: 'pong' });
  world.clock.pass(30_000);
  assert.equal(world.connection.state.name, 'live');
  assert.equal(world.sockets.length, 1);
});

test('a socket that never opens is left', () => {
  const world = new World();
  world.connection.connect();
  world.clock.pass(10_000);
  assert.equal(world.connection.state.name, 'reconnecting');
  assert.ok(world.socket.isClosed);
});

test('goodbye says when to come back', () => {
  const world = new World();
  const socket = world.enter();
  socket.say({ type: 'goodbye', reason: 'draining', reconnect_after_ms: 1_834 });
  socket.end(1012);
  world.clock.pass(1_833);
  assert.equal(world.sockets.length, 1);
  world.clock.pass(1);
  assert.equal(world.sockets.length, 2);
});

test('codes that forbid a return end it; connect begins again', () => {
  for (const code of [4400, 4403, 1003, 1007, 1009]) {
    const world = new World();
    world.enter().end(code);
    assert.equal(world.connection.state.name, 'ended', `${code}`);
    world.clock.pass(3_600_000);
    assert.equal(world.sockets.length, 1, `${code}`);
    assert.equal(world.clock.waiting, 0, `${code} leaves no timer`);
    world.connection.connect();
    assert.equal(world.sockets.length, 2, `${code}`);
  }
});

test('codes that allow a return bring it back', () => {
  for (const code of [1001, 1006, 1011, 1012, 4999]) {
    const world = new World();
    world.enter().end(code);
    world.clock.pass(1_000);
    assert.equal(world.sockets.length, 2, `${code}`);
  }
});

test('refused credentials are tried once more', () => {
  const world = new World();
  world.connection.connect();
  world.socket.end(4401);
  world.clock.pass(1_000);
  assert.equal(world.sockets.length, 2);
  world.socket.end(4401);
  assert.equal(world.connection.state.name, 'ended');
});

test('a wait that the server imposed is not shortened by an event, but by a person', () => {
  for (const code of [4409, 4429]) {
    const world = new World();
    const socket = world.enter();
    socket.say({ type: 'goodbye', reason: 'rate', reconnect_after_ms: 20_000 });
    socket.end(code);
    world.connection.wake();
    assert.equal(world.sockets.length, 1);
    world.connection.connect();
    assert.equal(world.sockets.length, 2);
  }
});

test('waking ends a wait, and has a live connection prove itself', () => {
  const world = new World();
  const socket = world.enter();
  world.connection.wake();
  assert.equal(socket.of('ping').length, 1);
  world.clock.pass(5_000);
  assert.equal(world.connection.state.name, 'reconnecting');
  world.connection.wake();
  assert.equal(world.sockets.length, 2);
});

test('a token is sent on opening and ahead of the session’s end', async () => {
  let tokens = 0;
  const world = new World({ token: () => Promise.resolve(`t${++tokens}`) });
  world.connection.connect();
  world.socket.welcome({ session_expires_at: new Date(world.clock.now() + 90_000).toISOString() });
  await Promise.resolve();
  world.clock.pass(30_000);
  world.socket.say({ type: 'pong' });
  world.clock.pass(30_000);
  await Promise.resolve();
  assert.deepEqual(world.socket.of('auth').map((message) => message.token), ['t1', 't2']);
});

test('frames go to their subscription, and none to one that has ended', () => {
  const world = new World();
  const socket = world.enter();
  const got: string[] = [];
  const a = world.connection.subscribe('user:1', undefined, {}, () => got.push('a'));
  const b = world.connection.subscribe('user:2', '5-5', {}, () => got.push('b'));
  assert.ok(a && b && a !== b);
  socket.say({ type: 'live', sid: b, cursor: '5-5', replayed: 0 });
  world.connection.unsubscribe(a);
  socket.say({ type: 'live', sid: a, cursor: '5-5', replayed: 0 });
  assert.deepEqual(got, ['b']);
  assert.deepEqual(socket.of('subscribe')[1], { type: 'subscribe', sid: b, topic: 'user:2', after: '5-5' });
  assert.equal(socket.of('unsubscribe').length, 1);
});
