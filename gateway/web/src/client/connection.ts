import { Backoff } from './backoff';
import { closing } from './closing';
import { Alarm, type Clock, type OpenSocket, type Random, type Socket } from './ports';
import { subprotocol, type Filter, type Goodbye, type ServerFrame, type SubscriptionFrame, type Welcome } from './protocol';

/**
 * What a connection is at. Moments are in milliseconds since 1970.
 *
 *     connecting ──welcome──▶ live ──lost──▶ reconnecting ──▶ connecting …
 *         └──────────── a close that forbids a return ──────────▶ ended
 *
 * `attempt` counts the tries since the connection was last good, from 1.
 */
export type ConnectionState =
  | { readonly name: 'idle' }
  | { readonly name: 'connecting'; readonly attempt: number }
  | { readonly name: 'live'; readonly welcome: Welcome }
  | { readonly name: 'reconnecting'; readonly attempt: number; readonly at: number; readonly reason: string }
  | { readonly name: 'ended'; readonly code: number; readonly reason: string };

export interface ConnectionOptions {
  /** The address of the WebSocket, as `ws://127.0.0.1:8080/v1/ws`. */
  readonly url: string;
  readonly open: OpenSocket;
  readonly clock: Clock;
  readonly random: Random;
  /**
   * Gives a token for the `auth` message. It is asked on each opening, and ahead of the
   * session's end. Without it the credentials are those that the handshake carries.
   */
  readonly token?: () => Promise<string>;
}

/** Hears of a connection. */
export interface ConnectionListener {
  /** Every subscription of before is gone. It may subscribe or end subscriptions. */
  changed(state: ConnectionState): void;
  /** Whether news is expected all the time: silence is then asked about sooner. */
  isBusy?(): boolean;
}

const welcomeTimeoutMs = 10_000;
const pongTimeoutMs = 5_000;
/** Silence for this much longer than the server's ping interval is asked about. */
const silenceGraceMs = 10_000;
/** Silence while a listener is busy. With the wait for the answer it is less than 15 s. */
const busySilenceMs = 8_000;
/** A connection that was live for this long was a good one, and the waits begin anew. */
const goodAfterMs = 5_000;
const renewAheadMs = 30_000;

/** What a subscription leaves out: what its filter does not select, live jobs of a snapshot beyond a number. */
export interface SubscriptionBounds {
  readonly filter?: Filter;
  readonly limit?: number;
}

/**
 * A WebSocket that comes back by itself. It carries subscriptions, each for one life of
 * the socket: after a loss their owners hear `live` and subscribe again.
 */
export class Connection {
  private current: ConnectionState = { name: 'idle' };
  private socket: Socket | undefined;
  private goodbye: Goodbye | undefined;
  private pingMs = 25_000;
  private heardAt = 0;
  private frameCount = 0;
  private liveSince = 0;
  private sids = 0;
  private triedNewToken = false;
  /** A wait that the server imposed, which no event of the browser shortens. */
  private imposed = false;
  private readonly frames = new Map<string, (frame: SubscriptionFrame) => void>();
  private readonly listeners = new Set<ConnectionListener>();
  private readonly backoff: Backoff;
  private readonly retry: Alarm;
  private readonly watch: Alarm;
  private readonly renewal: Alarm;

  constructor(private readonly options: ConnectionOptions) {
    this.backoff = new Backoff(options.random);
    this.retry = new Alarm(options.clock);
    this.watch = new Alarm(options.clock);
    this.renewal = new Alarm(options.clock);
  }

  get state(): ConnectionState {
    return this.current;
  }

