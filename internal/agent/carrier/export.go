package carrier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// An OutFolder is a mailbox on its way out.
type OutFolder struct {
	ID          uint64
	Name        string // levels divided by "/"
	Role        string
	Subscribed  bool
	UIDValidity uint32
	Messages    int64
}

// An OutMessage is a message on its way out.
type OutMessage struct {
	UID       uint32
	Flags     []string // with keywords, as IMAP writes them
	Date      time.Time
	UIDL      string
	MessageID string
	Size      int64
}

// An Account is where an Export takes mail from.
type Account interface {
	Folders(ctx context.Context) ([]OutFolder, error)
	List(ctx context.Context, f OutFolder, each func(OutMessage) error) error
	// Sharing gives that of a folder; of the zero OutFolder, what its owner has noted
	// about the account as a whole.
	Sharing(ctx context.Context, f OutFolder) (Sharing, error)
	// Read gives messages in the order of their UIDs.
	Read(ctx context.Context, f OutFolder, uids []uint32, each func(OutMessage, io.Reader) error) error
}

// A Target is where an Export puts mail. Its methods are called by one at a time.
type Target interface {
	// Folder makes a folder, and says that what follows goes there.
	Folder(ctx context.Context, f OutFolder) error
	// Has tells whether a message is there already. It is asked once for each, in
	// the order of the UIDs.
	Has(m OutMessage) (bool, error)
	// AtOnce is how many messages may come between Begin and Commit.
	AtOnce() (messages int, bytes int64)
	Begin(ctx context.Context, messages int) error
	Add(m OutMessage, body io.Reader) error
	Commit() error
	// Done says that the folder is whole.
	Done() error
	Close() error
}

// A sharer is a Target that knows who may do what with its folders.
type sharer interface {
	// share gives the folder under way a sharing; who gives the name there of an
	// address here.
	share(ctx context.Context, s Sharing, who func(string) string) ([]Left, error)
}

// An Export takes mail out. Account and Target must be set.
type Export struct {
	Account Account
	Target  Target
	Only    []string
	// Who gives the name there of an address here that has rights; nil: as it is.
	Who      func(here string) string
	Progress func(Report)
}

// Run takes out everything. The Report is good also if there is an error.
func (ex *Export) Run(ctx context.Context) (rep Report, err error) {
	folders, err := ex.Account.Folders(ctx)
	if err != nil {
		return rep, err
	}
	folders = slices.DeleteFunc(folders, func(f OutFolder) bool { return len(ex.Only) > 0 && !slices.Contains(ex.Only, f.Name) })
	rep.AllFolders = len(folders)
	for _, f := range folders {
		rep.Expected += f.Messages
	}
	if err := ex.shareAccount(ctx, &rep); err != nil {
		return rep, err
	}
	for _, f := range folders {
		rep.Folder = f.Name
		if err := ex.folder(ctx, f, &rep); err != nil {
			return rep, fmt.Errorf("folder %q: %w", f.Name, err)
		}
		rep.Folders++
	}
	return rep, nil
}

func (ex *Export) folder(ctx context.Context, f OutFolder, rep *Report) error {
	if err := ex.Target.Folder(ctx, f); err != nil {
		return err
	}
	if err := ex.share(ctx, f, rep); err != nil {
		return err
	}
	var batch []uint32
	var bytes int64
	most, mostBytes := ex.Target.AtOnce()
	flush := func() error {
		list := batch
		batch, bytes = nil, 0
		if len(list) == 0 {
			return nil
		}
		return ex.put(ctx, f, list, rep)
	}
	err := ex.Account.List(ctx, f, func(m OutMessage) error {
		rep.Seen++
		has, err := ex.Target.Has(m)
		if err != nil || has {
			rep.Known++
			return err
		}
		if len(batch) == most || bytes+m.Size > mostBytes {
			if err := flush(); err != nil {
				return err
			}
		}
		batch, bytes = append(batch, m.UID), bytes+m.Size
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = ex.Target.Done()
	}
	return err
}

func (ex *Export) share(ctx context.Context, f OutFolder, rep *Report) error {
	t, ok := ex.Target.(sharer)
	if !ok {
		return nil
	}
	s, err := ex.Account.Sharing(ctx, f)
	if err != nil {
		return err
	}
	left, err := t.share(ctx, s, ex.Who)
	for _, l := range left {
		if len(rep.Left) < maxProblems {
			rep.Left = append(rep.Left, Problem{f.Name, l.What, l.Why})
		}
	}
	return err
}

func (ex *Export) shareAccount(ctx context.Context, rep *Report) error {
	t, ok := ex.Target.(interface {
		shareAccount(context.Context, []Note) ([]Left, error)
	})
	if !ok || len(ex.Only) > 0 {
		return nil
	}
	s, err := ex.Account.Sharing(ctx, OutFolder{})
	if err != nil {
		return err
	}
	left, err := t.shareAccount(ctx, s.Notes)
	for _, l := range left {
		rep.Left = append(rep.Left, Problem{"the account", l.What, l.Why})
	}
	return err
}

// put takes some messages out. If the target refuses them together, they come one
// by one.
func (ex *Export) put(ctx context.Context, f OutFolder, uids []uint32, rep *Report) error {
	var bytes int64
	err := ex.Target.Begin(ctx, len(uids))
	if err == nil {
		err = ex.Account.Read(ctx, f, uids, func(m OutMessage, body io.Reader) error {
			bytes += m.Size
			return ex.Target.Add(m, body)
		})
	}
	if err == nil {
		err = ex.Target.Commit()
	}
	switch {
	case err == nil:
		rep.Added, rep.Bytes = rep.Added+int64(len(uids)), rep.Bytes+bytes
	case !errors.Is(err, ErrRefused):
		return err
	case len(uids) == 1:
		rep.Problems = append(rep.Problems, Problem{f.Name, fmt.Sprint(uids[0]), err.Error()})
		if len(rep.Problems) > maxProblems {
			return err
		}
	default:
		for i := range uids {
			if err := ex.put(ctx, f, uids[i:i+1], rep); err != nil {
				return err
			}
		}
	}
	if ex.Progress != nil {
		ex.Progress(*rep)
	}
	return nil
}
