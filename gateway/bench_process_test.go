package gateway_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"runtime/debug"
	"testing"
)

// The benchmarks measure a gateway alone, so it has a process of its own, and so have
// the bare Melody server beside it and the clients with the engine that publishes. All
// are this test binary, told its part by roleVariable. The benchmark sends it orders as
// lines of JSON; the end of its input ends it, so none outlives the benchmark.
const roleVariable = "TIDEMARK_BENCH_ROLE"

// An order names a deed, the reply what came of it.
type order struct {
	Do   string          `json:"do"`
	With json.RawMessage `json:"with"`
}

type reply struct {
	Error string          `json:"error,omitempty"`
	Got   json.RawMessage `json:"got,omitempty"`
}

// A deed is what a role can do, on order.
type deed func(with json.RawMessage) (any, error)

// deedOf makes a deed of a function with typed arguments.
func deedOf[A, R any](do func(A) (R, error)) deed {
	return func(with json.RawMessage) (any, error) {
		var a A
		if err := json.Unmarshal(with, &a); err != nil {
			return nil, err
		}
		return do(a)
	}
}

// none is what a deed has no use for.
type none struct{}

// play is a process's whole life in a role. It returns its exit code.
func play(role string) int {
	var deeds map[string]deed
	switch role {
	case "gateway":
		deeds = (&gatewayRole{}).deeds()
	case "bare":
		deeds = (&bareRole{}).deeds()
	case "clients":
		debug.SetGCPercent(400) // its collections would be taken for delays
		deeds = (&clientsRole{}).deeds()
	default:
		log.Printf("no such role: %s", role)
		return 2
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return 0
			}
			log.Print(err)
			return 1
		}
		var a reply
		got, err := deeds[o.Do](o.With)
		if err == nil {
			a.Got, err = json.Marshal(got)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			log.Print(err)
			return 1
		}
	}
}

// A process is one in a role.
type process struct {
	b    *testing.B
	role string
	in   *json.Encoder
	out  *json.Decoder
	end  func()
}

// begin starts a process. It is ended by end, or with the benchmark.
func begin(b *testing.B, role string) *process {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := false
	p := &process{b: b, role: role, in: json.NewEncoder(in), out: json.NewDecoder(out)}
	p.end = func() {
		if ended {
			return
		}
		ended = true
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("%s: %v", role, err)
		}
	}
	b.Cleanup(p.end)
	return p
}

// ask has a process do something, and takes its answer.
func ask[R any](p *process, do string, with any) R {
	p.b.Helper()
	var got R
	if err := p.try(do, with, &got); err != nil {
		p.b.Fatalf("%s: %s: %v", p.role, do, err)
	}
	return got
}

func (p *process) try(do string, with, got any) error {
	args, err := json.Marshal(with)
	if err != nil {
		return err
	}
	if err := p.in.Encode(order{do, args}); err != nil {
		return err
	}
	var a reply
	if err := p.out.Decode(&a); err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return json.Unmarshal(a.Got, got)
}
