package sieve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

const letter = "Return-Path: <grace@navy.example>\r\n" +
	"Received: from navy.example by mx.example.org; Wed, 18 Nov 2026 09:12:44 +0100\r\n" +
	"From: Grace Hopper <grace@navy.example>\r\n" +
	"To: Ada <ada+reports@example.org>, \"Charles B.\" <charles@engine.example>\r\n" +
	"Cc: club: x@a.example, y@b.example;\r\n" +
	"Subject: [acme-users] =?utf-8?q?Caf=C3=A9?= =?utf-8?q?_report?=\r\n" +
	"Date: Wed, 18 Nov 2026 03:12:33 -0500\r\n" +
	"Message-ID: <1@navy.example>\r\n" +
	"X-Score: 00012\r\n" +
	"X-Empty:\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"prologue\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nThe numb=\r\ners are fin=E1l.\r\n" +
	"--b\r\nContent-Type: text/html\r\n\r\n<p>Numbers</p>\r\n" +
	"--b\r\nContent-Type: application/pdf; name=\"q3 report.pdf\"\r\nContent-Disposition: attachment; filename=q3.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--b--\r\nepilogue\r\n"

// A world has some mailboxes, and remembers.
type world struct {
	scripts map[string]string
	seen    map[string]bool
}

func (w *world) Mailbox(_ context.Context, by Place) (bool, error) {
	return by.Name == "INBOX" || by.Name == "Lists" || by.Use == `\Trash` || by.ID == "F1", nil
}

func (w *world) Annotation(_ context.Context, box, entry string) (string, bool, error) {
	v, ok := map[string]string{"INBOX /private/comment": "mine", " /shared/admin": "root"}[box+" "+entry]
	return v, ok, nil
}

func (w *world) Script(_ context.Context, location, name string) (*Script, error) {
	text, ok := w.scripts[location+" "+name]
	if !ok {
		return nil, mail.ErrNotFound
	}
	return Compile([]byte(text))
}

func (w *world) Seen(_ context.Context, m Mark) (bool, error) { return w.seen[m.Key], nil }

func input(t testing.TB, msg string, w *world) Input {
	t.Helper()
	head, _, _ := strings.Cut(msg, "\r\n\r\n")
	return Input{
		Header: []byte(head + "\r\n\r\n"), Size: int64(len(msg)), World: w,
		Body: func() (*message.Part, io.ReaderAt, error) {
			r := bytes.NewReader([]byte(msg))
			p, err := message.Parse(r, int64(len(msg)))
			return p, r, err
		},
		Sender: mail.Address{Local: "grace", Domain: "navy.example"}, Recipient: mail.Address{Local: "ada+reports", Domain: "example.org"},
		Separators: "+", Now: time.Date(2026, 11, 18, 9, 13, 0, 0, time.FixedZone("", 3600)),
		Environment: map[string]string{"name": "Posthaste", "location": "MDA"},
	}
}

// everything requires all that there is.
func everything() string {
	return `require ["` + strings.Join(Extensions, `","`) + `"];` + "\n"
}

// told tells what a result is.
func told(r Result) string {
	var out []string
	for _, a := range r.Actions {
		s := []string{"keep", "fileinto", "redirect", "reject", "vacation"}[a.Kind]
		switch a.Kind {
		case FileInto:
			s += " " + a.Place.Name
			if a.Place.Create {
				s += "!"
			}
			s += a.Place.Use + a.Place.ID
		case Redirect:
			s += " " + a.Address.String()
		case Reject:
			s += " " + a.Text
		case Vacation:
			s += fmt.Sprintf(" %q %s", a.Answer.Subject, a.Answer.Mark.For)
		}
		if len(a.Flags) > 0 {
			s += " (" + strings.Join(a.Flags, " ") + ")"
		}
		out = append(out, s)
	}
	if out == nil {
		return "nothing"
	}
	return strings.Join(out, "; ")
}

