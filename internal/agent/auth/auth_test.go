package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

var (
	ada  = mail.Address{Local: "ada", Domain: "a.example"}
	home = netip.MustParseAddr("192.0.2.1")
	away = netip.MustParseAddr("2001:db8::1")
)

// house makes a directory with ada, whose password is pencil; and eve, who has
// none; and bob, who is disabled.
func house(t testing.TB) *Agent {
	d := &directory.Directory{DB: memkv.New()}
	a := &Agent{Directory: d, Domain: "a.example", Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	var ids []mail.AccountID
	err := d.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
		ids = ids[:0]
		if err := d.PutDomain(tx, "a.example"); err != nil {
			return err
		}
		for _, n := range []string{"Ada", "eve", "bob"} {
			acct, err := d.PutAccount(tx, directory.Account{Address: mail.Address{Local: n, Domain: "a.example"}, Disabled: n == "bob"})
			if err != nil {
				return err
			}
			ids = append(ids, acct.ID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []mail.AccountID{ids[0], ids[2]} {
		if err := a.SetPassword(t.Context(), id, "pencil"); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func TestPassword(t *testing.T) {
	a := house(t)
	for _, c := range []struct{ authzid, user, password, reason string }{
		{"", "ada@a.example", "pencil", ""},
		{"", "ADA@A.example", "pencil", ""},
		{"", "ada", "pencil", ""},
		{"ada", "ada", "pencil", ""},
		{"ada@a.example", "ada", "pencil", ""},
		{"eve", "ada", "pencil", "wants to act as another: ada@a.example"},
		{"", "ada", "pen", "wrong password for ada@a.example"},
		{"", "ada", "pen", "the same wrong password again for ada@a.example"},
		{"", "ada", "pencil\x00", "wrong password for ada@a.example"},
		{"", "eve", "pencil", "wrong password for eve@a.example"},
		{"", "bob", "pencil", "disabled: bob@a.example"},
		{"", "joe", "pencil", "no such account joe@a.example"},
		{"", "joe@b.example", "pencil", "no such account joe@b.example"},
		{"", "\"", "pencil", "no such account"},
	} {
		id, err := a.For(netip.MustParseAddr("10.0.0.1"), directory.IMAP).Password(t.Context(), c.authzid, c.user, c.password)
		if c.reason == "" {
			if err != nil || id.Account == 0 || directory.Canonical(id.Login) != ada {
				t.Errorf("%+v: %v, %v", c, id, err)
			}
			continue
		}
		r, ok := errors.AsType[*mail.Refusal](err)
		if !ok || r.Reason != c.reason || r.Status != sasl.ErrFailed.Status || r.Text != sasl.ErrFailed.Text || id != (sasl.Identity{}) {
			t.Errorf("%+v: %v, %v", c, id, err)
		}
	}
}

// TestCache shows that a right password is hashed once, and no longer known
// when it has changed.
func TestCache(t *testing.T) {
	a := house(t)
	v := a.For(home, directory.IMAP)
	id, err := v.Password(t.Context(), "", "ada", "pencil")
	if err != nil {
		t.Fatal(err)
	}
	a.hashing.Slots, a.hashing.Waiting = 0, 0 // from now on nothing can be hashed
	if _, err := v.Password(t.Context(), "", "ada", "pencil"); err != nil {
		t.Errorf("hashed again: %v", err)
	}
	if _, err := v.Password(t.Context(), "", "ada", "pen"); !errors.Is(err, errSlow) {
		t.Errorf("not hashed: %v", err)
	}
	if err := a.SetPassword(t.Context(), id.Account, "crayon"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Password(t.Context(), "", "ada", "pencil"); !errors.Is(err, errSlow) {
		t.Errorf("an old password is still known: %v", err)
	}
}

// TestGuessing shows how delays grow, with whom, and that no account is locked.
func TestGuessing(t *testing.T) {
	for _, user := range []string{"ada", "nobody"} {
		synctest.Test(t, func(t *testing.T) {
			a := house(t)
			try := func(ip netip.Addr, user, password string) (time.Duration, error) {
				began := time.Now()
				_, err := a.For(ip, directory.IMAP).Password(t.Context(), "", user, password)
				return time.Since(began), err
			}
			var delays []time.Duration
			for i := range 9 {
				d, err := try(home, user, fmt.Sprint("guess ", i))
				if _, ok := errors.AsType[*mail.Refusal](err); !ok {
					t.Fatal(err)
				}
				delays = append(delays, d.Round(10*time.Millisecond))
			}
			ms := time.Millisecond
			if want := []time.Duration{0, 0, 0, 250 * ms, 250 * ms, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms}; !slices.EqualFunc(delays, want, near) {
				t.Errorf("%s: %v, want about %v", user, delays, want)
			}
			if d, _ := try(away, user, "guess"); d > 0 {
				t.Errorf("%s: another network waited %v", user, d)
			}
			if d, err := try(home, "ada", "pencil"); err != nil || user == "nobody" && d > 0 {
				t.Errorf("the owner waited %v, %v", d, err)
			}
			if d, err := try(home, "ada", "pencil"); err != nil || d > 0 {
				t.Errorf("the owner, known by now, waited %v, %v", d, err)
			}
			time.Sleep(2 * time.Hour)
			if d, _ := try(home, user, "another guess"); d > 0 {
				t.Errorf("%s: still %v after two hours", user, d)
			}
		})
	}
}

func near(a, b time.Duration) bool { return (a - b).Abs() <= b/2 }

// TestRepeats lets a client that does not know better come all day.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := house(t)
		for range 100 {
			began := time.Now()
			_, err := a.For(home, directory.IMAP).Password(t.Context(), "", "ada", "old password")
			if err == nil || time.Since(began) > 0 {
				t.Fatalf("%v after %v", err, time.Since(began))
			}
			time.Sleep(time.Second)
		}
	})
}

// TestParallel shows that many guesses at once are not quicker.
func TestParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := house(t)
		a.prepare()
		v := a.For(home, directory.IMAP).(*verifier)
		for range 20 {
			v.failed(pair{v.network, ada})
		}
		turned := make(chan bool, 50)
		for i := range 50 {
			go func() {
				_, err := v.Password(t.Context(), "", "ada", fmt.Sprint("guess ", i))
				turned <- errors.Is(err, errSlow)
			}()
		}
		away := 0
		for range 50 {
			if <-turned {
				away++
			}
		}
		if away != 50-slowPair {
			t.Errorf("%d of 50 were turned away", away)
		}
		trusted := a.For(netip.MustParseAddr("::ffff:10.1.2.3"), directory.IMAP).(*verifier)
		began := time.Now()
		for range 20 {
			trusted.failed(pair{trusted.network, ada})
		}
		if err := trusted.pause(t.Context(), pair{trusted.network, ada}); err != nil || time.Since(began) > 0 {
			t.Error("a trusted network is slowed down")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := v.Password(ctx, "", "ada", "guess"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func talk(t *testing.T, v sasl.Verifier, user, password string) error {
	c, err := sasl.NewClient(sasl.Scram, sasl.Credentials{User: user, Password: password}, sasl.ChannelBinding{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := sasl.NewServer(sasl.Scram, v, sasl.ChannelBinding{})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Next(nil)
	for err == nil {
		challenge, done, serr := s.Next(t.Context(), resp)
		if serr != nil {
			return serr
		}
		if done {
			return c.Done()
		}
		resp, err = c.Next(challenge)
	}
	return err
}

func TestScram(t *testing.T) {
	a := house(t)
	v := a.For(home, directory.IMAP)
	if err := talk(t, v, "ada@a.example", "pencil"); err != nil {
		t.Error(err)
	}
	for _, c := range [][2]string{{"ada", "pen"}, {"eve", "pencil"}, {"bob", "pencil"}, {"nobody", "pencil"}} {
		r, ok := errors.AsType[*mail.Refusal](talk(t, v, c[0], c[1]))
		if !ok || r.Status != sasl.ErrFailed.Status || r.Text != sasl.ErrFailed.Text {
			t.Errorf("%q: %v", c, r)
		}
	}
	now := time.Now()
	if s := a.pairs.Score(pair{v.(*verifier).network, ada}, now); s < 0.9 || s > 1.1 {
		t.Errorf("ada's score is %v", s)
	}
	one, err := v.ScramKeys(t.Context(), "nobody")
	if err != nil {
		t.Fatal(err)
	}
	again := &Agent{Directory: a.Directory, Domain: "a.example"}
	two, err := again.For(away, directory.IMAP).ScramKeys(t.Context(), "NOBODY@a.example")
	if err != nil || fmt.Sprint(one) != fmt.Sprint(two) {
		t.Errorf("%v, then %v, %v", one, two, err)
	}
	real, err := v.ScramKeys(t.Context(), "ada")
	if err != nil || real.Iterations != one.Iterations || len(real.Salt) != len(one.Salt) || len(real.StoredKey) != len(one.StoredKey) {
		t.Errorf("%v looks unlike %v", real, one)
	}
	if other, err := v.ScramKeys(t.Context(), "nobody2"); err != nil || slices.Equal(one.Salt, other.Salt) {
		t.Error("two nobodies have one salt")
	}
}

func TestHash(t *testing.T) {
	if c, err := NewCredentials("pencil", directory.Credentials{}); err != nil || c.Iterations < 4096 || c.Iterations > 1<<16 {
		t.Errorf("%d SCRAM iterations (%v), not between what RFC 7677 and what Cyrus SASL demands", c.Iterations, err)
	}
	c, err := NewCredentials("pencil", directory.Credentials{})
	if err != nil || !strings.HasPrefix(c.Argon2id, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatal(c, err)
	}
	if ok, err := verify(c.Argon2id, "pencil"); !ok || err != nil {
		t.Error(ok, err)
	}
	for _, h := range []string{
		"x", "$argon2i$v=19$m=19456,t=2,p=1$AAAA$AAAA", "$argon2id$v=16$m=8,t=2,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=99999999,t=2,p=1$AAAA$AAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=8,t=2,p=1$AAAA$AAAA", "$argon2id$v=19$m=8,t=2,p=1$!$AAAA", "$argon2id$v=19$m=8,t=-2,p=1$AAAA$AAAA",
	} {
		if ok, err := verify(h, "pencil"); ok || !errors.Is(err, errHash) {
			t.Errorf("%s: %v, %v", h, ok, err)
		}
	}
	for _, p := range []string{"", "a\nb", strings.Repeat("x", 2000)} {
		if _, err := NewCredentials(p, directory.Credentials{}); err == nil {
			t.Errorf("%q is a password", p)
		}
	}
}

func BenchmarkReconnect(b *testing.B) {
	v := house(b).For(home, directory.IMAP)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Password(b.Context(), "", "ada@a.example", "pencil"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		verify("", "pencil")
	}
}

// TestScramSHA1: passwords that are set while it is wanted go with it; others do
// not, and look like those of nobody.
func TestScramSHA1(t *testing.T) {
	a := house(t)
	try := func(user, password string) error {
		c, err := sasl.NewClient(sasl.Scram1, sasl.Credentials{User: user, Password: password}, sasl.ChannelBinding{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := sasl.SHA1.NewServer(sasl.Scram1, a.For(home, directory.IMAP), sasl.ChannelBinding{})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Next(nil)
		for err == nil {
			challenge, done, serr := s.Next(t.Context(), resp)
			if serr != nil || done {
				return serr
			}
			resp, err = c.Next(challenge)
		}
		return err
	}
	if err := try("ada", "pencil"); !isFailed(err) {
		t.Errorf("an old password: %v", err)
	}
	old := addApp(t, a, ada, "old", 0)
	a.SHA1 = true
	phone := func() string {
		_, now, err := a.Directory.Credentials(t.Context(), ada)
		if err != nil {
			t.Fatal(err)
		}
		password, p, c, err := a.NewAppPassword(now)
		if err != nil {
			t.Fatal(err)
		}
		p.Name = "phone"
		err = a.Directory.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error {
			_, err := a.Directory.PutAppPassword(tx, 1, p, c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return password
	}()
	if err := try("ada", phone); err != nil {
		t.Errorf("an app password: %v", err)
	}
	if err := try("ada", old); !isFailed(err) {
		t.Errorf("an old app password: %v", err)
	}
	_, now, err := a.Directory.Credentials(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.NewCredentials("crayon", now)
	if err != nil {
		t.Fatal(err)
	}
	err = a.Directory.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, func(tx kv.Tx) error { return a.Directory.PutCredentials(tx, 1, c) })
	if err != nil {
		t.Fatal(err)
	}
	for password, ok := range map[string]bool{"crayon": true, phone: true, "pencil": false, old: false} {
		if err := try("ada", password); ok != (err == nil) || err != nil && !isFailed(err) {
			t.Errorf("%s: %v", password, err)
		}
		if err := talk(t, a.For(home, directory.IMAP), "ada", password); (password != "pencil") != (err == nil) {
			t.Errorf("SCRAM-SHA-256 with %s: %v", password, err)
		}
	}
	nobody, err := a.For(home, directory.IMAP).ScramKeys(t.Context(), "nobody")
	real, err2 := a.For(home, directory.IMAP).ScramKeys(t.Context(), "bob") // without such keys
	if err != nil || err2 != nil || len(nobody.StoredKey1) != 20 || len(nobody.ServerKey1) != 20 || len(real.StoredKey1) != 20 || len(real.ServerKey1) != 20 {
		t.Errorf("%v, %v, %v, %v", nobody, err, real, err2)
	}
}
