// Package config reads every setting of Tidemark into the Options of the parts
// that they belong to.
//
// A setting has a key, such as worker.lease. Its value is the first of these that
// is there:
//
//  1. a flag: the setting's own, such as --data, or --set worker.lease=4s
//  2. an environment variable, TIDEMARK_WORKER_LEASE; an empty one counts as absent
//  3. the configuration file, tidemark.yaml of the working directory or the one that
//     --config or TIDEMARK_CONFIG names
//  4. the default, which stands with its field in the part's Options and nowhere here
//
// What may be set is one table, in settings.go and settings_gateway.go. The flags and their help, the names
// of the variables, what `tidemark config print` shows and docs/configuration.md are
// made from it, and the bounds are asked of the parts' Validate.
//
// Nothing is passed over: a key that is not in the table, a variable that begins
// with TIDEMARK_ and belongs to none, a value that does not parse or is out of bounds
// is a [Problem], and [Load] reports all of them at once. Values of secret settings
// are shown without their password, and never in a problem.
package config

//go:generate go run ./internal/reference ../docs/configuration.md
