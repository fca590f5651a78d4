package wire_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

// A filter has one canonical form, which is also the query of a list or a snapshot.
func ExampleFilter() {
	f := wire.Filter{Type: "export", State: wire.Failed, Labels: map[string]string{"team": "sales"}}
	fmt.Println(f)
	// Output: label=team%3Asales&state=failed&type=export
}

func ExampleParseFilter() {
	_, err := wire.ParseFilter(url.Values{"state": {"broken"}})
	fmt.Println(err)
	// Output: invalid state "broken": want one of a job's states
}

func ExampleCursor_N() {
	c, err := wire.ParseCursor("1767225600000-7")
	fmt.Println(c.N(), err)
	// Output: 7 <nil>
}

// A JobRequest is the body of POST /v1/jobs.
func ExampleNewJobRequest() {
	r, err := wire.NewJobRequest(wire.Spec{
		Topic: "user:42", Type: "export", Payload: map[string]int{"year": 2025}, Delay: time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := json.Marshal(r)
	fmt.Println(string(body), err)
	// Output: {"topic":"user:42","type":"export","payload":{"year":2025},"delay_ms":60000} <nil>
}