  listen(listener: ConnectionListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Connects now: at first, after `ended`, or instead of waiting any longer. */
  connect(): void {
    if (this.current.name === 'live' || this.current.name === 'connecting') return;
    if (this.current.name === 'ended') this.triedNewToken = false;
    this.dial();
  }

  /** Ends the connection for good, until `connect`. */
  close(): void {
    this.drop();
    this.end(1000, 'closed by this client');
  }

  /**
   * The network is back, or somebody looks again: a wait ends now, and a connection that
   * seems live has to prove it.
   */
  wake(): void {
    if (this.current.name === 'reconnecting' && !this.imposed) this.dial();
    else if (this.current.name === 'live') this.ask();
  }

  /**
   * Subscribes on the present socket and returns the sid; undefined when there is no live
   * one. `frame` hears what comes for the sid until it is unsubscribed or the socket lost.
   */
  subscribe(
    topic: string, after: string | undefined, bounds: SubscriptionBounds, frame: (f: SubscriptionFrame) => void,
  ): string | undefined {
    if (this.current.name !== 'live') return undefined;
    // A sid is never used twice, so no frame of an older subscription is taken for a newer one's.
    const sid = `s${++this.sids}`;
    this.frames.set(sid, frame);
    this.send({ type: 'subscribe', sid, topic, after, filter: bounds.filter, limit: bounds.limit });
    return sid;
  }

  unsubscribe(sid: string): void {
    if (this.frames.delete(sid)) this.send({ type: 'unsubscribe', sid });
  }

  private dial(): void {
    this.retry.clear();
    this.drop();
    this.goodbye = undefined;
    this.imposed = false;
    this.enter({ name: 'connecting', attempt: this.backoff.attempts });
    let socket: Socket;
    try {
      socket = this.options.open(this.options.url, subprotocol);
    } catch (error) {
      this.comeBack(String(error));
      return;
    }
    this.socket = socket;
    socket.onopen = () => void this.authenticate(socket);
    socket.onmessage = (event) => this.take(socket, event.data);
    socket.onclose = (event) => this.closed(socket, event.code, event.reason);
    this.watch.set(welcomeTimeoutMs, () => this.lose('no welcome'));
  }

  private async authenticate(socket: Socket): Promise<void> {
    if (!this.options.token) return;
    try {
      const token = await this.options.token();
      if (this.socket === socket) this.send({ type: 'auth', token });
    } catch (error) {
      if (this.socket === socket) this.lose(`no token: ${String(error)}`);
    }
  }

  private take(socket: Socket, data: unknown): void {
    if (this.socket !== socket) return;
    this.heardAt = this.options.clock.now();
    this.frameCount++;
    let frame: ServerFrame;
    try {
      frame = JSON.parse(String(data)) as ServerFrame;
    } catch {
      this.lose('a message that is no JSON');
      return;
    }
    switch (frame.type) {
      case 'welcome':
        this.welcomed(frame);
        break;
      case 'goodbye':
        this.goodbye = frame;
        break;
      case 'subscribed': case 'snapshot': case 'records': case 'live': case 'error':
        this.frames.get(frame.sid)?.(frame);
        break;
      default: // a pong, or what a later version sends
    }
  }

  private welcomed(frame: Welcome): void {
    this.pingMs = frame.ping_seconds * 1_000;
    this.triedNewToken = false;
    this.renewBefore(frame.session_expires_at);
    if (this.current.name === 'live') return; // the answer to a renewal
    this.liveSince = this.heardAt;
    this.listenForSilence();
    this.enter({ name: 'live', welcome: frame });
  }

  private renewBefore(expires: string | undefined): void {
    this.renewal.clear();
    const socket = this.socket;
    if (!expires || !socket || !this.options.token) return;
    const ms = Date.parse(expires) - this.options.clock.now() - renewAheadMs;
    if (Number.isFinite(ms)) this.renewal.set(ms, () => void this.authenticate(socket));
  }

  // A socket whose other end is gone may say nothing for minutes. So silence is asked
  // about, and no answer is a loss.
  private listenForSilence(): void {
    const silent = this.options.clock.now() - this.heardAt;
    const most = this.pingMs + silenceGraceMs;
    if (silent >= most || (silent >= busySilenceMs && this.isBusy())) this.ask();
    else {
      // A frame that comes meanwhile does not move the alarm, so it is never far away.
      const left = silent < busySilenceMs ? busySilenceMs - silent : busySilenceMs;
      this.watch.set(Math.min(left, most - silent), () => this.listenForSilence());
    }
  }

  private isBusy(): boolean {
    return [...this.listeners].some((listener) => listener.isBusy?.());
  }

  private ask(): void {
    const before = this.frameCount;
    this.send({ type: 'ping' });
    this.watch.set(pongTimeoutMs, () => {
      if (this.frameCount > before) this.listenForSilence();
      else this.lose('no answer');
    });
  }

  private send(message: object): void {
    try {
      this.socket?.send(JSON.stringify(message));
    } catch {
      // A socket that is closing; its onclose follows.
    }
  }

  private lose(reason: string): void {
    this.drop();
    this.comeBack(reason);
  }

  /** Lets go of the socket without waiting for its closing handshake, which may never end. */
  private drop(): void {
    const socket = this.socket;
    this.socket = undefined;
    this.watch.clear();
    this.renewal.clear();
    this.retry.clear();
    this.frames.clear();
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    try {
      socket.close(1000);
    } catch {
      // It was closed already.
    }
  }

  private closed(socket: Socket, code: number, reason: string): void {
    if (this.socket !== socket) return;
    this.drop();
    const verdict = closing(code);
    const text = reason || verdict.text;
    if (verdict.comeBack === 'never') this.end(code, text);
    else if (verdict.comeBack === 'with new credentials') this.renewOrEnd(code, text);
    else this.comeBack(text, verdict.comeBack === 'when told');
  }

  private renewOrEnd(code: number, text: string): void {
    if (this.triedNewToken) {
      this.end(code, text);
      return;
    }
    this.triedNewToken = true;
    this.comeBack(text);
  }

  private comeBack(reason: string, imposed = false): void {
    const now = this.options.clock.now();
    if (this.liveSince > 0 && now - this.liveSince >= goodAfterMs) this.backoff.reset();
    this.liveSince = 0;
    let wait = this.backoff.next();
    if (this.goodbye) wait = Math.min(Math.max(0, this.goodbye.reconnect_after_ms), 600_000);
    // The server names the time of return when it turns somebody away. One that did not
    // is not to be asked again soon.
    else if (imposed) wait = 30_000;
    this.imposed = imposed;
    this.retry.set(wait, () => this.dial());
    this.enter({ name: 'reconnecting', attempt: this.backoff.attempts, at: now + wait, reason });
  }

  private end(code: number, reason: string): void {
    this.liveSince = 0;
    this.backoff.reset();
    this.enter({ name: 'ended', code, reason });
  }

  private enter(state: ConnectionState): void {
    this.current = state;
    for (const listener of [...this.listeners]) listener.changed(state);
  }
}
