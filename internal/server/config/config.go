// Package config reads the configuration file: a small, strict TOML file in
// which every default is right for a small server. Domains, accounts and
// aliases are not in it; they are in the store, and change while the server
// runs. Only the server and the command know this package.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"posthaste/internal/base/mail"
)

// A Config is the file.
type Config struct {
	// Hostname is what the server calls itself in greetings, Received fields
	// and reports: the name that its MX record and its certificate have.
	Hostname string `toml:"hostname"`
	// Data is the folder of the store; it is made if it does not exist.
	Data string `toml:"data"`
	// Cache is how much memory may hold what is often read; 0 is what fits the
	// machine.
	Cache Size `toml:"cache"`

	Log       Log        `toml:"log"`
	TLS       []KeyPair  `toml:"tls"`
	DNS       DNS        `toml:"dns"`
	Listeners []Listener `toml:"listener"`
	Routes    []Route    `toml:"route"`
	Egress    []Egress   `toml:"egress"`
	// Destinations are what some destinations bear.
	Destinations []Destination `toml:"destination"`
	Auth         Auth          `toml:"auth"`
	Receive      Receive       `toml:"receive"`
	Milters      []Milter      `toml:"milter"`
	Hooks        []Hook        `toml:"hook"`
	Limits       Limits        `toml:"limits"`
	Queue        Queue         `toml:"queue"`
	Deleted      Deleted       `toml:"deleted"`
	Collect      Collect       `toml:"collect"`
	POP3         POP3          `toml:"pop3"`
	Backup       Backup        `toml:"backup"`
	MTASTS       MTASTS        `toml:"mta_sts"`
	Reports      Reports       `toml:"reports"`
	Web          Web           `toml:"web"`
}

// Log says what is written to standard error, and how.
type Log struct {
	Level  string `toml:"level"`  // debug, info, warn or error
	Format string `toml:"format"` // text or json
}

// A KeyPair names a certificate chain and its key, both PEM. The first pair
// serves names that no other has.
type KeyPair struct {
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
}

// DNS says whom to ask.
type DNS struct {
	// Servers are addresses, with or without a port; none means those that the
	// system uses.
	Servers []string `toml:"servers"`
	// Recursive: ask no such servers, but those of the root and of each zone.
	Recursive bool `toml:"recursive"`
	// DNSSEC is auto, always or never: whether answers are validated.
	DNSSEC string `toml:"dnssec"`
	// RootServers and TrustAnchors (DS records) are those of another root.
	RootServers  []netip.Addr `toml:"root_servers"`
	TrustAnchors []string     `toml:"trust_anchors"`
}

// A Listener is a port that is listened on.
type Listener struct {
	Address  string `toml:"address"`  // host:port; ":25" is all addresses
	Protocol string `toml:"protocol"` // smtp, submission, lmtp, imap, pop3, sieve, https or metrics
	TLS      string `toml:"tls"`      // starttls, implicit or none
	// PlaintextLogin allows passwords on connections without TLS.
	PlaintextLogin bool `toml:"plaintext_login"`
	// ProxyFrom are the load balancers that tell by the PROXY protocol whom they
	// speak for.
	ProxyFrom []netip.Prefix `toml:"proxy_from"`
	// ClientCertificates asks programs for a certificate that they can log in with.
	ClientCertificates bool `toml:"client_certificates"`
	// XClientFrom are the fronts that tell by XCLIENT whom they speak for, and whom
	// they have let log in.
	XClientFrom []netip.Prefix `toml:"xclient_from"`
	// MetricsOpen lets metrics, which have no login, be read from other machines.
	MetricsOpen bool `toml:"metrics_open"`
	// ALPN are protocols that the port serves beside https, for those that ask for them
	// by ALPN: imap, pop3, sieve, submission.
	ALPN []string `toml:"alpn"`
}

// Auth says how people log in.
type Auth struct {
	// OfferChannelBinding announces SCRAM-SHA-256-PLUS.
	OfferChannelBinding bool `toml:"offer_channel_binding"`
	// ScramSHA1 announces SCRAM-SHA-1, and makes its keys of new passwords.
	ScramSHA1 bool `toml:"scram_sha_1"`
	// Issuers give tokens that people log in with: OAUTHBEARER and XOAUTH2.
	Issuers []Issuer `toml:"issuer"`
}

