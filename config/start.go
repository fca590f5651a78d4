package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/internal/datadir"
	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/worker/export"
)

// Startable finds out what would keep a process with these settings from starting on this machine
// although each setting is valid: an address that is not this machine's to listen on, a data folder
// or a file that this user cannot use, a server program or the file of a source that is not there. It starts and connects to nothing.
// Its error is an [*Error] that holds every problem there is.
func (c *Config) Startable(ctx context.Context) error {
	var problems []Problem
	complain := func(key string, err error) {
		if err == nil {
			return
		}
		s := find(key)
		problems = append(problems, s.problem(c.origins[key], s.get(c), strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	for _, check := range []func(context.Context, func(string, error)){c.checkListeners, c.checkRedis, c.checkData, c.checkSources, c.checkStorage, c.checkKeys} {
		check(ctx, complain)
	}
	if len(problems) > 0 {
		return &Error{Problems: problems}
	}
	return nil
}

// listeners are the settings of addresses that processes listen on. An empty one is off.
var listeners = []string{"gateway.addr", "health.addr"}

func (c *Config) checkListeners(ctx context.Context, complain func(key string, err error)) {
	type listener struct {
		key  string
		addr *net.TCPAddr
	}
	var all []listener
	for _, key := range listeners {
		s := find(key)
		if s == nil || s.get(c) == "" {
			continue
		}
		addr, err := resolve(ctx, s.get(c))
		if err != nil {
			complain(key, err)
			continue
		}
		if key == "gateway.addr" {
			complain(key, c.Auth.Site().Serves(addr))
		}
		for _, other := range all {
			if addr.Port != 0 && addr.Port == other.addr.Port && (addr.IP.Equal(other.addr.IP) || unspecified(addr.IP) || unspecified(other.addr.IP)) {
				complain(key, fmt.Errorf("%s has this port as well, and one machine cannot serve both; take another port", other.key))
			}
		}
		all = append(all, listener{key, addr})
	}
}

// resolve looks the address up as a listener does.
func resolve(ctx context.Context, addr string) (*net.TCPAddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, err
	}
	a := &net.TCPAddr{Port: number}
	if host == "" {
		a.IP = net.IPv6unspecified
		return a, nil
	}
	found, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("there is no such host: %w", err)
	}
	a.IP, a.Zone = found[0].IP, found[0].Zone
	for _, each := range found { // net.ResolveTCPAddr prefers these
		if each.IP.To4() != nil {
			a.IP, a.Zone = each.IP, ""
			break
		}
	}
	if own, err := ownAddress(a.IP); err == nil && !own {
		return nil, fmt.Errorf("%s is no address of this machine; name one, or 127.0.0.1", a.IP)
	}
	return a, nil
}

func unspecified(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }

// ownAddress reports whether this machine has the address.
func ownAddress(ip net.IP) (bool, error) {
	if ip.IsUnspecified() || ip.IsLoopback() {
		return true, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range all {
		if own, ok := a.(*net.IPNet); ok && own.IP.Equal(ip) {
			return true, nil
		}
	}
	return false, nil
}

func (c *Config) checkRedis(_ context.Context, complain func(key string, err error)) {
	if c.Data.URL == "" || c.Engine.WaitReplicas == 0 {
		return
	}
	o, err := engine.ParseURL(c.Data.URL)
	if err == nil && (o.IsClusterMode || (len(o.Addrs) > 1 && o.MasterName == "")) {
		complain("engine.wait_replicas", errors.New("redis.url is of a Redis Cluster, whose replicas cannot be waited for; want 0"))
	}
}

// checkData checks the data folder and the Redis that is run for it. Commands that speak to a server
// use neither, so a folder that was not named is no matter then.
func (c *Config) checkData(_ context.Context, complain func(key string, err error)) {
	folder, server := datadir.Check(c.Data)
	if c.Server == "" || c.origins["data"] != byDefault {
		complain("data", folder)
	}
	switch {
	case c.Data.ServerPath != "":
		complain("redis.server", server)
	case c.Server == "" || c.origins["redis.embedded"] != byDefault:
		complain("redis.embedded", server)
	}
}

func (c *Config) checkSources(_ context.Context, complain func(key string, err error)) {
	for _, s := range c.Sources {
		complain("sources", export.CheckSource(s))
	}
}

// checkKeys checks the files of the keys of tokens.
func (c *Config) checkKeys(_ context.Context, complain func(key string, err error)) {
	for _, k := range c.Auth.Keys {
		_, err := k.Read()
		if about := (*option.Error)(nil); errors.As(err, &about) {
			err = errors.New(about.Reason)
		}
		complain("auth.jwt.keys", err)
	}
}

// checkStorage checks that there are credentials to be read from the file that is named.
func (c *Config) checkStorage(_ context.Context, complain func(key string, err error)) {
	if c.Storage.CredentialsFile == "" {
		return
	}
	f, err := os.Open(c.Storage.CredentialsFile)
	if err == nil {
		err = f.Close()
	}
	complain("storage.credentials_file", err)
}
