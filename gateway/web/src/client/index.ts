/**
 * Tidemark's client: a connection that comes back by itself and followers of topics on
 * it. It needs a WebSocket, a clock and randomness, which its user brings; see `ports`.
 */
export { Backoff } from './backoff';
export { closing, type Closing } from './closing';
export { Connection, type ConnectionListener, type ConnectionOptions, type ConnectionState } from './connection';
export { TopicFollower, type FollowerListener, type FollowerOptions, type FollowerState } from './follower';
export { Jobs, moment, type Job } from './jobs';
export { type Clock, type OpenSocket, type Random, type Socket } from './ports';
export * from './protocol';
export { LocalStore, type Saved, type Store, type StringStorage } from './store';
