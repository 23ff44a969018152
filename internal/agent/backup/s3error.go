package backup

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/minio/minio-go/v7"
)

// errDenied says that the key is good, but not for that.
var errDenied = errors.New("the access key may not do that")

// passing are what a server says when it may be otherwise in a moment, though the
// status says that it is our fault.
var passing = []string{"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "BadDigest", "IncompleteBody", "OperationAborted"}

// full are what servers say when they have no more room.
var full = []string{"XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "StorageFull", "XMinioAdminBucketQuotaExceeded", "TooManyBuckets"}

// passes says that something may go well in a moment.
func passes(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return !dns.IsNotFound
	}
	e := minio.ToErrorResponse(err)
	if e.StatusCode == 0 { // it did not get as far as an answer
		return true
	}
	if slices.Contains(full, e.Code) || e.StatusCode == http.StatusInsufficientStorage || e.StatusCode == http.StatusNotImplemented {
		return false
	}
	return e.StatusCode < 400 || e.StatusCode >= 500 || e.StatusCode == http.StatusRequestTimeout || e.StatusCode == http.StatusTooManyRequests || slices.Contains(passing, e.Code)
}

// explain says what a failure means and what to do.
func (b *bucket) explain(err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the certificate of %s is not to be trusted: %w", b.endpoint, err)
	}
	e := minio.ToErrorResponse(err)
	if e.StatusCode == 0 {
		return fmt.Errorf("the S3 server %s cannot be reached: %w", b.endpoint, err)
	}
	says := e.Code
	if e.Message != "" && e.Message != e.Code {
		says += ": " + e.Message
	}
	if slices.Contains(full, e.Code) || e.StatusCode == http.StatusInsufficientStorage {
		return fmt.Errorf("there is no more room at %s (%s)", b.endpoint, says)
	}
	switch e.Code {
	case "NoSuchBucket":
		return fmt.Errorf("there is no bucket %q at %s: make it first", b.name, b.endpoint)
	case "InvalidAccessKeyId":
		return fmt.Errorf("%s does not know the access key: look at the credentials (%s)", b.endpoint, says)
	case "SignatureDoesNotMatch":
		return fmt.Errorf("the secret does not fit the access key: look at the credentials (%s)", says)
	case "ExpiredToken", "InvalidToken":
		return fmt.Errorf("the credentials are no longer good (%s)", says)
	case "AccessDenied", "AllAccessDisabled", "AccountProblem":
		return fmt.Errorf("%w in the bucket %q: it must be let list, read, write and delete (%s)", errDenied, b.name, says)
	case "RequestTimeTooSkewed":
		return fmt.Errorf("the clock of this machine and that of %s are too far apart: set it right (%s)", b.endpoint, says)
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "InvalidRegion", "IllegalLocationConstraintException":
		return fmt.Errorf("the bucket %q is in another region: say which, as region in [backup.s3] (%s)", b.name, says)
	}
	return fmt.Errorf("%s says %s (status %d)", b.endpoint, says, e.StatusCode)
}
