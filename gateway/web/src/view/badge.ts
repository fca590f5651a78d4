import type { Connection, ConnectionState, FollowerState, TopicFollower } from '../client';
import { element, setAttribute, setHidden, setText } from './element';
import { span } from './format';

/** Says whether what the page shows is of now, and if not, what is being done about it. */
export class Badge {
  private readonly label = element('span', { class: 'label', role: 'status' });
  private readonly detail = element('span', { class: 'detail' });
  private readonly retry = element('button', { type: 'button', class: 'quiet' }, 'Retry now');

  constructor(private readonly node: HTMLElement, private readonly connection: Connection, private readonly follower: TopicFollower) {
    node.append(element('span', { class: 'dot', 'aria-hidden': 'true' }), this.label, this.detail, this.retry);
    this.retry.addEventListener('click', () => connection.connect());
    connection.listen({ changed: () => this.paint() });
    follower.listen({ stateChanged: () => this.paint() });
    this.paint();
  }

  /** Paints anew; once a second, since a wait counts down. */
  paint(): void {
    const [state, label, detail] = wording(this.connection.state, this.follower.state, Date.now());
    setAttribute(this.node, 'data-state', state);
    setText(this.label, label);
    setText(this.detail, detail);
    setHidden(this.retry, this.connection.state.name !== 'reconnecting' && this.connection.state.name !== 'ended');
  }
}

function wording(connection: ConnectionState, follower: FollowerState, now: number): [state: string, label: string, detail: string] {
  switch (connection.name) {
    case 'idle':
      return ['connecting', 'Connecting', ''];
    case 'connecting':
      return connection.attempt > 0 ? ['reconnecting', 'Reconnecting', `try ${connection.attempt}`] : ['connecting', 'Connecting', ''];
    case 'reconnecting': {
      const wait = Math.max(0, Math.ceil((connection.at - now) / 1_000));
      return ['reconnecting', 'Reconnecting', wait > 0 ? `try ${connection.attempt} in ${span(wait)}` : `try ${connection.attempt}`];
    }
    case 'ended':
      return ['ended', 'Not connected', connection.reason];
    case 'live':
      return followed(follower);
  }
}

function followed(follower: FollowerState): [state: string, label: string, detail: string] {
  switch (follower.name) {
    case 'live':
      return ['live', 'Live', ''];
    case 'stalled':
      return ['stalled', 'Waiting', 'the server’s storage does not answer'];
    case 'refused':
      return ['ended', 'Not connected', follower.message];
    default:
      return ['connecting', 'Catching up', ''];
  }
}
