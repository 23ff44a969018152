package auth

import (
	"crypto/rand"
	"crypto/sha256"
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

// NewCredentials makes what the directory keeps of a password. keep is what the
// account has now: with app passwords, SCRAM's salt and rounds stay.
func NewCredentials(password string, keep directory.Credentials) (directory.Credentials, error) {
	p, err := sasl.PreparePassword(password)
	if err != nil {
		return directory.Credentials{}, fmt.Errorf("auth: the password is empty, too long, or has characters that cannot be typed everywhere")
	}
	var salt [2 * saltLen]byte
	rand.Read(salt[:])
	keep = scramSalt(keep, salt[saltLen:])
	keys, err := sasl.NewScramKeys(p, keep.Salt, keep.Iterations)
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

// scramSalt gives the salt and the rounds for a new password of an account.
func scramSalt(now directory.Credentials, fresh []byte) directory.Credentials {
	if len(now.Apps) > 0 {
		return directory.Credentials{Salt: now.Salt, Iterations: now.Iterations}
	}
	return directory.Credentials{Salt: fresh, Iterations: scramIterations}
}

// NewAppPassword makes a password for one device or program of an account that
// has the credentials now, what the directory keeps of it, and the salt and
// rounds that go with it. What we make is so long that nobody guesses it, and a
// plain hash is enough.
func NewAppPassword(now directory.Credentials) (password string, p directory.AppPassword, c directory.Credentials, err error) {
	password = newSecret(appGroups)
	c = appSalt(now)
	keys, err := sasl.NewScramKeys(password, c.Salt, c.Iterations)
	if err != nil {
		return "", p, c, fmt.Errorf("auth: new app password: %w", err)
	}
	return password, directory.AppPassword{Hash: appHash(password), StoredKey: keys.StoredKey, ServerKey: keys.ServerKey}, c, nil
}

// appSalt gives the salt and rounds for an app password.
func appSalt(now directory.Credentials) directory.Credentials {
	if len(now.Salt) > 0 {
		return directory.Credentials{Salt: now.Salt, Iterations: now.Iterations}
	}
	salt := make([]byte, saltLen)
	rand.Read(salt)
	return directory.Credentials{Salt: salt, Iterations: scramIterations}
}

// appGroups is how many groups of four letters an app password has: 80 bits.
const appGroups = 4

// letters are those that are not taken for one another.
const letters = "abcdefghijkmnpqrstuvwxyz23456789"

// newSecret gives groups of four letters, each of 20 bits.
func newSecret(groups int) string {
	b := make([]byte, 4*groups)
	rand.Read(b)
	var out []byte
	for i, c := range b {
		if i > 0 && i%4 == 0 {
			out = append(out, '-')
		}
		out = append(out, letters[c%32])
	}
	return string(out)
}

func appHash(password string) []byte {
	sum := sha256.Sum256([]byte("posthaste app password " + password))
	return sum[:]
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
