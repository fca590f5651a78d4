package gateway_test

import (
	"context"
	"log"
	"net"
	"os"
	"os/signal"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/gateway"
)

// A gateway serves an engine on this machine until it is interrupted. Options.Auth takes a
// program's own Authenticator; Options.Site opens the gateway to other machines.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	e, err := engine.Open(ctx, engine.Options{URL: os.Getenv("REDIS_URL")})
	if err != nil {
		log.Print(err)
		return
	}
	defer func() {
		if err := e.Close(); err != nil {
			log.Print(err)
		}
	}()
	g, err := gateway.New(gateway.Options{Engine: e, ConnectionsPerPrincipal: 50})
	if err != nil {
		log.Print(err)
		return
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:8080")
	if err != nil {
		log.Print(err)
		return
	}
	if err := g.Run(ctx, l); err != nil {
		log.Print(err)
	}
}
