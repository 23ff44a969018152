package carrier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"posthaste/internal/agent/mover"
)

// An Import brings what a Source has to a Store. Source and Store must be set.
type Import struct {
	Source Source
	Store  Store
	// Only are the folders to bring, by their names there or here; none: all.
	Only, Skip []string
	// Under is put before the names of all folders; INBOX too, then.
	Under string
	// FollowFlags brings the flags of what came before up to date,
	// FollowDeletions expunges what is no longer there, Renumbered takes folders
	// that were numbered anew, DryRun changes nothing.
	FollowFlags, FollowDeletions, Renumbered, DryRun bool
	// FollowRights gives folders that came before the rights that they have there
	// now, in place of those here.
	FollowRights bool
	// Who gives the address here of whom the source gives rights; nil: as it is.
	Who func(there string) string
	// Progress is told now and then; nil: nobody.
	Progress func(Report)
}

// A Report says what an Import has done so far.
type Report struct {
	Folders, AllFolders int
	Folder              string // that it is at
	Seen, Expected      int64  // messages
	Added               int64  // with DryRun: that would be
	Bytes               int64  // of these
	Known               int64  // that had come before
	Changed, Gone       int64  // flags; messages that left
	Dropped             int64  // keywords for which there was no room
	Problems            []Problem
	Left                []Problem // of who may do what with folders, and notes
	MoreProblems        int64     // for which there is no room
}

// A Problem is something that did not come.
type Problem struct{ Folder, ID, Why string }

// maxProblems is how many are told one by one.
const maxProblems = 10_000

// Run brings everything. The Report is good also if there is an error.
func (im *Import) Run(ctx context.Context) (Report, error) {
	r := run{Import: im}
	folders, err := im.Source.Folders(ctx)
	if err != nil {
		return r.rep, err
	}
	folders = slices.DeleteFunc(folders, func(f Folder) bool { return !im.wants(f) })
	for _, f := range folders {
		r.rep.Expected += f.Messages
	}
	r.rep.AllFolders = len(folders)
	if err := r.shareAccount(ctx); err != nil {
		return r.rep, err
	}
	for i := range folders {
		f := &folders[i]
		if im.Under != "" {
			f.Into, f.Role = im.Under+"/"+f.Into, ""
		}
		r.rep.Folder = f.Into
		r.tell()
		if err := r.folder(ctx, f); err != nil {
			return r.rep, fmt.Errorf("folder %q: %w", f.Name, err)
		}
		r.rep.Folders++
	}
	r.rep.Folder = ""
	r.tell()
	return r.rep, nil
}

func (im *Import) wants(f Folder) bool {
	named := func(list []string) bool {
		return slices.ContainsFunc(list, func(n string) bool { return n == f.Name || n == f.Into })
	}
	return !named(im.Skip) && (len(im.Only) == 0 || named(im.Only))
}

// A run is one Import under way.
type run struct {
	*Import
	rep   Report
	boxes map[string]uint64 // of the folder under way, by name
	d     Delivery
	count int
	bytes int64
}

func (r *run) tell() {
	if r.Progress != nil {
		r.Progress(r.rep)
	}
}

func (r *run) bad(f *Folder, id string, err error) {
	if len(r.rep.Problems) == maxProblems {
		r.rep.MoreProblems++
		return
	}
	r.rep.Problems = append(r.rep.Problems, Problem{f.Name, id, strings.ToValidUTF8(err.Error(), "?")})
}

func (r *run) folder(ctx context.Context, f *Folder) (err error) {
	r.boxes = nil
	here := &bytes.Buffer{} // 16 bytes for each message
	whole := true
	err = r.Source.List(ctx, f, func(list []Message) error {
		if r.boxes == nil {
			if err := r.open(ctx, f); err != nil {
				return err
			}
		}
		if r.FollowDeletions {
			for _, m := range list {
				sum := sha256.Sum256([]byte(m.ID))
				here.Write(sum[:16])
			}
		}
		return r.chunk(ctx, f, list)
	}, func(id string, err error) {
		whole = whole && id != ""
		if id != "" {
			sum := sha256.Sum256([]byte(id))
			here.Write(sum[:16])
		}
		r.bad(f, id, err)
	})
	if errors.Is(err, mover.ErrRenumbered) {
		r.bad(f, "", err)
		return nil
	}
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		r.abort(err)
		return err
	}
	if r.boxes == nil { // an empty folder comes, too
		if err := r.open(ctx, f); err != nil && !errors.Is(err, mover.ErrRenumbered) {
			return err
		}
	}
	if r.FollowDeletions && !r.DryRun && whole {
		n, err := r.Store.Deletions(ctx, f.Name, here)
		r.rep.Gone += int64(n)
		return err
	}
	return nil
}

