package blobs

import (
	"testing"

	"github.com/tidemark-dev/tidemark/engine/wire"
)

func TestNamedBy(t *testing.T) {
	t.Parallel()
	const a, b = "0701JD8V3QZ4T9M2K6W0X5Y7B1CA", "0701JD8V3QZ4T9M2K6W0X5Y7B1CB"
	for payload, want := range map[string]Named{
		`{"blob":"incoming/user:42/` + a + `"}`:                     {Upload: a},
		`{"blob":"incoming/user:43/` + a + `"}`:                     {Foreign: true},
		`{"blob":"incoming/user:42/x"}`:                             {Foreign: true},
		`{"BLOB":"orders.csv"}`:                                     {Foreign: true},
		`{"blob":"orders.csv","dataset":"` + a + `"}`:               {Dataset: a, Foreign: true},
		`{"blob":"orders.csv","blob":null}`:                         {Foreign: true},
		`{"blob":"orders.csv","Blob":7}`:                            {Foreign: true},
		`{"blob":"orders.csv","blob":"incoming/user:42/` + a + `"}`: {Upload: a},
		`{"blob":""}`:                                                      {},
		`{"blob":["orders.csv"]}`:                                          {},
		`{"dataset":"` + a + `"}`:                                          {Dataset: a},
		`{"blob":"datasets/user:42/` + a + `/data"}`:                       {Dataset: a},
		`{"dataset":"","blob":"datasets/user:42/` + a + `/data"}`:          {Dataset: a},
		`{"dataset":"x","blob":"datasets/user:42/` + a + `/data"}`:         {Dataset: a},
		`{"dataset":7,"blob":"datasets/user:42/` + a + `/data"}`:           {Dataset: a},
		`{"dataset":"` + b + `","blob":"datasets/user:42/` + a + `/data"}`: {Dataset: b},
		`{"dataset":"` + b + `","blob":"incoming/user:42/` + a + `"}`:      {Upload: a, Dataset: b},
		`{"dataset":"","blob":"datasets/user:43/` + a + `/data"}`:          {Foreign: true},
		`{"dataset":["` + a + `"]}`:                                        {},
		`no JSON`:                                                          {},
	} {
		if got := NamedBy(wire.Topic("user:42"), []byte(payload)); got != want {
			t.Errorf("%s: %+v, want %+v", payload, got, want)
		}
	}
}

func TestSettled(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"incoming/user:42/x": true, "datasets/user:42/x/data": true, "uploads/orders.csv": false, "incoming.csv": false, "Incoming/user:42/x": false,
	} {
		if Settled(key) != want {
			t.Errorf("%s is settled: %t", key, !want)
		}
	}
}
