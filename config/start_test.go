package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/config"
)

// What is valid and cannot start on this machine is refused, with the setting that says so.
func TestWhatCannotStart(t *testing.T) {
	for name, tc := range map[string]struct {
		file string
		want []string
	}{
		"nothing is set":     {"", nil},
		"this machine alone": {"gateway: {addr: 'localhost:0'}\n", nil},
		"every address in dev mode": {"gateway: {addr: ':8080'}\n", []string{
			`tidemark.yaml:1: gateway.addr ":8080": dev mode serves this machine only, and other machines reach [::]:8080: listen on 127.0.0.1`,
		}},
		"every address of one family":   {"gateway: {addr: '0.0.0.0:0'}\n", []string{`gateway.addr "0.0.0.0:0": dev mode`}},
		"an address of another machine": {"gateway: {addr: '192.0.2.1:8080'}\n", []string{`192.0.2.1 is no address of this machine`}},
		"a host that there is not":      {"gateway: {addr: 'nowhere.invalid:8080'}\n", []string{"there is no such host"}},
		"a data folder that is a file":  {"data: tidemark.yaml\n", []string{`tidemark.yaml:1: data "tidemark.yaml": checking the data folder: tidemark.yaml is not a folder`}},
		"a data folder below a file":    {"data: tidemark.yaml/data\n", []string{"tidemark.yaml is not a folder"}},
		"a server that there is not":    {"redis: {server: /nowhere/redis-server}\n", []string{`redis.server "/nowhere/redis-server": /nowhere/redis-server: no such file or directory`}},
		"a server that is a folder":     {"redis: {server: /}\n", []string{`redis.server "/": / is no file`}},
		"a server that is no program":   {"redis: {server: tidemark.yaml}\n", []string{"tidemark.yaml is not executable"}},
		"another Redis needs no server": {"redis: {server: /nowhere, url: 'redis://h'}\n", nil},
		"two listeners on one port": {"gateway: {addr: 'localhost:8080'}\nhealth: {addr: ':8080'}\n", []string{
			`tidemark.yaml:2: health.addr ":8080": gateway.addr has this port as well`,
		}},
		"two listeners on free ports":         {"gateway: {addr: 'localhost:0'}\nhealth: {addr: 'localhost:0'}\n", nil},
		"two listeners":                       {"gateway: {addr: 'localhost:8080'}\nhealth: {addr: 'localhost:8081'}\n", nil},
		"replicas of a Cluster":               {"redis: {url: 'redis+cluster://a:1,b:2'}\nengine: {wait_replicas: 1}\n", []string{"tidemark.yaml:2: engine.wait_replicas \"1\": redis.url is of a Redis Cluster"}},
		"replicas of one Redis":               {"redis: {url: 'redis://a'}\nengine: {wait_replicas: 1}\n", nil},
		"all of them, a line each":            {"data: tidemark.yaml\ngateway: {addr: ':1'}\nredis: {server: /}\n", []string{"gateway.addr", `data "tidemark.yaml"`, "redis.server"}},
		"a folder and a server of no use":     {"server: http://127.0.0.1:1\n", nil},
		"a folder that is named all the same": {"server: http://127.0.0.1:1\ndata: tidemark.yaml\n", []string{"is not a folder"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := loaded(t, tc.file, nil).Startable(t.Context())
			var all *config.Error
			if errors.As(err, &all) != (tc.want != nil) || all != nil && len(all.Problems) != len(tc.want) {
				t.Fatalf("it gives\n%v\nwant %d problems", err, len(tc.want))
			}
			for i, want := range tc.want {
				if got := all.Problems[i].String(); !strings.Contains(got, want) {
					t.Errorf("problem %d is\n\t%s\nwant\n\t%s", i+1, got, want)
				}
			}
			for _, made := range []string{"tidemark-data", "data"} {
				if _, err := os.Stat(made); err == nil {
					t.Errorf("the check has made %s", made)
				}
			}
		})
	}
}
