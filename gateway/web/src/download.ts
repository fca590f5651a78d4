import { problemOf, Problem } from './api';
import { Backoff, type Random } from './client';

/** Where the bytes of a download go. */
export interface Sink {
  write(bytes: Uint8Array): Promise<void> | void;
  /** All bytes are there: keeps them. */
  close(): Promise<void> | void;
  /** Lets go of what was written. */
  abort(): Promise<void> | void;
}

/** A file that the gateway serves. Its bytes never change. */
export interface Source {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

export interface DownloadOptions {
  readonly fetch: typeof fetch;
  readonly random: Random;
  /** Ends the download, which then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** So many bytes are there; `isCut` while the connection is lost. */
  readonly progressed: (done: number, isCut: boolean) => void;
  /** A connection on which nothing comes for so long is lost. Defaults to 30 s. */
  readonly silentMs?: number;
}

/**
 * Streams a file into a sink. After a loss of the connection it goes on where it was, and tries until the server
 * answers. Rejects with a Problem where the server refuses or the sink fails; the sink then keeps nothing.
 */
export async function download(source: Source, sink: Sink, options: DownloadOptions): Promise<void> {
  const { signal, progressed } = options;
  const backoff = new Backoff(options.random, { longestMs: 15_000 });
  let done = 0;
  try {
    while (done < source.size) {
      const before = done;
      try {
        for await (const bytes of bytesFrom(source, done, options)) {
          if (done + bytes.length > source.size) throw changed();
          await put(sink, bytes);
          done += bytes.length;
          progressed(done, false);
        }
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof Problem && !isPassing(error.status)) throw error;
      }
      if (done === source.size) break;
      if (done > before) backoff.reset();
      progressed(done, true);
      await pause(backoff.next(), signal);
    }
    signal.throwIfAborted();
    await sink.close();
  } catch (error) {
    await Promise.resolve(sink.abort()).catch(() => undefined);
    throw error;
  }
}

/** The bytes of a file from an offset on, until they end or the connection does. */
async function* bytesFrom({ path, sha256 }: Source, from: number, options: DownloadOptions): AsyncGenerator<Uint8Array> {
  const { signal, silentMs = 30_000 } = options;
  const request = new AbortController();
  const end = (): void => request.abort();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const watched = async <T>(answer: Promise<T>): Promise<T> => {
    timer = setTimeout(end, silentMs);
    return answer.finally(() => clearTimeout(timer));
  };
  signal.addEventListener('abort', end);
  try {
    const headers: Record<string, string> = from > 0 ? { Range: `bytes=${from}-`, 'If-Range': `"${sha256}"` } : {};
    const response = await watched(options.fetch(path, { headers, signal: request.signal, cache: 'no-store' }));
    if (!response.ok) throw problemOf(response.status, await watched(response.text()));
    if (!(response.headers.get('ETag') ?? sha256).includes(sha256)) throw changed();
    let skip = response.status === 206 ? 0 : from; // a proxy may leave a range out
    const reader = response.body!.getReader();
    for (;;) {
      const { done, value } = await watched(reader.read());
      if (done) return;
      const bytes = value.subarray(Math.min(skip, value.length));
      skip -= value.length - bytes.length;
      if (bytes.length > 0) yield bytes;
    }
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

async function put(sink: Sink, bytes: Uint8Array): Promise<void> {
  try {
    await sink.write(bytes);
  } catch (error) {
    throw new Problem(0, 'unwritable', `the file cannot be written: ${(error as Error).message}`);
  }
}

function changed(): Problem {
  return new Problem(0, 'changed', 'the server sent another file than the one that was asked for');
}

/** What a server refuses for now alone. */
function isPassing(status: number): boolean {
  return status >= 500 || status === 408 || status === 429;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
