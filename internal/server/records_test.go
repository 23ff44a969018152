package server_test

import (
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"posthaste/internal/engine/blob/memblob"
	"posthaste/internal/engine/kv/memkv"
	"posthaste/internal/server"
	"posthaste/internal/server/config"
	"posthaste/internal/server/listen"
	"posthaste/internal/service/admind"
)

// TestRecords: what a domain should publish is what the server has, and a policy
// only if it is served.
func TestRecords(t *testing.T) {
	pair, _, err := listen.SelfMade(filepath.Join(t.TempDir(), "tls"), "mx.a.example")
	if err != nil {
		t.Fatal(err)
	}
	certs, err := listen.Certificates([]config.KeyPair{pair, pair})
	if err != nil {
		t.Fatal(err)
	}
	records := func(cfg *tls.Config, more ...config.Listener) string {
		c := config.Default()
		c.Hostname, c.Listeners, c.MTASTS.Mode = "mx.a.example", append(c.Listeners, more...), "enforce"
		h, err := server.Build(c, server.Outside{DB: memkv.New(), Blobs: memblob.New(), Log: slog.New(slog.DiscardHandler), TLS: cfg})
		if err != nil {
			t.Fatal(err)
		}
		cl := admind.InProcess(h.Admin.Handler())
		if err := cl.AddDomain(t.Context(), "b.example"); err != nil {
			t.Fatal(err)
		}
		list, err := cl.Records(t.Context(), "b.example", admind.RecordOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for _, r := range list {
			out.WriteString(r.Name + " " + r.Type + " " + r.Value + "\n")
		}
		list, err = cl.Records(t.Context(), "b.example", admind.RecordOptions{Failures: true})
		if last := list[len(list)-1].Value; err != nil || strings.Contains(out.String(), "ruf=") || !strings.Contains(last, "; ruf=mailto:dmarc-failures@b.example; fo=1") {
			t.Error(last, err)
		}
		return out.String()
	}
	tlsa := regexp.MustCompile(`(?m)^_25\._tcp\.mx\.a\.example TLSA 3 1 1 [0-9a-f]{64}$`)
	if got := records(nil); strings.Contains(got, "TLSA") || strings.Contains(got, "mta-sts") {
		t.Error(got)
	}
	if got := records(nil); !strings.Contains(got, `_smtp._tls.b.example TXT "v=TLSRPTv1; rua=mailto:tls-reports@b.example"`) {
		t.Error(got)
	}
	if got := records(certs); len(tlsa.FindAllString(got, -1)) != 1 || strings.Contains(got, "mta-sts") {
		t.Error(got)
	}
	sts := regexp.MustCompile(`(?m)^_mta-sts\.b\.example TXT "v=STSv1; id=[0-9a-f]{20};"\nmta-sts\.b\.example CNAME mx\.a\.example\.$`)
	if got := records(certs, config.Listener{Address: ":443", Protocol: "https", TLS: "implicit"}); !sts.MatchString(got) || !tlsa.MatchString(got) {
		t.Error(got)
	}
}
