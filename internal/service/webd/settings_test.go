package webd_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/discovery"
	"posthaste/internal/service/webd"
)

// TestSettings: mail programs find the settings of our domains wherever they look, and
// nothing of others, nor whether somebody is there.
func TestSettings(t *testing.T) {
	broken := false
	s := &webd.Server{Settings: func(_ context.Context, d mail.Domain) (discovery.Settings, error) {
		switch {
		case broken:
			return discovery.Settings{}, errors.New("disk on fire")
		case d != "a.example":
			return discovery.Settings{}, mail.ErrNotFound
		}
		return discovery.Settings{Domain: string(d), Services: []discovery.Service{{Protocol: discovery.IMAP, Host: "mx.b.example", Port: 993}, {Protocol: discovery.Submission, Host: "mx.b.example", Port: 465}}}, nil
	}}
	c, _, end := web(t, s, "a.example", "autoconfig.a.example", "autodiscover.a.example", "mx.b.example", "autoconfig.c.example")
	ask := func(method, url, body string, code int, kind, text string) {
		t.Helper()
		req, err := http.NewRequest(method, "https://"+url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Errorf("%s %s: %v", method, url, err)
			return
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != code || !strings.HasPrefix(resp.Header.Get("Content-Type"), kind) || !strings.Contains(string(b), text) {
			t.Errorf("%s %s: %s %s %q", method, url, resp.Status, resp.Header.Get("Content-Type"), b)
		}
	}
	const xml, imap = "application/xml", "<hostname>mx.b.example</hostname>"
	ask("GET", "autoconfig.a.example/mail/config-v1.1.xml?emailaddress=ada%40a.example", "", 200, xml, imap)
	ask("GET", "AutoConfig.A.example/mail/config-v1.1.xml", "", 200, xml, imap)
	ask("HEAD", "autoconfig.a.example/mail/config-v1.1.xml", "", 200, xml, "")
	ask("GET", "a.example/.well-known/autoconfig/mail/config-v1.1.xml", "", 200, xml, imap)
	ask("GET", "mx.b.example/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=x@a.example", "", 200, xml, imap)
	ask("GET", "mx.b.example/.well-known/autoconfig/mail/config-v1.1.xml", "", 404, "", "")
	ask("GET", "autoconfig.c.example/mail/config-v1.1.xml", "", 404, "", "")
	ask("GET", "autoconfig.a.example/mail/config-v1.1.xml?emailaddress=x@c.example", "", 404, "", "")
	ask("POST", "autoconfig.a.example/mail/config-v1.1.xml", "", 405, "", "read")
	ask("GET", "a.example/", "", 404, "", "")

	request := func(address, schema string) string {
		return "<Autodiscover><Request><EMailAddress>" + address + "</EMailAddress><AcceptableResponseSchema>" + schema + "</AcceptableResponseSchema></Request></Autodiscover>"
	}
	ask("POST", "autodiscover.a.example/autodiscover/autodiscover.xml", request("ada@a.example", ""), 200, xml, "<Server>mx.b.example</Server>")
	ask("POST", "mx.b.example/AutoDiscover/AutoDiscover.xml", request("ada@a.example", ""), 200, xml, "<LoginName>ada@a.example</LoginName>")
	ask("POST", "autodiscover.a.example/autodiscover/autodiscover.xml", request("ada@c.example", ""), 404, "", "")
	ask("POST", "autodiscover.a.example/autodiscover/autodiscover.xml", request("ada@a.example", "mobilesync"), 200, xml, "<ErrorCode>601<")
	ask("POST", "autodiscover.a.example/autodiscover/autodiscover.xml", "rubbish", 400, xml, "<ErrorCode>600<")
	ask("GET", "autodiscover.a.example/autodiscover/autodiscover.xml", "", 405, "", "posted")

	const url = "https://autodiscover.a.example/autodiscover/autodiscover.xml"
	ask("GET", "autodiscover.a.example/autodiscover/autodiscover.json?Email=x%40a.example&Protocol=AutodiscoverV1", "", 200, "application/json", url)
	ask("GET", "autodiscover.a.example/autodiscover/autodiscover.json/v1.0/x@a.example?protocol=autodiscoverv1", "", 200, "application/json", url)
	ask("GET", "autodiscover.a.example/autodiscover/autodiscover.json?Email=x@a.example&Protocol=ActiveSync", "", 400, "application/json", "InvalidProtocol")
	ask("GET", "autodiscover.a.example/autodiscover/autodiscover.json?Email=x@c.example&Protocol=AutodiscoverV1", "", 404, "", "")

	ask("GET", "mx.b.example/mail.mobileconfig?address=ada@a.example", "", 200, "application/x-apple-aspen-config", "<string>ada@a.example</string>")
	ask("GET", "mx.b.example/mail.mobileconfig?address=ada@c.example", "", 404, "", "")
	ask("GET", "mx.b.example/mail.mobileconfig", "", 400, "", "say for whom")

	broken = true
	ask("GET", "a.example/.well-known/autoconfig/mail/config-v1.1.xml", "", 503, "", "later")
	if err := end(); err != nil {
		t.Error(err)
	}
}