// TestRun: what scripts want done with one message.
func TestRun(t *testing.T) {
	w := &world{seen: map[string]bool{`"" true "again"`: true}, scripts: map[string]string{
		"personal lists":  `require ["fileinto","include","variables"]; global "list"; if header :matches "subject" "[*]*" { set "list" "${1}"; fileinto "Lists"; return; } discard;`,
		"global shop":     `require "imap4flags"; addflag "shop";`,
		"personal circle": `require "include"; include "circle";`,
		"personal stop":   `stop;`,
	}}
	for _, c := range []struct{ script, want string }{
		{``, "keep"},
		{`keep;`, "keep"},
		{`discard;`, "nothing"},
		{`stop; discard;`, "keep"},
		{`fileinto "Lists";`, "fileinto Lists"},
		{`fileinto :copy "Lists";`, "fileinto Lists; keep"},
		{`fileinto :create "A/B";`, "fileinto A/B!"},
		{`fileinto :specialuse "\\Junk" "Spam";`, `fileinto Spam\Junk`},
		{`fileinto :mailboxid "F1" "Spam";`, `fileinto SpamF1`},
		{`redirect "x@y.example";`, "redirect x@y.example"},
		{`redirect :copy "x@y.example";`, "redirect x@y.example; keep"},
		{`reject "No.";`, "reject No."},
		{`ereject text:` + "\r\nNo\r\n..\r\n.\r\n;", "reject No\r\n.\r\n"},
		{`fileinto "Lists"; keep;`, "fileinto Lists; keep"},
		{`discard; keep;`, "keep"},
		{`if true { discard; } else { fileinto "x"; }`, "nothing"},
		{`if false { discard; } elsif true { fileinto "x"; } else { fileinto "y"; }`, "fileinto x"},
		{`if false { discard; } elsif false { fileinto "x"; } else { fileinto "y"; }`, "fileinto y"},
		{`if not allof (true, false, true) { discard; }`, "nothing"},
		{`if anyof (false, not false) { discard; }`, "nothing"},
		{`if size :over 100 { if size :under 1M { discard; } }`, "nothing"},
		{`if size :over 10k { discard; }`, "keep"},
		{`if header :is "x-score" "00012" { discard; }`, "nothing"},
		{`if exists ["x-empty", "subject"] { discard; }`, "nothing"},
		{`if exists ["x-empty", "x-other"] { discard; }`, "keep"},
		{`if environment :contains "name" "hast" { discard; }`, "nothing"},
		{`if environment :contains "nothing" "" { discard; }`, "keep"},

		// :matches takes as little as it can. RFC 5229 §3.2
		{`if header :matches "subject" "[*] *" { fileinto "l/${1}/${2}/${0}"; }`, "fileinto l/acme-users/Café report/[acme-users] Café report"},
		{`set "a" "x"; if header :matches "subject" "nothing" { } fileinto "${1}y${a}${b}";`, "fileinto yx"},
		{`if string :matches "a.b.c.d" "*.*" { fileinto "${1}|${2}"; }`, "fileinto a|b.c.d"},
		{`if string :matches "abcbcd" "a*c?" { fileinto "${1}|${2}"; }`, "fileinto bcb|d"},
		{`if string :matches "Käse" "k?se" { fileinto "${1}"; }`, "fileinto ä"},
		{`if string :comparator "i;octet" :matches "Käse" "K??se" { discard; }`, "nothing"},
		{`if string :matches "a*b" "a\\*b" { discard; }`, "nothing"},
		{`if string :matches "axb" "a\\*b" { discard; }`, "keep"},
		{`if string :matches "" "*" { discard; }`, "nothing"},
		{`if string :matches "aaa" "a*a*a*a" { discard; }`, "keep"},
		{`set :quotewildcard "p" "a*b"; if string :matches "a*b" "${p}" { discard; }`, "nothing"},
		{`if string :regex "report 2026" "([a-z]+) ([0-9]{4})" { fileinto "${2}/${1}"; }`, "fileinto 2026/report"},
		{`set :quoteregex "p" "a.b"; if string :regex "axb" "^${p}$" { discard; }`, "keep"},

		{`set "a" "Straße"; set :upper "b" "${a}"; set :length "c" "${a}"; set :lower :upperfirst "d" "jAMES"; fileinto "${b} ${C} ${d}";`, "fileinto STRAßE 6 James"},
		{`set "a" "${unknown"; fileinto "${a}${}${2x}";`, "fileinto ${unknown${}${2x}"},
		{`fileinto "${hex:40 41}${unicode:E9}${hex:4z}";`, "fileinto @Aé${hex:4z}"},
		{`if string :count "eq" :comparator "i;ascii-numeric" ["a", "", "b"] "2" { discard; }`, "nothing"},

		// Comparators and relations.
		{`if header :value "gt" :comparator "i;ascii-numeric" "x-score" "2" { discard; }`, "nothing"},
		{`if header :value "lt" :comparator "i;ascii-numeric" "x-score" "2" { discard; }`, "keep"},
		{`if header :is :comparator "i;ascii-numeric" "x-score" "12" { discard; }`, "nothing"},
		{`if string :value "gt" :comparator "i;ascii-numeric" "word" "999" { discard; }`, "nothing"},
		{`if address :count "ge" :comparator "i;ascii-numeric" ["to", "cc"] ["4"] { discard; }`, "nothing"},
		{`if header :is :comparator "i;octet" "x-score" "00012" { discard; }`, "nothing"},
		{`if string :is "ÉTÉ" "été" { discard; }`, "keep"},
		{`if string :is :comparator "i;unicode-casemap" "ÉTÉ" "été" { discard; }`, "nothing"},

		// Addresses.
		{`if address :is "from" "GRACE@navy.example" { discard; }`, "nothing"},
		{`if address :localpart "to" "charles" { discard; }`, "nothing"},
		{`if header :contains ["subject:", "a b", ""] "x" { discard; }`, "keep"},
		{`redirect " Grace Hopper < grace @ navy.example > ";`, "redirect grace@navy.example"},
		{`if address "x-whoever" "a@b.example" { discard; }`, "keep"},
		{`if address :domain ["from", "cc"] "b.example" { discard; }`, "nothing"},
		{`if address :user "to" "ada" { discard; }`, "nothing"},
		{`if address :detail "to" "reports" { discard; }`, "nothing"},
		{`if address :detail "from" "" { discard; }`, "keep"},
		{`if address "x-empty" "" { discard; }`, "nothing"},
		{`if address :localpart "x-score" "00012" { discard; }`, "keep"},
		{`if address "x-score" "00012" { discard; }`, "nothing"},
		{`if envelope :detail "to" "reports" { discard; }`, "nothing"},
		{`if envelope :all :is "from" "grace@navy.example" { discard; }`, "nothing"},
		{`if address :index 2 :localpart "to" "charles" { discard; }`, "keep"},
		{`if header :index 1 :last :contains "received" "mx.example.org" { discard; }`, "nothing"},
		{`if header :index 2 :contains "received" "mx" { discard; }`, "keep"},

		// Dates. RFC 5260
		{`if date "date" "hour" "09" { discard; }`, "nothing"},
		{`if date :originalzone "date" "hour" "03" { discard; }`, "nothing"},
		{`if date :zone "+0000" "date" "iso8601" "2026-11-18T08:12:33+00:00" { discard; }`, "nothing"},
		{`if date :value "ge" "received" "date" "2026-11-18" { discard; }`, "nothing"},
		{`if date "date" "julian" "61362" { discard; }`, "nothing"},
		{`if currentdate :is "weekday" "3" { discard; }`, "nothing"},
		{`if currentdate :zone "-0500" "std11" "Wed, 18 Nov 2026 03:13:00 -0500" { discard; }`, "nothing"},
		{`if date "x-score" "year" "2026" { discard; }`, "keep"},
		{`if date :count "eq" :comparator "i;ascii-numeric" "x-score" "year" "0" { discard; }`, "nothing"},

		// Flags. RFC 5232
		{`setflag "\\seen"; addflag ["$Work urgent", "\\Recent", "URGENT"]; removeflag "\\Seen"; keep;`, "keep ($Work urgent)"},
		{`addflag "a"; fileinto :flags ["b c"] "Lists"; keep;`, "fileinto Lists (b c); keep (a)"},
		{`addflag "a"; fileinto :flags "" "Lists";`, "fileinto Lists"},
		{`addflag "a"; `, "keep (a)"},
		{`setflag "v" "x y"; if hasflag "v" "y" { fileinto :flags "${v}" "Lists"; }`, "fileinto Lists (x y)"},
		{`addflag "a b"; if hasflag :count "eq" :comparator "i;ascii-numeric" "2" { discard; }`, "nothing"},
		{`addflag "$work"; if hasflag :contains ["", "$WOR"] { discard; }`, "nothing"},
		{`addflag "a"; if hasflag ["b", "A"] { discard; }`, "nothing"},
		{`setflag "v" "NonJunk gnus-forward"; if hasflag :contains "v" "xyz forward" { discard; }`, "nothing"},

		// Body. RFC 5173
		{`if body :contains "numbers are finál" { discard; }`, "nothing"},
		{`if body :raw :contains "fin=E1l" { discard; }`, "nothing"},
		{`if body :raw :contains "subject: [acme" { discard; }`, "keep"},
		{`if body :content "text/html" :contains "<p>numbers" { discard; }`, "nothing"},
		{`if body :content "text/plain" :contains "<p>numbers" { discard; }`, "keep"},
		{`if body :content ["application"] :contains "%PDF" { discard; }`, "nothing"},
		{`if body :content "multipart" :contains ["prologue"] { discard; }`, "nothing"},
		{`if body :content "multipart" :contains ["epilogue"] { discard; }`, "nothing"},
		{`if body :content "multipart" :contains ["--b"] { discard; }`, "keep"},
		{`if body :content "multipart" :is ["prologue` + "\r\n" + `"] { discard; }`, "nothing"},
		{`if body :content "message" :is "Subject: inner` + "\r\n" + `" { discard; }`, "nothing"},
		{`if body :contains "<p>" { discard; }`, "keep"},
		{`if body :content "message" :contains ["subject: inner"] { discard; }`, "nothing"},
		{`if body :content "" :contains ["inner text"] { discard; }`, "nothing"},
		{`if body :content "text/" :contains "numbers" { discard; }`, "keep"},
		{`if header :matches "subject" "[*" { } if body :matches "*numbers*" { fileinto "${1}"; }`, "fileinto acme-users] Café report"},

		// Parts. RFC 5703
		{`if header :mime :anychild :contenttype "content-type" "application/pdf" { discard; }`, "nothing"},
		{`if header :mime :type "content-type" "multipart" { discard; }`, "nothing"},
		{`if header :mime :anychild :param "filename" :contains "content-disposition" ".pdf" { discard; }`, "nothing"},
		{`if exists :mime :anychild "content-disposition" { discard; }`, "nothing"},
		{`foreverypart { if header :mime :subtype "content-type" "pdf" { fileinto "pdf"; break; } }`, "fileinto pdf"},
		{`foreverypart { if header :mime :contenttype "content-type" "text/plain" { extracttext :first 11 :upper "t"; fileinto "${t}"; break; } }`, "fileinto THE NUMBERS"},
		{`foreverypart :name "a" { foreverypart { if header :mime :type "content-type" "text" { break :name "a"; } } fileinto "x"; }`, "keep"},

		// The world.
		{`if mailboxexists ["INBOX", "Lists"] { discard; }`, "nothing"},
		{`if mailboxexists "Nowhere" { discard; }`, "keep"},
		{`if mailboxidexists "F1" { discard; }`, "nothing"},
		{`if specialuse_exists "\\Trash" { discard; }`, "nothing"},
		{`if specialuse_exists "INBOX" "\\Trash" { discard; }`, "nothing"},
		{`if metadata :is "INBOX" "/private/comment" "mine" { discard; }`, "nothing"},
		{`if metadataexists "INBOX" ["/private/comment", "/private/x"] { discard; }`, "keep"},
		{`if servermetadata :contains "/shared/admin" "root" { discard; }`, "nothing"},
		{`if servermetadataexists "/shared/admin" { discard; }`, "nothing"},
		{`if duplicate :uniqueid "again" { discard; }`, "nothing"},
		{`if duplicate { discard; }`, "keep"},

		// Including. RFC 6609
		{`global "list"; include "lists"; fileinto "x${list}${global.list}";`, "fileinto Lists; fileinto xacme-usersacme-users"},
		{`include :global "shop";`, "keep (shop)"},
		{`include :optional "none"; include "stop"; discard;`, "keep"},
		{`include :once "lists"; include :once "lists";`, "fileinto Lists"},

		{`vacation "Away.";`, `vacation "" 168h0m0s; keep`},
		{`vacation :days 0 :subject "Away" :addresses ["a@b.example"] "x"; discard;`, `vacation "Away" 24h0m0s`},
		{`vacation :seconds 5 "x";`, `vacation "" 1m0s; keep`},
		{`vacation :days 365 :handle "h" :mime :fcc "Sent" :flags "\\Seen" "x";`, `vacation "" 2160h0m0s; keep`},

		{`if ihave "nothing" { frobnicate :now; } else { discard; }`, "nothing"},
		{`if ihave ["fileinto", "copy"] { fileinto "Lists"; }`, "fileinto Lists"},
		{"# a comment\r\n/* and\nanother */ discard; # end", "nothing"},
		{"DISCARD;", "nothing"},
		{`if header :IS "X-SCORE" "00012" { Discard; }`, "nothing"},
	} {
		s, err := Compile([]byte(everything() + c.script))
		if err != nil {
			t.Errorf("%s: %v", c.script, err)
			continue
		}
		r, err := s.Run(t.Context(), input(t, letter, w))
		if got := told(r); got != c.want || err != nil {
			t.Errorf("%s\ngives %s, %v\nwant  %s", c.script, got, err, c.want)
		}
	}
}

