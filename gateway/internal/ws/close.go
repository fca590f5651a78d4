package ws

import "github.com/tidemark-dev/tidemark/gateway/internal/transport"

// Close codes for what RFC 6455 forbids. A client does not come back after them.
const (
	closeBinary      transport.Reason = 1003
	closeInvalidUTF8 transport.Reason = 1007
	closeTooLong     transport.Reason = 1009
)

// refusals names the reasons for which the gateway refuses a client, for the log.
var refusals = map[transport.Reason]string{
	transport.Unauthenticated: "unauthenticated", transport.Kicked: "forbidden", transport.TooMany: "too_many_connections",
	transport.Rate: "rate", transport.Protocol: "protocol",
	closeBinary: "binary", closeInvalidUTF8: "utf8", closeTooLong: "too_long",
}
