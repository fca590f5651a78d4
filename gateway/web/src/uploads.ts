import { defaultOptions, DetailedError, Upload, type PreviousUpload } from 'tus-js-client';

import { problemOf } from './api';
import { Backoff } from './client';
import { identityOf } from './identity';
import { randomKey } from './key';
import { PartSize } from './part-size';

/** A file on its way, until its job tells the rest. */
export interface Transfer {
  readonly file: File;
  /** The job that the file is for, once it is announced. */
  readonly job: string | undefined;
  readonly state: 'waiting' | 'announcing' | 'sending' | 'retrying' | 'failed' | 'done';
  /** Why it is retrying or has failed. */
  readonly trouble: string;
  /** It has failed, and would again. */
  readonly isHopeless: boolean;
}

export interface UploadsOptions {
  readonly topic: string;
  /** The type of the job that a file is for; undefined: none takes files. */
  readonly typeOf: (name: string) => string | undefined;
  /** Why a file is of no use, in a sentence; undefined where it may be. Rejects when it cannot be read. */
  readonly refusalOf: (file: File) => Promise<string | undefined>;
  /** A transfer is new or has changed; one that is `done`, or canceled, is no longer listed. */
  readonly changed: () => void;
}

// A browser opens six connections to a host. Requests must find one while files go out.
const atATime = 3;
const silentMs = 30_000;
// Waits between the tries to cancel the job of a file that cannot be read any more.
const terminateDelaysMs = [500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
const unwanted = 'nothing here takes files';
const unreadable = 'the file cannot be read; if it has changed since it was chosen, choose it again';
/** What a server refuses a file for that no second try can change. */
const lasting = [400, 413];
/** The conflict that no wait ends: the upload was interrupted too often. */
const spent = 'upload_spent';

/**
 * Sends files with tus. A transfer that is cut off tries again until it gets through; a
 * file that is dropped again after a reload goes on where it was, and another file that
 * looks the same does not.
 */
export class Uploads {
  private readonly sendings: Sending[] = [];
  /** How much of a file passes in one request, as the last that was refused has shown. */
  private partBytes = Infinity;

  constructor(private readonly options: UploadsOptions) {}

  get transfers(): readonly Transfer[] {
    return this.sendings;
  }

  /** Whether this page is sending the file of the job. */
  feeds(job: string): boolean {
    return this.sendings.some((s) => s.job === job && s.state !== 'failed');
  }

  /** Sends a file, unless it is being sent; says which of the two. */
  async add(file: File): Promise<boolean> {
    const identity = await identityOf(file, this.options.topic).catch(() => undefined);
    const refusal = await this.options.refusalOf(file).catch(() => undefined); // without an identity it is unreadable
    const there = this.sendings.find((s) => s.file === file || (identity !== undefined && s.identity === identity));
    if (there && there.state !== 'failed') return false;
    if (there) this.remove(there);
    const sending = new Sending(file, identity, this.options.topic, this.options.typeOf(file.name), refusal, (s) => this.moved(s), {
      known: () => this.partBytes, learned: (bytes) => { this.partBytes = bytes; },
    });
    this.sendings.push(sending);
    this.next();
    this.options.changed();
    return true;
  }

  /** Lets go of a job's file: the job has ended, or is to. */
  stop(job: string): void {
    for (const s of this.sendings.filter((each) => each.job === job)) this.remove(s);
  }

  /** Forgets a transfer that failed. */
  dismiss(transfer: Transfer): void {
    const sending = this.sendings.find((s) => s === transfer);
    if (sending) this.remove(sending);
  }

  /** The server can be reached again: an upload that waits to try again does so now. */
  wake(): void {
    for (const s of this.sendings) s.wake();
  }

  private moved(sending: Sending): void {
    if (sending.state === 'done') this.remove(sending);
    this.next();
    this.options.changed();
  }

  private remove(sending: Sending): void {
    const at = this.sendings.indexOf(sending);
    if (at < 0) return;
    this.sendings.splice(at, 1);
    sending.abandon();
    this.next();
    this.options.changed();
  }

  private next(): void {
    let busy = this.sendings.filter((s) => s.isBusy).length;
    for (const s of this.sendings) {
      if (busy >= atATime) return;
      if (s.state === 'waiting') {
        busy++;
        void s.begin();
      }
    }
  }
}

/** What all files of a page know of the proxies on the way, in bytes. */
interface PartBound {
  known(): number;
  learned(bytes: number): void;
}

class Sending implements Transfer {
  state: Transfer['state'];
  trouble: string;
  isHopeless: boolean;
  private upload: Upload | undefined;
  private readonly backoff = new Backoff(Math.random, { longestMs: 15_000 });
  private retryTimer: number | undefined;
  private silence: number | undefined;
  private resumedFrom: PreviousUpload | undefined;
  private abandoned = false;
  private parts = new PartSize();
  /** Makes an announcement whose answer was lost, and that is sent again, the same one. */
  private readonly key = randomKey();

  /** A file without an identity cannot be read. */
  constructor(
    readonly file: File, readonly identity: string | undefined, private readonly topic: string, private readonly type: string | undefined,
    refusal: string | undefined, private readonly moved: (s: Sending) => void, private readonly bound: PartBound,
  ) {
    this.trouble = type === undefined ? unwanted : refusal ?? (identity === undefined ? unreadable : '');
    this.isHopeless = type === undefined || refusal !== undefined;
    this.state = this.trouble ? 'failed' : 'waiting';
  }

  get job(): string | undefined {
    return this.upload?.url?.split('/').pop();
  }

  get isBusy(): boolean {
    return this.state === 'announcing' || this.state === 'sending' || this.state === 'retrying';
  }

  async begin(): Promise<void> {
    this.state = 'announcing';
    this.parts = new PartSize(this.bound.known());
    this.upload = this.make();
    const earlier = await this.upload.findPreviousUploads().catch(() => []);
    if (this.abandoned) return;
    this.resumedFrom = earlier.sort((a, b) => Date.parse(b.creationTime) - Date.parse(a.creationTime))[0];
    if (this.resumedFrom) {
      this.upload.resumeFromPreviousUpload(this.resumedFrom);
      this.keepAddress();
    }
    this.upload.start();
    this.watch();
    this.moved(this);
  }

  abandon(): void {
    this.abandoned = true;
    window.clearTimeout(this.retryTimer);
    window.clearTimeout(this.silence);
    void this.upload?.abort().catch(() => undefined);
    if (this.state !== 'done') this.forgetURL();
  }

  wake(): void {
    if (this.state === 'retrying') this.again();
  }

  private make(): Upload {
    const { file } = this;
    return new Upload(file, {
      endpoint: new URL('/v1/uploads', location.href).href,
      metadata: { topic: this.topic, type: this.type ?? '', filename: file.name, filetype: file.type, key: this.key },
      fingerprint: () => Promise.resolve(this.identity ?? ''),
      removeFingerprintOnSuccess: true,
      // Retries are this class's own: they wait for the connection and never give up.
      retryDelays: null,
      chunkSize: this.parts.bytes,
      onBeforeRequest: (request) => {
        if (request.getMethod() !== 'PATCH') return;
        const offset = Number(request.getHeader('Upload-Offset'));
        this.parts.begins(offset, file.size - offset);
      },
      onUploadUrlAvailable: () => this.announced(),
      onProgress: () => this.progressed(),
      onSuccess: () => this.move('done'),
      onError: (error) => this.failed(error),
    });
  }

  private announced(): void {
    this.resumedFrom = undefined;
    this.keepAddress();
    this.move('sending');
    this.watch();
  }

  // The upload has an address. Without an endpoint tus cannot make another one, and so
  // another job, when that address does not answer as it should.
  private keepAddress(): void {
    if (this.upload) this.upload.options.endpoint = null;
  }

  private progressed(): void {
    this.backoff.reset();
    this.watch();
  }

  // A transfer over a connection that is gone may hang for minutes.
  private watch(): void {
    window.clearTimeout(this.silence);
    if (this.abandoned) return;
    this.silence = window.setTimeout(() => {
      this.parts.cut();
      this.again();
    }, silentMs);
  }

  private again(): void {
    window.clearTimeout(this.retryTimer);
    const upload = this.upload;
    if (!upload || this.abandoned) return;
    void upload.abort().catch(() => undefined).then(() => {
      if (this.abandoned) return;
      this.move(upload.url ? 'sending' : 'announcing');
      upload.options.chunkSize = this.parts.bytes;
      upload.start();
      this.watch();
    });
  }

  private failed(error: Error | DetailedError): void {
    window.clearTimeout(this.silence);
    if (this.abandoned) return;
    const response = error instanceof DetailedError ? error.originalResponse : null;
    const status = response?.getStatus() ?? 0;
    if ((status === 404 || status === 410) && this.resumedFrom) {
      // What was being sent before the reload is no more. The file was dropped to be
      // sent, so it is announced anew.
      this.forgetURL();
      this.upload = this.make();
      this.upload.start();
      this.watch();
      this.move('announcing');
      return;
    }
    if (this.job && (status === 404 || status === 410)) {
      // The job was canceled, or is forgotten, and its row says so.
      this.forgetURL();
      this.move('done');
      return;
    }
    if (status === 0 && error instanceof DetailedError && error.originalRequest?.getMethod() === 'PATCH') this.parts.cut();
    if (status === 0) {
      // A file that cannot be read any more looks like a lost connection until it is read.
      void this.file.slice(0, 1).arrayBuffer().then(() => this.retryLater('the server cannot be reached'), () => this.giveUpFile());
      return;
    }
    const { code, message: trouble } = problemOf(status, response?.getBody() ?? '');
    const refused = code === spent || (status >= 400 && status < 500 && ![408, 409, 423, 429].includes(status));
    // The gateway gives a code. Without one it is a proxy on the way, which takes smaller parts.
    if (status === 413 && code === '' && this.parts.refused()) {
      this.bound.learned(this.parts.bytes);
      this.again();
      return;
    }
    if (refused) {
      this.forgetURL();
      this.isHopeless = lasting.includes(status);
      this.fail(trouble);
      return;
    }
    this.retryLater(trouble);
  }

  private retryLater(trouble: string): void {
    if (this.abandoned) return;
    this.trouble = trouble;
    this.move('retrying');
    this.retryTimer = window.setTimeout(() => this.again(), this.backoff.next());
  }

  // What has arrived is a part of a file that is no more, so its job is canceled.
  private giveUpFile(): void {
    if (this.abandoned) return;
    const { upload } = this;
    const address = upload?.url;
    void upload?.abort().catch(() => undefined);
    // The file may have become unreadable together with the connection: then the job is canceled
    // when that is back.
    if (address) void Upload.terminate(address, { retryDelays: terminateDelaysMs }).catch(() => undefined);
    this.upload = undefined;
    this.forgetURL();
    this.fail(unreadable);
  }

  private fail(trouble: string): void {
    this.trouble = trouble;
    this.move('failed');
  }

  private forgetURL(): void {
    const { urlStorage } = defaultOptions;
    this.resumedFrom = undefined;
    if (this.identity === undefined) return;
    void urlStorage.findUploadsByFingerprint(this.identity)
      .then((all) => Promise.all(all.map((each) => urlStorage.removeUpload(each.urlStorageKey))))
      .catch(() => undefined);
  }

  private move(state: Transfer['state']): void {
    if (this.abandoned || this.state === state) return;
    this.state = state;
    if (state === 'sending' || state === 'announcing') this.trouble = '';
    if (state === 'done') window.clearTimeout(this.silence);
    this.moved(this);
  }
}
