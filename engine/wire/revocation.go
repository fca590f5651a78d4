package wire

import "time"

// RevocationHold is how long a revocation is kept at most. No credential lives longer after its issue, give or
// take a minute between clocks.
const RevocationHold = 24*time.Hour + time.Minute

// MaxRevokedBytes bounds the name of a subject or a credential.
const MaxRevokedBytes = 256

// A Revocation says that credentials are no longer valid, although they have not expired.
type Revocation struct {
	// Subject is whose, of all credentials that were issued before Before; or "", and Credential is the
	// only one. Both are as package auth names them.
	Subject, Credential string
	// Until is until when the revocation is kept, by the clock of Redis.
	Until time.Time
}

// Before is when the subject was revoked. What is issued later is valid.
func (r Revocation) Before() time.Time { return r.Until.Add(-RevocationHold) }

// Kicked is the answer to a request that revokes all credentials of a subject.
type Kicked struct {
	Subject string `json:"subject"`
	// IssuedBefore is when. Credentials that are issued later are valid.
	IssuedBefore time.Time `json:"issued_before"`
}
