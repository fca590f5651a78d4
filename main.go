// Tidemark runs jobs, keeps what they report in Redis Streams, and shows how far they
// are, without ever showing less than before.
package main

import (
	"os"

	"github.com/tidemark-dev/tidemark/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
