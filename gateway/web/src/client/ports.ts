// What the client needs of the world around it. A browser, Node and a test each bring
// their own, so nothing here knows of a DOM.

/** The part of a WebSocket that is used. */
export interface Socket {
  readonly protocol: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type OpenSocket = (url: string, subprotocol: string) => Socket;

/** Time. `now` is in milliseconds since 1970, as are the moments that are reported. */
export interface Clock {
  now(): number;
  setTimer(run: () => void, ms: number): unknown;
  clearTimer(timer: unknown): void;
}

/** A number from 0 up to, but not including, 1. */
export type Random = () => number;

/** One timer at most, which a later `set` replaces. */
export class Alarm {
  private timer: unknown;
  private armed = false;

  constructor(private readonly clock: Clock) {}

  set(ms: number, run: () => void): void {
    this.clear();
    this.armed = true;
    // Longer waits than a timer can hold would end at once.
    this.timer = this.clock.setTimer(() => {
      this.armed = false;
      run();
    }, Math.min(Math.max(0, ms), 0x7fffffff));
  }

  clear(): void {
    if (this.armed) this.clock.clearTimer(this.timer);
    this.armed = false;
  }

  get isSet(): boolean {
    return this.armed;
  }
}
