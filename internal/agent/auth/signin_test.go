package auth

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/kv"
	"posthaste/internal/proto/sasl"
	"posthaste/internal/store/directory"
)

// update changes the directory.
func update(t *testing.T, a *Agent, fn func(kv.Tx) error) {
	t.Helper()
	if err := a.Directory.DB.Update(t.Context(), kv.Plan{Locks: []kv.Lock{directory.Lock}}, fn); err != nil {
		t.Fatal(err)
	}
}

// TestSignIn: only the account's own password opens the pages, and all who are not let
// in hear the same.
func TestSignIn(t *testing.T) {
	a := house(t)
	var told []Outcome
	a.Tried = func(over directory.Protocols, o Outcome) {
		if over != directory.Web {
			t.Errorf("%v over %v", o, over)
		}
		told = append(told, o)
	}
	all := addApp(t, a, ada, "all", 0)
	some := addApp(t, a, ada, "some", directory.IMAP|directory.POP3)
	update(t, a, func(tx kv.Tx) error {
		_, err := a.Directory.PutAccount(tx, directory.Account{Address: mail.Address{Local: "team", Domain: "a.example"}, Shared: true})
		return err
	})
	if err := a.SetPassword(t.Context(), 4, "pencil"); err != nil { // which the registrar would not
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, password, why string
	}{
		{"ada", "pencil", ""},
		{"ada", "pencil", ""}, // as it is known now
		{"ada", all, `app password "all" is not for this protocol: ada@a.example`},
		{"ada", some, `app password "some" is not for this protocol: ada@a.example`},
		{"ada", "pen", "wrong password for ada@a.example"},
		{"ada", "", "wrong password for ada@a.example"},
		{"eve", "", "wrong password for eve@a.example"},
		{"bob", "pencil", "disabled: bob@a.example"},
		{"team", "pencil", "disabled: team@a.example"},
		{"joe", "pencil", "no such account joe@a.example"},
		{"", "pencil", "no such account"},
	} {
		id, err := a.SignIn(t.Context(), home, c.user, c.password)
		want := Refused
		if c.why == "" {
			want = Accepted
			if err != nil || id.Account != 1 || id.Device != 0 || id.Proof[:1] != byPassword {
				t.Errorf("%+v: %+v, %v", c, id, err)
			}
		} else if r, ok := errors.AsType[*mail.Refusal](err); !ok || r.Reason != c.why || r.Status != sasl.ErrFailed.Status || r.Text != sasl.ErrFailed.Text {
			t.Errorf("%+v: %v", c, err)
		}
		if !slices.Equal(told, []Outcome{want}) {
			t.Errorf("%+v: told %v", c, told)
		}
		told = nil
	}
}

// TestSignInSlowly: guessing is slowed down as with other protocols, with which it counts
// together.
func TestSignInSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := house(t)
		begin := time.Now()
		for i := range 6 {
			a.SignIn(t.Context(), home, "ada", "guess "+string(rune('a'+i)))
		}
		if d := time.Since(begin); d < time.Second/2 || d > 2*time.Second {
			t.Errorf("six guesses took %v", d)
		}
		begin = time.Now()
		a.For(home, directory.IMAP).Password(t.Context(), "", "ada", "guess")
		if d := time.Since(begin); d < time.Second/2 {
			t.Errorf("one more over IMAP took %v", d)
		}
	})
}

// TestStands: a session goes on until the password is another, the account may not log
// in, or is elsewhere again.
func TestStands(t *testing.T) {
	a := house(t)
	d := a.Directory
	a.Former = func(context.Context, directory.Account, directory.Protocols, string) (sasl.Elsewhere, error) {
		return nil, errors.New("nobody is to be asked")
	}
	signIn := func(password string) sasl.Identity {
		t.Helper()
		id, err := a.SignIn(t.Context(), home, "ada", password)
		if err != nil {
			t.Fatal(err)
		}
		return sasl.Identity{Account: id.Account, Proof: id.Proof} // what a session keeps
	}
	stands := func(what string, id sasl.Identity, want bool) {
		t.Helper()
		if got, err := a.Stands(t.Context(), id); err != nil || got != want {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	id := signIn("pencil")
	stands("at first", id, true)
	addApp(t, a, ada, "phone", 0)
	stands("with an app password", id, true)
	stands("another's", sasl.Identity{Account: 3, Proof: id.Proof}, false)
	stands("nothing shown", sasl.Identity{Account: 1}, false)
	for _, off := range []bool{true, false} {
		update(t, a, func(tx kv.Tx) error { return d.SetDisabled(tx, 1, off) })
		stands("disabled, and not", id, !off)
	}
	for _, s := range []directory.FormerState{directory.FormerAnswers, directory.Flipping, directory.Flipped} {
		if err := d.SetFormer(t.Context(), 1, &directory.Former{State: s}); err != nil {
			t.Fatal(err)
		}
		stands("moving", id, s == directory.Flipped)
	}
	_, now, err := d.Credentials(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCredentials("pencil", now)
	if err != nil {
		t.Fatal(err)
	}
	update(t, a, func(tx kv.Tx) error { return d.PutCredentials(tx, 1, c) })
	stands("the same password, set anew", id, false)
	again := signIn("pencil")
	stands("signed in again", again, true)
	update(t, a, func(tx kv.Tx) error { return d.DeleteAccount(tx, 1) })
	stands("gone", again, false)
}

// TestSignInElsewhere: the former server is asked, and only who is right hears that the
// pages are not open yet.
func TestSignInElsewhere(t *testing.T) {
	a := house(t)
	asked, closed := 0, 0
	a.Former = func(_ context.Context, who directory.Account, over directory.Protocols, password string) (sasl.Elsewhere, error) {
		asked++
		switch {
		case who.ID != 1 || over != directory.Web:
			t.Error(who, over)
		case password == "there":
			return elsewhere{&closed}, nil
		}
		return nil, sasl.ErrFailed
	}
	if err := a.Directory.SetFormer(t.Context(), 1, &directory.Former{State: directory.FormerAnswers, Learn: true}); err != nil {
		t.Fatal(err)
	}
	app := addApp(t, a, ada, "phone", 0)
	for _, c := range []struct {
		password string
		err      error
		asked    int
	}{
		{"there", ErrElsewhere, 1},
		{"there", ErrElsewhere, 2},
		{"pencil", sasl.ErrFailed, 3},
		{"pencil", sasl.ErrFailed, 3}, // the same again
		{app, sasl.ErrFailed, 3},
	} {
		id, err := a.SignIn(t.Context(), home, "ada", c.password)
		got, ok := errors.AsType[*mail.Refusal](err)
		want, _ := errors.AsType[*mail.Refusal](c.err)
		if !ok || got.Status != want.Status || got.Text != want.Text || asked != c.asked || id != (sasl.Identity{}) {
			t.Errorf("%q: %v, asked %d", c.password, err, asked)
		}
	}
	if closed != 2 {
		t.Errorf("%d connections closed", closed)
	}
	if err := a.Directory.SetFormer(t.Context(), 1, &directory.Former{State: directory.Flipped}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.SignIn(t.Context(), home, "ada", "there"); err != nil {
		t.Error("what was learned there does not open the account here:", err)
	}
}

// elsewhere is a session that counts how often it is closed.
type elsewhere struct{ closed *int }

func (elsewhere) Read([]byte) (int, error)  { return 0, errors.New("read") }
func (elsewhere) Write([]byte) (int, error) { return 0, errors.New("written") }
func (elsewhere) Capabilities() string      { return "" }
func (e elsewhere) Close() error            { *e.closed++; return nil }
