// Package auth knows who has logged in, and slows down guessing.
//
// It promises:
//
//   - Nobody learns whether an account exists: the answers, the work done for
//     them and their delays are the same, and SCRAM gets a made-up salt that
//     stays the same.
//   - Guessing gets slower the more it fails, per network and account and per
//     network, by less than five seconds; an account is never locked, and from
//     other networks its owner notices nothing.
//   - At most two passwords are hashed at once, and networks take turns, so
//     that hashing is not what stops the server.
//   - Who is let in no more is not left in: a session ends when what opened it does.
//   - Coming back with the right password costs microseconds, and the same
//     wrong password from the same place counts once.
package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"posthaste/internal/base/limit"
	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// How guessing is slowed down.
const (
	fade         = 10 * time.Minute       // a failure counts half after that
	freePair     = 3                      // failures with an account from a network that cost nothing
	freeNetwork  = 20                     // failures from a network that cost nothing
	firstDelay   = 250 * time.Millisecond // of the first failure that does
	longestDelay = 4 * time.Second
	slowPair     = 4  // attempts that may be delayed at once, per network and account
	slowNetwork  = 20 // and per network
	slowAll      = 5000
	remembered   = 50_000 // networks, pairs and wrong passwords that are remembered
	cached       = 20_000 // accounts whose password is remembered as checked
	hashers      = 2
	hashWaiting  = 64 // attempts that may wait to be hashed, per network
)

// errSlow answers those who come too often to be delayed one by one.
var errSlow = mail.Refuse("4.7.0", "too many attempts, wait a little", "")

// An Agent checks passwords against the directory. Directory must be set; no
// field may change once it is used.
type Agent struct {
	Directory *directory.Directory
	// Domain is added to names without one; "": such names are nobody's.
	Domain mail.Domain
	// Trusted are networks from where guessing is not slowed down.
	Trusted []netip.Prefix
	// Tokens tells which name an access token is of; a *sasl.TokenError is a no. nil:
	// there are no tokens.
	Tokens func(ctx context.Context, token string) (string, error)
	// Former logs somebody in at the server where their account still is, with their
	// password, or "" if they have shown otherwise who they are; see former.Agent. nil:
	// every account is answered here.
	Former func(ctx context.Context, who directory.Account, over directory.Protocols, password string) (sasl.Elsewhere, error)
	// SHA1 makes keys for SCRAM-SHA-1 too of new passwords.
	SHA1 bool
	// Tried hears what came of every attempt to log in, and must be quick; nil: nobody
	// does.
	Tried func(over directory.Protocols, o Outcome)

	// Memory is what is known of those who come, of agents that follow one another; nil:
	// it has its own.
	*Memory

	begin    sync.Once
	attended attended // sessions
}

// A Memory is what an Agent knows of those who come: who has failed, and whose password
// is known to be right. Its zero value knows nobody.
type Memory struct {
	once     sync.Once
	key      [32]byte // of what is cached; of this process only
	pairs    *limit.Score[pair]
	networks *limit.Score[netip.Prefix]
	wrong    *limit.Score[[32]byte]
	slow     limit.AtOnce[pair]
	slowNet  limit.AtOnce[netip.Prefix]
	hashing  limit.Fair[netip.Prefix]

	mu    sync.Mutex
	right map[mail.AccountID][32]byte
	salt  []byte // from which salts are made up; nil until it is needed
}

// A pair is an account, there or not, as seen from a network.
type pair struct {
	network netip.Prefix
	login   mail.Address
}

func (a *Agent) prepare() {
	a.begin.Do(func() {
		if a.Memory == nil {
			a.Memory = new(Memory)
		}
		a.Memory.prepare()
	})
}

func (m *Memory) prepare() {
	m.once.Do(func() {
		rand.Read(m.key[:])
		m.pairs = limit.NewScore[pair](fade, remembered)
		m.networks = limit.NewScore[netip.Prefix](fade, remembered)
		m.wrong = limit.NewScore[[32]byte](fade, remembered)
		m.slow.PerKey, m.slow.Total = slowPair, slowAll
		m.slowNet.PerKey, m.slowNet.Total = slowNetwork, slowAll
		m.hashing.Slots, m.hashing.Waiting = hashers, hashWaiting
		m.right = map[mail.AccountID][32]byte{}
	})
}

