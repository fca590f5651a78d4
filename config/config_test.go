package config_test

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/worker"
)

// load reads the settings in a folder of its own, with a file there ("" for none),
// variables and arguments.
func load(t *testing.T, file string, variables map[string]string, args ...string) (*config.Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if file != "" {
		write(t, config.DefaultFile, file)
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags)
	config.AddFlags(flags, "data", "topic", "server", "redis", "log", "worker", "gateway")
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.Load(flags)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func loaded(t *testing.T, file string, variables map[string]string, args ...string) *config.Config {
	t.Helper()
	c, err := load(t, file, variables, args...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// effective finds a setting as `config print` shows it.
func effective(t *testing.T, c *config.Config, key string) config.Effective {
	t.Helper()
	for _, s := range c.Settings() {
		if s.Key == key {
			return s
		}
	}
	t.Fatalf("there is no setting %s", key)
	return config.Effective{}
}

func TestSourcesInOrderOfStrength(t *testing.T) {
	const file = "worker:\n  lease: 5s\n"
	lease := map[string]string{"TIDEMARK_WORKER_LEASE": "6s"}
	for _, tc := range []struct {
		name      string
		file      string
		variables map[string]string
		args      []string
		want      time.Duration
		origin    string
	}{
		{"default", "", nil, nil, worker.Options{}.Defaults().Lease, "default"},
		{"file", file, nil, nil, 5 * time.Second, "tidemark.yaml:2"},
		{"environment over file", file, lease, nil, 6 * time.Second, "TIDEMARK_WORKER_LEASE"},
		{"flag over all", file, lease, []string{"--set", "worker.lease=7s"}, 7 * time.Second, "--set worker.lease"},
		{"empty variable counts as absent", file, map[string]string{"TIDEMARK_WORKER_LEASE": ""}, nil, 5 * time.Second, "tidemark.yaml:2"},
		{"key without a value counts as absent", "worker:\n  lease:\n", nil, nil, worker.Options{}.Defaults().Lease, "default"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := loaded(t, tc.file, tc.variables, tc.args...)
			if c.Worker.Lease != tc.want {
				t.Errorf("the lease is %s, want %s", c.Worker.Lease, tc.want)
			}
			if got := c.Origin("worker.lease").String(); got != tc.origin {
				t.Errorf("it is from %q, want %q", got, tc.origin)
			}
		})
	}
}

func TestNamedFlagReachesItsSetting(t *testing.T) {
	c := loaded(t, "data: elsewhere\n", nil, "--data", "here", "--topic=team:7", "--redis", "redis://r:1/2", "--concurrency=3", "--log-level", "debug")
	if c.Data.Dir != "here" || c.Topic != "team:7" || c.Data.URL != "redis://r:1/2" || c.Worker.Concurrency != 3 || c.Log.Level != "debug" {
		t.Errorf("not all flags arrived: %+v %s %d %s", c.Data, c.Topic, c.Worker.Concurrency, c.Log.Level)
	}
	if got := c.Origin("data").String(); got != "--data" {
		t.Errorf("data is from %q", got)
	}
}

func TestEveryKindOfValue(t *testing.T) {
	c := loaded(t, strings.Join([]string{
		"engine: {topic_bytes: 2MiB, retention: 3d, shards: 8}",
		"analysis: {max_record_bytes: 65536, max_malformed: -1}",
		"redis: {embedded: never}",
		"gateway: {addr: '[::1]:0', upload_bytes: 1GiB, receive_share: 30}",
		"auth: {mode: dev, origins: ['http://localhost:5173', https://b]}",
		"server: https://jobs.example/tidemark",
		"worker:",
		"  rescues_per_second: 2.5",
		"  queues:",
		"    - {name: default, weight: 3}",
		"    - name: bulk",
		"",
	}, "\n"), nil)
	analyses := c.Processors[0]
	if c.Engine.TopicBytes != 2<<20 || c.Engine.Retention != 72*time.Hour || c.Engine.Shards != 8 ||
		*analyses.Settings[0].Bytes != 65536 || *analyses.Settings[1].Count != -1 || c.Worker.RescuesPerSecond != 2.5 || !c.Data.NeverEmbedded {
		t.Errorf("%+v\n%+v\n%+v", c.Engine, analyses.Settings, c.Worker)
	}
	if c.Listen.Addr != "[::1]:0" || c.Gateway.UploadBytes != 1<<30 || c.Gateway.ReceiveShare != 30 || c.Gateway.WindowFrames == 0 ||
		!slices.Equal(c.Auth.Origins, []string{"http://localhost:5173", "https://b"}) || c.Server != "https://jobs.example/tidemark" {
		t.Errorf("%+v\n%+v\n%+v %s", c.Listen, c.Gateway, c.Auth, c.Server)
	}
	if site := c.Auth.Site(); site.Public || !slices.Equal(site.Origins, c.Auth.Origins) {
		t.Errorf("the gateway takes requests of %+v", site)
	}
	if c := loaded(t, "", map[string]string{"TIDEMARK_AUTH_ORIGINS": "http://a, http://b"}); !slices.Equal(c.Auth.Origins, []string{"http://a", "http://b"}) {
		t.Errorf("from a variable, origins are %q", c.Auth.Origins)
	}
	queues := func(from string, c *config.Config) {
		if w := c.Worker; !slices.Equal(w.Queues, []string{"default", "bulk"}) || w.QueueWeights["default"] != 3 || cmp.Or(w.QueueWeights["bulk"], 1) != 1 {
			t.Errorf("from a %s, queues are %v with weights %v", from, w.Queues, w.QueueWeights)
		}
	}
	queues("file", c)
	queues("variable", loaded(t, "", map[string]string{"TIDEMARK_WORKER_QUEUES": "default=3, bulk"}))
}

func TestProblemNamesSourceKeyValueAndWhatIsAllowed(t *testing.T) {
	for _, tc := range []struct {
		name      string
		file      string
		variables map[string]string
		args      []string
		want      string
	}{
		{"unknown key", "worker:\n  concurrency: 2\n  leese: 4s\n", nil, nil, "tidemark.yaml:3: worker.leese: no such setting; did you mean worker.lease?"},
		{"key without its section", "lease: 4s\n", nil, nil, "tidemark.yaml:1: lease: no such setting; did you mean worker.lease?"},
		{"key in capitals", "Data: x\n", nil, nil, "tidemark.yaml:1: Data: no such setting; did you mean data?"},
		{"unknown section", "\ngatewayz:\n  addr: x\n", nil, nil, "tidemark.yaml:2: gatewayz: no such setting"},
		{"section that is a value", "worker: 5\n", nil, nil, `tidemark.yaml:1: worker: want settings`},
		{"second document", "data: x\n---\ntopic: user:1\n", nil, nil, "tidemark.yaml:2: a second document"},
		{"unknown variable", "", map[string]string{"TIDEMARK_WORKER_LEESE": "4s"}, nil, "TIDEMARK_WORKER_LEESE: no setting has this variable; did you mean TIDEMARK_WORKER_LEASE?"},
		{"unknown --set", "", nil, []string{"--set", "worker.concurency=4"}, "--set: worker.concurency: no such setting; did you mean worker.concurrency?"},
		{"--set without a value", "", nil, []string{"--set", "worker.lease"}, "--set: worker.lease: want KEY=VALUE"},
		{"flag given twice in two ways", "", nil, []string{"--data", "a", "--set", "data=b"}, "--set: data: also given by --data; drop one"},
		{"duration without unit", "worker: {lease: 4}\n", nil, nil, `tidemark.yaml:1: worker.lease "4": want a duration, such as 500ms, 4s, 2h or 7d`},
		{"no number", "", map[string]string{"TIDEMARK_WORKER_CONCURRENCY": "many"}, nil, `TIDEMARK_WORKER_CONCURRENCY: worker.concurrency "many": want a whole number`},
		{"no size", "engine: {topic_bytes: 1MB}\n", nil, nil, `tidemark.yaml:1: engine.topic_bytes "1MB": want a size`},
		{"size out of bounds", "engine: {topic_bytes: 1KiB}\n", nil, nil, `tidemark.yaml:1: engine.topic_bytes "1KiB": want 64KiB to 1GiB`},
		{"out of bounds", "engine:\n  shards: 200\n", nil, nil, `tidemark.yaml:2: engine.shards "200": want 1 to 100`},
		{"zero where it would mean the default", "engine:\n  shards: 0\n", nil, nil, `tidemark.yaml:2: engine.shards "0": want 1 to 100, and not zero`},
		{"list for a value", "data: [a, b]\n", nil, nil, `tidemark.yaml:1: data "2 items": want a path`},
		{"malformed topic", "", nil, []string{"--topic", "demo"}, `--topic: topic "demo": want kind:name`},
		{"unknown word", "redis: {embedded: sometimes}\n", nil, nil, `tidemark.yaml:1: redis.embedded "sometimes": want auto, always or never`},
		{"unknown member of a queue", "worker: {queues: [{name: a, wait: 1}]}\n", nil, nil, `tidemark.yaml:1: worker.queues "1 items": item 1: wait "1"; want a list of queues`},
		{"unknown level", "", nil, []string{"--log-level=loud"}, `--log-level: log.level "loud": want debug, info, warn or error`},
		{"URL that is none", "", nil, []string{"--redis", "localhost:6379"}, "--redis: redis.url: want redis://"},
		{"address without a port", "", nil, []string{"--addr", "localhost"}, `--addr: gateway.addr "localhost": want host:port, such as 127.0.0.1:8080`},
		{"size of the gateway", "gateway: {upload_bytes: 1B}\n", nil, nil, `tidemark.yaml:1: gateway.upload_bytes "1": want 1KiB to 5TiB`},
		{"duration of the gateway", "gateway:\n  upload_idle: 31d\n", nil, nil, `tidemark.yaml:2: gateway.upload_idle "31d": want 1s to 30d`},
		{"unknown mode", "auth: {mode: none}\n", nil, nil, `tidemark.yaml:1: auth.mode "none": want dev or jwt`},
		{"origin with a path", "auth: {origins: [http://a, http://b/c]}\n", nil, nil, `tidemark.yaml:1: auth.origins "http://b/c": want scheme://host[:port], without a path`},
		{"origin that is none", "auth: {origins: 5}\n", nil, nil, `tidemark.yaml:1: auth.origins "5": want a list of origins`},
		{"server with a password", "", nil, []string{"--server", "http://u:hunter2@h"}, "--server: server: want http://host[:port]"},
		{"no YAML", "data: [\n", nil, nil, "tidemark.yaml: not YAML: "},
		{"duplicate key", "data: a\ndata: b\n", nil, nil, "tidemark.yaml: not YAML: "},
		{"named file that is missing", "", nil, []string{"--config", "nowhere.yaml"}, "nowhere.yaml: there is no such file; name another or leave it out (--config)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := load(t, tc.file, tc.variables, tc.args...)
			if !errors.Is(err, config.ErrInvalid) {
				t.Fatalf("Load gave %v, want an ErrInvalid", err)
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is\n\t%v\nwant one line with\n\t%s", err, tc.want)
			}
		})
	}
}

// The problem of a default that does not go with a written setting names that setting.
func TestProblemOfADefaultNamesWhatWasWritten(t *testing.T) {
	for file, want := range map[string]string{
		"worker: {heartbeat_interval: 5s}\n":                        `tidemark.yaml:1: worker.heartbeat_interval "5s": with it worker.lease, which is 4s unless it is set: want 10s to 10m`,
		"worker: {lease: 1s, heartbeat_interval: 100ms}\n":          `tidemark.yaml:1: worker.lease "1s": with it worker.sweep_interval, which is 500ms unless it is set: want 10ms to 250ms`,
		"worker: {backoff_min: 1h}\n":                               `tidemark.yaml:1: worker.backoff_min "1h": with it worker.backoff_max, which is 5m unless it is set: want 1h to 1d`,
		"engine: {wait_replicas: 1, commit_timeout: 1s}\n":          `engine.wait_timeout, which is 1s unless it is set: want 1ms to 500ms`,
		"worker: {heartbeat_interval: 5s, lease: 6s}\n":             `tidemark.yaml:1: worker.lease "6s": want 10s to 10m`,
		"worker:\n  heartbeat_interval: 5s\n  sweep_interval: 1m\n": "tidemark.yaml:2: worker.heartbeat_interval \"5s\": with it worker.lease",
	} {
		if _, err := load(t, file, nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "default: ") {
			t.Errorf("%s gives\n\t%v\nwant\n\t%s", file, err, want)
		}
	}
}

// Every fault of a list has a line.
func TestEveryFaultOfAList(t *testing.T) {
	schedule := func(name, more string) string { return "{name: " + name + ", topic: 'user:1', type: x" + more + "}" }
	for file, want := range map[string][]string{
		"auth: {origins: [http://a/x, http://b, 'ftp:c', http://a/x]}\n": {`auth.origins "http://a/x": want`, `auth.origins "ftp:c": want`},
		"auth: {origins: [5, http://b, [x]]}\n":                          {"item 1 is no text", "item 3 is no text"},
		"worker: {queues: [5, {name: a, wait: 1, height: 2}]}\n":         {"item 1 is no queue", `item 2: height "2"`, `item 2: wait "1"`},
		"worker: {queues: 'a=x,b=y,c'}\n":                                {`weight "x" of queue "a"`, `weight "y" of queue "b"`},
		"worker: {queues: 'A=2,b=2000,b'}\n":                             {`name "A"`, "b is named twice", "weight of b 2000"},
		"schedules: [x, {corn: 5}, 5]\n":                                 {"item 1: no schedule", `item 2: unknown field "corn"`, "item 3: no schedule"},
		"schedules: [" + schedule("a", "") + ", " + schedule("b", ", cron: '* *'") + "]\n": {
			"a of user:1: cron", "b of user:1: cron",
		},
	} {
		_, err := load(t, file, nil)
		var all *config.Error
		if !errors.As(err, &all) || len(all.Problems) != len(want) {
			t.Errorf("%s gives\n%v\nwant %d problems", file, err, len(want))
			continue
		}
		for i, p := range all.Problems {
			if !strings.Contains(p.String(), want[i]) {
				t.Errorf("%s: problem %d is\n\t%s\nwant\n\t%s", file, i+1, p, want[i])
			}
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := load(t, "worker: {lease: 4}\nengine: {shards: 0, retention: 1s}\n",
		map[string]string{"TIDEMARK_TOPICS": "user:1"}, "--set", "log.format=xml")
	var all *config.Error
	if !errors.As(err, &all) || len(all.Problems) != 5 {
		t.Fatalf("want 5 problems, have:\n%v", err)
	}
	if lines := strings.Count(err.Error(), "\n"); lines != 4 {
		t.Errorf("want a line a problem, have:\n%v", err)
	}
}

func TestVariablesOfAnOrchestratorAreNotOurs(t *testing.T) {
	loaded(t, "", map[string]string{
		"TIDEMARK_SERVICE_HOST": "10.0.0.1", "TIDEMARK_SERVICE_PORT_HTTP": "80",
		"TIDEMARK_PORT": "tcp://10.0.0.1:80", "TIDEMARK_PORT_80_TCP_ADDR": "10.0.0.1",
	})
}

// A token is no setting, and no mistyped one either.
func TestTokenIsNotOfTheSettings(t *testing.T) {
	c := loaded(t, "", map[string]string{config.TokenVariable: "hunter2"})
	for _, s := range c.Settings() {
		if strings.Contains(s.Value, "hunter2") || s.Variable() == config.TokenVariable {
			t.Errorf("%s shows the token", s.Key)
		}
	}
	if _, err := load(t, "token: hunter2\n", nil); err == nil {
		t.Error("a file may hold a token")
	}
}

func TestFileNamedByVariable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.yaml")
	write(t, path, "topic: team:9\n")
	c := loaded(t, "topic: team:1\n", map[string]string{"TIDEMARK_CONFIG": path})
	if c.Topic != "team:9" || c.File() != path {
		t.Errorf("topic %s of %q, want team:9 of %s", c.Topic, c.File(), path)
	}
}

func TestPasswordsAreNeverShown(t *testing.T) {
	const password = "hunter2"
	for _, address := range []string{
		"redis://:hunter2@localhost:6379/0", "redis://user:hunter2@localhost", "rediss://user:a@hunter2@h:1/0",
		"redis+sentinel://u:hunter2@a:1,b:2/main", "redis+cluster://u:hunter2@a:1,b:2", "unix://u:hunter2@/run/redis.sock?db=1",
		"redis://localhost?password=hunter2&db=1", "redis://u:x/hunter2@h",
	} {
		c, err := load(t, "", map[string]string{"TIDEMARK_REDIS_URL": address})
		shown := ""
		if err != nil {
			shown = err.Error()
		} else {
			shown = effective(t, c, "redis.url").Value
		}
		if shown == "" || strings.Contains(shown, password) {
			t.Errorf("%s is shown as %q", address, shown)
		}
	}
	for _, address := range []string{"redis://u:hunter2#x@h:1/0", "hunter2", "redis://:hunter2", "redis+sentinel://:hunter2@h:1", "redis://u:hunter2@h:port/0", "redis://h/0?hunter2=hunter2"} {
		_, err := load(t, "", nil, "--redis", address)
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("%s gave the error %v", address, err)
		}
	}
	if got := config.Mask("redis://localhost:6379/3?db=1"); got != "redis://localhost:6379/3?db=1" {
		t.Errorf("an address without a password is shown as %s", got)
	}
}

// A command that heeds one setting of a part offers no flag for the others.
func TestFlagOfASingleSetting(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags, "worker.concurrency")
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if !slices.Equal(names, []string{"concurrency"}) {
		t.Errorf("the flags are %q, want concurrency alone", names)
	}
	if err := flags.Parse([]string{"--concurrency", "3"}); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if c, err := config.Load(flags); err != nil || c.Worker.Concurrency != 3 {
		t.Errorf("--concurrency 3 gives %+v, %v", c, err)
	}
}
