package cli

import (
	"fmt"
	"strings"

	"github.com/tidemark-dev/tidemark/config"
)

// processorList says what the processors do, a line each, for help.
func processorList() string {
	var b strings.Builder
	for _, make := range config.Processors {
		p := make()
		fmt.Fprintf(&b, "  %-10s %s; queue %s\n", p.Type, p.Brief, p.Queue)
	}
	return b.String()
}
