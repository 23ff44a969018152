package discovery

import "fmt"

// An SRV is a record by which programs find services of a domain.
type SRV struct {
	Name  string // of the record
	Value string // priority, weight, port and host
	Why   string
}

// names of services, with TLS from the first byte and with STARTTLS. RFC 6186 §3,
// RFC 8314 §5.1
var names = map[Protocol][2]string{
	IMAP: {"_imaps._tcp.", "_imap._tcp."}, POP3: {"_pop3s._tcp.", "_pop3._tcp."}, Submission: {"_submissions._tcp.", "_submission._tcp."},
}

// sieveName is that of ManageSieve, which begins with STARTTLS. RFC 5804 §1.8
const sieveName = "_sieve._tcp."

// SRVRecords gives those of a domain. What is not to be had is said to be so: with ".".
// A lower priority is preferred, also between IMAP and POP3. RFC 6186 §3.4, §4. Of
// ManageSieve there is a record only if it is there.
func SRVRecords(s Settings) (out []SRV) {
	for _, p := range [...]Protocol{IMAP, POP3, Submission} {
		for i, name := range names[p] {
			r := SRV{Name: name + s.Domain, Value: "0 0 0 .", Why: "programs that look for it find no " + words[p] + " of this kind"}
			for _, v := range s.Services {
				if v.Protocol != p || v.STARTTLS != (i == 1) {
					continue
				}
				priority := i
				if p == POP3 {
					priority += 10
				}
				r.Value = fmt.Sprintf("%d 1 %d %s.", priority, v.Port, v.Host)
				r.Why = "mail programs find by it where " + words[p] + " is"
			}
			out = append(out, r)
		}
	}
	for _, v := range s.Services {
		if v.Protocol == Sieve && v.STARTTLS {
			out = append(out, SRV{sieveName + s.Domain, fmt.Sprintf("0 1 %d %s.", v.Port, v.Host), "mail programs find by it where filter rules (Sieve) are looked after"})
		}
	}
	return out
}

var words = map[Protocol]string{IMAP: "IMAP", POP3: "POP3", Submission: "submission (SMTP)"}