// TestWrong: what is wrong with a script is said, at its line.
func TestWrong(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"keep", "line 1: keep wants a semicolon or a block behind it, and there is the end"},
		{"keep;\nkeep keep;", `line 2: keep has no test`},
		{"\n\nfrobnicate;", `line 3: there is no command "frobnicate"`},
		{"fileinot \"x\";", `is "fileinto" meant?`},
		{`fileinto "x";`, `line 1: fileinto needs require "fileinto" at the top of the script`},
		{`require "fileint";`, `there is no extension "fileint" here; is "fileinto" meant?`},
		{"keep; require \"copy\";", "require must stand at the top"},
		{`if true { require "copy"; }`, "require must stand at the top"},
		{`if header "subject" { keep; }`, "header wants as its second argument a string or a list of strings"},
		{`if header :contains :is "subject" "x" { keep; }`, ":is and :contains exclude each other"},
		{`if header :contain "subject" "x" { keep; }`, "header has no :contain; is \"contains\" meant?"},
		{`if header "subject" :contains "x" { keep; }`, ":contains must stand before the other arguments"},
		{`if address "subject" "x" { keep; }`, "has no addresses in it"},
		{`if size 10 { keep; }`, "size has too many arguments"},
		{`if size :over "10" { keep; }`, ":over wants a number"},
		{`if { keep; }`, "if wants one test"},
		{`if true keep;`, "true has no test in it"},
		{`else { keep; }`, "else must follow an if"},
		{`if true { } else { } else { }`, "nothing follows an else"},
		{`if not (true) { keep; }`, "not wants one test"},
		{`if allof true { keep; }`, "allof wants a list of tests"},
		{`redirect "nobody";`, `"nobody" is no address`},
		{`redirect "${x}";`, `"${x}" is no address`},
		{`keep "x";`, "keep has too many arguments"},
		{`keep { stop; }`, "keep has no block"},
		{`"x";`, "a command must stand here, and not a string"},
		{`if true { keep;`, "line 1: this block has no end"},
		{"keep;\n}", "line 2: \"}\" closes nothing"},
		{"redirect \"a\n\n", "line 1: this string has no end"},
		{"keep; /* ", "this comment has no end"},
		{"redirect text:\nabc\n", "line 1: this text has no end"},
		{"redirect text: x\nabc\n.\n;", "the text begins in the line after"},
		{"if size :over 99999999999999G { }", "a number is no larger than"},
		{"if size :over 10x { }", "a number has K, M or G behind it"},
		{"keep;\n\xff", "line 2: this is no UTF-8"},
		{"keep;\n\x00", "line 2: a script has no NUL"},
		{"redirect [];", "a list has strings in it, and not \"]\""},
		{"keep; §", `'§' has no meaning here`},
		{"stop :now;", "stop has no :now"},
		{strings.Repeat("if true { ", 40) + strings.Repeat("}", 40), "this stands in too many others"},
		{strings.Repeat("#", MaxScript+1), "a script has"},
		{everything() + `set "1a" "x";`, "is no name of a variable"},
		{everything() + `set "a.b" "x";`, `there is no namespace "a"`},
		{everything() + `set :lower :upper "a" "x";`, "exclude each other"},
		{everything() + `fileinto "${env.x}";`, `there is no namespace "env"`},
		{everything() + `if date "date" "century" "21" { }`, `a date has no "century"`},
		{everything() + `if date :zone "CET" "date" "hour" "21" { }`, `"CET" is no time zone`},
		{everything() + `if header :last "a" "b" { }`, ":last wants an :index"},
		{everything() + `if header :index 0 "a" "b" { }`, ":index counts from 1"},
		{everything() + `if header :anychild "a" "b" { }`, "want :mime"},
		{everything() + `if header :value "above" "a" "b" { }`, `not "above"`},
		{everything() + `if header :comparator "i;ascii-numeric" :contains "a" "b" { }`, "i;ascii-numeric compares numbers"},
		{everything() + `if header :comparator "i;klingon" "a" "b" { }`, `there is no comparator "i;klingon"`},
		{everything() + `if header :regex "a" "(" { }`, "this is no regular expression"},
		{everything() + `vacation :days 1 :seconds 1 "x";`, ":days and :seconds exclude each other"},
		{everything() + `vacation :from "nobody" "x";`, `"nobody" is no address`},
		{everything() + `vacation :create "x";`, ":create wants :fcc"},
		{everything() + `break;`, "there is no such foreverypart"},
		{everything() + `extracttext "x";`, "extracttext stands in a foreverypart"},
		{everything() + `fileinto "${unicode:d800}";`, "is no character of Unicode"},
		{everything() + `if envelope "cc" "x" { }`, `no "cc"`},
		{everything() + `if header :mime :type :subtype "a" "b" { }`, ":type and :subtype exclude each other"},
		{everything() + `fileinto :create :create "x";`, ":create stands there twice"},
		{everything() + `fileinto "";`, "a mailbox has a name"},
		{everything() + `include "a${unicode:0a}";`, "cannot be the name of a script"},
		{`require "ihave"; if ihave "variables" { keep; } else { set "a" "b"; frob :a; keep "x"; }`, ""},
	} {
		_, err := Compile([]byte(c.script))
		if c.want == "" {
			if err != nil {
				t.Errorf("%.80q\ngives %v", c.script, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80q\ngives %v\nwant  %s", c.script, err, c.want)
		}
	}
	// All that is wrong is said at once.
	_, err := Compile([]byte("frob;\nknob;\nkeep;"))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("said is %v", err)
	}
}

