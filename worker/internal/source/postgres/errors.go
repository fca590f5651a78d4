package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tidemark-dev/tidemark/internal/excerpt"
	"github.com/tidemark-dev/tidemark/worker/internal/source/dialect"
)

// wrongQuery is wrong of a statement that is prepared. It has no values yet that the server's own words could
// quote, so they are shown where they are about names and syntax.
func wrongQuery(r *dialect.Request, err error) error {
	said := (*pgconn.PgError)(nil)
	if errors.As(err, &said) && (strings.HasPrefix(said.Code, "42") || strings.HasPrefix(said.Code, "0A") || strings.HasPrefix(said.Code, "3F")) {
		return r.Permanent("the server refuses its query: %s (%s)", excerpt.Of(strings.ReplaceAll(said.Message, "\n", " "), 200), sqlState(said.Code))
	}
	return wrong(r, err)
}

// wrong is what an error of the driver means for a source.
func wrong(r *dialect.Request, err error) error {
	if said := (*pgconn.PgError)(nil); errors.As(err, &said) {
		return refused(r, said)
	}
	if long := (*pgproto3.ExceededMaxBodyLenErr)(nil); errors.As(err, &long) {
		return r.Permanent("a row has %d bytes; at most %d", long.ActualBodyLen, dialect.MaxRowBytes)
	}
	if cert := (*tls.CertificateVerificationError)(nil); errors.As(err, &cert) {
		return r.Permanent("the server's certificate is not trusted: see sslmode and sslrootcert of its URL")
	}
	if ours := (*dialect.Error)(nil); errors.As(err, &ours) {
		return ours
	}
	return r.Temporary("the database cannot be reached: %s", reason(err))
}

// reason is the class of a failed connection. The error itself may hold the whole URL.
func reason(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "its host's name is not found"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EACCES):
		return "its socket is not there, or not for this user"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), pgconn.Timeout(err):
		return "it does not answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "the connection broke"
	}
	return "the connection failed"
}

// sentences are for what an admin can mend, by code or class of codes.
var sentences = map[string]string{
	"28":    "the server refuses the login: check user and password of its URL, and the server's pg_hba.conf",
	"3D000": "there is no such database on the server: check the end of its URL",
	"25006": "its query writes, and a source only reads",
	"22012": "its query divides by zero",
	"22":    "a parameter or a value is not of the type that its query wants",
	"54":    "its query is over a limit of the server, such as 1664 columns",
}

// passing are the codes and classes of what may be gone later: a server that stops, starts, fails over
// or is full, and statements that others ended.
var passing = map[string]string{
	"08":    "the connection broke",
	"40":    "the server ended the snapshot to go on with its own work",
	"53":    "the server has no room, such as for a further connection",
	"55":    "something in the database is in use",
	"57":    "the server stops, starts, or an operator ended the session",
	"58":    "the server's machine is in trouble",
	"25P03": "the server ended an idle session",
}

func refused(r *dialect.Request, e *pgconn.PgError) error {
	class := e.Code
	if len(class) > 2 {
		class = class[:2]
	}
	for _, key := range []string{e.Code, class} {
		if s, ok := passing[key]; ok {
			return r.Temporary("%s (%s)", s, sqlState(e.Code))
		}
		if s, ok := sentences[key]; ok {
			return r.Permanent("%s (%s)", s, sqlState(e.Code))
		}
	}
	return r.Permanent("the server refuses its query (%s)", sqlState(e.Code))
}
