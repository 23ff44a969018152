package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"posthaste/internal/agent/backup"
	"posthaste/internal/base/mail"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/service/admind"
)

// backups is the command "backup".
func (t *tool) backups() *cobra.Command {
	c := &cobra.Command{
		Use: "backup", Short: "Copies of the whole store, while the server runs", GroupID: "move",
		Long: `Make, look at and verify copies of the whole store: mail, accounts, the queue and
the keys. The server goes on meanwhile; a copy is the store at one moment. Each is
a generation of its own, but only what is new takes room. Restore from one with
"posthaste restore". The configuration file and certificates are not in it.

The server makes them by itself if its configuration says so:

  [backup]
  directory = "/backup/posthaste"
  every = "1d"
  keep = 14

PLACE is a folder, or a bucket of S3 as "s3://bucket/prefix". How that is reached
[backup.s3] says; without it, key and secret are those of the environment,
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

With recipients, backups are encrypted (age); make a key with age-keygen, keep it
elsewhere, and name its public part. Whoever restores needs the key.`,
		Example: `  posthaste backup create /backup/posthaste
  posthaste backup list /backup/posthaste
  posthaste backup verify s3://backups/posthaste --scratch /var/tmp`,
	}
	c.AddCommand(t.backupCreate(), t.backupList(), t.backupVerify(), t.backupPrune())
	return c
}

func (t *tool) backupCreate() *cobra.Command {
	var to []string
	var keep int
	c := &cobra.Command{
		Use: "create PLACE", Short: "Make a backup", Args: cobra.ExactArgs(1),
		Example: "  posthaste backup create /backup/posthaste --recipient age1... --keep 14",
	}
	c.Flags().StringArrayVar(&to, "recipient", nil, "encrypt it for this `key` of age, age1... (may be said again)")
	c.Flags().IntVar(&keep, "keep", 0, "forget all but so `many`; 0 keeps all")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		where, err := whole(args[0])
		if err != nil {
			return err
		}
		w, err := cl.Backup(ctx, admind.BackupRequest{Directory: where, Recipients: to})
		if err != nil {
			return err
		}
		stdout.Printf("backup %s: %s in %d files, %s of it new\n", w.Generation, mail.Size(w.Bytes), w.Files, mail.Size(w.New))
		if keep < 0 {
			return errors.New("--keep is how many backups stay, or 0 for all")
		}
		if keep > 0 {
			return t.prune(ctx, where, keep)
		}
		return nil
	})
	return c
}

// whole gives a place of backups by a name that the server understands, too.
func whole(where string) (string, error) {
	if backup.IsBucket(where) {
		return where, nil
	}
	return filepath.Abs(where)
}

// repository gives the backups at a place. What is not in a folder is reached as the
// configuration says.
func (t *tool) repository(where string) (*backup.Repository, error) {
	cfg := config.Default()
	if backup.IsBucket(where) {
		var err error
		if cfg, err = t.read(); err != nil {
			return nil, err
		}
	}
	at, err := server.Depot(cfg, where)
	return &backup.Repository{Depot: at}, err
}

func (t *tool) backupList() *cobra.Command {
	return &cobra.Command{
		Use: "list PLACE", Short: "List backups, the oldest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := t.repository(args[0])
			if err != nil {
				return err
			}
			all, err := r.Generations(cmd.Context())
			for _, g := range all {
				at, _ := backup.Time(g)
				stdout.Printf("%s  made %s\n", g, at.Local().Format("2006-01-02 15:04:05"))
			}
			return err
		},
	}
}

func (t *tool) backupPrune() *cobra.Command {
	var keep int
	c := &cobra.Command{
		Use: "prune PLACE", Short: "Forget old backups", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return t.prune(cmd.Context(), args[0], keep) },
	}
	c.Flags().IntVar(&keep, "keep", 14, "keep so `many`")
	return c
}

func (t *tool) prune(ctx context.Context, where string, keep int) error {
	if keep < 1 {
		return errors.New("at least one backup is kept")
	}
	r, err := t.repository(where)
	if err != nil {
		return err
	}
	n, freed, err := r.Prune(ctx, keep)
	if err == nil && n > 0 {
		stdout.Printf("forgot %s; that freed %s\n", mail.Many(n, "old backup"), mail.Size(freed))
	}
	return err
}

// A chosen backup is what commands that read one are told.
type chosen struct{ generation, at, identity, scratch string }

func (b *chosen) flags(c *cobra.Command) {
	c.Flags().StringVar(&b.generation, "generation", "", "which `backup`, as list has it; without it, the last")
	c.Flags().StringVar(&b.at, "at", "", "the last backup before this `time`, such as 2026-11-20T10:00")
	c.Flags().StringVar(&b.identity, "identity", "", "a `file` with the key of age that opens it")
}

func (b *chosen) scratchFlag(c *cobra.Command) {
	c.Flags().StringVar(&b.scratch, "scratch", "", "a `folder` with room for the whole store; without it, the one for temporary files")
}