// For gives the verifier for a session with a client at ip, over a protocol that
// app passwords may be limited to.
func (a *Agent) For(ip netip.Addr, protocol directory.Protocols) sasl.Verifier {
	a.prepare()
	v := &verifier{a: a, network: limit.Network(ip), protocol: protocol}
	ip = ip.Unmap()
	for _, p := range a.Trusted {
		v.trusted = v.trusted || p.Contains(ip)
	}
	return v
}

// SetPassword gives an account a new password.
func (a *Agent) SetPassword(ctx context.Context, id mail.AccountID, password string) error {
	c, err := a.NewCredentials(password, directory.Credentials{})
	if err != nil {
		return err
	}
	return a.putCredentials(ctx, id, c)
}

func (a *Agent) putCredentials(ctx context.Context, id mail.AccountID, c directory.Credentials) error {
	err := a.Directory.DB.Update(ctx, kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
		return a.Directory.PutCredentials(tx, id, c)
	})
	if err != nil {
		return fmt.Errorf("auth: set password: %w", err)
	}
	return nil
}

// A verifier is the Agent as one session sees it.
type verifier struct {
	a        *Agent
	network  netip.Prefix
	trusted  bool
	protocol directory.Protocols
}

// account is what the directory has under a name; the zero account is nobody.
type account struct {
	directory.Account
	directory.Credentials
	login mail.Address // in canonical form and the main domain, for those who are nobody too
}

// find looks a name up.
func (v *verifier) find(ctx context.Context, user string) (account, error) {
	login, ok, err := v.a.parseLogin(ctx, user)
	acct := account{login: login}
	if err != nil || !ok {
		return acct, err
	}
	found, cred, err := v.a.Directory.Login(ctx, login)
	switch {
	case errors.Is(err, mail.ErrNotFound):
		return acct, nil
	case err != nil:
		return acct, fmt.Errorf("auth: look up: %w", err)
	}
	acct.Account, acct.Credentials = found, cred
	return acct, nil
}

// parseLogin gives the one form of a name that somebody is known by; false if it can be
// nobody's: such names are kept apart from each other. In a domain that is another name
// of one, whoever is there or not is the same as in that one: else their salts, and how
// often they were guessed, would tell who is there.
func (a *Agent) parseLogin(ctx context.Context, user string) (login mail.Address, ok bool, err error) {
	name := user
	if !strings.Contains(name, "@") && a.Domain != "" {
		name += "@" + string(a.Domain)
	}
	addr, err := mail.ParseAddress(name)
	if err != nil {
		return mail.Address{Local: trim(user, 200)}, false, nil
	}
	if login, err = a.Directory.Main(ctx, directory.Canonical(addr)); err != nil {
		return login, true, fmt.Errorf("auth: look up: %w", err)
	}
	return login, true, nil
}

func trim(s string, n int) string { return s[:min(len(s), n)] }

// no refuses; only the log learns why.
func no(why string, acct account) error {
	if !acct.login.IsZero() && acct.login.Domain != "" {
		why += " " + acct.login.String()
	}
	return &mail.Refusal{Status: sasl.ErrFailed.Status, Text: sasl.ErrFailed.Text, Reason: why}
}

// Password checks a password.
func (v *verifier) Password(ctx context.Context, authzid, user, password string) (_ sasl.Identity, err error) {
	defer func() { v.tried(err) }()
	acct, err := v.find(ctx, user)
	if err != nil {
		return sasl.Identity{}, err
	}
	shown := password
	password, bad := sasl.PreparePassword(password)
	mac := v.a.mac(acct, password)
	former := v.elsewhere(acct)
	if bad == nil && !former && v.a.knownRight(acct, mac) {
		return v.admit(ctx, authzid, acct, 0)
	}
	if bad == nil && acct.ID != 0 {
		hash := appHash(password)
		for i := range acct.Apps {
			if acct.Apps[i].APOP == "" && hmac.Equal(hash, acct.Apps[i].Hash) {
				return v.admit(ctx, authzid, acct, acct.Apps[i].Device)
			}
		}
	}
	p := pair{v.network, acct.login}
	if err := v.pause(ctx, p); err != nil {
		return sasl.Identity{}, err
	}
	place := v.a.macOf(mac[:], []byte(v.network.String()))
	if v.a.wrong.Score(place, time.Now()) > 0 {
		return sasl.Identity{}, no("the same wrong password again for", acct)
	}
	if former {
		return v.former(ctx, authzid, acct, shown, place)
	}
	right, err := v.compare(ctx, acct, password, mac)
	if err != nil {
		return sasl.Identity{}, err
	}
	if !right || bad != nil {
		v.failed(p)
		v.a.wrong.Add(place, 1, time.Now())
		if acct.ID == 0 {
			return sasl.Identity{}, no("no such account", acct)
		}
		return sasl.Identity{}, no("wrong password for", acct)
	}
	v.a.pairs.Clear(p)
	v.a.remember(acct, mac)
	return v.admit(ctx, authzid, acct, 0)
}