func (r *run) open(ctx context.Context, f *Folder) error {
	r.boxes = map[string]uint64{}
	if r.DryRun {
		return nil
	}
	box, ok, err := r.Store.Open(ctx, *f, r.Renumbered)
	if err == nil && !ok {
		err = fmt.Errorf("%w: all its messages would come once more; say --renumbered if they shall", mover.ErrRenumbered)
	}
	r.boxes[""] = box
	if err != nil {
		return err
	}
	return r.share(ctx, f) // before there is mail to read in it
}

// box gives where a message goes.
func (r *run) box(ctx context.Context, f *Folder, m *Message) (uint64, error) {
	into, role := m.Into, m.Role
	if r.Under != "" && into != "" {
		into, role = r.Under+"/"+into, ""
	}
	if box, ok := r.boxes[into]; ok {
		return box, nil
	}
	// As a folder of its own: its name here is told apart by what it leads to.
	box, _, err := r.Store.Open(ctx, Folder{Name: f.Name + "\x00" + into, Into: into, Role: role, Mark: f.Mark, Subscribed: true}, true)
	if err == nil {
		r.boxes[into] = box
	}
	return box, err
}

func (r *run) chunk(ctx context.Context, f *Folder, list []Message) error {
	known, err := r.Store.Known(ctx, f.Name, list)
	if err != nil {
		return err
	}
	var fresh, old []Message
	for i, m := range list {
		if known[i] {
			old = append(old, m)
		} else {
			fresh = append(fresh, m)
		}
	}
	r.rep.Seen += int64(len(list))
	r.rep.Known += int64(len(old))
	if r.FollowFlags && len(old) > 0 && !r.DryRun {
		n, err := r.Store.Flags(ctx, f.Name, old)
		if err != nil {
			return err
		}
		r.rep.Changed += int64(n)
	}
	if r.DryRun {
		r.rep.Added += int64(len(fresh))
		for _, m := range fresh {
			r.rep.Bytes += m.Size
		}
		r.tell()
		return nil
	}
	err = r.Source.Fetch(ctx, f, fresh, func(m *Message, body io.Reader) error {
		return r.take(ctx, f, m, body)
	}, func(id string, err error) { r.bad(f, id, err) })
	r.tell()
	return err
}

// take sends a message, and keeps a batch when it is large enough.
func (r *run) take(ctx context.Context, f *Folder, m *Message, body io.Reader) error {
	if m.Size > mover.MaxMessage {
		r.bad(f, m.ID, fmt.Errorf("it has %d bytes, more than the %d that a message can have", m.Size, mover.MaxMessage))
		return nil
	}
	if r.d != nil && (r.count == mover.MaxBatch || r.bytes+m.Size > mover.MaxBatchBytes) {
		if err := r.finish(); err != nil {
			return errTaken{err}
		}
	}
	box, err := r.box(ctx, f, m)
	if err != nil {
		return errTaken{err}
	}
	if r.d == nil {
		r.d = r.Store.Begin(ctx, f.Name)
	}
	r.count, r.bytes = r.count+1, r.bytes+m.Size
	if err := r.d.Send(m, box, body); err != nil {
		// What the other side said tells more than that it stopped listening.
		d := r.d
		r.d = nil
		if errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) {
			if _, _, why := d.Done(); why != nil {
				err = why
			}
		}
		d.Abort(err)
		return errTaken{err}
	}
	return nil
}

func (r *run) finish() error {
	if r.d == nil {
		return nil
	}
	added, dropped, err := r.d.Done()
	r.d = nil
	if err != nil {
		return err
	}
	r.rep.Added, r.rep.Dropped, r.rep.Bytes = r.rep.Added+int64(added), r.rep.Dropped+int64(dropped), r.rep.Bytes+r.bytes
	r.count, r.bytes = 0, 0
	r.tell()
	return nil
}

func (r *run) abort(why error) {
	if r.d != nil {
		r.d.Abort(why)
		r.d = nil
	}
	r.count, r.bytes = 0, 0
}
