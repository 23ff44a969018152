package former

import (
	"context"
	"errors"
	"fmt"
	"time"

	"posthaste/internal/agent/carrier"
	"posthaste/internal/base/mail"
	"posthaste/internal/store/directory"
)

// What a flip can end with.
var (
	ErrNotMoving = errors.New("this account has no former server: begin with posthaste move begin")
	ErrFlipped   = errors.New("this account was flipped already")
	ErrBusy      = errors.New("this account is being flipped already")
	ErrPassword  = errors.New("to bring the mail, the account's password at the former server is needed, or a master user's: neither is known")
	ErrReach     = errors.New("the former server cannot be reached, or does not let us in")
	ErrUnread    = errors.New("some messages could not be read, so who answers has not changed")
)

// Progress is how far the bringing of an account's mail is, or how it ended.
type Progress struct {
	Report carrier.Report
	Begun  time.Time
	Ended  time.Time // zero: it is under way
	Last   bool      // nobody is let in meanwhile
	Err    error
}

// Progress gives that of the last flip since the server has begun; false if there
// was none.
func (a *Agent) Progress(id mail.AccountID) (Progress, bool) {
	a.prepare()
	a.Passed.mu.Lock()
	defer a.Passed.mu.Unlock()
	if p := a.Passed.runs[id]; p != nil {
		return *p, true
	}
	return Progress{}, false
}

// A Flip is how an account is flipped.
type Flip struct {
	// Password is the account's own at the former server, if there is no master user.
	Password string
	// Force flips though messages cannot be read.
	Force bool
}

// Flip brings what is at the former server, first while it still answers, then ends
// its sessions and brings the rest; from then on we answer. If it fails the former
// server goes on to answer, and whoever calls it again goes on where it ended.
func (a *Agent) Flip(ctx context.Context, who directory.Account, how Flip) (Progress, error) {
	a.prepare()
	switch {
	case who.Former == nil:
		return Progress{}, ErrNotMoving
	case who.Former.State == directory.Flipped:
		return Progress{}, ErrFlipped
	case how.Password == "" && who.Former.Master == "":
		return Progress{}, ErrPassword
	}
	p := &Progress{Begun: time.Now()}
	if !a.Passed.begin(who.ID, p) {
		return Progress{}, ErrBusy
	}
	err := a.flip(ctx, who, how, p)
	a.Passed.change(func() { p.Ended, p.Err = time.Now(), err })
	return *p, err
}

func (a *Agent) flip(ctx context.Context, who directory.Account, how Flip, p *Progress) error {
	if err := a.bring(ctx, who, how, p); err != nil {
		return a.failed(ctx, who, err)
	}
	a.Passed.change(func() { p.Last = true })
	if err := a.state(ctx, who.ID, directory.Flipping, ""); err != nil {
		return err
	}
	// Who logs in from now on is told to wait; who is in, or almost, is let go.
	a.end(who.ID)
	if err := a.bring(ctx, who, how, p); err != nil {
		return a.failed(ctx, who, err)
	}
	if err := a.state(ctx, who.ID, directory.Flipped, ""); err != nil {
		return a.failed(ctx, who, err)
	}
	return nil
}

// failed puts the account back to its former server, also if ctx has ended.
func (a *Agent) failed(ctx context.Context, who directory.Account, why error) error {
	return errors.Join(why, a.state(context.WithoutCancel(ctx), who.ID, directory.FormerAnswers, why.Error()))
}

// Begin has an account answered by its former server from now on. It is asked
// whether it can be reached first. ErrFlipped if the account has been flipped.
func (a *Agent) Begin(ctx context.Context, who directory.Account, f directory.Former) error {
	a.prepare()
	if who.Former != nil && who.Former.State != directory.FormerAnswers {
		return ErrFlipped
	}
	s, err := a.at(&f, directory.IMAP)
	if err != nil {
		return err
	}
	s.Master, s.Password = f.Master, f.Password
	ctx, cancel := context.WithTimeout(ctx, LoginTime)
	defer cancel()
	if err := s.Try(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrReach, err)
	}
	f.State, f.Began = directory.FormerAnswers, time.Now()
	return a.Set(ctx, who.ID, &f)
}

