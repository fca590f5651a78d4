// Package session is what a command of the command line has open: a gateway's client, or the data folder with its
// Redis, an engine and the blob store.
package session
