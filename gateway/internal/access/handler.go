// Package access is what the gateway's rooms share about who asks for what: handlers that
// know their principal, and what is in use under which credentials.
package access

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
	"github.com/tidemark-dev/tidemark/internal/excerpt"
)

// A Handler answers a request of a principal. The error that it returns is answered for
// it, as problem.Writer.Fail words it.
type Handler func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error

// A Route is an address, and what answers there.
type Route struct {
	Pattern string // of http.ServeMux, with a method
	Handler Handler
	// Kind is what a request here uses as long as it takes.
	Kind Kind
	// Long is of requests that carry what may be large: as a whole they have no bound in
	// time.
	Long bool
}

// FilterOf reads the filter among other parameters of a query. Its error is wire.ParseFilter's.
func FilterOf(q url.Values) (wire.Filter, error) {
	own := url.Values{}
	for _, name := range wire.FilterParameters {
		if values, there := q[name]; there {
			own[name] = values
		}
	}
	return wire.ParseFilter(own)
}

// Repeated ends the name of a parameter, for Taking, that a query may have more than once.
const Repeated = "+"

// Taking refuses a request whose query has another parameter than params, or one of them
// twice, but for a filter's label and for those that are Repeated: what is ignored looks as if it had been heeded.
func Taking(h Handler, params ...string) Handler {
	params = slices.Clone(params)
	var repeated []string
	for i, name := range params {
		if plain, more := strings.CutSuffix(name, Repeated); more {
			params[i], repeated = plain, append(repeated, plain)
		}
	}
	return func(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return fmt.Errorf("%w: the query is malformed", problem.ErrRequest)
		}
		for _, name := range slices.Sorted(maps.Keys(query)) {
			switch {
			case len(params) == 0:
				return fmt.Errorf("%w: query parameter %q: none is taken here", problem.ErrRequest, excerpt.Of(name, 80))
			case !slices.Contains(params, name):
				return fmt.Errorf("%w: query parameter %q: want %s", problem.ErrRequest, excerpt.Of(name, 80), strings.Join(params, ", "))
			case len(query[name]) > 1 && name != "label" && !slices.Contains(repeated, name):
				return fmt.Errorf("%w: query parameter %s: it is there %d times", problem.ErrRequest, name, len(query[name]))
			}
		}
		return h(w, r, p)
	}
}
