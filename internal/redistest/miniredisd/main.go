// Command miniredisd serves in-memory stand-ins for Redis to a test, from a process of its own: the race
// detector would make their scripts many times slower. Each line of its input asks for another one, whose
// address it prints; a line with an address ends that one. It ends with its input.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/alicebob/miniredis/v2"
)

func main() {
	servers := map[string]*miniredis.Miniredis{}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if s := servers[in.Text()]; s != nil {
			s.Close()
			delete(servers, in.Text())
			continue
		}
		s := miniredis.NewMiniRedis()
		if err := s.Start(); err != nil {
			fmt.Fprintln(os.Stderr, "starting miniredis:", err)
			os.Exit(1)
		}
		servers[s.Addr()] = s
		fmt.Println(s.Addr())
	}
}
