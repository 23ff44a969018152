package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/agent/owner"
	"posthaste/internal/service/admind"
)

// peopleName is the file that an export of many accounts writes beside their mail.
const peopleName = "people.json"

// A peopleFile is who is here, without passwords: what export writes, and import
// reads.
type peopleFile struct {
	Domains  []admind.Domain `json:"domains"`
	Accounts []personInFile  `json:"accounts"`
	Aliases  []admind.Alias  `json:"aliases"` // "@domain" is the catch-all
}

// A personInFile is an account.
type personInFile struct {
	Address string          `json:"address"`
	Name    string          `json:"name,omitempty"`
	Quota   int64           `json:"quota,omitempty"`
	Admin   bool            `json:"admin,omitempty"`
	Shared  bool            `json:"shared,omitempty"`
	Rights  []admind.Rights `json:"rights,omitempty"` // of a shared folder
	Forward *admind.Forward `json:"forward,omitempty"`
	// POP3 is the account's own policy.
	POP3      *owner.Policy   `json:"pop3,omitempty"`
	Apps      []appInFile     `json:"app_passwords,omitempty"`
	Folders   []folderInFile  `json:"folders,omitempty"`
	Collected []outpostInFile `json:"collected,omitempty"`
	Scripts   []owner.Script  `json:"sieve,omitempty"`
}

// people writes who is here into dir.
func (m *moveOut) people(ctx context.Context, cl *admind.Client, dir string) error {
	out := peopleFile{Domains: []admind.Domain{}, Accounts: []personInFile{}, Aliases: []admind.Alias{}}
	domains, err := cl.Domains(ctx)
	if err != nil {
		return err
	}
	for _, d := range domains {
		if m.wants("@"+d.Name) || m.wants("@"+d.AliasOf) {
			out.Domains = append(out.Domains, d)
		}
	}
	accounts, err := cl.Accounts(ctx)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if !m.wants(a.Address) {
			continue
		}
		p, err := personOf(ctx, cl, a)
		if err != nil {
			return err
		}
		out.Accounts = append(out.Accounts, p)
	}
	aliases, err := cl.Aliases(ctx)
	if err != nil {
		return err
	}
	for _, a := range aliases {
		if m.wants(a.Address) {
			out.Aliases = append(out.Aliases, a)
		}
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, peopleName), append(b, '\n'), 0o600)
}

func personOf(ctx context.Context, cl *admind.Client, a admind.Account) (p personInFile, err error) {
	p = personInFile{Address: a.Address, Name: a.Name, Quota: a.Quota, Admin: a.Admin, Shared: a.Shared}
	if a.Shared {
		p.Rights, err = cl.Rights(ctx, a.Address)
		return p, err
	}
	f, err := cl.Forward(ctx, a.Address)
	if err != nil {
		return p, err
	}
	if len(f.To) > 0 {
		p.Forward = &f
	}
	plan, err := cl.POP3(ctx, a.Address)
	if err != nil {
		return p, err
	}
	for _, policy := range plan.Policies {
		if usual := (owner.Policy{After: "keep", Removal: "delete"}); policy.Device == "" && fmt.Sprint(policy) != fmt.Sprint(usual) {
			p.POP3 = &policy
		}
	}
	return p, p.more(ctx, cl, plan)
}

// importPeople is the command "import people".
func (t *tool) importPeople() *cobra.Command {
	var passwords string
	c := &cobra.Command{
		Use: "people FILE", Short: "Add the domains, accounts and aliases that an export wrote", Args: cobra.ExactArgs(1),
		Long: `Add what "posthaste export ... --domain" or "--all" wrote as people.json: domains and
their other names and separators, accounts with name and quota, shared folders and
who may do what with them, where mail is sent on to, policies of POP3, rules (Sieve
scripts), rights that people give in their own folders, accounts elsewhere that are collected, aliases and catch-alls.
What is here already stays as it is, and is told.

Passwords do not come along: nobody could read them. Set new ones, or have them
learned: posthaste move --help. Accounts elsewhere are paused until they are given
theirs. With --app-passwords, app passwords are made anew, with their names, protocols
and policies, also for accounts that are here already, if they have none of that name.`,
		Example: `  posthaste export maildir /backup/all --all
  posthaste import people /backup/all/people.json --app-passwords new-passwords.tsv`,
		RunE: t.beginning(func(ctx context.Context, cl *admind.Client, args []string) error {
			b, err := readFile(args[0])
			if err != nil {
				return err
			}
			var in peopleFile
			d := json.NewDecoder(bytes.NewReader(b))
			d.DisallowUnknownFields()
			if err := d.Decode(&in); err != nil {
				return fmt.Errorf("%s is not what posthaste export has written: %w", args[0], err)
			}
			a := adder{ctx: ctx, cl: cl, passwords: passwords}
			if err := a.known(); err != nil {
				return err
			}
			a.domains(in.Domains)
			for _, p := range in.Accounts {
				a.account(p)
			}
			for _, p := range in.Accounts { // whose rights name others
				a.settings(p)
			}
			if err := a.close(); err != nil {
				return err
			}
			for _, al := range in.Aliases {
				a.do("alias "+al.Address, func() error { return cl.AddAlias(ctx, al) })
			}
			stdout.Printf("%d were added, %d were here already.\n", a.added, a.kept)
			if a.failed > 0 {
				return errSaid
			}
			return nil
		}),
	}
	c.Flags().StringVar(&passwords, "app-passwords", "", "make app passwords anew, and write them into this `file`, which must not be there yet")
	return c
}

