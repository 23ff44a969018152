package discovery

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var hill = Settings{Domain: "hill.example", Services: Sort([]Service{
	{POP3, "mail.hill.example", 995, false},
	{Submission, "mail.hill.example", 587, true},
	{IMAP, "mail.hill.example", 143, true},
	{IMAP, "mail.hill.example", 993, false},
	{IMAP, "mail.hill.example", 1993, false},
	{Submission, "mail.hill.example", 465, false},
})}

func TestSort(t *testing.T) {
	var got []int
	for _, s := range hill.Services {
		got = append(got, s.Port)
	}
	if want := []int{993, 143, 995, 465, 587}; !slices.Equal(got, want) {
		t.Errorf("the order is %v, want %v", got, want)
	}
}

// golden compares with a file of what programs have been seen to take.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s", name, got)
	}
	wellFormed(t, got)
}

func wellFormed(t *testing.T, b []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, b)
		}
	}
}

func TestDocuments(t *testing.T) {
	golden(t, "autoconfig.xml", Autoconfig(hill))
	golden(t, "autodiscover.xml", Autodiscover(hill, "ada@hill.example"))
	golden(t, "autodiscover-error.xml", AutodiscoverError(ErrSchema))
	profile, ok := Profile(hill, "ada@hill.example", "Ada Hill")
	if !ok {
		t.Fatal("no profile")
	}
	golden(t, "profile.mobileconfig", profile)
	for _, bad := range []string{`<a@"&'>`, "Ä\x01\xff@x"} { // whatever is asked for
		wellFormed(t, Autodiscover(hill, bad))
		p, _ := Profile(hill, bad, bad)
		wellFormed(t, p)
	}
	if _, ok := Profile(Settings{Services: hill.Services[:2]}, "x", ""); ok {
		t.Error("a profile that cannot send")
	}
	pop, ok := Profile(Settings{Services: hill.Services[2:]}, "x", "")
	if !ok || !bytes.Contains(pop, []byte("EmailTypePOP")) {
		t.Error("no profile for POP3")
	}
}

// TestOtherName: in a domain that is another name of one, the user name is the main one.
func TestOtherName(t *testing.T) {
	s := Settings{Domain: "vale.example", Main: "hill.example", Services: hill.Services}
	profile, _ := Profile(s, "ada@vale.example", "")
	for name, c := range map[string]struct {
		got  []byte
		want string
		n    int
	}{
		"autoconfig":   {Autoconfig(s), "<username>%EMAILLOCALPART%@hill.example</username>", 5},
		"autodiscover": {Autodiscover(s, "ada@vale.example"), "<LoginName>ada@hill.example</LoginName>", 3},
		"profile":      {profile, "<string>ada@hill.example</string>", 2},
	} {
		if bytes.Count(c.got, []byte(c.want)) != c.n {
			t.Errorf("%s: %s is not there %d times in\n%s", name, c.want, c.n, c.got)
		}
	}
}

// TestSieve: what knows nothing of ManageSieve does not tell of it.
func TestSieve(t *testing.T) {
	s := hill
	s.Services = Sort(append([]Service{{Sieve, "mail.hill.example", 4190, true}, {Sieve, "mail.hill.example", 4191, false}}, hill.Services...))
	if n := len(s.Services); n != len(hill.Services)+2 || s.Services[n-1].Port != 4190 {
		t.Errorf("the order is %v", s.Services)
	}
	golden(t, "autoconfig.xml", Autoconfig(s))
	golden(t, "autodiscover.xml", Autodiscover(s, "ada@hill.example"))
	profile, _ := Profile(s, "ada@hill.example", "Ada Hill")
	golden(t, "profile.mobileconfig", profile)
	records := SRVRecords(s)
	if got := records[len(records)-1]; len(records) != 7 || got.Name != "_sieve._tcp.hill.example" || got.Value != "0 1 4190 mail.hill.example." {
		t.Errorf("%+v", records)
	}
}

func TestSRV(t *testing.T) {
	want := map[string]string{
		"_imaps._tcp.hill.example": "0 1 993 mail.hill.example.", "_imap._tcp.hill.example": "1 1 143 mail.hill.example.",
		"_pop3s._tcp.hill.example": "10 1 995 mail.hill.example.", "_pop3._tcp.hill.example": "0 0 0 .",
		"_submissions._tcp.hill.example": "0 1 465 mail.hill.example.", "_submission._tcp.hill.example": "1 1 587 mail.hill.example.",
	}
	for _, r := range SRVRecords(hill) {
		if want[r.Name] != r.Value || r.Why == "" {
			t.Errorf("%s is %s: %s", r.Name, r.Value, r.Why)
		}
		delete(want, r.Name)
	}
	if len(want) > 0 {
		t.Error("missing:", want)
	}
}

const request = `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress> ada@hill.example </EMailAddress><AcceptableResponseSchema>SCHEMA</AcceptableResponseSchema></Request></Autodiscover>`

func TestParseAutodiscover(t *testing.T) {
	for in, want := range map[string]error{
		strings.Replace(request, "SCHEMA", responseSchema, 1): nil,
		strings.Replace(request, "SCHEMA", "", 1):             nil,
		strings.Replace(request, "SCHEMA", "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006", 1): ErrSchema,
		"":                ErrRequest,
		"<Autodiscover/>": ErrRequest,
		"<Other><Request><EMailAddress>a@b</EMailAddress></Request></Other>": ErrRequest,
		request[:200]:                  ErrRequest,
		strings.Repeat("<a>", 100_000): ErrRequest,
		"<!DOCTYPE a [<!ENTITY b \"c\">]><Autodiscover><Request><EMailAddress>&b;</EMailAddress></Request></Autodiscover>": ErrRequest,
	} {
		address, err := ParseAutodiscover(strings.NewReader(in))
		if !errors.Is(err, want) || (want == nil) != (err == nil) || err == nil && address != "ada@hill.example" {
			t.Errorf("%.80s: %q %v", in, address, err)
		}
	}
}

func FuzzParseAutodiscover(f *testing.F) {
	f.Add(request)
	f.Fuzz(func(t *testing.T, in string) {
		address, err := ParseAutodiscover(strings.NewReader(in))
		if err == nil && address == "" {
			t.Error("an empty address")
		}
		wellFormed(t, Autodiscover(hill, address))
	})
}

func TestAutodiscoverJSON(t *testing.T) {
	for protocol, good := range map[string]bool{"AutodiscoverV1": true, "autodiscoverv1": true, "ActiveSync": false, "": false} {
		b, ok := AutodiscoverJSON("mail.hill.example", protocol)
		var got map[string]string
		if err := json.Unmarshal(b, &got); err != nil || ok != good || good && got["Url"] != "https://mail.hill.example/autodiscover/autodiscover.xml" {
			t.Errorf("%q: %s %v", protocol, b, err)
		}
	}
}