// A Destination says how much a destination is sent at a time; 0 is the default.
type Destination struct {
	// Match is a domain, the name of an MX host or smarthost, or a provider by the
	// name that Posthaste has for it ("google", "microsoft", "yahoo" ...).
	Match                 string `toml:"match"`
	Connections           int    `toml:"connections"`
	MessagesPerConnection int    `toml:"messages_per_connection"`
	MessagesPerMinute     int    `toml:"messages_per_minute"`
}

// Receive says how mail from others is judged.
type Receive struct {
	// TrustedNetworks are those whose mail is not: SPF, DKIM and DMARC are not
	// looked at.
	TrustedNetworks []netip.Prefix `toml:"trusted_networks"`
	// ForwardJunk sends on also what was judged to be junk.
	ForwardJunk bool `toml:"forward_junk"`
	// Lists are asked for the address of who brings mail.
	Lists []List `toml:"list"`
	// The points for an address without a name, and for a wrong HELO; and those from
	// which on mail goes to Junk or is refused. 0 is never.
	NoNamePoints   int `toml:"no_name_points"`
	BadHelloPoints int `toml:"bad_hello_points"`
	JunkPoints     int `toml:"junk_points"`
	RefusePoints   int `toml:"refuse_points"`
	// MessagesPerHour and UnknownRecipients are what one network may bring and name;
	// 0 is no limit.
	MessagesPerHour   int `toml:"messages_per_hour"`
	UnknownRecipients int `toml:"unknown_recipients"`
	// Greylist says which strangers must send a message twice: never, suspicious
	// (whom something speaks against) or always.
	Greylist string `toml:"greylist"`
}

// A Milter is a filter outside that is asked about mail from others.
type Milter struct {
	Address   string   `toml:"address"`    // host:port, or unix:/path
	OnFailure string   `toml:"on_failure"` // tempfail or accept
	Timeout   Duration `toml:"timeout"`    // of an answer
	// Submissions asks it about what people here send, too.
	Submissions bool `toml:"submissions"`
}

func (m *Milter) check() error {
	if path, ok := strings.CutPrefix(m.Address, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("[[milter]] address %q: write unix: and the whole path", m.Address)
		}
	} else if host, _, err := net.SplitHostPort(m.Address); err != nil || host == "" {
		return fmt.Errorf("[[milter]] address %q: write host:port, or unix:/path", m.Address)
	}
	if m.OnFailure == "" {
		m.OnFailure = "tempfail"
	}
	if !oneOf(m.OnFailure, "tempfail", "accept") {
		return fmt.Errorf("[[milter]] %s: on_failure is tempfail or accept, not %q", m.Address, m.OnFailure)
	}
	return nil
}

// A List is a list of addresses in the DNS.
type List struct {
	Zone   string `toml:"zone"`
	Points int    `toml:"points"`
	// Codes are the answers that count; none: all that mean a hit.
	Codes []netip.Prefix `toml:"codes"`
}

// Limits bound what one side may ask of us.
type Limits struct {
	MessageSize      Size `toml:"message_size"`
	Recipients       int  `toml:"recipients"`         // of one message
	RecipientsPerDay int  `toml:"recipients_per_day"` // of an account, in domains of others; 0 is no limit
	// UsualRecipientsPerDay are never strange; of what is more, 3 times an account's
	// busiest day of the last 30 is taken. 0: RecipientsPerDay alone counts.
	UsualRecipientsPerDay int `toml:"usual_recipients_per_day"`
	Connections           int `toml:"connections"`             // on each listener
	ConnectionsPerAddress int `toml:"connections_per_address"` // IPv6: per /64
	SessionsPerAccount    int `toml:"sessions_per_account"`    // of IMAP, at once
	// IMAPMessagesPerCommand is announced as MESSAGELIMIT; 0 is no limit. RFC 9738
	IMAPMessagesPerCommand int `toml:"imap_messages_per_command"`
	// IMAPMessagesPerSave is for COPY and APPEND only, and announced as SAVELIMIT.
	IMAPMessagesPerSave int `toml:"imap_messages_per_save"`
	// TrustedNetworks are free of limits per address and of slowed log-ins.
	TrustedNetworks []netip.Prefix `toml:"trusted_networks"`
	AccountQuota    Size           `toml:"account_quota"` // of new accounts; 0 is none
}