// TestFails: what goes wrong when a script runs has the message kept, and nothing else done.
func TestFails(t *testing.T) {
	w := &world{scripts: map[string]string{"personal circle": `require "include"; include "circle";`, "personal bad": "frob;"}}
	many := strings.Repeat("fileinto \"x\";", 101)
	for _, c := range []struct{ script, want string }{
		{`fileinto "x"; reject "no";`, "a message that is refused is not kept"},
		{`vacation "x"; reject "no";`, "or answered by vacation, but not both"},
		{`vacation "x"; vacation "y";`, "a script answers by vacation once"},
		{strings.Repeat(`redirect "x@y.example";`, 6), "a message is sent on to 5 addresses at most"},
		{many, "the script does more than 100 things"},
		{`set "a" "nobody"; redirect "${a}";`, `"nobody" is no address`},
		{`error "it is ${x}so";`, "the script says: it is so"},
		{`if ihave "nothing" { keep; } frobnicate;`, `there is no command "frobnicate"`},
		{`include "none";`, `there is no script "none"`},
		{`include "circle";`, "scripts include each other"},
		{`include "bad";`, `there is no command "frob"`},
		{`set "r" "("; if string :regex "x" "${r}" { }`, "this is no regular expression"},
		{`set "z" "CET"; if currentdate :zone "${z}" "hour" "1" { }`, "is no time zone"},
		{`set "a" "1"; global "a";`, "is used before it is global"},
	} {
		s, err := Compile([]byte(everything() + c.script))
		if err != nil {
			t.Errorf("%s: %v", c.script, err)
			continue
		}
		r, err := s.Run(t.Context(), input(t, letter, w))
		if err == nil || !strings.Contains(err.Error(), c.want) || told(r) != "keep" {
			t.Errorf("%.80s\ngives %s, %v\nwant  %s", c.script, told(r), err, c.want)
		}
	}
}