// compare hashes the password when its turn has come, and tells whether it is
// the right one. It works as hard for nobody.
func (v *verifier) compare(ctx context.Context, acct account, password string, mac [32]byte) (right bool, err error) {
	busy := v.a.hashing.Do(ctx, v.network, func() {
		if v.a.knownRight(acct, mac) { // since it waits
			right = true
			return
		}
		right, err = verify(acct.Argon2id, password)
	})
	switch {
	case errors.Is(busy, limit.ErrBusy):
		return false, errSlow
	case busy != nil:
		return false, fmt.Errorf("auth: wait for the hash: %w", busy)
	case err != nil:
		return false, fmt.Errorf("auth: account %d: %w", acct.ID, err)
	}
	return right && acct.ID != 0, nil
}

// admit lets somebody in who has proved who they are, unless they may not, or
// want to be somebody else; at the former server too, if their account is still
// there. device tells which of their passwords it was.
func (v *verifier) admit(ctx context.Context, authzid string, acct account, device directory.Device) (sasl.Identity, error) {
	id, err := v.identity(ctx, authzid, acct, device)
	if err == nil && v.elsewhere(acct) {
		if err := v.notYet(); err != nil {
			return sasl.Identity{}, err
		}
		id.Elsewhere, err = v.a.Former(ctx, acct.Account, v.protocol, "")
	}
	return id, err
}

// identity is who it is then.
func (v *verifier) identity(ctx context.Context, authzid string, acct account, device directory.Device) (sasl.Identity, error) {
	if device != 0 {
		i := slices.IndexFunc(acct.Apps, func(p directory.AppPassword) bool { return p.Device == device })
		switch {
		case i < 0:
			return sasl.Identity{}, no("app password gone meanwhile:", acct)
		case !acct.Apps[i].Protocols.Opens(v.protocol):
			return sasl.Identity{}, no(fmt.Sprintf("app password %q is not for this protocol:", acct.Apps[i].Name), acct)
		}
	}
	if acct.Disabled || acct.Shared {
		return sasl.Identity{}, no("disabled:", acct)
	}
	if authzid != "" {
		as, ok, err := v.a.parseLogin(ctx, authzid)
		if err != nil {
			return sasl.Identity{}, err
		}
		if !ok || as != acct.login && as != directory.Canonical(acct.Address) {
			return sasl.Identity{}, no("wants to act as another:", acct)
		}
	}
	proof := byPassword + strconv.FormatInt(acct.Changed.UnixNano(), 10)
	if device != 0 {
		proof = byApp
	}
	return sasl.Identity{Account: acct.ID, Login: acct.Address, Device: uint32(device), Proof: proof}, nil
}

// ScramKeys gives the keys of a user, or made-up ones.
func (v *verifier) ScramKeys(ctx context.Context, user string) (_ sasl.ScramKeys, err error) {
	defer func() {
		if err != nil { // else it has only begun
			v.tried(err)
		}
	}()
	acct, err := v.find(ctx, user)
	if err != nil {
		return sasl.ScramKeys{}, err
	}
	if err := v.pause(ctx, pair{v.network, acct.login}); err != nil {
		return sasl.ScramKeys{}, err
	}
	made, err := v.a.madeUp(ctx, acct.login)
	if err != nil || acct.ID == 0 || len(acct.Salt) == 0 {
		return made, err
	}
	keys := made // but for the salt, which all mechanisms must tell alike
	keys.Salt, keys.Iterations = acct.Salt, acct.Iterations
	if len(acct.StoredKey) > 0 && len(acct.ServerKey) > 0 {
		keys.StoredKey, keys.ServerKey = acct.StoredKey, acct.ServerKey
		keys.Identity = sasl.Identity{Account: acct.ID, Login: acct.Address}
	}
	if len(acct.StoredKey1) > 0 && len(acct.ServerKey1) > 0 {
		keys.StoredKey1, keys.ServerKey1 = acct.StoredKey1, acct.ServerKey1
	}
	for _, p := range acct.Apps {
		if p.APOP != "" {
			continue
		}
		keys.Others = append(keys.Others, sasl.ScramKeys{
			Salt: acct.Salt, Iterations: acct.Iterations, StoredKey: p.StoredKey, ServerKey: p.ServerKey,
			StoredKey1: p.StoredKey1, ServerKey1: p.ServerKey1,
			Identity: sasl.Identity{Account: acct.ID, Login: acct.Address, Device: uint32(p.Device)},
		})
	}
	return keys, nil
}