// Queue says how mail that cannot be delivered is tried again.
type Queue struct {
	FirstRetry Duration `toml:"first_retry"`
	LastRetry  Duration `toml:"last_retry"`
	WarnAfter  Duration `toml:"warn_after"`
	GiveUp     Duration `toml:"give_up"`
	Workers    int      `toml:"workers"`
	PerDomain  int      `toml:"per_domain"`
	// SuppressAfter is how many messages to an address must have come back as
	// addressed to nobody for no more to be sent there; 0: that does not happen.
	SuppressAfter int `toml:"suppress_after"`
}

// Deleted says how long deleted mail can be restored. It counts as nobody's use. When the
// disk is full, what was deleted more than a day ago goes early, the oldest first, and then
// what is deleted while it is, after an hour.
type Deleted struct {
	Keep  Duration `toml:"keep"`
	Limit Size     `toml:"limit"` // of an account; what went first goes for good; 0 is none
}

// Collect says how the mail of accounts that people have elsewhere is collected.
type Collect struct {
	// Enabled has mail fetched. Mail that goes out by such accounts goes also if it is
	// false: "posthaste collect pause" holds both back for one account.
	Enabled bool `toml:"enabled"`
	// Clear allows connections without TLS to other machines.
	Clear  bool `toml:"clear"`
	AtOnce int  `toml:"at_once"` // accounts
}

// POP3 is what is special about it.
type POP3 struct {
	LoginDelay Pause `toml:"login_delay"` // that a device waits between two logins; 0 is none
}

// MTASTS is our own policy, which a listener for https serves for all domains.
type MTASTS struct {
	Mode   string   `toml:"mode"`    // testing, enforce or none
	MaxAge Duration `toml:"max_age"` // how long others may keep it
}

// Web is what a listener for https has beside what others look up there.
type Web struct {
	AccountPages bool `toml:"account_pages"` // where people look after their own accounts
}

// Reports are those that other domains ask for: on TLS in our sessions with them, and
// on mail in their names.
type Reports struct {
	Send  bool `toml:"send"`  // false: none
	DMARC bool `toml:"dmarc"` // false: on TLS only
}

// Pause is a Duration that may be "0".
type Pause time.Duration

// UnmarshalText reads a pause.
func (p *Pause) UnmarshalText(b []byte) error {
	if string(b) == "0" {
		*p = 0
		return nil
	}
	return (*Duration)(p).UnmarshalText(b)
}

// Size is a number of bytes, written "50MB", "1GB" or as a plain number.
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(b []byte) error {
	text := strings.ToUpper(strings.TrimSpace(string(b)))
	factor := int64(1)
	for suffix, f := range map[string]int64{"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40} {
		if t, ok := strings.CutSuffix(text, suffix); ok {
			text, factor = strings.TrimSpace(t), f
		}
	}
	var n int64
	if _, err := fmt.Sscanf(text+"\n", "%d\n", &n); err != nil || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf("%q is no size: write a number of bytes, or one with KB, MB or GB behind it", b)
	}
	*s = Size(n * factor)
	return nil
}

// Duration is a time span, written "90s", "15m", "4h" or "5d".
type Duration time.Duration

// UnmarshalText reads a span.
func (d *Duration) UnmarshalText(b []byte) error {
	text := string(b)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+"\n", "%d\n", &n); err == nil && n > 0 && n < 10_000 {
			*d = Duration(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	v, err := time.ParseDuration(text)
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is no time span: write for example 90s, 15m, 4h or 5d", b)
	}
	*d = Duration(v)
	return nil
}

