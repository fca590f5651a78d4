package gateway

import "strconv"

// Close codes. A client comes back by itself after the first group, with a new token
// or after the delay of goodbye after the second, and not at all after the third.
const (
	closeRestart = 1012 // the gateway stops or cannot serve it now

	closeUnauthenticated = 4401
	closeTooMany         = 4409
	closeRate            = 4429

	closeProtocol    = 4400
	closeKicked      = 4403
	closeBinary      = 1003
	closeInvalidUTF8 = 1007
	closeTooLong     = 1009
	closeInternal    = 1011
)

func closeLabel(code int) string { return strconv.Itoa(code) }
