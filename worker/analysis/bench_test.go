package analysis

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/worker/internal/dataset/packed"
)

// orders writes a CSV as a shop would export it, at least size bytes, the same
// for every call.
func orders(size int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.Grow(size + 1024)
	b.WriteString("order_id,ordered_at,customer,country,status,quantity,unit_price,total,paid,note\n")
	status := []string{"paid", "shipped", "open", "cancelled", "returned"}
	country := []string{"DE", "AT", "CH", "FR", "NL", "PL", "US", "GB"}
	notes := []string{"", "", "", "", "leave at the door", `"please ring, then wait"`, `"""fragile"" goods"`}
	at := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := 0; b.Len() < size; i++ {
		at = at.Add(time.Duration(rng.IntN(90)) * time.Second)
		quantity, price := 1+rng.IntN(9), 1+rng.ExpFloat64()*40
		fmt.Fprintf(&b, "%d,%s,c-%06d@example.com,%s,%s,%d,%.2f,%.2f,%t,%s\n", 100000+i, at.Format(time.RFC3339),
			int(rng.ExpFloat64()*20000), country[rng.IntN(len(country))], status[min(rng.IntN(12), len(status)-1)],
			quantity, price, float64(quantity)*price, rng.IntN(10) > 0, notes[rng.IntN(len(notes))])
	}
	return b.Bytes()
}

var benchOrders = sync.OnceValue(func() []byte { return orders(32 << 20) })

// BenchmarkAnalysis compares a whole analysis with a bare encoding/csv read of
// the same bytes. What counts is the ratio of their MB/s, at least 0.33.
func BenchmarkAnalysis(b *testing.B) {
	data := benchOrders()
	b.Run("baseline=encoding/csv", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			r := csv.NewReader(bytes.NewReader(data))
			r.ReuseRecord = true
			for {
				if _, err := r.Read(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("analysis", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			p, err := Analyze(b.Context(), bytes.NewReader(data), Payload{}, Options{})
			if err != nil {
				b.Fatal(err)
			}
			if p.Bytes != int64(len(data)) {
				b.Fatalf("read %d of %d bytes", p.Bytes, len(data))
			}
		}
	})
}

// BenchmarkMarshal is the cost of one checkpoint's state.
func BenchmarkMarshal(b *testing.B) {
	st := new(State)
	if err := st.read(b.Context(), bytes.NewReader(orders(4<<20)), Payload{}, packed.None, mustOptions(b), nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		out, err := st.MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(out)), "state-bytes")
	}
}

func mustOptions(tb fatal) Options {
	tb.Helper()
	o, err := Options{}.withDefaults()
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

type fatal interface {
	Helper()
	Fatal(args ...any)
}