// Default is the configuration of an empty file.
func Default() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return Config{
		Hostname: host,
		Data:     "/var/lib/posthaste",
		Log:      Log{Level: "info", Format: "text"},
		Listeners: []Listener{
			{Address: ":25", Protocol: "smtp", TLS: "starttls"},
			{Address: ":587", Protocol: "submission", TLS: "starttls"},
			{Address: ":465", Protocol: "submission", TLS: "implicit"},
			{Address: ":143", Protocol: "imap", TLS: "starttls"},
			{Address: ":993", Protocol: "imap", TLS: "implicit"},
			{Address: ":110", Protocol: "pop3", TLS: "starttls"},
			{Address: ":995", Protocol: "pop3", TLS: "implicit"},
		},
		DNS:     DNS{DNSSEC: "auto"},
		Receive: Receive{TrustedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}, NoNamePoints: 2, BadHelloPoints: 2, JunkPoints: 5, RefusePoints: 10, UnknownRecipients: 100, Greylist: "suspicious"},
		Limits:  Limits{MessageSize: 50 << 20, Recipients: 100, RecipientsPerDay: 2000, UsualRecipientsPerDay: 300, Connections: 10_000, ConnectionsPerAddress: 100, SessionsPerAccount: 100},
		Queue: Queue{
			FirstRetry: Duration(time.Minute), LastRetry: Duration(4 * time.Hour), WarnAfter: Duration(4 * time.Hour), GiveUp: Duration(5 * 24 * time.Hour),
			Workers: 100, PerDomain: 10, SuppressAfter: 3,
		},
		Reports: Reports{Send: true, DMARC: true},
		MTASTS:  MTASTS{Mode: "testing", MaxAge: Duration(7 * 24 * time.Hour)},
		Web:     Web{AccountPages: true},
		Collect: Collect{Enabled: true, AtOnce: 8},
		Deleted: Deleted{Keep: Duration(30 * 24 * time.Hour), Limit: 5 << 30},
		Backup:  Backup{Every: Duration(24 * time.Hour), Keep: 14},
	}
}

// Read reads and checks a file. What the file does not say is as in Default;
// listeners are all from the file if it has any.
func Read(path string) (Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	c, err := Parse(b)
	if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// Parse reads and checks the bytes of a file.
func Parse(b []byte) (Config, error) {
	c := Default()
	usual := c.Listeners
	c.Listeners = nil
	err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&c)
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		return Config{}, fmt.Errorf("these settings do not exist:\n%s", strict.String())
	}
	if dec, ok := errors.AsType[*toml.DecodeError](err); ok {
		return Config{}, fmt.Errorf("%w\n%s", err, dec.String())
	}
	if err != nil {
		return Config{}, err
	}
	if c.Listeners == nil {
		c.Listeners = usual
	}
	return c, c.check()
}

// check says in a sentence what cannot be.
func (c *Config) check() error {
	if err := c.checkBasics(); err != nil {
		return err
	}
	if c.Collect.AtOnce < 1 || c.Collect.AtOnce > 1000 {
		return errors.New("collect.at_once is a number from 1 to 1000")
	}
	ports := map[string]bool{}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if err := c.checkListener(l); err != nil {
			return err
		}
		if ports[l.Address] && !strings.HasSuffix(l.Address, ":0") {
			return fmt.Errorf("[[listener]] %s is there twice: each port has one listener", l.Address)
		}
		ports[l.Address] = true
	}
	for _, d := range c.Destinations {
		if d.Match == "" || d.Connections < 0 || d.MessagesPerConnection < 0 || d.MessagesPerMinute < 0 {
			return fmt.Errorf("[[destination]] %q: match names a domain, an MX host or a provider, and the numbers are not negative", d.Match)
		}
	}
	if err := checkRoutes(c.Routes); err != nil {
		return err
	}
	if err := c.checkEgress(); err != nil {
		return err
	}
	for i := range c.Auth.Issuers {
		if err := c.Auth.Issuers[i].check(); err != nil {
			return err
		}
	}
	if err := c.DNS.check(); err != nil {
		return err
	}
	if err := c.Receive.check(); err != nil {
		return err
	}
	for i := range c.Milters {
		if err := c.Milters[i].check(); err != nil {
			return err
		}
	}
	for i := range c.Hooks {
		if err := c.Hooks[i].check(); err != nil {
			return err
		}
	}
	if err := c.Limits.check(); err != nil {
		return err
	}
	if !oneOf(c.MTASTS.Mode, "testing", "enforce", "none") || time.Duration(c.MTASTS.MaxAge) > 365*24*time.Hour {
		return errors.New("mta_sts: mode is testing, enforce or none, max_age a year at most")
	}
	if c.Queue.SuppressAfter < 0 || c.Queue.Workers < 1 || c.Queue.PerDomain < 1 || c.Queue.FirstRetry > c.Queue.LastRetry {
		return errors.New("queue: workers and per_domain must be at least 1, first_retry no longer than last_retry")
	}
	return c.Backup.check()
}

