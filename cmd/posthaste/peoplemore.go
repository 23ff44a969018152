package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"posthaste/internal/agent/owner"
	"posthaste/internal/base/mail"
	"posthaste/internal/service/admind"
)

// What a personInFile has that cannot come without somebody's help, or not at once.
type (
	// An appInFile is an app password, but for the password.
	appInFile struct {
		Name      string        `json:"name"`
		Protocols string        `json:"protocols"`
		APOP      bool          `json:"apop,omitempty"`
		POP3      *owner.Policy `json:"pop3,omitempty"`
	}
	// A folderInFile is a folder of a person's in which others may do something.
	folderInFile struct {
		Name   string          `json:"name"`
		Role   string          `json:"role,omitempty"`
		Rights []admind.Rights `json:"rights"`
	}
	// An outpostInFile is an account elsewhere that is collected, but for its password.
	outpostInFile struct {
		Name     string                `json:"name"`
		Protocol string                `json:"protocol"`
		Host     string                `json:"host"`
		Port     string                `json:"port"`
		Security string                `json:"security"`
		User     string                `json:"user"`
		OAuth2   *admind.OutpostOAuth2 `json:"oauth2,omitempty"` // without the client's secret
		Folders  []string              `json:"folders,omitempty"`
		After    string                `json:"after"`
		Mailbox  string                `json:"mailbox,omitempty"`
		Keyword  string                `json:"keyword,omitempty"`
		Every    int                   `json:"every"`
		Unjudged bool                  `json:"unjudged,omitempty"`
		SendAs   *sendAsInFile         `json:"send_as,omitempty"`
	}
	// A sendAsInFile is how the address there is sent with.
	sendAsInFile struct {
		Address  string `json:"address"`
		Host     string `json:"host"`
		Port     string `json:"port"`
		Security string `json:"security"`
		User     string `json:"user,omitempty"` // another than that for collecting
	}
)

// more fills in what else is known of a person; plan has the policies of POP3.
func (p *personInFile) more(ctx context.Context, cl *admind.Client, plan owner.Plan) error {
	apps, err := cl.AppPasswords(ctx, p.Address)
	if err != nil {
		return err
	}
	for _, a := range apps {
		in := appInFile{Name: a.Name, Protocols: a.Protocols, APOP: a.APOP}
		for _, policy := range plan.Policies {
			if policy.Device == a.Name {
				in.POP3 = &policy
			}
		}
		p.Apps = append(p.Apps, in)
	}
	boxes, err := cl.Mailboxes(ctx, p.Address)
	if err != nil {
		return err
	}
	for _, b := range boxes {
		s, err := cl.Sharing(ctx, p.Address, b.ID)
		if err != nil {
			return err
		}
		if len(s.Rights) > 0 {
			p.Folders = append(p.Folders, folderInFile{Name: b.Name, Role: b.Role, Rights: s.Rights})
		}
	}
	if p.Scripts, err = scriptsOf(ctx, cl, p.Address); err != nil {
		return err
	}
	list, err := cl.Outposts(ctx, p.Address)
	for _, o := range list {
		in := outpostInFile{Name: o.Name, Protocol: o.Protocol, Host: o.Host, Port: o.Port, Security: o.Security, User: o.User, OAuth2: o.Tokens, Folders: o.Folders, After: o.After, Mailbox: o.Mailbox, Keyword: o.Keyword, Every: o.Every, Unjudged: o.Unjudged}
		if s := o.SendAs; s != nil {
			in.SendAs = &sendAsInFile{Address: s.Address, Host: s.Host, Port: s.Port, Security: s.Security, User: s.User}
		}
		p.Collected = append(p.Collected, in)
	}
	return err
}

// peopleSource is what folders come from that import people makes, so that rights that
// were taken away since do not come again.
const peopleSource = "people:"

// folder makes a folder of a person's if it is missing.
func (a *adder) folder(address string, f folderInFile) error {
	_, err := a.cl.MoveFolder(a.ctx, address, admind.MoveFolder{Source: peopleSource, Name: f.Name, Into: f.Name, Role: f.Role, Subscribed: true, Bare: true})
	return err
}

// rights gives others what they may do in a person's folders.
func (a *adder) rights(p personInFile) error {
	for _, f := range p.Folders {
		if err := a.folder(p.Address, f); err != nil {
			return err
		}
		left, err := a.cl.MoveSharing(a.ctx, p.Address, admind.Sharing{Source: peopleSource, Folder: f.Name, Rights: f.Rights})
		if err != nil {
			return err
		}
		for _, l := range left {
			stdout.Printf("%s: in folder %q, %s do not come: %s\n", p.Address, f.Name, l.What, l.Why)
		}
	}
	return nil
}

// policy sets a policy of POP3, and makes the folders that it names.
func (a *adder) policy(p personInFile, policy owner.Policy) error {
	roles := map[string]string{}
	for _, f := range p.Folders {
		roles[f.Name] = f.Role
	}
	for _, name := range policy.Mailboxes {
		if err := a.folder(p.Address, folderInFile{Name: name, Role: roles[name]}); err != nil {
			return err
		}
	}
	_, err := a.cl.SetPOP3Policy(a.ctx, p.Address, policy)
	return err
}

