// Package redisproc starts and stops a redis-server or valkey-server of one's
// own.
//
// There are two kinds of life:
//
//   - [Start] gives a child that belongs to this process: it is watched, can be
//     stopped, killed, paused and restarted, and its exit is a channel. Tests
//     use it.
//   - [Detach] gives a daemon that no process owns: it outlives its starter,
//     and any process that can reach its socket may use it or [Shutdown] it. The data
//     folder uses it.
//
// Both leave the terminal's session, so Ctrl-C reaches the Go program alone and
// Redis stays up until the program has drained. Both listen on loopback or on a
// Unix socket only, have no password, and never write RDB snapshots. Everything
// a server owns (redis.conf, redis.log, append-only files) is in its Dir.
package redisproc
