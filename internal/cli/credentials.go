package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-dev/tidemark/config"
	"github.com/tidemark-dev/tidemark/engine"
	"github.com/tidemark-dev/tidemark/engine/stream"
	"github.com/tidemark-dev/tidemark/engine/wire"
	"github.com/tidemark-dev/tidemark/gateway/auth"
	"github.com/tidemark-dev/tidemark/internal/cli/screen"
	"github.com/tidemark-dev/tidemark/internal/cli/session"
)

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Sign a user's token for a gateway in auth mode jwt, and print it",
		Long: `Sign a user's token for a gateway in auth mode jwt, and print it, and nothing else. It is
signed with the first key of auth.jwt.keys that can sign: one with a secret or a
private_key_file. It has the issuer and the audience that are set.

The user may do everything in its own topic, user:SUBJECT, and elsewhere what the grants
and roles say. "tidemark kick" takes back all tokens of a user. A token is a
password: give it to commands in the variable ` + config.TokenVariable + `, not as an argument.`,
		Example: `  ` + config.TokenVariable + `=$(tidemark token --subject 42 --ttl 15m) tidemark jobs --topic user:42 --server https://jobs.example.com
  tidemark token --subject ada --grant team:7=read,enqueue --grant 'project:*=read' --ttl 8h
  tidemark token --subject ops --role admin --ttl 10m --key 2026-11`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	subject := f.String("subject", "", "the user, `SUBJECT`: [A-Za-z0-9._@-]{1,128} (required)")
	grants := f.StringArray("grant", nil, "rights on a topic, or on all of a kind, as `TOPIC=RIGHTS`, such as team:7=read,enqueue,control; may be repeated, at most 100 times")
	roles := f.StringArray("role", nil, "a `ROLE`: viewer, who reads every topic, or admin; may be repeated")
	life := f.Duration("ttl", 0, "how long the token is valid, a `DURATION` from 10s to 24h (required)")
	key := f.String("key", "", "the `ID` of the key to sign with (default the first that can)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case *subject == "":
			return session.Usage("--subject is required: the user whom the token is for")
		case *life == 0:
			return session.Usage("--ttl is required: how long the token is valid, such as --ttl 15m, at most 24h")
		}
		rights, err := parseGrants(*grants)
		if err != nil {
			return err
		}
		c, err := session.Settings(cmd)
		if err != nil {
			return err
		}
		signer, err := signingKey(c.Auth.Keys, *key)
		if err != nil {
			return err
		}
		token, err := signer.Sign(auth.JWTClaims{
			Subject: *subject, Grants: rights, Roles: *roles, Issuer: c.Auth.Issuer, Audience: c.Auth.Audience, Life: *life,
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, token)
		return nil
	}
	return cmd
}

// parseGrants reads TOPIC=RIGHT,… pairs. What the words mean is checked when the token is signed.
func parseGrants(pairs []string) (map[string][]string, error) {
	grants := map[string][]string{}
	for _, pair := range pairs {
		topics, rights, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, session.Usage("--grant %q: want TOPIC=RIGHTS, such as team:7=read,enqueue", screen.Cut(pair, 80))
		}
		if grants[topics] != nil {
			return nil, session.Usage("--grant: %q is there twice", screen.Cut(topics, 80))
		}
		grants[topics] = strings.Split(rights, ",")
	}
	return grants, nil
}

// signingKey reads the key with an ID, or for "" the first that can sign.
func signingKey(keys []config.JWTKey, id string) (auth.JWTKey, error) {
	at := slices.IndexFunc(keys, func(k config.JWTKey) bool { return k.ID == id || id == "" && k.Signs() })
	switch {
	case len(keys) == 0:
		return auth.JWTKey{}, session.Usage("auth.jwt.keys has no key to sign with; name one with a secret or a private_key_file")
	case at < 0 && id != "":
		return auth.JWTKey{}, session.Usage("--key %q: auth.jwt.keys has no such id", screen.Cut(id, 80))
	case at < 0:
		return auth.JWTKey{}, session.Usage("no key of auth.jwt.keys can sign; name one with a secret or a private_key_file")
	case !keys[at].Signs():
		return auth.JWTKey{}, session.Usage("--key %q: it is a public key, which cannot sign; name its private_key_file in auth.jwt.keys", screen.Cut(id, 80))
	}
	k, err := keys[at].Read()
	if err != nil {
		return auth.JWTKey{}, fmt.Errorf("auth.jwt.keys: %w", err)
	}
	return k, nil
}

func (a *app) kickCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kick SUBJECT",
		Short: "Take back all credentials of a user",
		Long: `Take back all credentials of a user that were issued until now. On all gateways the user's
connections, uploads and downloads end within a second, and the credentials are refused for as
long as they would have been valid. What is issued later is valid: to keep the user
out, have the issuer of its tokens issue none.

Through a server it is for admins.`,
		Example: `  tidemark kick 42
  tidemark kick ada --server https://jobs.example.com`,
		Args: cobra.ExactArgs(1),
	}
	session.ServerFlag(cmd)
	asJSON := screen.JSONFlag(cmd, "print what was taken back as a line of JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		s, err := session.OpenStore(cmd)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		kicked, err := a.kick(cmd.Context(), s, args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			screen.WriteLine(a.out, kicked)
			return nil
		}
		fmt.Fprintf(a.out, "%s is out: credentials from before %s are no longer valid\n", screen.OneLine(kicked.Subject), kicked.IssuedBefore.Local().Format(time.DateTime))
		return nil
	}
	return cmd
}

func (a *app) kick(ctx context.Context, s *session.Session, subject string) (wire.Kicked, error) {
	if subject == "" {
		return wire.Kicked{}, session.Usage("SUBJECT is empty: want the user whose credentials are to be taken back")
	}
	if s.Remote != nil {
		return s.Remote.Kick(ctx, subject)
	}
	r, err := stream.Of(s.Engine).Revoke(ctx, wire.Revocation{Subject: subject})
	if errors.Is(err, engine.ErrUnreplicated) {
		fmt.Fprintln(a.err, "tidemark: "+screen.OneLine(err.Error())) // it is made
		err = nil
	}
	return wire.Kicked{Subject: subject, IssuedBefore: r.Before().UTC().Truncate(time.Millisecond)}, err
}
