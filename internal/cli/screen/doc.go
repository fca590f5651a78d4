// Package screen shows jobs and files: as bars on a terminal, as lines elsewhere, and as lines of JSON for
// programs. What it shows of a job's percent never falls. It makes every text fit for a terminal.
package screen
