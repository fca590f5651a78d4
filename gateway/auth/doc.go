// Package auth says who sends a request to the gateway, what of that they may do,
// and from which sites it may come.
//
// A [Mode] is opened as an [Authenticator], which turns a request, or a token that a
// WebSocket sent, into a [Principal]. A principal holds grants: on which topics it may
// read, enqueue and control. The gateway asks [Principal.May] and nothing else, so a mode
// that takes its grants from a token, a cookie or a directory is a new Mode and changes
// nothing there. Errors tell credentials that are rejected from ones
// that cannot be checked.
//
// # Tokens
//
// [JWT] is the mode of signed tokens (RFC 7519). In its header a token has alg, one of HS256, RS256, ES256 and
// EdDSA, and kid, the ID of its key, which is for that algorithm alone; typ, if it is there, is JWT or
// at+jwt. Its claims are
//
//	sub      the user: [A-Za-z0-9._@-]{1,128}, so that user:<sub> is a topic; required
//	iat      when it was issued, in seconds since 1970; required, at most 30 s ahead
//	exp      when it ends; required, at most 24 h after iat
//	nbf      when it begins, if not at once
//	iss, aud what JWT.Issuer and JWT.Audience want, if they want something
//	jti      its own name; without one it is named by a hash
//	grants   an object of lists: {"team:7":["read","enqueue","control"],"project:*":["read"]}, at most 100
//	roles    a list of viewer, who reads every topic, and admin, who may do everything
//
// A user may do everything in its own topic, user:<sub>, without a grant. Other claims are passed over. A token
// that is malformed in any of these is rejected as a whole, an unknown right or role included, so that a slip of its
// issuer is seen. Its end is the end of what it was used for: a WebSocket closes then, unless it was renewed.
//
// [JWTKey.Sign] makes such tokens.
//
// # Sites
//
// Who the request is from says nothing about who wrote it: a page of any site can
// make a browser send one with the user's credentials, or none where none are
// needed. So the gateway asks a [Site] before every Authenticator. It checks where a
// request was addressed to and which page sent it.
package auth