// TestWork: no script and no message takes long.
func TestWork(t *testing.T) {
	bomb := everything() + `set "a" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";` + "\n"
	for range 60 {
		bomb += `set "a" "${a}${a}${a}${a}";` + "\n"
	}
	loop := everything()
	for range 4 {
		loop += "foreverypart { "
	}
	loop += `addflag "x";` + strings.Repeat("}", 4)
	parts := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n", 2000) + "--b--\r\n"
	stars := "Subject: " + strings.Repeat("a", 100_000) + "\r\n\r\n"
	for name, c := range map[string]struct{ script, msg string }{
		"variables that grow": {bomb, letter},
		"loops in loops":      {loop, parts},
		"stars":               {everything() + `if header :matches "subject" "` + strings.Repeat("*a?a", 200) + `b" { discard; }` + strings.Repeat(` if header :matches "subject" "*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa?b*" { discard; }`, 300), stars},
		"regular expressions": {everything() + strings.Repeat(`if header :regex "subject" "(a+)+(a+)+(a+)+b" { discard; }`, 300), stars},
		"long strings":        {everything() + `set "a" "` + strings.Repeat("x", 4000) + `"; fileinto "` + strings.Repeat("${a}", 10_000) + `";`, letter},
	} {
		s, err := Compile([]byte(c.script))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := s.Run(t.Context(), input(t, c.msg, &world{}))
		if err != nil && !errors.Is(err, errWork) {
			t.Errorf("%s: %v", name, err)
		}
		for _, a := range r.Actions {
			if len(a.Place.Name) > 2*maxText {
				t.Errorf("%s: a name of %d bytes", name, len(a.Place.Name))
			}
		}
	}
}

