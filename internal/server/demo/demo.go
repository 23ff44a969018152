// Package demo is a small world on loopback: a server with two domains, people
// with mail, and an outside that receives, delays or refuses. Everything in it
// is the real server; only the DNS and the other side are made up.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"posthaste/internal/agent/registrar"
	"posthaste/internal/base/dns/zone"
	"posthaste/internal/base/mail"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/server/listen"
)

// The names of the small world. RFC 2606 keeps them free.
const (
	host          = "mail.hill.example"
	outsideDomain = "outside.example"
	outsideHost   = "mx.outside.example"
	outsideIP     = "192.0.2.25" // for documentation, RFC 5737: leads to our own loopback port
)

var domains = []mail.Domain{"hill.example", "vale.example"}

// ports are tried first; if one is taken, any other is.
var ports = []struct{ name, protocol, tls, port string }{
	{"smtp", "smtp", "starttls", "2525"},
	{"submission", "submission", "starttls", "2587"},
	{"submissions", "submission", "implicit", "2465"},
	{"imap", "imap", "starttls", "2143"},
	{"imaps", "imap", "implicit", "2993"},
	{"pop3", "pop3", "starttls", "2110"},
	{"pop3s", "pop3", "implicit", "2995"},
	{"sieve", "sieve", "starttls", "2190"},
	{"web", "https", "implicit", "2443"},
}

