import { TopicFollower, type FollowerOptions, type View } from '../src/client';
import { cursor, record, World, type FakeSocket } from './world';

/** A follower on a connection whose other end is the test. */
export class Scene extends World {
  readonly follower: TopicFollower;
  readonly changed: string[] = [];

  constructor(options: Partial<FollowerOptions> = {}) {
    super();
    this.follower = new TopicFollower({
      connection: this.connection, topic: 'user:42', clock: this.clock, random: () => 0.5, ...options,
    });
    this.follower.listen({ jobsChanged: (ids) => this.changed.push(...ids) });
    this.follower.start();
  }

  /** Connects and takes a snapshot with these jobs at cursor n. */
  begin(n: number, jobs: View[], reason = 'fresh'): FakeSocket {
    const socket = this.enter();
    this.snapshot(n, jobs, reason);
    socket.say({ type: 'live', sid: socket.sid, cursor: cursor(n), replayed: 0 });
    return socket;
  }

  snapshot(n: number, jobs: View[], reason: string): void {
    const { socket } = this;
    socket.say({ type: 'subscribed', sid: socket.sid, mode: 'snapshot', reason, cursor: cursor(n) });
    socket.say({ type: 'snapshot', sid: socket.sid, part: 1, final: true, cursor: cursor(n), jobs });
  }

  records(after: number, to: number, ...jobs: View[]): void {
    const { socket } = this;
    socket.say({
      type: 'records', sid: socket.sid, after: cursor(after), cursor: cursor(to), records: jobs.map((job) => record(job.rev, job)),
    });
  }

  /** The record of a job's removal, with its view as it was. */
  removal(after: number, to: number, job: View): void {
    const { socket } = this;
    const records = [{ ...record(job.rev, job), type: 'job.removed' }];
    socket.say({ type: 'records', sid: socket.sid, after: cursor(after), cursor: cursor(to), records });
  }

  /** The socket is lost, and another one welcomed. */
  cut(more: object = {}): FakeSocket {
    this.socket.end(1006);
    this.connection.connect();
    this.socket.welcome(more);
    return this.socket;
  }

  percent(id: string): number | undefined {
    return this.follower.jobs.get(id)?.percent;
  }
}
