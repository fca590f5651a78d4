// Follows a topic by the numbered list of docs/protocol.md, "What a client does".
import { Backoff } from './backoff.mjs';
import { connect } from './socket.mjs';

const forGood = new Set([4400, 4403, 1003, 1007, 1009]);
const welcomeMs = 10_000, pongMs = 5_000;

export class Follower {
  backoff = new Backoff();
  #sids = 0;
  #sid;
  #listed; // the IDs of a snapshot that is not whole yet
  #socket;

  /** `tell(event)` hears of everything that a person could see, and of each milestone. */
  constructor(base, topic, store, tell) {
    Object.assign(this, { base, topic, store, tell });
    for (const view of Object.values(store.held.views)) this.#show(view);
  }

  async run() {
    for (;;) {
      const { code, reason, told } = await this.#connection();
      this.tell({ event: 'badge', text: 'Reconnecting', code, reason });
      if (forGood.has(code)) throw new Error(`closed for good: ${code} ${reason}`);
      await this.backoff.wait(told);
    }
  }

  /** One connection, from its opening to its loss. */
  #connection() {
    return new Promise((resolve) => {
      let told, silence, heard = 0;
      const watch = (ms, then) => {
        clearTimeout(silence);
        silence = setTimeout(then, ms);
      };
      // A socket whose other end is gone says nothing. Silence for longer than the
      // server's pings are apart is asked about.
      const listen = (seconds) => watch(seconds * 1_000 + pongMs, () => {
        socket.send({ type: 'ping' });
        const asked = heard;
        watch(pongMs, () => (heard === asked ? socket.end() : listen(seconds)));
      });
      const socket = connect(new URL('/v1/ws', this.base), 'tidemark.v1', {
        open: () => watch(welcomeMs, () => socket.end()),
        text: (message) => {
          heard++;
          const frame = JSON.parse(message);
          if (frame.type === 'welcome') {
            listen(frame.ping_seconds);
            this.#subscribe();
          } else if (frame.type === 'goodbye') {
            told = frame.reconnect_after_ms;
          } else if (frame.sid === this.#sid) {
            this.#take(frame);
          }
        },
        closed: (code, reason) => {
          clearTimeout(silence);
          this.#sid = undefined;
          resolve({ code, reason, told });
        },
      });
      this.#socket = socket;
    });
  }

  #subscribe() {
    this.#sid = `raw-${++this.#sids}`;
    this.#socket.send({ type: 'subscribe', sid: this.#sid, topic: this.topic, after: this.store.held.cursor });
  }

  #take(frame) {
    const { held } = this.store;
    switch (frame.type) {
      case 'subscribed':
        this.tell({ event: 'verdict', mode: frame.mode, reason: frame.reason, after: held.cursor, cursor: frame.cursor });
        this.#listed = new Set();
        if (frame.reason === 'rewritten') for (const view of Object.values(held.views)) view.rev = 0;
        return;
      case 'snapshot':
        for (const view of frame.jobs) {
          this.#listed.add(view.id);
          this.#apply(view);
        }
        if (frame.final) {
          for (const id of Object.keys(held.views)) if (!this.#listed.has(id)) delete held.views[id];
          held.cursor = frame.cursor;
        }
        break;
      case 'records':
        if (frame.after !== held.cursor) {
          this.tell({ event: 'lost', after: frame.after, cursor: held.cursor });
          this.#socket.send({ type: 'unsubscribe', sid: this.#sid });
          this.#subscribe();
          return;
        }
        for (const record of frame.records) {
          if (record.type !== 'job.progress' && record.type !== 'job.checkpoint') {
            this.tell({ event: 'milestone', id: record.id, type: record.type, job: record.job.id });
          }
          if (record.type === 'job.removed') delete held.views[record.job.id];
          else this.#apply(record.job);
        }
        held.cursor = frame.cursor;
        break;
      case 'live':
        this.backoff.reset();
        this.tell({ event: 'badge', text: 'Live', replayed: frame.replayed });
        return;
      case 'error':
        this.tell({ event: 'error', text: `${frame.code}: ${frame.message}` });
        return;
      default:
        return;
    }
    this.store.save();
  }

  #apply(view) {
    const before = this.store.held.views[view.id];
    if (before && view.rev <= before.rev) return;
    this.store.held.views[view.id] = view;
    this.#show(view);
  }

  // What is shown is stored before it is: an end in between may not have the next life
  // show less.
  #show(view) {
    const { highest } = this.store.held;
    highest[view.id] = Math.max(highest[view.id] ?? 0, view.percent);
    this.store.save();
    this.tell({ event: 'painted', job: view.id, percent: highest[view.id], state: view.state, at: Date.now() });
    if (view.state === 'succeeded' || view.state === 'failed' || view.state === 'canceled') {
      this.tell({ event: 'ended', job: view.id, state: view.state, result: view.result, reason: view.error?.message });
    }
  }
}
