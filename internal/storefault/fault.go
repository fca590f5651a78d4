// Package storefault words the errors of blob stores. What a store's driver says quotes keys,
// addresses of objects and sometimes who asked. None of that is for a log or a user; the reason, and
// what to do about it, is.
package storefault

import (
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"slices"
	"syscall"

	"github.com/aws/smithy-go"
	"gocloud.dev/gcerrors"
)

// ErrCredentials is wrapped by errors of stores for which there are no credentials.
var ErrCredentials = errors.New("no credentials")

// An Error is a store's error without the store's own text. It wraps the store's error.
type Error struct{ err error }

// Of hides the text of a store's error; nil stays nil.
func Of(err error) error {
	if err == nil {
		return nil
	}
	return &Error{err}
}

// Error says why in words of ours.
func (e *Error) Error() string { return reason(e.err) }

// Unwrap gives the store's error.
func (e *Error) Unwrap() error { return e.err }

// reasons are those of S3's error codes, each with what to do.
var reasons = map[string]string{
	"NoSuchBucket":                 "there is no such bucket: create it, or name another one in storage.url",
	"AccessDenied":                 "the credentials lack the right: they need s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload, s3:ListBucket and s3:ListBucketMultipartUploads on the bucket and its objects",
	"InvalidAccessKeyId":           "the store does not know the access key: check the credentials",
	"SignatureDoesNotMatch":        "the store refuses the signature: check the secret key, and the region in storage.url",
	"ExpiredToken":                 "the credentials have ended: renew them",
	"InvalidToken":                 "the credentials' session token is not valid: renew them",
	"RequestTimeTooSkewed":         "this machine's clock and the store's differ too much: set the clock",
	"AuthorizationHeaderMalformed": "the region is not the bucket's: set region in storage.url",
	"PermanentRedirect":            "the bucket is in another region: set region in storage.url",
	"SlowDown":                     "the store asks for fewer requests",
	"ServiceUnavailable":           "the store is not available",
	"InternalError":                "the store has failed",
	"QuotaExceeded":                "the store's quota is used up",
	"NoSuchUpload":                 "the multipart upload is gone",
}

// full are the codes of S3, and of stores like it, for a bucket that takes no more.
var full = []string{"QuotaExceeded", "NoSpaceLeftOnDevice", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"}

// Full reports whether a store refuses bytes for want of room.
func Full(err error) bool {
	api := smithy.APIError(nil)
	return errors.As(err, &api) && slices.Contains(full, api.ErrorCode())
}

// plainCode is the form of S3's error codes: a server's own may be any text.
var plainCode = regexp.MustCompile(`^[A-Za-z]{1,64}$`)

func reason(err error) string {
	switch api := smithy.APIError(nil); {
	case errors.Is(err, ErrCredentials):
		return "there are no credentials for the store: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage.credentials_file"
	case errors.Is(err, context.Canceled):
		return "the call was canceled"
	case errors.As(err, &api):
		if text := reasons[api.ErrorCode()]; text != "" {
			return text
		}
		if plainCode.MatchString(api.ErrorCode()) && gcerrors.Code(err) != gcerrors.NotFound {
			return "the store refuses it: " + api.ErrorCode()
		}
	}
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		if away(err) {
			return "the store cannot be reached: " + errno.Error()
		}
		return errno.Error() // of a folder
	}
	timed := net.Error(nil)
	switch code := gcerrors.Code(err); {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timed) && timed.Timeout():
		return "the store did not answer in time"
	case code == gcerrors.NotFound:
		return "it is not there"
	case away(err):
		return "the store cannot be reached"
	case code != gcerrors.Unknown && code != gcerrors.OK:
		return "the store refuses it: " + code.String()
	}
	return "the store has failed"
}

// away reports whether the connection to the store failed.
func away(err error) bool {
	network := (*net.OpError)(nil)
	name := (*net.DNSError)(nil)
	return errors.As(err, &network) || errors.As(err, &name) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
