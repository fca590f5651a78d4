import { Connection, type Clock, type ConnectionOptions, type Socket, type StringStorage, type View } from '../src/client';

/** A clock that moves when it is told to. */
export class FakeClock implements Clock {
  private time = 1_800_000_000_000;
  private serial = 0;
  private readonly timers = new Map<number, { at: number; run: () => void }>();

  now(): number {
    return this.time;
  }

  setTimer(run: () => void, ms: number): unknown {
    this.timers.set(++this.serial, { at: this.time + ms, run });
    return this.serial;
  }

  clearTimer(timer: unknown): void {
    this.timers.delete(timer as number);
  }

  /** Runs what is due within `ms`, in order. */
  pass(ms: number): void {
    const until = this.time + ms;
    for (;;) {
      const due = [...this.timers].filter(([, t]) => t.at <= until).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].run();
    }
    this.time = until;
  }

  get waiting(): number {
    return this.timers.size;
  }
}

type Message = { readonly type: string } & Readonly<Record<string, unknown>>;

/** A socket whose other end is the test. */
export class FakeSocket implements Socket {
  readonly protocol = 'tidemark.v1';
  onopen: Socket['onopen'] = null;
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  onerror: Socket['onerror'] = null;
  readonly sent: Message[] = [];
  isClosed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Message);
  }

  close(): void {
    this.isClosed = true;
  }

  /** The server says something. */
  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  end(code: number): void {
    this.onclose?.({ code, reason: '' });
  }

  welcome(more: object = {}): void {
    this.onopen?.(undefined as never);
    this.say({ type: 'welcome', connection: 'C', principal: 'alice', ping_seconds: 25, ...more });
  }

  /** The messages of a type, in the order in which they were sent. */
  of(type: string): Message[] {
    return this.sent.filter((message) => message.type === type);
  }

  /** The last subscription that was asked for. */
  get subscribed(): Message {
    const last = this.of('subscribe').pop();
    if (!last) throw new Error('nothing was subscribed');
    return last;
  }

  get sid(): string {
    return this.subscribed.sid as string;
  }
}

/** A connection whose sockets, time and chance are the test's. */
export class World {
  readonly clock = new FakeClock();
  readonly sockets: FakeSocket[] = [];
  /** The part of each wait that chance gives. */
  chance = 0.5;
  readonly connection: Connection;

  constructor(options: Partial<ConnectionOptions> = {}) {
    this.connection = new Connection({
      url: 'ws://test/v1/ws',
      open: () => {
        const socket = new FakeSocket();
        this.sockets.push(socket);
        return socket;
      },
      clock: this.clock,
      random: () => this.chance,
      ...options,
    });
  }

  get socket(): FakeSocket {
    const last = this.sockets[this.sockets.length - 1];
    if (!last) throw new Error('nothing was dialed');
    return last;
  }

  /** Connects, and is welcomed. */
  enter(): FakeSocket {
    this.connection.connect();
    this.socket.welcome();
    return this.socket;
  }
}

export class FakeStorage implements StringStorage {
  readonly items = new Map<string, string>();
  /** The longest value that it takes. */
  quota = Infinity;

  getItem(key: string): string | null {
    return this.items.get(key) ?? null;
  }

  setItem(key: string, value: string): void {
    if (value.length > this.quota) throw new Error('QuotaExceededError');
    this.items.set(key, value);
  }

  removeItem(key: string): void {
    this.items.delete(key);
  }
}

export function view(id: string, rev: number, percent: number, more: Partial<View> = {}): View {
  return { id, rev, percent, type: 'export', state: 'running', created_at: '2026-11-20T18:00:00Z', ...more };
}

export function record(n: number, job: View): object {
  return { id: cursor(n), type: 'job.progress', time: '2026-11-20T18:00:00Z', topic: 'user:42', job };
}

export function cursor(n: number): string {
  return `${1_000 + n}-${n}`;
}
