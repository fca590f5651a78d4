package runtime

import "github.com/tidemark-dev/tidemark/engine/internal/ground"

// ErrClock says that Redis's clock has jumped. The engine does nothing by it until it has kept its
// new course for a while, or is back on the old one.
var ErrClock = ground.ErrClock

// NewToken returns a fence's token: 130 bits from crypto/rand.
func NewToken() string { return ground.NewToken() }
