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
// Who the request is from says nothing about who wrote it: a page of any site can
// make a browser send one with the user's credentials, or none where none are
// needed. So the gateway asks a [Site] before every Authenticator. It checks where a
// request was addressed to and which page sent it.
package auth
