package config

import (
	"bytes"
	"fmt"
	"strings"
)

// Reference is docs/configuration.md, made from the table of settings.
func Reference() []byte {
	var b bytes.Buffer
	b.WriteString(`<!-- Generated from config/settings.go by "go generate ./config". Do not edit. -->

# Configuration

Every setting has a key. Its value is the first of these that is there:

1. a flag: the setting's own, or ` + "`--set KEY=VALUE`" + `
2. its environment variable; an empty one counts as absent
3. the configuration file: ` + "`" + DefaultFile + "`" + ` in the working directory if there is one, or the
   file that ` + "`--config`" + ` or ` + "`" + fileVariable + "`" + ` names
4. its default

An unknown key, an unknown ` + "`" + prefix + "…`" + ` variable and a value that is not allowed are errors.
` + "`tidemark config check`" + ` reports all of them at once, and ` + "`tidemark config print`" + ` shows every
value in force and where it came from, without passwords.

` + "```yaml" + `
# tidemark.yaml
redis:
  url: redis://127.0.0.1:6379/0
worker:
  concurrency: 4
  lease: 4s
  queues:
    - name: tidemark
      weight: 3
    - name: bulk
      weight: 1
schedules:
  - name: nightly
    topic: team:7
    type: export
    queue: exports
    cron: "30 2 * * 1-5"
    time_zone: Europe/Berlin
    payload: {rows: 1000}
sources:
  - name: orders
    url_file: /etc/tidemark/orders.url
    query: SELECT * FROM orders WHERE ordered_at >= :since
    key: [id]
    params: [since]
auth:
  mode: jwt
  public_url: https://jobs.example.com
  hosts: [jobs.example.com]
  jwt:
    keys:
      - id: "2026-11"
        algorithm: EdDSA
        public_key_file: /etc/tidemark/2026-11.pem
gateway:
  enqueue:
    types:
      - type: report
        queue: reports
        max_attempts: 2
        max_payload_bytes: 4KiB
` + "```" + `

Durations are written ` + "`500ms`, `4s`, `2h` or `7d`, sizes `64KiB`, `1MiB`" + ` or as a number of bytes.
`)
	base := defaults()
	for _, p := range allParts() {
		titled := false
		for _, s := range allSettings() {
			if s.part() != p.name {
				continue
			}
			if !titled {
				fmt.Fprintf(&b, "\n## %s\n", p.title)
				titled = true
			}
			fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n", s.Key, escape(s.Doc))
			value := "`" + s.get(base) + "`"
			if value == "``" {
				value = "none"
			}
			ways := "`" + s.Variable() + "`"
			if s.Flag != "" {
				ways += ", `--" + s.Flag + "`"
			}
			fmt.Fprintf(&b, "- allowed: %s\n- default: %s\n- also: %s\n", escape(s.Allowed()), value, ways)
		}
	}
	return b.Bytes()
}

// escape keeps brackets and stars from being read as Markdown.
func escape(s string) string {
	return strings.NewReplacer("[", `\[`, "]", `\]`, "*", `\*`, "<", `\<`).Replace(s)
}