// An adder adds what is not here.
type adder struct {
	ctx                 context.Context
	cl                  *admind.Client
	here                map[string]bool
	fresh               map[string]bool // accounts that it has added
	added, kept, failed int

	passwords string   // a file for new app passwords; "": none are made
	out       *os.File // the same, once there are some
	made      int
}

func (a *adder) known() error {
	a.here, a.fresh = map[string]bool{}, map[string]bool{}
	domains, err := a.cl.Domains(a.ctx)
	accounts, err2 := a.cl.Accounts(a.ctx)
	aliases, err3 := a.cl.Aliases(a.ctx)
	for _, d := range domains {
		a.here["domain "+d.Name] = true
	}
	for _, x := range accounts {
		a.here["account "+strings.ToLower(x.Address)] = true
	}
	for _, x := range aliases {
		a.here["alias "+x.Address] = true
	}
	return errors.Join(err, err2, err3)
}

// do adds something under a name, and tells whether it did.
func (a *adder) do(what string, add func() error) bool {
	if a.here[what] {
		a.kept++
		stdout.Printf("%s is here already, and stays as it is.\n", what)
		return false
	}
	if err := add(); err != nil {
		a.failed++
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		return false
	}
	a.added++
	return true
}

// domains adds those that others are names of first.
func (a *adder) domains(list []admind.Domain) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y admind.Domain) int { return strings.Compare(x.AliasOf, y.AliasOf) })
	for _, d := range list {
		a.do("domain "+d.Name, func() error {
			if d.AliasOf != "" {
				return a.cl.AddDomainAlias(a.ctx, d.Name, d.AliasOf)
			}
			if err := a.cl.AddDomain(a.ctx, d.Name); err != nil {
				return err
			}
			return a.cl.SetSeparators(a.ctx, d.Name, d.Separators)
		})
	}
}

func (a *adder) account(p personInFile) {
	a.fresh[p.Address] = a.do("account "+strings.ToLower(p.Address), func() error {
		return a.cl.AddAccount(a.ctx, admind.Account{Address: p.Address, Name: p.Name, Quota: p.Quota, Shared: p.Shared})
	})
}

// settings says what else is known of an account that was added.
func (a *adder) settings(p personInFile) {
	var errs []error
	if a.fresh[p.Address] {
		errs = append(errs, a.own(p))
	}
	errs = append(errs, a.apps(p))
	if err := errors.Join(errs...); err != nil {
		a.failed++
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Address, err)
	}
}

// own is settings for what depends on nothing.
func (a *adder) own(p personInFile) error {
	var errs []error
	if p.Admin {
		errs = append(errs, a.cl.AddAdmin(a.ctx, p.Address))
	}
	for _, r := range p.Rights {
		errs = append(errs, a.cl.Share(a.ctx, p.Address, r.Who, r.Rights))
	}
	if p.Forward != nil {
		f := *p.Forward
		f.Force = true // it was decided where it comes from
		_, err := a.cl.SetForward(a.ctx, p.Address, f)
		errs = append(errs, err)
	}
	errs = append(errs, a.rights(p))
	if p.POP3 != nil {
		errs = append(errs, a.policy(p, *p.POP3))
	}
	errs = append(errs, a.collected(p), a.scripts(p))
	return errors.Join(errs...)
}