// TestRegexpRoom: regular expressions that would fill the memory are refused before they
// are made, one by one and together.
func TestRegexpRoom(t *testing.T) {
	many := func(pattern string) string {
		return "require \"regex\";\nif header :regex \"x\" [" + strings.Repeat(pattern+", ", 200_000/len(pattern)) + pattern + "] { keep; }"
	}
	for script, want := range map[string]string{
		many(`"(` + strings.Repeat("x", 900) + `){1000}"`): "line 2: this regular expression is too large",
		many(`"(((a?){30}){30}b{100})"`):                   "line 2: the regular expressions of this script are too much together",
		many(`"` + strings.Repeat(`\\pL`, 20) + `"`):       "line 2: the regular expressions of this script are too much together",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Compile([]byte(script))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v", script, err)
		}
		if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 200 {
			t.Errorf("%.60s took %d MB", script, mb)
		}
	}
	if _, err := Compile([]byte("require \"regex\";\n" + strings.Repeat("if header :regex \"subject\" \"^\\\\[[a-z]{2,30}-[0-9]+\\\\]\" { keep; }\n", 500))); err != nil {
		t.Error(err)
	}
}

// TestAnswers: who is answered by vacation, and who is not.
func TestAnswers(t *testing.T) {
	own := func(a mail.Address) bool { return a.Local == "ada" && a.Domain == "example.org" }
	grace := mail.Address{Local: "grace", Domain: "navy.example"}
	for _, c := range []struct {
		header string
		sender mail.Address
		why    string
	}{
		{"To: Ada <ada@example.org>", grace, ""},
		{"Cc: x@y.example, ADA@EXAMPLE.ORG", grace, "no address of the account"},
		{"Cc: x@y.example, ada@EXAMPLE.ORG", grace, ""},
		{"To: office@example.org", grace, ""},
		{"Resent-To: ada@example.org", grace, ""},
		{"To: list@example.net", grace, "no address of the account"},
		{"To: ada@example.org", mail.Address{}, "a report"},
		{"To: ada@example.org", mail.Address{Local: "ada", Domain: "example.org"}, "the account itself"},
		{"To: ada@example.org", mail.Address{Local: "owner-x", Domain: "b.example"}, "a program"},
		{"To: ada@example.org", mail.Address{Local: "MAILER-DAEMON", Domain: "b.example"}, "a program"},
		{"To: ada@example.org", mail.Address{Local: "x-request", Domain: "b.example"}, "a mailing list"},
		{"To: ada@example.org\r\nList-Id: <x>", grace, "a mailing list"},
		{"To: ada@example.org\r\nAuto-Submitted: auto-replied", grace, "a program"},
		{"To: ada@example.org\r\nAuto-Submitted: no", grace, ""},
		{"To: ada@example.org\r\nPrecedence: Bulk", grace, "bulk"},
	} {
		a := &Answer{Addresses: []string{"OFFICE@example.org"}}
		ok, why := a.Answers([]byte(c.header+"\r\n\r\n"), c.sender, own)
		if ok != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%q from %v: %v %s, want %s", c.header, c.sender, ok, why, c.why)
		}
	}
}

