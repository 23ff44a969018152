package carrier

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"posthaste/internal/proto/dovecot"
	"posthaste/internal/proto/imap"
)

// A Doveadm is Dovecot's own tool: through it one reads the mail of all users with no
// password, in whatever format Dovecot keeps it.
type Doveadm struct {
	// Command is how it is called, such as "doveadm", or "ssh", "root@old.example",
	// "doveadm". One word, named doveadm, must be the tool itself.
	Command []string
	// Options are what its IMAP is started with: IMAPOptions, mostly.
	Options []string
}

// Check says what is wrong with the command.
func (d Doveadm) Check() error {
	if d.tool() < 0 {
		return fmt.Errorf("%q does not name doveadm: give a command that ends with it, such as \"ssh root@old.example doveadm\"", strings.Join(d.Command, " "))
	}
	return nil
}

// tool gives where in the command doveadm stands.
func (d Doveadm) tool() int {
	return slices.IndexFunc(d.Command, func(w string) bool { return path.Base(w) == "doveadm" })
}

// command makes a command of ours, which is killed when ctx ends.
func (d Doveadm) command(ctx context.Context, words []string, args ...string) *exec.Cmd {
	if path.Base(words[0]) == "ssh" { // a shell reads them there
		for i, a := range args {
			args[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	words = slices.Concat(words, args)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// A grumble is the beginning of what a command says on its error output.
type grumble struct {
	mu   sync.Mutex
	text []byte
}

// Write is as of io.Writer.
func (g *grumble) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := min(len(p), 2000-len(g.text)); n > 0 {
		g.text = append(g.text, p[:n]...)
	}
	return len(p), nil
}

// of joins what was said to an error.
func (g *grumble) of(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	said := strings.Join(strings.Fields(string(bytes.ToValidUTF8(g.text, []byte("?")))), " ")
	if err == nil || said == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, said)
}

// maxLine is how long a line of doveadm may be.
const maxLine = 64 << 10

// lines runs a command and gives the lines of its output.
func (d Doveadm) lines(cmd *exec.Cmd, each func(string) error) error {
	var said grumble
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	in := bufio.NewScanner(out)
	in.Buffer(nil, maxLine)
	for err == nil && in.Scan() {
		err = each(in.Text())
	}
	if err = errors.Join(err, in.Err()); err != nil {
		cmd.Process.Kill()
	}
	return said.of(errors.Join(err, cmd.Wait()))
}

// Users lists the users of the server, if its database of users can be listed.
func (d Doveadm) Users(ctx context.Context) (list []string, err error) {
	err = d.lines(d.command(ctx, d.Command, "user", "*"), func(line string) error {
		if line != "" {
			list = append(list, line)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("doveadm user: %w", err)
	}
	return list, nil
}

// settings asks for settings as they are for a protocol.
func (d Doveadm) settings(ctx context.Context, protocol string, names ...string) (values []string, err error) {
	words := slices.Clone(d.Command)
	i := d.tool()
	words[i] = strings.TrimSuffix(words[i], "doveadm") + "doveconf"
	err = d.lines(d.command(ctx, words, append([]string{"-h", "-f", "protocol=" + protocol}, names...)...), func(line string) error {
		values = append(values, line)
		return nil
	})
	if err == nil && len(values) != len(names) {
		err = fmt.Errorf("it says %d lines", len(values))
	}
	return values, err
}

// UIDLFormat asks how Dovecot makes unique ids of POP3.
func (d Doveadm) UIDLFormat(ctx context.Context) (f UIDLFormat, err error) {
	v, err := d.settings(ctx, "pop3", "pop3_uidl_format")
	if err == nil {
		f = UIDLFormat(v[0])
		err = f.Check()
	}
	if err != nil {
		return "", fmt.Errorf("doveconf pop3_uidl_format: %w; give the format with --uidl, or --uidl none if nobody uses POP3", err)
	}
	return f, nil
}

// IMAPOptions gives the options with which IMAP has the plugins that it has for people:
// without them it knows no rights and no notes. If Dovecot does not say, there are none.
func (d Doveadm) IMAPOptions(ctx context.Context) (out []string) {
	v, err := d.settings(ctx, "imap", "mail_plugins", "imap_metadata")
	if err != nil || strings.ContainsAny(v[0], "={}") {
		return nil
	}
	if v[0] != "" {
		out = append(out, "-o", "mail_plugins="+v[0])
	}
	if v[1] == "yes" {
		out = append(out, "-o", "imap_metadata=yes")
	}
	return out
}

// Open reads the mail of a user, over IMAP from a process of Dovecot's that lets us in
// at once. The ids that POP3 clients have seen come along: those that Dovecot keeps,
// else in the format given.
func (d Doveadm) Open(ctx context.Context, user string, uidl UIDLFormat) (*IMAP, error) {
	s, err := NewIMAP(ctx, &Server{Host: "doveadm", Security: "none", User: user, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.imap(ctx, user)
	}}, uidl)
	if err != nil {
		return nil, err
	}
	s.name = "dovecot:" + user
	s.kept = func(ctx context.Context) (map[uint32]keptID, error) { return d.uidls(ctx, user) }
	return s, nil
}

// A keptID is what Dovecot knows of a message beside what IMAP tells.
type keptID struct{ guid, uidl string }

// uidls gives the ids of the messages in INBOX, which is what POP3 shows.
func (d Doveadm) uidls(ctx context.Context, user string) (map[uint32]keptID, error) {
	out := map[uint32]keptID{}
	cmd := d.command(ctx, d.Command, "-f", "tab", "fetch", "-u", user, "uid guid pop3.uidl", "mailbox", imap.Inbox)
	err := d.lines(cmd, func(line string) error {
		row := dovecot.Row(line)
		if len(row) != 3 {
			return fmt.Errorf("%q is no row of three columns", line)
		}
		if uid, err := strconv.ParseUint(row[0], 10, 32); err == nil { // not the headline
			out[uint32(uid)] = keptID{row[1], row[2]}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("doveadm fetch: %w", err)
	}
	return out, nil
}

// imap starts Dovecot's IMAP for a user.
func (d Doveadm) imap(ctx context.Context, user string) (net.Conn, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, inR.Close(), inW.Close())
	}
	p := &process{in: inW, out: outR, done: make(chan struct{})}
	ctx, p.kill = context.WithCancel(ctx)
	cmd := d.command(ctx, d.Command, slices.Concat([]string{"exec", "imap"}, d.Options, []string{"-u", user})...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, &p.said
	err = cmd.Start()
	inR.Close()
	outW.Close()
	if err != nil {
		p.kill()
		return nil, errors.Join(err, inW.Close(), outR.Close())
	}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
	}()
	return p, nil
}

// A process is a command as a connection: what is written is its input, what is read
// its output.
type process struct {
	net.Conn // nil: nobody asks for addresses
	in, out  *os.File
	said     grumble
	kill     context.CancelFunc
	done     chan struct{}
	err      error // how it ended, once done is closed
}

// Read is as of net.Conn. At the end it tells why the process ended, if it knows.
func (p *process) Read(b []byte) (int, error) {
	n, err := p.out.Read(b)
	if n == 0 && errors.Is(err, io.EOF) {
		err = p.why(err)
	}
	return n, err
}

// Write is as of net.Conn.
func (p *process) Write(b []byte) (int, error) {
	n, err := p.in.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		err = p.why(err)
	}
	return n, err
}

// why gives how the process ended, in place of what we saw of that.
func (p *process) why(saw error) error {
	late := time.NewTimer(farewell)
	defer late.Stop()
	select {
	case <-late.C: // it only listens or speaks no more
	case <-p.done:
		if p.err != nil {
			return p.said.of(p.err)
		}
	}
	return saw
}

// SetReadDeadline is as of net.Conn.
func (p *process) SetReadDeadline(t time.Time) error { return p.out.SetReadDeadline(t) }

// SetWriteDeadline is as of net.Conn.
func (p *process) SetWriteDeadline(t time.Time) error { return p.in.SetWriteDeadline(t) }

// farewell is how long a process may take to end by itself.
const farewell = 5 * time.Second

// Close lets the process end, and ends it if it does not.
func (p *process) Close() error {
	err := errors.Join(p.in.Close(), p.out.Close())
	late := time.AfterFunc(farewell, p.kill)
	<-p.done
	late.Stop()
	p.kill()
	return err
}