// open opens the backup that is chosen.
func (b *chosen) open(ctx context.Context, t *tool, where string) (*backup.Repository, *backup.Generation, error) {
	r, err := t.repository(where)
	if err != nil {
		return nil, nil, err
	}
	if b.identity != "" {
		f, err := os.Open(b.identity)
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		if r.Identities, err = age.ParseIdentities(f); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", b.identity, err)
		}
	}
	generation := b.generation
	if b.at != "" {
		if generation, err = b.moment(ctx, r); err != nil {
			return nil, nil, err
		}
	}
	g, err := r.Open(ctx, generation)
	return r, g, err
}

// moment gives the generation of the time that was said.
func (b *chosen) moment(ctx context.Context, r *backup.Repository) (string, error) {
	if b.generation != "" {
		return "", errors.New("say --at or --generation, not both")
	}
	t, err := parseMoment(b.at)
	if err != nil {
		return "", err
	}
	return r.At(ctx, t)
}

// parseMoment reads a time of a person: without a zone it is this machine's.
func parseMoment(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, form := range [...]string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write it as 2026-11-20T10:00", s)
}

// unpack restores a backup into a scratch folder and opens the store there.
func (b *chosen) unpack(ctx context.Context, t *tool, where string) (cl *admind.Client, name string, done func() error, err error) {
	r, g, err := b.open(ctx, t, where)
	if err != nil {
		return nil, "", nil, err
	}
	name = g.Name
	scratch, err := os.MkdirTemp(b.scratch, "posthaste-backup-")
	if err != nil {
		return nil, "", nil, errors.Join(err, g.Close())
	}
	remove := func() error { return os.RemoveAll(scratch) }
	err = r.Restore(ctx, g.Manifest, scratch, showBytes("reading backup "+name))
	if err = errors.Join(err, g.Close()); err != nil {
		return nil, "", nil, errors.Join(err, remove())
	}
	cfg := config.Default()
	cfg.Data = scratch
	cl, closeStore, err := openAlone(cfg)
	if err != nil {
		return nil, "", nil, errors.Join(fmt.Errorf("backup %s: the store in it cannot be opened: %w", name, err), remove())
	}
	return cl, name, func() error { return errors.Join(closeStore(), remove()) }, nil
}

// openAlone opens the store that is there for this command alone.
func openAlone(cfg config.Config) (*admind.Client, func() error, error) {
	log := slog.New(slog.DiscardHandler)
	st, err := server.OpenStore(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	h, err := server.Build(cfg, server.Outside{DB: st.DB, Blobs: st.Blobs, Backup: st.Backups(version), Log: log, Version: version, TLS: certificates(cfg)})
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return admind.InProcess(h.Admin.Handler()), st.Close, nil
}

// showBytes gives what shows how far a restore is.
func showBytes(what string) func(done, all int64) {
	b := newBar(!term.IsTerminal(int(os.Stderr.Fd())), what)
	return func(done, all int64) {
		b.show(fmt.Sprintf("%s: %s of %s", what, mail.Size(done), mail.Size(all)))
		if done == all {
			b.end()
		}
	}
}

func (t *tool) backupVerify() *cobra.Command {
	var b chosen
	c := &cobra.Command{
		Use: "verify PLACE", Short: "Restore a backup into a scratch folder and check everything in it", Args: cobra.ExactArgs(1),
		Long: `Restore a backup into a scratch folder, with the checksum of every piece, and run
the whole check of "posthaste check" over the store that comes out: every message
is read. The scratch folder is removed.`,
		Example: "  posthaste backup verify /backup/posthaste --scratch /var/tmp",
	}
	b.flags(c)
	b.scratchFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cl, name, done, err := b.unpack(cmd.Context(), t, args[0])
		if err != nil {
			return err
		}
		wrong := 0
		err = cl.Check(cmd.Context(), func(f admind.Finding) {
			if f.Wrong != "" {
				wrong++
				stdout.Println(f.Wrong)
			}
		})
		var messages, bytes int64
		list, err2 := cl.Accounts(cmd.Context())
		for _, a := range list {
			messages, bytes = messages+a.Messages, bytes+a.Used
		}
		if err = errors.Join(err, err2, done()); err != nil {
			return err
		}
		if wrong > 0 {
			return fmt.Errorf("backup %s: %d things are wrong", name, wrong)
		}
		stdout.Printf("backup %s is whole: %s, %s, %s\n", name, mail.Many(len(list), "account"), mail.Many(messages, "message"), mail.Size(bytes))
		return nil
	}
	return c
}

// tellBackups says how the backups of the schedule stand; false if not well.
func tellBackups(ctx context.Context, cl *admind.Client) (bool, error) {
	st, err := cl.BackupState(ctx)
	if err != nil || st.Directory == "" {
		return true, err
	}
	last := "there is none yet"
	if !st.Last.IsZero() {
		last = fmt.Sprintf("the last is of %s, %d are kept", st.Last.Local().Format("2006-01-02 15:04"), st.Kept)
	}
	stdout.Printf("Backups in %s: %s.\n", st.Directory, last)
	if st.Failed != "" {
		stdout.Printf("The last try failed: %s\n", st.Failed)
	}
	if st.Late {
		stdout.Printf("That is late: there should be one every %s.\n", time.Duration(st.Every))
	}
	return st.Failed == "" && !st.Late, nil
}