// checkBasics checks what no table of its own is about, and certificates.
func (c *Config) checkBasics() error {
	if _, err := mail.ParseDomain(c.Hostname); err != nil {
		return fmt.Errorf("hostname %q is no domain name", c.Hostname)
	}
	if c.Cache != 0 && c.Cache < 16<<20 {
		return errors.New("cache must be at least 16MB, or 0 for what fits the machine")
	}
	if c.Data == "" {
		return errors.New("data must name a folder")
	}
	if !oneOf(c.Log.Level, "debug", "info", "warn", "error") || !oneOf(c.Log.Format, "text", "json") {
		return errors.New("log.level is debug, info, warn or error, log.format is text or json")
	}
	for _, k := range c.TLS {
		if k.Certificate == "" || k.Key == "" {
			return errors.New("[[tls]] needs a certificate and a key")
		}
	}
	return nil
}

func (l *Limits) check() error {
	if l.MessageSize < 64<<10 || l.Recipients < 1 || l.RecipientsPerDay < 0 || l.Connections < 1 || l.ConnectionsPerAddress < 1 || l.SessionsPerAccount < 1 {
		return errors.New("limits: message_size must be at least 64KB, the others at least 1")
	}
	if l.UsualRecipientsPerDay < 0 {
		return errors.New("limits: usual_recipients_per_day must be at least 1, or 0 for accounts to write to recipients_per_day at once")
	}
	if n := l.IMAPMessagesPerCommand; n != 0 && (n < 1000 || int64(n) > math.MaxUint32) {
		return errors.New("limits: imap_messages_per_command must be 0 or at least 1000") // RFC 9738 §3
	}
	if n := l.IMAPMessagesPerSave; n != 0 && (n < 1000 || int64(n) > math.MaxUint32) {
		return errors.New("limits: imap_messages_per_save must be 0 or at least 1000")
	} else if n != 0 && l.IMAPMessagesPerCommand != 0 {
		return errors.New("limits: say imap_messages_per_command, which is for saving too, or imap_messages_per_save, not both")
	}
	return nil
}

func (r *Receive) check() error {
	if len(r.Lists) > maxLists {
		return fmt.Errorf("[[receive.list]]: at most %d lists are asked", maxLists)
	}
	for i := range r.Lists {
		l := &r.Lists[i]
		d, err := mail.ParseDomain(l.Zone)
		if err != nil {
			return fmt.Errorf("[[receive.list]] zone %q is no domain name", l.Zone)
		}
		l.Zone = string(d)
		if l.Points == 0 {
			l.Points = r.RefusePoints
		}
	}
	if !oneOf(r.Greylist, "never", "suspicious", "always") {
		return fmt.Errorf("receive.greylist is never, suspicious or always, not %q", r.Greylist)
	}
	if min(r.JunkPoints, r.RefusePoints, r.MessagesPerHour, r.UnknownRecipients) < 0 || r.MessagesPerHour > 1_000_000 {
		return errors.New("receive: the numbers are not negative, and messages_per_hour is a million at most")
	}
	return nil
}

// maxLists is how many lists are asked for one address.
const maxLists = 20

