// Command reference writes the reference page of the settings to the file that it is
// given.
package main

import (
	"fmt"
	"os"

	"github.com/tidemark-dev/tidemark/config"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: reference FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], config.Reference(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
