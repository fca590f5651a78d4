// Package redistest gives tests a Redis of their own: a real server, one on
// miniredis, a Cluster, a Sentinel group, and a TCP proxy that misbehaves on
// command.
//
// Everything is started by the test that asks for it, on free ports of loopback,
// in the test's temporary folder, and ended by the test's clean-up: clients
// first, then proxies, then servers. A test that needs a server on a machine
// without one fails and says how to install it; it is never skipped. The log of
// a server is shown when its test fails.
//
// A test that has one of these is checked for goroutines that it leaves: see leaktest.
//
// A server starts in some 10 ms, so there is none that tests share. Persistence
// is off unless it is asked for.
package redistest