// ScramProved lets in who has proved to know the password.
func (v *verifier) ScramProved(ctx context.Context, authzid, user string, k sasl.ScramKeys) (_ sasl.Identity, err error) {
	defer func() { v.tried(err) }()
	acct, err := v.find(ctx, user)
	if err != nil {
		return sasl.Identity{}, err
	}
	if acct.ID == 0 || acct.ID != k.Identity.Account {
		return sasl.Identity{}, no("gone meanwhile:", acct)
	}
	v.a.pairs.Clear(pair{v.network, acct.login})
	return v.admit(ctx, authzid, acct, directory.Device(k.Identity.Device))
}

// ScramFailed counts a failure.
func (v *verifier) ScramFailed(ctx context.Context, user string) {
	login, _, _ := v.a.parseLogin(ctx, user) // if it cannot be looked up, the network counts
	v.failed(pair{v.network, login})
	v.tried(sasl.ErrFailed)
}

// failed counts a failure.
func (v *verifier) failed(p pair) {
	if !v.trusted {
		now := time.Now()
		v.a.pairs.Add(p, 1, now)
		v.a.networks.Add(p.network, 1, now)
	}
}

// pause lets somebody wait who has failed too often. Not many may wait at once,
// else coming in parallel would be as quick as guessing ever was.
func (v *verifier) pause(ctx context.Context, p pair) error {
	now := time.Now()
	d := max(delay(v.a.pairs.Score(p, now)-freePair), delay(v.a.networks.Score(p.network, now)-freeNetwork))
	if d == 0 || v.trusted {
		return nil
	}
	if !v.a.slowNet.Enter(p.network) {
		return errSlow
	}
	defer v.a.slowNet.Leave(p.network)
	if !v.a.slow.Enter(p) {
		return errSlow
	}
	defer v.a.slow.Leave(p)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("auth: wait: %w", ctx.Err())
	}
}

// delay gives the delay for so many failures above those that are free: it
// doubles with each.
func delay(over float64) time.Duration {
	if over < 0 {
		return 0
	}
	d := firstDelay
	for ; over >= 1 && d < longestDelay; over-- {
		d *= 2
	}
	return min(d, longestDelay)
}

// mac names an account's password as it is now without telling it.
func (a *Agent) mac(acct account, password string) [32]byte {
	return a.macOf([]byte(acct.login.String()), []byte(acct.Argon2id), []byte(password))
}

func (a *Agent) macOf(parts ...[]byte) (sum [32]byte) {
	h := hmac.New(sha256.New, a.key[:])
	var n [8]byte
	for _, p := range parts {
		for i := range n {
			n[i] = byte(len(p) >> (8 * i))
		}
		h.Write(n[:])
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

// knownRight tells whether the password has been found right before. A new
// password has another mac.
func (a *Agent) knownRight(acct account, mac [32]byte) bool {
	if acct.ID == 0 || acct.Argon2id == "" {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known, ok := a.right[acct.ID]
	return ok && hmac.Equal(known[:], mac[:])
}

func (a *Agent) remember(acct account, mac [32]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.right) >= cached {
		clear(a.right)
	}
	a.right[acct.ID] = mac
}

// madeUp gives keys for somebody who is not there: the same each time, on every
// node and after every start, and of no password.
func (a *Agent) madeUp(ctx context.Context, login mail.Address) (sasl.ScramKeys, error) {
	a.mu.Lock()
	secret := a.salt
	a.mu.Unlock()
	if secret == nil {
		var err error
		secret, err = a.Directory.Secret(ctx, "scram", func() []byte {
			b := make([]byte, 32)
			rand.Read(b)
			return b
		})
		if err != nil {
			return sasl.ScramKeys{}, fmt.Errorf("auth: secret: %w", err)
		}
		a.mu.Lock()
		a.salt = secret
		a.mu.Unlock()
	}
	from := func(what string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(what + " " + login.String()))
		return h.Sum(nil)
	}
	return sasl.ScramKeys{Salt: from("salt")[:saltLen], Iterations: scramIterations, StoredKey: from("stored"), ServerKey: from("server"), StoredKey1: from("stored1")[:sha1.Size], ServerKey1: from("server1")[:sha1.Size]}, nil
}