func (d *DNS) check() error {
	for i, s := range d.Servers {
		if _, err := netip.ParseAddr(s); err == nil {
			d.Servers[i] = net.JoinHostPort(s, "53")
		} else if _, err := netip.ParseAddrPort(s); err != nil {
			return fmt.Errorf("dns.servers: %q is no IP address, with or without a port", s)
		}
	}
	if !oneOf(d.DNSSEC, "auto", "always", "never") {
		return fmt.Errorf("dns.dnssec is auto, always or never, not %q", d.DNSSEC)
	}
	if d.Recursive && len(d.Servers) > 0 {
		return errors.New("dns: recursive asks the servers of the root and of each zone, and no others: leave out servers, or recursive")
	}
	if len(d.RootServers) > 0 && (!d.Recursive || len(d.TrustAnchors) == 0 && d.DNSSEC != "never") {
		return errors.New("dns.root_servers needs recursive = true, and trust_anchors of that root or dnssec = \"never\"")
	}
	return nil
}

func (c *Config) checkListener(l *Listener) error {
	if l.TLS == "" && l.Protocol == "metrics" {
		l.TLS = "none"
	}
	if l.TLS == "" {
		l.TLS = "starttls"
	}
	_, port, err := net.SplitHostPort(l.Address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil || port == "" {
		return fmt.Errorf("[[listener]] address %q: write host:port, or :port for all addresses, with a port up to 65535", l.Address)
	}
	if !oneOf(l.Protocol, "smtp", "submission", "lmtp", "imap", "pop3", "sieve", "https", "metrics") {
		return fmt.Errorf("[[listener]] %s: protocol is smtp, submission, lmtp, imap, pop3, sieve, https or metrics, not %q", l.Address, l.Protocol)
	}
	if len(l.XClientFrom) > 0 && !oneOf(l.Protocol, "smtp", "submission", "lmtp") {
		return fmt.Errorf("[[listener]] %s: xclient_from is for smtp, submission and lmtp, not for %s: leave it out", l.Address, l.Protocol)
	}
	if l.Protocol == "https" {
		l.TLS = "implicit"
	}
	if !oneOf(l.TLS, "starttls", "implicit", "none") {
		return fmt.Errorf("[[listener]] %s: tls is starttls, implicit or none, not %q", l.Address, l.TLS)
	}
	if len(l.ALPN) > 0 && l.Protocol != "https" {
		return fmt.Errorf("[[listener]] %s: alpn is for a port that serves https as well, not for %s: leave it out", l.Address, l.Protocol)
	}
	for i, p := range l.ALPN {
		if !oneOf(p, "imap", "pop3", "sieve", "submission") || oneOf(p, l.ALPN[:i]...) {
			return fmt.Errorf("[[listener]] %s: alpn may have imap, pop3, sieve and submission, each once, not %q", l.Address, p)
		}
	}
	if l.ClientCertificates && (l.TLS == "none" || !oneOf(l.Protocol, "submission", "imap", "pop3", "sieve")) {
		return fmt.Errorf("[[listener]] %s: client_certificates are for people who log in with TLS: submission, imap, pop3 or sieve", l.Address)
	}
	return l.checkMetrics()
}

// checkMetrics checks what concerns metrics.
func (l *Listener) checkMetrics() error {
	if l.Protocol != "metrics" {
		if l.MetricsOpen {
			return fmt.Errorf("[[listener]] %s: metrics_open is for protocol = \"metrics\", not for %s: leave it out", l.Address, l.Protocol)
		}
		return nil
	}
	if l.TLS == "starttls" {
		return fmt.Errorf("[[listener]] %s: metrics go over HTTP, so tls is none or implicit", l.Address)
	}
	host, port, _ := net.SplitHostPort(l.Address)
	ip, err := netip.ParseAddr(host)
	if here := host == "localhost" || err == nil && ip.IsLoopback(); !here && !l.MetricsOpen {
		return fmt.Errorf("[[listener]] %s: metrics have no login, so that only this machine may read them: write address = \"127.0.0.1:%s\", or metrics_open = true if something else decides who reaches the port", l.Address, port)
	}
	return nil
}

func oneOf(s string, words ...string) bool {
	for _, w := range words {
		if s == w {
			return true
		}
	}
	return false
}