// TestExplain: what a script did is told, line by line.
func TestExplain(t *testing.T) {
	s, err := Compile([]byte("require [\"fileinto\"];\nif header :contains \"subject\" \"report\" {\n  fileinto \"Lists\";\n  stop;\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	in := input(t, letter, &world{})
	in.Explain = true
	r, err := s.Run(t.Context(), in)
	want := "line 2: the test is true\nline 3: put into the mailbox \"Lists\"\nline 4: stop"
	if got := strings.Join(r.Told, "\n"); got != want || err != nil || r.Actions[0].Line != 3 {
		t.Errorf("told is\n%s\n%v\nwant\n%s", got, err, want)
	}
}

// FuzzCompile: no script does harm, and one that is taken can be run.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`require ["fileinto"]; if header :contains "subject" ["a", "b"] { fileinto "x"; } elsif not size :over 10K { discard; } else { stop; }`,
		"redirect text:\r\nx\r\n..\r\n.\r\n;", `require ["variables", "encoded-character"]; set :lower "a" "${hex:41}${1}";`,
		`require ["mime","foreverypart","extracttext","variables"]; foreverypart { extracttext "a"; break; }`,
		`require ["vacation", "fcc"]; vacation :days 3 :fcc "Sent" "x";`, `if allof (true, anyof (false, not true)) { keep; }`, "/* x */ # y\nkeep;",
		`require ["regex"]; if header :regex "subject" "^a(b|c)+$" { discard; }`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		s, err := Compile(script)
		if err != nil {
			return
		}
		r, err := s.Run(t.Context(), input(t, letter, &world{}))
		if err != nil && told(r) != "keep" {
			t.Errorf("after %v it does %s", err, told(r))
		}
		if len(r.Actions) > maxActions+1 {
			t.Errorf("%d actions", len(r.Actions))
		}
	})
}

