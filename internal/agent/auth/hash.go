package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// What a new password is hashed with: argon2id as OWASP recommends it for
// little memory, and SCRAM with a work that phones do in a blink, and not more
// than the 65,536 rounds beyond which the clients of Cyrus SASL refuse to log in
// (mbsync, mutt). Others are understood, within bounds.
const (
	argonMemory     = 19 * 1024 // KiB
	argonTime       = 2
	argonLen        = 32
	saltLen         = 16
	scramIterations = 65_000

	maxArgonMemory = 256 * 1024
	maxArgonTime   = 16
)

var errHash = errors.New("not a hash of argon2id within bounds")

// NewCredentials makes what the directory keeps of a password.
func NewCredentials(password string) (directory.Credentials, error) {
	p, err := sasl.PreparePassword(password)
	if err != nil {
		return directory.Credentials{}, fmt.Errorf("auth: the password is empty, too long, or has characters that cannot be typed everywhere")
	}
	var salt [2 * saltLen]byte
	rand.Read(salt[:])
	keys, err := sasl.NewScramKeys(p, salt[saltLen:], scramIterations)
	if err != nil {
		return directory.Credentials{}, fmt.Errorf("auth: new credentials: %w", err)
	}
	sum := argon2.IDKey([]byte(p), salt[:saltLen], argonTime, argonMemory, 1, argonLen)
	b64 := base64.RawStdEncoding
	return directory.Credentials{
		Argon2id: fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, argonMemory, argonTime,
			b64.EncodeToString(salt[:saltLen]), b64.EncodeToString(sum)),
		Salt: keys.Salt, Iterations: keys.Iterations, StoredKey: keys.StoredKey, ServerKey: keys.ServerKey,
	}, nil
}

// verify tells whether password has the hash, which is in PHC string form. With
// an empty hash it works as hard as with any other, and says no.
func verify(hash, password string) (bool, error) {
	if hash == "" {
		sum := argon2.IDKey([]byte(password), make([]byte, saltLen), argonTime, argonMemory, 1, argonLen)
		return len(sum) == 0, nil
	}
	var version, memory, time, threads int
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false, errHash
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &time, &threads); err != nil {
		return false, errHash
	}
	if memory < 8 || memory > maxArgonMemory || time < 1 || time > maxArgonTime || threads < 1 || threads > 8 {
		return false, errHash
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, errHash
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) < 16 || len(want) > 64 {
		return false, errHash
	}
	got := argon2.IDKey([]byte(password), salt, uint32(time), uint32(memory), uint8(threads), uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}
