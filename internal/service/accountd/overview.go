package accountd

import (
	"strconv"
	"time"

	"posthaste/internal/agent/collector"
	"posthaste/internal/proto/discovery"
)

type (
	// first is what the first page shows.
	first struct {
		Name      string
		Used      int64
		Most      int64 // 0: no limit
		Percent   int
		Messages  int
		Program   program
		Elsewhere []elsewhere
	}
	// program is what is typed into a mail program.
	program struct {
		User    string
		Lines   []line
		Profile string // where Apple's devices find theirs; "": nowhere
	}
	line struct{ What, Host, Port, Security string }
	// elsewhere is an account whose mail is collected.
	elsewhere struct {
		Name, User, Host, State string
		Collected               int
	}
)

func (s *Server) overview(v *visit) (view, error) {
	ctx := v.Context()
	u, err := s.Owner.Mailboxes.Usage(ctx, v.acct.ID)
	if err != nil {
		return view{}, err
	}
	out := first{Name: v.acct.Name, Used: u.Bytes, Most: u.MaxBytes, Messages: int(u.Messages)}
	if u.MaxBytes > 0 {
		out.Percent = int(min(100, u.Bytes*100/u.MaxBytes))
	}
	if out.Program, err = s.program(v); err != nil {
		return view{}, err
	}
	list, err := s.Outposts.Of(ctx, v.acct.ID)
	if err != nil {
		return view{}, err
	}
	for i := range list {
		e := &list[i]
		out.Elsewhere = append(out.Elsewhere, elsewhere{
			Name: e.Name, User: e.User, Host: e.Host, State: sentence(collector.State(e, time.Now(), time.Local)), Collected: int(e.Collected),
		})
	}
	return sees("overview", "Your account", out)
}

// program gives what this account's programs need to know.
func (s *Server) program(v *visit) (program, error) {
	set, err := s.Settings(v.Context(), v.acct.Address.Domain)
	if err != nil {
		return program{}, err
	}
	out := program{User: v.acct.Address.Unicode()}
	seen := map[discovery.Protocol]bool{}
	for _, x := range set.Services {
		l := line{
			What: map[discovery.Protocol]string{discovery.IMAP: "Reading, by IMAP", discovery.POP3: "or by POP3", discovery.Submission: "Sending, by SMTP", discovery.Sieve: "Filter rules, by ManageSieve"}[x.Protocol],
			Host: x.Host, Port: strconv.Itoa(x.Port), Security: "SSL/TLS",
		}
		if seen[x.Protocol] {
			l.What = "or else"
		}
		if x.STARTTLS {
			l.Security = "STARTTLS"
		}
		seen[x.Protocol] = true
		out.Lines = append(out.Lines, l)
	}
	if (seen[discovery.IMAP] || seen[discovery.POP3]) && seen[discovery.Submission] {
		out.Profile = discovery.ProfilePath + "?address=" + profileAddress(v.acct.Address)
	}
	return out, nil
}
