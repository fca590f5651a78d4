package config

import (
	"time"

	"github.com/tidemark-dev/tidemark/gateway"
)

// gatewaySettings are those of the gateway, and of who may use it.
var gatewaySettings = []Setting{
	{
		Key: "gateway.addr", Flag: "addr", field: "Addr",
		Brief: "`HOST:PORT` to listen on; port 0 takes a free one",
		Doc:   "Where the gateway listens, as host:port; port 0 takes a free one. In auth mode dev the host must be this machine's loopback.",
		codec: word("host:port, such as 127.0.0.1:8080", func(c *Config) *string { return &c.Listen.Addr }),
	},
	{
		Key: "gateway.enqueue.types", field: "EnqueueTypes",
		Doc: "The job types that users may enqueue who are no admins: with requests, retries, schedules and uploads. Without it such users " +
			"enqueue nothing; in auth mode dev everybody is an admin. Each has a type; queue, where its jobs go, that of the processor of this type " +
			"or engine.default_queue if absent: a request for another one is refused; max_attempts, the most that a request may ask for, 1 to 1000, 4 if " +
			"absent; and max_payload_bytes, the longest payload of a request, 256KiB if absent. There may be 1000. The workers' own jobs, such as " +
			"children and those of schedules in the configuration, are not bound by it, nor are schedules that are stored already.",
		codec: enqueueTypes(func(c *Config) *[]gateway.EnqueueType { return &c.Gateway.EnqueueTypes }),
	},
	{
		Key: "gateway.connections_per_principal", field: "ConnectionsPerPrincipal",
		Doc:   "How many WebSockets, event streams and long polls one user may have open.",
		codec: count(func(c *Config) *int { return &c.Gateway.ConnectionsPerPrincipal }),
	},
	{
		Key: "gateway.subscriptions_per_connection", field: "SubscriptionsPerConnection",
		Doc:   "How many subscriptions one WebSocket carries at a time.",
		codec: count(func(c *Config) *int { return &c.Gateway.SubscriptionsPerConnection }),
	},
	{
		Key: "gateway.streams_per_credential", field: "StreamsPerCredential",
		Doc:   "How many event streams and long polls one credential, or one user without one, may have at a time.",
		codec: count(func(c *Config) *int { return &c.Gateway.StreamsPerCredential }),
	},
	{
		Key: "gateway.message_bytes", field: "MessageBytes",
		Doc:   "The longest message that a client may send over a WebSocket.",
		codec: size(func(c *Config) *int { return &c.Gateway.MessageBytes }),
	},
	{
		Key: "gateway.messages_per_second", field: "MessagesPerSecond",
		Doc:   "How many messages a client may send over time.",
		codec: count(func(c *Config) *int { return &c.Gateway.MessagesPerSecond }),
	},
	{
		Key: "gateway.message_burst", field: "MessageBurst",
		Doc:   "How many messages a client may send at once.",
		codec: count(func(c *Config) *int { return &c.Gateway.MessageBurst }),
	},
	{
		Key: "gateway.window_frames", field: "WindowFrames",
		Doc:   "How many frames wait in memory for one WebSocket, event stream or long poll. What does not fit stays in its topic's stream and is read from there.",
		codec: count(func(c *Config) *int { return &c.Gateway.WindowFrames }),
	},
	{
		Key: "gateway.window_bytes", field: "WindowBytes",
		Doc:   "How many bytes wait in memory for one WebSocket, event stream or long poll.",
		codec: size(func(c *Config) *int { return &c.Gateway.WindowBytes }),
	},
	{
		Key: "gateway.send_buffer_bytes", field: "SendBufferBytes",
		Doc:   "The kernel's send buffer of a WebSocket or an event stream, which the kernel may double.",
		codec: size(func(c *Config) *int { return &c.Gateway.SendBufferBytes }),
	},
	{
		Key: "gateway.ping_interval", field: "PingInterval",
		Doc:   "The time between two pings of a WebSocket, and at most between two comments of an event stream.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.PingInterval }),
	},
	{
		Key: "gateway.pong_timeout", field: "PongTimeout",
		Doc:   "How long the answer to a ping may take.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.PongTimeout }),
	},
	{
		Key: "gateway.stall_timeout", field: "StallTimeout",
		Doc:   "How long a WebSocket, an event stream or a long poll may take nothing before it is ended. Its client resumes by its cursor.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.StallTimeout }),
	},
	{
		Key: "gateway.auth_timeout", field: "AuthTimeout",
		Doc:   "How long a WebSocket that came without credentials may take to send some, and how long checking some may take.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.AuthTimeout }),
	},
	{
		Key: "gateway.control_timeout", field: "ControlTimeout",
		Doc: "How long the gateway goes on while Redis does not say which credentials are revoked. Then the gateway ends all connections and " +
			"downloads, and refuses everybody, until Redis says it again; uploads that are under way go on. Not in auth mode dev.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.ControlTimeout }),
	},
	{
		Key: "gateway.filter_lag", field: "FilterLag",
		Doc:   "How far behind the cursor of a subscription to one job may be while only other jobs' records come.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.FilterLag }),
	},
	{
		Key: "gateway.request_timeout", field: "RequestTimeout",
		Doc:   "How long a request may take, body included; not one that uploads, no WebSocket and no event stream. A long poll has as long beyond its wait, and again from each frame on.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.RequestTimeout }),
	},
	{
		Key: "gateway.catch_ups", field: "CatchUps",
		Doc:   "How many pages and snapshots are read from Redis at a time.",
		codec: count(func(c *Config) *int { return &c.Gateway.CatchUps }),
	},
	{
		Key: "gateway.drain_timeout", field: "DrainTimeout",
		Doc:   "How long a gateway that stops waits for the clients that it said goodbye to.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.DrainTimeout }),
	},
	{
		Key: "gateway.reconnect_spread", field: "ReconnectSpread",
		Doc:   "The least time over which clients that are said goodbye are asked to come back.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.ReconnectSpread }),
	},
	{
		Key: "gateway.upload_bytes", field: "UploadBytes",
		Doc:   "The largest upload; in a bucket of S3 at most 562.5 GiB.",
		codec: size(func(c *Config) *int64 { return &c.Gateway.UploadBytes }),
	},
	{
		Key: "gateway.uploads_per_principal", field: "UploadsPerPrincipal",
		Doc:   "How many uploads one user may have announced and not finished.",
		codec: count(func(c *Config) *int { return &c.Gateway.UploadsPerPrincipal }),
	},
	{
		Key: "gateway.upload_idle", field: "UploadIdle",
		Doc:   "How long an upload may receive nothing before its job fails.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.UploadIdle }),
	},
	{
		Key: "gateway.receive_share", field: "ReceiveShare",
		Doc:   "How much of an uploaded job's bar its arrival fills, in percent.",
		codec: count(func(c *Config) *int { return &c.Gateway.ReceiveShare }),
	},
	{
		Key: "gateway.sweep_interval", field: "SweepInterval",
		Doc:   "The time between two searches for uploads that are finished and not queued, idle, or of jobs that are gone.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.SweepInterval }),
	},
	{
		Key: "gateway.download_lease", field: "DownloadLease",
		Doc:   "For how long a watched download may have nothing written before it is aborted.",
		codec: duration(func(c *Config) *time.Duration { return &c.Gateway.DownloadLease }),
	},

	{
		Key: "auth.mode", field: "Mode",
		Doc: "How the gateway finds out who sends a request. dev asks for no credentials: everybody is user demo " +
			"with the admin role, and the gateway serves this machine alone. jwt asks for a signed token, which docs/protocol.md describes: it needs " +
			"auth.jwt.keys or auth.jwt.jwks_url, auth.public_url and auth.hosts, and the gateway may listen on any address.",
		codec: word("dev or jwt", func(c *Config) *string { return &c.Auth.Mode }),
	},
	{
		Key: "auth.origins", field: "Origins",
		Doc: "Further sites whose pages may use the gateway, such as the development server of a front end. Those of " +
			"auth.public_url may, and in auth mode dev those of the gateway itself.",
		codec: origins(func(c *Config) *[]string { return &c.Auth.Origins }),
	},
	{
		Key: "auth.public_url", field: "PublicURL",
		Doc: "The origin at which clients reach the gateway, as browsers write it, also where a proxy is in front of it. The gateway's page has this " +
			"origin. Required in other modes than dev, which does not take it.",
		codec: word("scheme://host[:port], without a path", func(c *Config) *string { return &c.Auth.PublicURL }),
	},
	{
		Key: "auth.hosts", field: "Hosts",
		Doc: "The names, without port, that requests may be addressed to: that of auth.public_url, and those by which services of " +
			"yours call the gateway; the probes /healthz and /readyz answer to any. A request for another Host is answered with 403. Required in other modes than dev, which does not take it.",
		codec: texts("a list of names, or NAME,… in a flag or variable", func(c *Config) *[]string { return &c.Auth.Hosts }),
	},
	{
		Key: "auth.jwt.keys", field: "Keys", Secret: true,
		Doc: "The keys of tokens in auth mode jwt. Each has an id, which tokens name in their header kid, 1 to 128 characters; an algorithm: HS256, RS256, " +
			"ES256 or EdDSA; and for HS256 a secret of at least 32 bytes, or else public_key_file, a public key in PEM: RSA of at least 2048 bits, ECDSA on P-256 or " +
			"Ed25519. In place of it private_key_file may name a private key in PEM, which tidemark token needs to sign; a gateway uses its public half alone. " +
			"With one key and no auth.jwt.jwks_url, tokens need no kid. There may be 100.",
		codec: jwtKeys(func(c *Config) *[]JWTKey { return &c.Auth.Keys }),
	},
	{
		Key: "auth.jwt.jwks_url", field: "JWKSURL", Secret: true,
		Doc: "The address of a JWK Set with further keys, as the issuer of tokens publishes it. A gateway fetches it when it starts, every hour, and at most once a " +
			"minute when a token names a key that is not known. Redirects are not followed. Keys count that have a kid and are for RS256, ES256 or EdDSA; others are passed over. While it " +
			"cannot be fetched, or has none of these, the known keys stay in use.",
		codec: word("https://host/path, or http:// on this machine's loopback", func(c *Config) *string { return &c.Auth.JWKSURL }),
	},
	{
		Key: "auth.jwt.issuer", field: "Issuer",
		Doc:   "What the claim iss of tokens must be; tidemark token writes it. Without it any is taken, or none.",
		codec: word("a text, such as https://login.example.com", func(c *Config) *string { return &c.Auth.Issuer }),
	},
	{
		Key: "auth.jwt.audience", field: "Audience",
		Doc:   "What the claim aud of tokens must be or contain; tidemark token writes it. Required with auth.jwt.jwks_url, whose keys sign tokens for other programs too. Without it any is taken, or none.",
		codec: word("a text, such as tidemark", func(c *Config) *string { return &c.Auth.Audience }),
	},
}
