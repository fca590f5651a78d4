// Package datadir gives a process the Redis and the blob store of its data
// folder.
//
// # Which Redis
//
// [Open] takes the first of these that there is:
//
//  1. the Redis of the given URL;
//  2. a redis-server or valkey-server of this machine, run as a daemon on a Unix
//     socket under <data>/redis, with an append-only file;
//  3. an embedded one in memory, which ends with the process.
//
// # One server, many users
//
// Several processes may have the same data folder open. They share one server:
// the first starts it, the last one to leave shuts it down, and what dies without
// leaving (kill -9, the power) breaks nothing. Two files under <data>/redis carry
// this, each an flock, which the kernel drops when its holder ends:
//
//	users.lock   shared, by every process that has the folder open;
//	             exclusive, by the last one that leaves, while it shuts down
//	server.lock  exclusive, by the server itself, which inherits the open file
//
//	arrive:  users (shared) ─ server.lock free? ─ yes: start one
//	                                             └ no:  wait until it answers
//	leave:   give users up ─ users free for one alone? ─ yes: shut down, wait
//	                                                    │     for server.lock
//	                                                    └ no: others use it
//
// A leaver that shuts down and an arriver exclude each other by users.lock, so
// no arriver adopts a server that is about to be shut down; server.lock keeps a
// second one from starting, also beside one that is still writing. Of two
// leavers, at most one finds the lock free, and the later one does. A server
// whose users were all killed goes on alone, and the next arriver adopts it:
// server.lock says that it lives, whatever process ID it has.
//
// The folder must be on a file system with flock (a local one; NFS does not
// carry a lock over to the server).
package datadir