// collected adds the accounts elsewhere, each of which waits for its password.
func (a *adder) collected(p personInFile) error {
	var errs []error
	for _, o := range p.Collected {
		in := admind.OutpostSettings{Protocol: &o.Protocol, Host: &o.Host, Port: &o.Port, Security: &o.Security, User: &o.User, OAuth2: o.OAuth2, After: &o.After, Mailbox: &o.Mailbox, Keyword: &o.Keyword, Every: &o.Every, Unjudged: &o.Unjudged, Waiting: true}
		if len(o.Folders) > 0 {
			in.Folders = &o.Folders
		}
		s := o.SendAs
		if s != nil && s.User == "" {
			in.SendAs = &admind.SendAsSettings{Address: &s.Address, Host: &s.Host, Port: &s.Port, Security: &s.Security}
		}
		if _, err := a.cl.AddOutpost(a.ctx, p.Address, o.Name, in); err != nil {
			errs = append(errs, fmt.Errorf("the account elsewhere %q: %w", o.Name, err))
			continue
		}
		stdout.Printf("%s: %q is not collected before it has a password: \"posthaste collect set %s %s --ask-password\". Then all that is still there comes, also what was collected before.\n", p.Address, o.Name, p.Address, o.Name)
		if s != nil && s.User != "" {
			stdout.Printf("%s: how mail is sent as %s does not come, as it has a password of its own: \"posthaste collect set %s %s --send-as %s --submission %s:%s --submission-user %s\".\n", p.Address, s.Address, p.Address, o.Name, s.Address, s.Host, s.Port, s.User)
		}
	}
	return errors.Join(errs...)
}

// apps makes app passwords anew, those that are not here, and writes them into the file
// that is named for it; without one, tells which do not come.
func (a *adder) apps(p personInFile) error {
	if len(p.Apps) == 0 || !a.here["account "+strings.ToLower(p.Address)] && !a.fresh[p.Address] {
		return nil
	}
	have, err := a.cl.AppPasswords(a.ctx, p.Address)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, x := range have {
		there[strings.ToLower(x.Name)] = true
	}
	var errs []error
	var missing []string
	for _, x := range p.Apps {
		switch {
		case there[strings.ToLower(x.Name)]:
		case a.passwords == "":
			missing = append(missing, fmt.Sprintf("%q", x.Name))
		default:
			if err := a.app(p, x); err != nil {
				errs = append(errs, fmt.Errorf("the app password %q: %w", x.Name, err))
			}
		}
	}
	if len(missing) > 0 {
		stdout.Printf("%s: app passwords do not come, and neither do their policies: %s. With --app-passwords FILE, new ones are made.\n", p.Address, strings.Join(missing, ", "))
	}
	return errors.Join(errs...)
}

// app makes one, with its policy.
func (a *adder) app(p personInFile, x appInFile) error {
	if a.out == nil { // what cannot be written down must not be made
		var err error
		if a.out, err = os.OpenFile(a.passwords, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return err
		}
	}
	add := func() (admind.AppPassword, error) {
		if x.APOP {
			return a.cl.AddAPOPPassword(a.ctx, p.Address, x.Name)
		}
		return a.cl.AddAppPassword(a.ctx, p.Address, x.Name, x.Protocols)
	}
	made, err := add()
	if err != nil {
		return err
	}
	a.made++
	_, err = fmt.Fprintf(a.out, "%s\t%s\t%s\t%s\n", p.Address, x.Name, x.Protocols, made.Password)
	if err == nil && x.POP3 != nil {
		err = a.policy(p, *x.POP3)
	}
	return err
}

// close ends the file with app passwords.
func (a *adder) close() error {
	if a.out == nil {
		return nil
	}
	err := a.out.Sync()
	if err = errors.Join(err, a.out.Close()); err == nil {
		stdout.Printf("%s made, and written into %s with whose they are: hand them out, and remove the file.\n", mail.Many(a.made, "app password"), a.passwords)
	}
	return err
}

// scriptsOf gives the Sieve scripts of a person with their texts.
func scriptsOf(ctx context.Context, cl *admind.Client, address string) (out []owner.Script, err error) {
	list, err := cl.Scripts(ctx, address)
	if err != nil {
		return nil, err
	}
	for _, s := range list.Scripts {
		s, err := cl.Script(ctx, address, s.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// scripts gives a person the Sieve scripts that they had.
func (a *adder) scripts(p personInFile) error {
	var errs []error
	for _, s := range p.Scripts {
		if _, err := a.cl.SaveScript(a.ctx, p.Address, owner.Script{Name: s.Name, Text: s.Text, Active: s.Active}); err != nil {
			errs = append(errs, fmt.Errorf("the script %q does not come: %w", s.Name, err))
		}
	}
	return errors.Join(errs...)
}
