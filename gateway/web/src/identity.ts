import { sha256 } from './sha256';

// What is read of a file, however large it is, to tell it from others: its beginning and
// its end, where tables that grow differ, and blocks from all over it.
const edgeBytes = 64 << 10;
const blockBytes = 16 << 10;
const blocks = 56;

/** The most that is read to tell a file; a smaller one is read whole. */
export const sampleBytes = 2 * edgeBytes + blocks * blockBytes; // 1 MiB

/** What identity needs of a File. */
export interface Source {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly lastModified: number;
  slice(from: number, to: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

/**
 * What tells that a file is the one that was being sent before a reload: its name, type,
 * size and time of change, which are the same for files that differ, and a hash of samples
 * of its content. Up to sampleBytes the hash is of all of it; beyond, two files that differ
 * only between the samples are taken for one. Rejects when the file cannot be read.
 */
export async function identityOf(file: Source, topic: string): Promise<string> {
  const parts = await Promise.all(samples(file.size).map(([from, to]) => file.slice(from, to).arrayBuffer()));
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(new Uint8Array(part), at);
    at += part.byteLength;
  }
  return ['tidemark', topic, file.name, file.type, file.size, file.lastModified, sha256(all)].join(':');
}

/** The ranges that are read of a file, in order and without an overlap. */
export function samples(size: number): [from: number, to: number][] {
  if (size <= sampleBytes) return [[0, size]];
  const ranges: [number, number][] = [[0, edgeBytes]];
  const between = size - 2 * edgeBytes - blockBytes;
  for (let i = 0; i < blocks; i++) {
    const from = edgeBytes + Math.floor(between * i / (blocks - 1));
    ranges.push([from, from + blockBytes]);
  }
  ranges.push([size - edgeBytes, size]);
  return ranges;
}