// A Person has an account.
type Person struct {
	Address  string `json:"address"`
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Outside tells what the addresses outside do.
type Outside struct {
	Domain    string            `json:"domain"`
	Addresses map[string]string `json:"addresses"`
}

// A World says how to reach what runs.
type World struct {
	SMTP        string   `json:"smtp"`
	Submission  string   `json:"submission"`
	Submissions string   `json:"submissions"`
	IMAP        string   `json:"imap"`
	IMAPS       string   `json:"imaps"`
	POP3        string   `json:"pop3"`
	POP3S       string   `json:"pop3s"`
	Sieve       string   `json:"sieve"`
	Web         string   `json:"web"`
	CA          string   `json:"ca"`
	Domains     []string `json:"domains"`
	People      []Person `json:"people"`
	Outside     Outside  `json:"outside"`
	Data        string   `json:"data"`
}

// A Demo is the small world, put together.
type Demo struct {
	World World
	House *server.House

	sockets listen.Sockets
	outside *outside
}

// What the next start finds again: who was made up, and the ports, which may stand in
// somebody's mail program.
const (
	peopleFile = "demo.json"
	portsFile  = "ports.json"
)

// New puts the world together over a store in the folder data, and fills it at
// its first use.
func New(ctx context.Context, data string, st *server.Store, log *slog.Logger, version string) (*Demo, error) {
	d := &Demo{World: World{Data: data}}
	pair, ca, err := listen.SelfMade(filepath.Join(data, "tls"), "localhost", "127.0.0.1", "::1", host)
	if err != nil {
		return nil, err
	}
	cfg, err := listen.Certificates([]config.KeyPair{pair})
	if err != nil {
		return nil, err
	}
	d.World.CA = ca
	if d.outside, err = newOutside(log, cfg); err != nil {
		return nil, err
	}
	c := config.Default()
	c.Hostname, c.Data = host, data
	if err := d.open(&c); err != nil {
		return nil, err
	}
	c.Limits.TrustedNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	c.Limits.UsualRecipientsPerDay = 0 // here nobody has a past
	c.Queue.FirstRetry, c.Queue.LastRetry, c.Queue.WarnAfter = config.Duration(10*time.Second), config.Duration(5*time.Minute), config.Duration(2*time.Minute)
	d.House, err = server.Build(c, server.Outside{
		DB: st.DB, Blobs: st.Blobs, Failed: st.Failed, Full: st.Full, Backup: st.Backups(version), DNS: world(), Dial: d.outside.dial,
		Log: log, TLS: cfg, Listen: d.sockets.Listen, Version: version, Metrics: st.Metrics(),
	})
	if err != nil {
		return nil, err
	}
	return d, d.people(ctx)
}

// open finds a port for each service: that of the last start, the usual one, or any.
func (d *Demo) open(c *config.Config) error {
	c.Listeners = nil
	at := map[string]*string{
		"smtp": &d.World.SMTP, "submission": &d.World.Submission, "submissions": &d.World.Submissions,
		"imap": &d.World.IMAP, "imaps": &d.World.IMAPS, "pop3": &d.World.POP3, "pop3s": &d.World.POP3S, "sieve": &d.World.Sieve, "web": &d.World.Web,
	}
	file, last := filepath.Join(d.World.Data, portsFile), map[string]string{}
	if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &last) != nil {
		last = map[string]string{} // it was cut short: then there are others
	}
	for _, p := range ports {
		port, err := d.port(last[p.name], p.port)
		if err != nil {
			return fmt.Errorf("demo: no free port: %w", err)
		}
		last[p.name], *at[p.name] = port, loopback(port)
		c.Listeners = append(c.Listeners, config.Listener{Address: loopback(port), Protocol: p.protocol, TLS: p.tls, PlaintextLogin: true})
	}
	b, err := json.Marshal(last)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// port opens the first of some ports that can be had; "" is none.
func (d *Demo) port(wishes ...string) (string, error) {
	for _, w := range wishes {
		if w != "" && d.sockets.Open(loopback(w)) == nil {
			return w, nil
		}
	}
	for n := 0; ; n++ {
		free, err := net.Listen("tcp", loopback("0"))
		if err != nil {
			return "", err
		}
		_, port, _ := net.SplitHostPort(free.Addr().String())
		free.Close()
		if err = d.sockets.Open(loopback(port)); err == nil || n == 10 { // another may be quicker
			return port, err
		}
	}
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }

// world is the DNS.
func world() *zone.Zone {
	z := new(zone.Zone)
	for _, d := range domains {
		z.MXHost(d, 10, host)
	}
	z.Address(host, "192.0.2.1")
	return z.MXHost(outsideDomain, 10, outsideHost).Address(outsideHost, outsideIP)
}

// people finds the people of the last start, or makes them up.
func (d *Demo) people(ctx context.Context) error {
	d.World.Outside = Outside{Domain: outsideDomain, Addresses: describe()}
	for _, dom := range domains {
		d.World.Domains = append(d.World.Domains, string(dom))
	}
	file := filepath.Join(d.World.Data, peopleFile)
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &d.World.People); err != nil {
			return fmt.Errorf("demo: %s: %w", file, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("demo: %w", err)
	default:
		for _, p := range cast {
			d.World.People = append(d.World.People, Person{Address: p.local + "@" + string(p.domain), Name: p.name, Password: newPassword()})
		}
		if b, err = json.MarshalIndent(d.World.People, "", "  "); err != nil {
			return err
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	return d.fill(ctx)
}

// fill adds what is missing: a start that was cut short is taken up again.
func (d *Demo) fill(ctx context.Context) error {
	for _, dom := range domains {
		if err := d.House.Admin.Registrar.AddDomain(ctx, dom); err != nil && !errors.Is(err, mail.ErrExists) {
			return fmt.Errorf("demo: %w", err)
		}
	}
	for _, p := range d.World.People {
		addr, err := mail.ParseAddress(p.Address)
		if err != nil {
			return fmt.Errorf("demo: %s: %w", p.Address, err)
		}
		a, err := d.House.Admin.Registrar.AddAccount(ctx, registrar.NewAccount{Address: addr, Name: p.Name, Password: p.Password})
		if errors.Is(err, mail.ErrExists) {
			continue
		}
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		if err := d.write(ctx, a.ID, p); err != nil {
			return fmt.Errorf("demo: mail for %s: %w", p.Address, err)
		}
	}
	return nil
}

// newPassword gives five syllables that can be typed on any keyboard: some 57
// bits.
func newPassword() string {
	const consonants, vowels = "bdfghjklmnprstvz", "aeiou"
	b := make([]byte, 15)
	rand.Read(b)
	var s strings.Builder
	for i := 0; i < len(b); i += 3 {
		if i > 0 {
			s.WriteByte('-')
		}
		s.WriteByte(consonants[b[i]%16])
		s.WriteByte(vowels[b[i+1]%5])
		s.WriteByte(consonants[b[i+2]%16])
	}
	return s.String()
}

// Run runs the world until ctx ends. ready is called once all ports answer.
func (d *Demo) Run(ctx context.Context, ready func()) error {
	defer d.sockets.Close()
	if err := d.House.Recover(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- d.outside.run(ctx) }()
	err := d.House.Run(ctx, ready)
	cancel()
	return errors.Join(err, <-ended)
}
