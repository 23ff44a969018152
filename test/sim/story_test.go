package sim

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthaste/internal/base/mail"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/dane"
	"posthaste/internal/service/admind"
	"posthaste/test/house"
	"posthaste/test/network"
)

var update = flag.Bool("update", false, "write the goldens anew")

// TestStories: the whole of what "posthaste why" tells, and of what the senders read,
// for a message that is refused, one that waits for two days, one that comes back at
// once, one that is given up, and one that goes out protected by DANE. Goldens have
// TIME and ID for what differs.
func TestStories(t *testing.T) {
	credentials := cheap()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, credentials)
		w.quiet = true
		time.Sleep(time.Second)
		w.prove(w.fars[4], "mail.kind.example")
		w.severed(netip.MustParseAddr("198.51.100.3"), "refused")
		w.sites[0].stop()
		w.sites[0].patience = 3 * 24 * time.Hour
		w.sites[0].boot()
		ada := house.Address("ada@a.example")
		post := func(to string) string {
			begin := time.Now()
			w.submit(ada, mail.Envelope{Sender: ada, Recipients: []mail.Recipient{{Address: house.Address(to)}}}, "From: ada@a.example\r\nTo: "+to+"\r\nSubject: lunch\r\nMessage-ID: <lunch@a.example>\r\n\r\nAt noon?\r\n")
			return w.first(begin, trace.Submitted)
		}
		var out strings.Builder
		tell := func(title, id string) {
			s, err := admind.InProcess(w.sites[0].house.Admin.Handler()).Story(context.Background(), id)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "== %s\n\n%s\n\n", title, strings.Join(s.Lines, "\n"))
		}
		begin := time.Now()
		w.stranger("MAIL FROM:<x@kind.example>", "RCPT TO:<nobody@a.example>", "QUIT")
		tell("refused at RCPT", w.first(begin, trace.Refused))
		safe, back, long := post("x@kind.example"), post("x@wall.example"), post("x@slow.example")
		time.Sleep(48*time.Hour + 5*time.Minute)
		tell("delivered by TLS with DANE", safe)
		tell("bounced", back)
		tell("deferred for two days", long)
		time.Sleep(36 * time.Hour)
		tell("given up", long)
		for _, s := range w.sites {
			s.stop()
		}
		w.net.Wait()
		_, boxes := w.sites[0].check()
		for _, text := range boxes[ada] {
			_, part, _ := strings.Cut(text, "Description: Notification\r\n")
			_, part, _ = strings.Cut(part, "\r\n\r\n")
			part, _, _ = strings.Cut(part, "\r\n--")
			fmt.Fprintf(&out, "== what ada reads\n\n%s\n", strings.ReplaceAll(part, "\r\n", "\n"))
		}
		compare(t, "testdata/stories.txt", out.String())
	})
}

var (
	anyTime = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?|(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d+ \w+ \d{4} \d\d:\d\d:\d\d [+-]\d{4}`)
	anyID   = regexp.MustCompile(`\b[0-9a-v]{16}\b`)
	tries   = regexp.MustCompile(`tried \d+ times`) // chance has a say in when
)

// compare compares with a golden, but for times and ids.
func compare(t *testing.T, file, got string) {
	t.Helper()
	got = tries.ReplaceAllString(anyID.ReplaceAllString(anyTime.ReplaceAllString(got, "TIME"), "ID"), "tried N times")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s: %v, got\n%s", file, err, got)
	}
}

// first gives the id of the first message of which something happened since a time.
func (w *world) first(since time.Time, kind trace.Kind) (id string) {
	w.t.Helper()
	err := w.sites[0].house.Admin.Journal.Each(context.Background(), since, func(e trace.Event) bool {
		if e.Kind == kind && !e.Time.Before(since.Truncate(time.Millisecond)) {
			id = e.Trace.String()
		}
		return id == ""
	})
	if err != nil || id == "" {
		w.t.Fatalf("nothing was %v: %v", kind, err)
	}
	return id
}

// stranger says lines to the first house, one after the other.
func (w *world) stranger(lines ...string) {
	w.t.Helper()
	c, err := w.net.From(netip.MustParseAddr("198.51.100.5"))(context.Background(), "tcp", netip.AddrPortFrom(w.sites[0].ip, 25).String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	r.ReadString('\n')
	for _, l := range append([]string{"HELO mail.kind.example"}, lines...) {
		fmt.Fprint(c, l+"\r\n")
		if _, err := r.ReadString('\n'); err != nil {
			w.t.Fatal(l, err)
		}
	}
}

// prove gives a host a certificate, and has a signed DNS say so.
func (w *world) prove(f *far, name string) {
	w.t.Helper()
	cert, _ := network.Certificate(name)
	f.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	service := "_25._tcp." + name
	w.zone.Certificate(service, dane.Record(cert.Leaf)).Secure("kind.example", name, service)
}
