package storage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/tidemark-dev/tidemark/internal/option"
	"github.com/tidemark-dev/tidemark/internal/storefault"
)

const (
	// connectTimeout bounds a connection's making, and its TLS handshake.
	connectTimeout = 5 * time.Second
	// stallTimeout is how long a connection may move nothing before it ends. S3 may take so
	// long to put a large upload together, during which it sends blanks.
	stallTimeout = 30 * time.Second
	// idleTimeout is how long an unused connection is kept.
	idleTimeout = 20 * time.Second
	// maxAttempts and maxBackoff bound a request's repetitions.
	maxAttempts = 4
	maxBackoff  = 2 * time.Second
	// connections is how many are kept for the next requests.
	connections = 64
	// credentialsAge is how long a credentials file's content is used before it is read again.
	credentialsAge = 5 * time.Minute
)

// client makes the client of a bucket's store. It connects to nothing.
func client(ctx context.Context, l location, credentialsFile string) (*s3.Client, func(), error) {
	built := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { bound(t, stallTimeout) })
	cfg, err := config.LoadDefaultConfig(ctx,
		// The SDK puts the certificates of AWS_CA_BUNDLE into it, and takes no other client then.
		config.WithHTTPClient(built),
		config.WithRetryer(func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff })
		}),
		// Stores other than AWS do not know the newer checksums.
		config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	)
	if err != nil { // whose text may quote a shared file
		return nil, nil, fmt.Errorf("read AWS's settings of this user and environment: %w", storefault.Of(err))
	}
	withCertificates, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, nil, errors.New("the SDK has another HTTP client than the one that it was given")
	}
	transport := withCertificates.GetTransport() // whose unused connections can be closed
	cfg.HTTPClient = &http.Client{
		Transport: transport,
		// What is signed for one host is not for another.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if l.region != "" {
		cfg.Region = l.region
	}
	if cfg.Region == "" {
		return nil, nil, option.Invalid("URL", nil, "it names no region, nor does AWS_REGION; add region, such as s3://%s?region=eu-central-1", l.bucket)
	}
	from := cfg.Credentials
	if credentialsFile != "" {
		from = aws.NewCredentialsCache(fromFile(credentialsFile))
	}
	cfg.Credentials = marked{from}
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = l.pathStyle
		if l.endpoint != "" {
			o.BaseEndpoint = &l.endpoint
		}
	}), transport.CloseIdleConnections, nil
}

// fromFile reads credentials from a file in the form of AWS's shared one.
func fromFile(path string) aws.CredentialsProviderFunc {
	return func(ctx context.Context) (aws.Credentials, error) {
		shared, err := config.LoadSharedConfigProfile(ctx, "default", func(o *config.LoadSharedConfigOptions) {
			o.CredentialsFiles, o.ConfigFiles = []string{path}, []string{}
		})
		if err != nil {
			return aws.Credentials{}, err
		}
		c := shared.Credentials
		if !c.HasKeys() {
			return c, fmt.Errorf("%s has no profile default with aws_access_key_id and aws_secret_access_key", path)
		}
		c.CanExpire, c.Expires = true, time.Now().Add(credentialsAge)
		return c, nil
	}
}

// marked lets errors about credentials be told from the store's.
type marked struct{ from aws.CredentialsProvider }

// Retrieve implements aws.CredentialsProvider.
func (m marked) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if m.from == nil {
		return aws.Credentials{}, storefault.ErrCredentials
	}
	c, err := m.from.Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", storefault.ErrCredentials, err)
	}
	return c, err
}

// bound has connections end that move nothing for a while.
func bound(t *http.Transport, stall time.Duration) {
	dialer := &net.Dialer{Timeout: connectTimeout}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &moving{Conn: c, stall: stall}, nil
	}
	t.TLSHandshakeTimeout, t.IdleConnTimeout = connectTimeout, idleTimeout
	t.MaxIdleConns, t.MaxIdleConnsPerHost = connections, connections
	t.DisableCompression = true // the bytes of a compressed object are its content
	t.ForceAttemptHTTP2 = false // one connection for many requests would move while one of them does not
}

// A moving connection ends when it moves nothing for stall. Each call puts the end off for both
// directions: an answer is waited for while a body is still sent.
type moving struct {
	net.Conn
	stall time.Duration
}

func (m *moving) Read(b []byte) (int, error) {
	if err := m.SetDeadline(time.Now().Add(m.stall)); err != nil {
		return 0, err
	}
	return m.Conn.Read(b)
}

func (m *moving) Write(b []byte) (int, error) {
	if err := m.SetDeadline(time.Now().Add(m.stall)); err != nil {
		return 0, err
	}
	return m.Conn.Write(b)
}
