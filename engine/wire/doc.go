// Package wire has the types that travel between Redis, gateways, workers and clients, and their
// JSON: topics, jobs, records, schedules, requests, answers and frames. Package engine has aliases
// of most of them. A client needs no other package of Tidemark.
package wire
