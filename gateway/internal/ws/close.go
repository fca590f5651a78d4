package ws

import "github.com/tidemark-dev/tidemark/gateway/internal/transport"

// Close codes for what RFC 6455 forbids. A client does not come back after them.
const (
	closeBinary      transport.Reason = 1003
	closeInvalidUTF8 transport.Reason = 1007
	closeTooLong     transport.Reason = 1009
)
