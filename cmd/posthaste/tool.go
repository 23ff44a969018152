package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"posthaste/internal/base/mail"
	"posthaste/internal/engine/dir"
	"posthaste/internal/server/config"
	"posthaste/internal/server/listen"
	"posthaste/internal/service/admind"
)

// A tool is what all commands share.
type tool struct {
	config string // the file
	data   string // instead of the file's
}

// read reads the configuration. A file that was not asked for need not exist.
func (t *tool) read() (config.Config, error) {
	c, err := config.Read(t.config)
	if errors.Is(err, fs.ErrNotExist) && t.config == systemConfig {
		c, err = config.Default(), nil
	}
	if t.data != "" {
		c.Data = t.data
	}
	return c, err
}

// socketName is where a running server listens for the commands, in its data
// folder, which only its own user can look into.
const socketName = "admin.sock"

// client gives a client of the server that runs on the store; if none does, of
// one that is put together for this command alone. A store is made only if the command
// is one that begins it.
func (t *tool) client(ctx context.Context, begins bool) (c *admind.Client, done func() error, err error) {
	cfg, err := t.read()
	if err != nil {
		return nil, nil, err
	}
	if c := dial(ctx, filepath.Join(cfg.Data, socketName)); c != nil {
		return c, func() error { return nil }, nil
	}
	if !begins && !dir.Exists(cfg.Data) {
		return nil, nil, fmt.Errorf("there is no store in %s: name its folder with --data, or the right --config; \"posthaste serve\" makes a new one, and so does \"posthaste domain add\"", cfg.Data)
	}
	return openAlone(cfg)
}

// certificates gives those that the server has, as far as they can be read: they
// are for what it tells others to publish.
func certificates(c config.Config) *tls.Config {
	pairs := c.TLS
	if len(pairs) == 0 {
		dir := filepath.Join(c.Data, "tls")
		pairs = []config.KeyPair{{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}}
	}
	cfg, err := listen.Certificates(pairs)
	if err != nil {
		return nil
	}
	return cfg
}

// dial gives a client of the socket if somebody answers there.
func dial(ctx context.Context, socket string) *admind.Client {
	c := &admind.Client{HTTP: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
	if _, err := c.Status(ctx); err != nil {
		return nil
	}
	return c
}

// with runs fn with a client.
func (t *tool) with(fn func(ctx context.Context, c *admind.Client, args []string) error) func(*cobra.Command, []string) error {
	return t.withStore(false, fn)
}

// beginning is with for commands with which a store begins.
func (t *tool) beginning(fn func(ctx context.Context, c *admind.Client, args []string) error) func(*cobra.Command, []string) error {
	return t.withStore(true, fn)
}

func (t *tool) withStore(begins bool, fn func(ctx context.Context, c *admind.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, done, err := t.client(cmd.Context(), begins)
		if err != nil {
			return err
		}
		return errors.Join(fn(cmd.Context(), c, args), done())
	}
}

// logger gives the log of the configuration, on standard error.
func logger(l config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// plain makes what strangers wrote harmless for a terminal, on one line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// plainly is plain for what may have several lines.
func plainly(s string) string {
	list := strings.Split(s, "\n")
	for i := range list {
		list[i] = plain(strings.ReplaceAll(list[i], "\t", "    "))
	}
	return strings.Join(list, "\n")
}

// shown gives an address as people write it, also "@domain".
func shown(address string) string {
	if domain, all := strings.CutPrefix(address, "@"); all {
		d, err := mail.ParseDomain(domain)
		if err != nil {
			return address
		}
		return "@" + d.Unicode()
	}
	a, err := mail.ParseAddress(address)
	if err != nil {
		return address
	}
	return a.Unicode()
}

// days gives "30d" in words.
func days(after string) string {
	n, err := strconv.Atoi(strings.TrimSuffix(after, "d"))
	if err != nil {
		return after
	}
	return mail.Many(n, "day")
}