// Back has the former server of a flipped account answer again. What has changed
// here since stays here.
func (a *Agent) Back(ctx context.Context, who directory.Account) error {
	switch {
	case who.Former == nil:
		return ErrNotMoving
	case who.Former.State == directory.Flipping:
		return ErrBusy
	}
	return a.state(ctx, who.ID, directory.FormerAnswers, "")
}

// End forgets the former server of an account: from now on we answer, if we did not.
func (a *Agent) End(ctx context.Context, who directory.Account) error {
	switch {
	case who.Former == nil:
		return ErrNotMoving
	case who.Former.State == directory.Flipping:
		return ErrBusy
	}
	if err := a.Set(ctx, who.ID, nil); err != nil {
		return err
	}
	a.prepare()
	a.end(who.ID)
	return nil
}

// state says who answers from now on.
func (a *Agent) state(ctx context.Context, id mail.AccountID, s directory.FormerState, failed string) error {
	now, err := a.Directory.Account(ctx, id)
	if err != nil {
		return err
	}
	if now.Former == nil {
		return ErrNotMoving
	}
	f := *now.Former
	f.State, f.Failed = s, failed
	return a.Set(ctx, id, &f)
}

// Set says where an account was before, and who answers; nil forgets it.
func (a *Agent) Set(ctx context.Context, id mail.AccountID, f *directory.Former) error {
	if f != nil && f.State == directory.FormerAnswers {
		a.any.Store(true) // before anybody is told otherwise
	}
	if err := a.Directory.SetFormer(ctx, id, f); err != nil {
		return fmt.Errorf("former: %w", err)
	}
	return nil
}

// bring brings what is new, and follows flags and deletions.
func (a *Agent) bring(ctx context.Context, who directory.Account, how Flip, p *Progress) error {
	s, err := a.server(who.Former, directory.IMAP, how.Password)
	if err != nil {
		return err
	}
	src, err := carrier.NewIMAP(ctx, s, carrier.UIDLFormat(who.Former.UIDL))
	if err != nil {
		return err
	}
	defer src.Close()
	names, err := a.names(ctx, who)
	if err != nil {
		return err
	}
	im := carrier.Import{
		Source: src, Store: &store{a.Mover, who.ID, src.Name()}, FollowFlags: true, FollowDeletions: true, FollowRights: true,
		Who: names,
		Progress: func(r carrier.Report) {
			r.Problems = nil
			a.Passed.change(func() { p.Report = r })
		},
	}
	rep, err := im.Run(ctx)
	a.Passed.change(func() { p.Report = rep })
	for _, l := range rep.Left[:min(len(rep.Left), maxTold)] {
		a.Log.Warn("former server: rights or notes of a folder did not come", "account", who.Address.String(), "folder", l.Folder, "what", l.ID, "why", l.Why)
	}
	if n := int64(len(rep.Problems)) + rep.MoreProblems; err == nil && n > 0 && !how.Force {
		err = fmt.Errorf("%w: %d, such as: %s", ErrUnread, n, rep.Problems[0])
	}
	return err
}

// maxTold is how much of what did not come is written to the log.
const maxTold = 20

// names tells who people are here whom the former server of an account names: those who
// move from there, too; of others it is taken that they keep their names.
func (a *Agent) names(ctx context.Context, who directory.Account) (func(there string) string, error) {
	list, err := a.Directory.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	moving := map[string]string{}
	for i := range list {
		if f := list[i].Former; f != nil && f.IMAP.Address == who.Former.IMAP.Address {
			moving[f.User] = list[i].Address.String()
		}
	}
	usual := carrier.InDomain(string(who.Address.Domain))
	return func(there string) string {
		if here := moving[there]; here != "" {
			return here
		}
		return usual(there)
	}, nil
}