// FuzzRun: no message does harm to a script.
func FuzzRun(f *testing.F) {
	s, err := Compile([]byte(everything() + `
		if header :matches "subject" "*[*]*" { set "l" "${2}"; }
		if address :detail :contains ["to", "cc", "from"] "" { addflag "${l}"; }
		if anyof (date "date" "hour" "10", date :index 2 "received" "zone" "+0000", currentdate "day" "1") { addflag "d"; }
		if body :content "" :matches "*x?y*" { addflag "b"; }
		if body :raw :contains "q" { addflag "r"; }
		foreverypart { extracttext "t"; if header :mime :anychild :param "name" :contains "content-type" "a" { fileinto "${t}"; break; } }
		vacation "x";`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(letter)
	f.Add("\r\n\r\n")
	f.Fuzz(func(t *testing.T, msg string) {
		r, err := s.Run(t.Context(), input(t, msg, &world{}))
		if err != nil && !errors.Is(err, errWork) {
			t.Error(err)
		}
		for _, a := range r.Actions {
			if a.Answer != nil {
				a.Answer.Answers([]byte(msg), mail.Address{Local: "a", Domain: "b"}, func(mail.Address) bool { return false })
			}
		}
	})
}

// FuzzGlob: a pattern matches what a naive one does.
func FuzzGlob(f *testing.F) {
	f.Add("abcabc", "a*c?b*")
	f.Add("a*b", `a\*b`)
	f.Fuzz(func(t *testing.T, s, p string) {
		if len(s) > 30 || len(p) > 20 || strings.Count(p, "*") > 4 {
			return
		}
		x := &matcher{cmp: octet}
		parts, ok, err := x.pattern(p).glob(&machine{}, x.units(s))
		if err != nil {
			return
		}
		if want := naive(s, p); ok != want {
			t.Errorf("%q ~ %q: %v, want %v", s, p, ok, want)
		}
		if !ok {
			return
		}
		// What its wildcards stand for makes the whole again.
		var b strings.Builder
		n := 1
		for i := 0; i < len(p); i++ {
			switch {
			case p[i] == '*' || p[i] == '?':
				b.WriteString(parts[n])
				n++
			case p[i] == '\\' && i+1 < len(p):
				i++
				b.WriteByte(p[i])
			default:
				b.WriteByte(p[i])
			}
		}
		if b.String() != s || n != len(parts) {
			t.Errorf("%q ~ %q: %q", s, p, parts)
		}
	})
}

func naive(s, p string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		for i := 0; i <= len(s); i++ {
			if naive(s[i:], p[1:]) {
				return true
			}
		}
		return false
	case s == "":
		return false
	case p[0] == '?':
		return naive(s[1:], p[1:])
	case p[0] == '\\' && len(p) > 1:
		return p[1] == s[0] && naive(s[1:], p[2:])
	}
	return p[0] == s[0] && naive(s[1:], p[1:])
}

// TestWarnings: what is lawful and can hardly be meant is told.
func TestWarnings(t *testing.T) {
	s, err := Compile([]byte("keep;\nif header :contains \"subject:\" \"x\" { keep; }"))
	if err != nil || len(s.Warnings()) != 1 || s.Warnings()[0].Error() != `line 2: "subject:" is no name of a header field, so no message has it: leave the colon out` {
		t.Errorf("%v, %v", s.Warnings(), err)
	}
}

// TestImplied: who requires one extension has what it is made of.
func TestImplied(t *testing.T) {
	if _, err := Compile([]byte(`require "vacation-seconds"; vacation :seconds 60 "x";`)); err != nil {
		t.Error(err)
	}
}

// TestNoBody: what is not there matches nothing, not even an empty string.
func TestNoBody(t *testing.T) {
	for msg, want := range map[string]string{"Subject: x\r\n": "keep", "Subject: x\r\n\r\n": "nothing", "Subject: x\n\n": "nothing", "\r\n": "nothing", "": "keep"} {
		s, err := Compile([]byte(`require "body"; if body :raw :is "" { discard; }`))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Run(t.Context(), input(t, msg, &world{})); err != nil || told(r) != want {
			t.Errorf("%q: %s, %v", msg, told(r), err)
		}
	}
}
