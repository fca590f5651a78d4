import type { Sink } from './download';

/** What all downloads of a page may hold in memory together, in bytes. */
export const memoryBytes = 256 << 20;
/** Small pieces become one of this size, which browsers may keep outside of the script's memory. */
const pieceBytes = 4 << 20;

let held = 0;

/** Whether a file of so many bytes has room in memory beside those that are being downloaded. */
export function hasRoom(size: number): boolean {
  return held + size <= memoryBytes;
}

/** Gathers a file of a size in memory, and hands it to `save` as a whole. */
export class MemorySink implements Sink {
  private readonly pieces: Blob[] = [];
  private loose: Uint8Array<ArrayBuffer>[] = [];
  private looseBytes = 0;
  private isHeld = true;

  constructor(private readonly size: number, private readonly save: (whole: Blob) => void) {
    held += size;
  }

  write(bytes: Uint8Array): void {
    this.loose.push(bytes as Uint8Array<ArrayBuffer>); // what a fetch reads is never shared memory
    this.looseBytes += bytes.length;
    if (this.looseBytes >= pieceBytes) this.gather();
  }

  close(): void {
    this.gather();
    this.save(new Blob(this.pieces));
    this.release();
  }

  abort(): void {
    this.release();
  }

  private gather(): void {
    this.pieces.push(new Blob(this.loose));
    this.loose = [];
    this.looseBytes = 0;
  }

  private release(): void {
    if (this.isHeld) held -= this.size;
    this.isHeld = false;
    this.pieces.length = this.loose.length = 0;
  }
}

/** So long a browser may take to copy what it was given to save. */
const copyMs = 60_000;

/** Has the browser save a blob among its downloads. */
export function saveBlob(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(url), copyMs);
}

/** The part of a FileSystemFileHandle that is used. */
interface FileHandle {
  createWritable(): Promise<{ write(bytes: Uint8Array): Promise<void>; close(): Promise<void>; abort(): Promise<void> }>;
}

type Picker = (options: { readonly suggestedName: string }) => Promise<FileHandle>;

/** Asks where to save a file, where the browser lets a page write one; undefined where it does not. */
export function filePicker(name: string): (() => Promise<Sink>) | undefined {
  const { showSaveFilePicker } = window as { readonly showSaveFilePicker?: Picker };
  if (!showSaveFilePicker) return undefined;
  return async () => (await showSaveFilePicker({ suggestedName: name })).createWritable();
}
