// Package wire has the types that travel between Redis, gateways, workers and clients: topics,
// jobs, records, schedules, requests, answers and frames, and their JSON. Package engine names
// most of them as its own. A client needs nothing else.
package wire
