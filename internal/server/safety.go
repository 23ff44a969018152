package server

import (
	"time"

	"posthaste/internal/agent/mta"
	"posthaste/internal/base/trace"
	"posthaste/internal/proto/tlsrpt"
)

// What is kept of a policy and of a reason, for reports.
const (
	maxLines = 20
	maxLine  = 200
)

// tell counts what came of TLS in a session with another server.
func (h *House) tell(s mta.Session) {
	p := tlsrpt.Policy{Kind: s.Kind, Domain: string(s.Domain), Strings: short(s.Policy), MX: short(s.MX)}
	var f *tlsrpt.Failure
	if s.Result != "" {
		f = &tlsrpt.Failure{Result: s.Result, MXHost: s.Host, Sessions: 1, Reason: trace.Cut(s.Reason, maxLine)}
		if s.IP.IsValid() {
			f.ReceivingIP = s.IP.String()
		}
	}
	h.reports.Count(time.Now(), s.Domain, p, f)
}

func short(lines []string) (out []string) {
	for _, l := range lines[:min(len(lines), maxLines)] {
		out = append(out, trace.Cut(l, maxLine))
	}
	return out
}
