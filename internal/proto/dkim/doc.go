// Package dkim signs messages and verifies signatures: RFC 6376, with the
// algorithms of RFC 8301 and RFC 8463, and the chains of RFC 8617 (ARC). It
// touches no network: keys come by a Lookup from above, and the time is told.
//
// What a signature proves is that its domain takes responsibility for the
// fields and the body that it covers. A signature over part of the body proves
// too little to be of use, and does not pass.
package dkim

import (
	"context"
	"crypto"
	"errors"
	"time"

	"posthaste/internal/base/mail"
)

// A Result is what became of a signature. RFC 8601 §2.7.1
type Result string

// The results.
const (
	None      Result = "none"      // there is no signature
	Pass      Result = "pass"      // it is good
	Fail      Result = "fail"      // it is not that of this message
	Policy    Result = "policy"    // it is good, and not good enough for us
	Neutral   Result = "neutral"   // it cannot be understood
	TempError Result = "temperror" // the key could not be found out just now
	PermError Result = "permerror" // the key is not there, or not usable
)

// A Signature is what verifying one found.
type Signature struct {
	Result    Result
	Reason    string // in words; empty if it passed
	Domain    mail.Domain
	Selector  string
	Identity  string // i=, with the domain's if it is not given
	Algorithm string // "rsa-sha256", "ed25519-sha256"
	Bits      int    // of the key
	Testing   bool   // the key says that its domain is only testing (t=y)
	Value     string // the beginning of b=, to tell signatures apart. RFC 6008
}

// A Lookup gives the TXT records of a name. ErrNoKey means that there are none;
// other errors that it could not be found out.
type Lookup func(ctx context.Context, name string) ([]string, error)

// ErrNoKey is a Lookup's answer for a name without records.
var ErrNoKey = errors.New("dkim: no key record")

// Limits of what is looked at.
const (
	MaxSignatures = 10   // of a message; the rest is passed over
	minBits       = 1024 // of an RSA key. RFC 8301 §3.2
	maxBits       = 8192
	clockSkew     = 5 * time.Minute
)

// A Signer signs for a domain.
type Signer struct {
	Domain   mail.Domain
	Selector string
	Key      crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
	// Expires is how long a signature is good; 0 is for ever.
	Expires time.Duration
}
