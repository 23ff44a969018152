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

With recipients, backups are encrypted (age); make a key with age-keygen, keep it
elsewhere, and name its public part. Whoever restores needs the key.`,
		Example: `  posthaste backup create /backup/posthaste
  posthaste backup list /backup/posthaste
  posthaste backup verify /backup/posthaste`,
	}
	c.AddCommand(t.backupCreate(), backupList(), t.backupVerify(), backupPrune())
	return c
}

func (t *tool) backupCreate() *cobra.Command {
	var to []string
	var keep int
	c := &cobra.Command{
		Use: "create DIR", Short: "Make a backup", Args: cobra.ExactArgs(1),
		Example: "  posthaste backup create /backup/posthaste --recipient age1... --keep 14",
	}
	c.Flags().StringArrayVar(&to, "recipient", nil, "encrypt it for this `key` of age, age1... (may be said again)")
	c.Flags().IntVar(&keep, "keep", 0, "forget all but so `many`; 0 keeps all")
	c.RunE = t.with(func(ctx context.Context, cl *admind.Client, args []string) error {
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		w, err := cl.Backup(ctx, admind.BackupRequest{Directory: dir, Recipients: to})
		if err != nil {
			return err
		}
		fmt.Printf("backup %s: %s in %d files, %s of it new\n", w.Generation, size(w.Bytes), w.Files, size(w.New))
		if keep > 0 {
			return prune(dir, keep)
		}
		return nil
	})
	return c
}

func backupList() *cobra.Command {
	return &cobra.Command{
		Use: "list DIR", Short: "List backups, the oldest first", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			all, err := (&backup.Repository{Dir: args[0]}).Generations()
			for _, g := range all {
				at, _ := backup.Time(g)
				fmt.Printf("%s  made %s\n", g, at.Local().Format("2006-01-02 15:04:05"))
			}
			return err
		},
	}
}

func backupPrune() *cobra.Command {
	var keep int
	c := &cobra.Command{
		Use: "prune DIR", Short: "Forget old backups", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return prune(args[0], keep) },
	}
	c.Flags().IntVar(&keep, "keep", 14, "keep so `many`")
	return c
}

func prune(dir string, keep int) error {
	if keep < 1 {
		return errors.New("at least one backup is kept")
	}
	n, freed, err := (&backup.Repository{Dir: dir}).Prune(keep)
	if err == nil && n > 0 {
		fmt.Printf("forgot %d old backups; that freed %s\n", n, size(freed))
	}
	return err
}

// A chosen backup is what commands that read one are told.
type chosen struct{ generation, identity, scratch string }

func (b *chosen) flags(c *cobra.Command) {
	c.Flags().StringVar(&b.generation, "generation", "", "which `backup`, as list has it; without it, the last")
	c.Flags().StringVar(&b.identity, "identity", "", "a `file` with the key of age that opens it")
}

func (b *chosen) scratchFlag(c *cobra.Command) {
	c.Flags().StringVar(&b.scratch, "scratch", "", "a `folder` with room for the whole store; without it, the one for temporary files")
}

func (b *chosen) open(dir string) (*backup.Repository, string, backup.Manifest, error) {
	r := &backup.Repository{Dir: dir}
	if b.identity != "" {
		f, err := os.Open(b.identity)
		if err != nil {
			return nil, "", backup.Manifest{}, err
		}
		defer f.Close()
		if r.Identities, err = age.ParseIdentities(f); err != nil {
			return nil, "", backup.Manifest{}, fmt.Errorf("%s: %w", b.identity, err)
		}
	}
	name, m, err := r.Open(b.generation)
	return r, name, m, err
}

// unpack restores a backup into a scratch folder and opens the store there.
func (b *chosen) unpack(ctx context.Context, dir string) (cl *admind.Client, name string, done func() error, err error) {
	r, name, m, err := b.open(dir)
	if err != nil {
		return nil, "", nil, err
	}
	scratch, err := os.MkdirTemp(b.scratch, "posthaste-backup-")
	if err != nil {
		return nil, "", nil, err
	}
	remove := func() error { return os.RemoveAll(scratch) }
	if err := r.Restore(ctx, m, scratch, showBytes("reading backup "+name)); err != nil {
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

// openAlone opens a store for this command alone.
func openAlone(cfg config.Config) (*admind.Client, func() error, error) {
	log := slog.New(slog.DiscardHandler)
	st, err := server.OpenStore(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	h, err := server.Build(cfg, server.Outside{DB: st.DB, Blobs: st.Blobs, Backup: backupOf(st), Log: log, Version: version, TLS: certificates(cfg)})
	if err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return admind.InProcess(h.Admin.Handler()), st.Close, nil
}

func backupOf(st *server.Store) func(context.Context, *backup.Repository) (backup.Written, error) {
	return func(ctx context.Context, r *backup.Repository) (backup.Written, error) {
		return st.Backup(ctx, r, version)
	}
}

// showBytes gives what shows how far a restore is.
func showBytes(what string) func(done, all int64) {
	b := newBar(!term.IsTerminal(int(os.Stderr.Fd())), what)
	return func(done, all int64) {
		b.show(fmt.Sprintf("%s: %s of %s", what, size(done), size(all)))
		if done == all {
			b.end()
		}
	}
}

func (t *tool) backupVerify() *cobra.Command {
	var b chosen
	c := &cobra.Command{
		Use: "verify DIR", Short: "Restore a backup into a scratch folder and check everything in it", Args: cobra.ExactArgs(1),
		Long: `Restore a backup into a scratch folder, with the checksum of every piece, and run
the whole check of "posthaste check" over the store that comes out: every message
is read. The scratch folder is removed.`,
		Example: "  posthaste backup verify /backup/posthaste --scratch /var/tmp",
	}
	b.flags(c)
	b.scratchFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		cl, name, done, err := b.unpack(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		wrong := 0
		err = cl.Check(cmd.Context(), func(f admind.Finding) {
			if f.Wrong != "" {
				wrong++
				fmt.Println(f.Wrong)
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
		fmt.Printf("backup %s is whole: %d accounts, %d messages, %s\n", name, len(list), messages, size(bytes))
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
	fmt.Printf("Backups in %s: %s.\n", st.Directory, last)
	if st.Failed != "" {
		fmt.Printf("The last try failed: %s\n", st.Failed)
	}
	if st.Late {
		fmt.Printf("That is late: there should be one every %s.\n", time.Duration(st.Every))
	}
	return st.Failed == "" && !st.Late, nil
}
