package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/hibiken/asynq"
	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/runtime"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/gateway/internal/problem"
)

// asynqPath is where the asynq web UI is.
const asynqPath = "/admin/asynq"

// An asynqUI is asynq's own web UI. It knows nothing of users, of other sites' pages
// or of a content security policy: this type adds all three.
type asynqUI struct {
	ui    http.Handler
	index []byte // its only HTML page, which shows every address of its own
	csp   string
}

func newAsynqUI(e *engine.Engine) (*asynqUI, error) {
	a := &asynqUI{ui: asynqmon.New(asynqmon.Options{
		RootPath: asynqPath, RedisConnOpt: shared{e.Redis()}, PayloadFormatter: asynqmon.PayloadFormatterFunc(showPayload),
		ResultFormatter: asynqmon.ResultFormatterFunc(func(_ string, b []byte) string { return redacted(b) }),
	})}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, asynqPath+"/", nil)
	if err != nil {
		return nil, err
	}
	said := &saying{header: http.Header{}}
	a.ui.ServeHTTP(said, r)
	// Its fonts are on another site, which would learn who administrates what.
	a.index = foreignStyles.ReplaceAll(said.body.Bytes(), nil)
	scripts := inlineScripts.FindAllSubmatch(a.index, -1)
	if len(scripts) == 0 {
		return nil, errors.New("the asynq web UI's page is not what it was: it has no inline script")
	}
	a.csp = "default-src 'none'; script-src 'self'"
	for _, s := range scripts {
		sum := sha256.Sum256(s[1])
		a.csp += " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	// Its components write style elements as they are shown.
	a.csp += "; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self';" +
		" manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return a, nil
}

var (
	foreignStyles = regexp.MustCompile(`<link rel="stylesheet" href="https?://[^>]*>`)
	inlineScripts = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
)

// adminKinds are the content types of the UI's files.
var adminKinds = map[string]string{
	".js": "text/javascript; charset=utf-8", ".json": "application/json", ".txt": "text/plain; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/vnd.microsoft.icon",
}

func (a *asynqUI) serve(w http.ResponseWriter, r *http.Request, p *auth.Principal) error {
	if !p.Admin {
		return problem.ErrForbidden
	}
	w.Header().Set("Content-Security-Policy", a.csp)
	rest := strings.TrimPrefix(r.URL.Path, asynqPath)
	switch {
	case strings.HasPrefix(rest, "/api/"):
		a.ui.ServeHTTP(w, r)
	case strings.HasPrefix(rest, "/static/"), path.Dir(rest) == "/" && strings.Contains(rest, "."):
		a.ui.ServeHTTP(&typed{ResponseWriter: w, kind: adminKinds[path.Ext(rest)]}, r)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// An error says that the client has gone.
		_, _ = w.Write(a.index)
	}
	return nil
}

// typed gives an answer the content type of its file's name. The UI guesses it, and a
// browser that may not guess shows no image of a wrong type.
type typed struct {
	http.ResponseWriter
	kind string
	done bool
}

func (t *typed) WriteHeader(status int) {
	if t.kind != "" && status == http.StatusOK && !t.done {
		t.Header().Set("Content-Type", t.kind)
	}
	t.done = true
	t.ResponseWriter.WriteHeader(status)
}

func (t *typed) Write(b []byte) (int, error) {
	if !t.done {
		t.WriteHeader(http.StatusOK)
	}
	return t.ResponseWriter.Write(b)
}

// shared lets the UI use the engine's own connections.
type shared struct{ client redis.UniversalClient }

var _ asynq.RedisConnOpt = shared{}

// MakeRedisClient implements asynq.RedisConnOpt.
func (s shared) MakeRedisClient() any { return s.client }

// showPayload shows what an attempt's task holds, the job and the attempt's number.
// Other tasks in the same Redis are not Tidemark's to show.
func showPayload(_ string, payload []byte) string {
	var p runtime.TaskPayload
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil || p.Job == "" {
		return redacted(payload)
	}
	return string(payload)
}

func redacted(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return fmt.Sprintf("(%d bytes, not shown)", len(b))
}
