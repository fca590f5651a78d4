import assert from 'node:assert/strict';
import test from 'node:test';

import { Problem } from '../src/api';
import { download, type DownloadOptions, type Sink } from '../src/download';
import { hasRoom, memoryBytes, MemorySink } from '../src/sinks';

const sha256 = 'ab'.repeat(32);
const whole = new Uint8Array(1_000).map((_, i) => i);
const source = { path: '/v1/artifacts/J.a.csv', size: whole.length, sha256 };

type Answer = (from: number) => Response | Promise<Response>;

/** A server that gives one answer after the other, and what it was asked. */
function server(...answers: Answer[]): { fetch: typeof fetch; asked: (string | null)[] } {
  const asked: (string | null)[] = [];
  const fetch = (async (_: string, init: RequestInit) => {
    const headers = new Headers(init.headers);
    const range = headers.get('Range');
    asked.push(range && `${range} ${headers.get('If-Range')}`);
    const answer = answers[asked.length - 1] ?? answers[answers.length - 1]!;
    return answer(Number(/\d+/.exec(range ?? '')?.[0] ?? 0));
  }) as typeof globalThis.fetch;
  return { fetch, asked };
}

/** Answers with the bytes from an offset to another, after which the connection ends, in order or not. */
function bytes(from: number, to: number, { status = 200, broken = false, etag = `"${sha256}"` } = {}): Response {
  const body = new ReadableStream<Uint8Array>({
    start(stream) {
      for (let at = from; at < to; at += 100) stream.enqueue(whole.slice(at, Math.min(at + 100, to)));
      if (!broken) stream.close();
    },
    pull(stream) {
      if (broken) stream.error(new TypeError('network error'));
    },
  });
  return new Response(body, { status, headers: { ETag: etag } });
}

const refuse = (status: number): Answer => () => new Response(JSON.stringify({ code: 'gone', detail: 'the file is no longer kept: expired' }), { status });
const cut: Answer = () => Promise.reject(new TypeError('Failed to fetch'));

class Gathered implements Sink {
  got: number[] = [];
  end = '';

  write(piece: Uint8Array): void {
    this.got.push(...piece);
  }

  close(): void {
    this.end += 'closed';
  }

  abort(): void {
    this.end += 'aborted';
  }
}

function options(fetch: typeof globalThis.fetch, more: Partial<DownloadOptions> = {}): DownloadOptions {
  return { fetch, random: () => 0, signal: new AbortController().signal, progressed: () => undefined, ...more };
}

test('a download goes on where it was cut, and says how far it is', async () => {
  const { fetch, asked } = server(
    cut, () => bytes(0, 300, { broken: true }), refuse(503), (from) => bytes(from, 700, { status: 206 }), (from) => bytes(from, 1_000, { status: 206 }),
  );
  const sink = new Gathered();
  const seen: number[] = [];
  let cuts = 0;
  await download(source, sink, options(fetch, { progressed: (done, isCut) => (isCut ? cuts++ : seen.push(done)) }));
  assert.deepEqual(new Uint8Array(sink.got), whole);
  assert.equal(sink.end, 'closed');
  assert.deepEqual(asked, [null, null, `bytes=300- "${sha256}"`, `bytes=300- "${sha256}"`, `bytes=700- "${sha256}"`]);
  assert.deepEqual(seen, [100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000]);
  assert.equal(cuts, 4);
});

test('a range that a proxy leaves out repeats nothing', async () => {
  const { fetch } = server(() => bytes(0, 350, { broken: true }), () => bytes(0, 1_000));
  const sink = new Gathered();
  await download(source, sink, options(fetch));
  assert.deepEqual(new Uint8Array(sink.got), whole);
});

test('what the server refuses, and another file, end a download without a trace', async () => {
  const cases: [string, Answer[], RegExp][] = [
    ['it is gone', [() => bytes(0, 300, { broken: true }), refuse(410)], /no longer kept/],
    ['it is another one', [() => bytes(0, 1_000, { etag: '"cd"' })], /another file/],
    ['it is longer', [() => bytes(0, 1_000), () => bytes(0, 1_000)], /another file/],
  ];
  for (const [what, answers, words] of cases) {
    const sink = new Gathered();
    const { size } = source;
    await assert.rejects(download({ ...source, size: what === 'it is longer' ? size - 1 : size }, sink, options(server(...answers).fetch)),
      (error) => error instanceof Problem && words.test(error.message), what);
    assert.equal(sink.end, 'aborted', what);
  }
});

test('a sink that fails ends a download with its words', async () => {
  const sink = new Gathered();
  sink.write = () => { throw new Error('the disk is full'); };
  await assert.rejects(download(source, sink, options(server(() => bytes(0, 1_000)).fetch)), /cannot be written: the disk is full/);
  assert.equal(sink.end, 'aborted');
});

test('a download that is stopped, in between or while it waits, keeps nothing', async () => {
  for (const answer of [() => bytes(0, 1_000), cut]) {
    const stop = new AbortController();
    const sink = new Gathered();
    await assert.rejects(download(source, sink, options(server(answer).fetch, { signal: stop.signal, random: () => 1, progressed: () => stop.abort() })),
      { name: 'AbortError' });
    assert.equal(sink.end, 'aborted');
  }
});

test('a connection on which nothing comes is lost', async () => {
  const silent: Answer = () => new Promise<Response>(() => undefined);
  const hanging = ((path: string, init: RequestInit) => new Promise<Response>((resolve, reject) => {
    init.signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
    const answer = tries++ === 0 ? silent(0) : bytes(0, 1_000);
    if (answer instanceof Response) resolve(answer);
    void path;
  })) as typeof fetch;
  let tries = 0;
  const sink = new Gathered();
  await download(source, sink, options(hanging, { silentMs: 1 }));
  assert.equal(tries, 2);
  assert.equal(sink.got.length, 1_000);
});

test('memory is bounded over all downloads', async () => {
  const saved: Blob[] = [];
  const first = new MemorySink(5 << 20, (blob) => saved.push(blob));
  assert.ok(hasRoom(memoryBytes - (5 << 20)));
  assert.ok(!hasRoom(memoryBytes));
  const piece = new Uint8Array(1 << 20).fill(7);
  for (let i = 0; i < 5; i++) first.write(piece);
  first.close();
  assert.equal(saved[0]!.size, 5 << 20);
  assert.equal(new Uint8Array(await saved[0]!.arrayBuffer())[(5 << 20) - 1], 7);
  assert.ok(hasRoom(memoryBytes));
  const second = new MemorySink(1, () => undefined);
  second.abort();
  second.abort();
  assert.ok(!hasRoom(memoryBytes + 1));
  assert.ok(hasRoom(memoryBytes));
});
