package admind

import (
	"net/http"

	"posthaste/internal/agent/mover"
)

// routes are the doors of a part of the API, by method and path.
type routes map[string]http.HandlerFunc

// Handler gives the routes.
func (s *Server) Handler() http.Handler {
	m := http.NewServeMux()
	for _, part := range []routes{s.aboutDomains(), s.aboutPeople(), s.aboutMoves(), s.aboutMail()} {
		for pattern, h := range part {
			m.HandleFunc(pattern, h)
		}
	}
	return m
}

// aboutDomains is domains, and the addresses in them.
func (s *Server) aboutDomains() routes {
	return routes{
		"GET /v1/domains":                     s.answer(s.domains),
		"POST /v1/domains":                    s.answer(s.addDomain),
		"PATCH /v1/domains/{name}":            s.answer(s.changeDomain),
		"DELETE /v1/domains/{name}":           s.answer(s.removeDomain),
		"GET /v1/domains/{name}/dns":          s.answer(s.records),
		"GET /v1/domains/{name}/keys":         s.answer(s.domainKeys),
		"POST /v1/domains/{name}/keys":        s.answer(s.prepareKeys),
		"POST /v1/domains/{name}/keys/use":    s.answer(s.useKeys),
		"GET /v1/aliases":                     s.answer(s.aliases),
		"POST /v1/aliases":                    s.answer(s.addAlias),
		"PUT /v1/aliases/{address}":           s.answer(s.setAlias),
		"DELETE /v1/aliases/{address}":        s.answer(s.removeAlias),
		"GET /v1/addresses/{address}":         s.answer(s.explain),
		"GET /v1/addresses/{address}/refused": s.answer(s.refused),
	}
}

// aboutPeople is accounts and what belongs to them.
func (s *Server) aboutPeople() routes {
	return routes{
		"GET /v1/accounts":                                           s.answer(s.accounts),
		"POST /v1/accounts":                                          s.answer(s.addAccount),
		"DELETE /v1/accounts/{address}":                              s.answer(s.removeAccount),
		"POST /v1/accounts/{address}/rename":                         s.answer(s.renameAccount),
		"PUT /v1/accounts/{address}/quota":                           s.answer(s.setQuota),
		"PUT /v1/accounts/{address}/password":                        s.answer(s.setPassword),
		"GET /v1/accounts/{address}/ties":                            s.answer(s.ties),
		"GET /v1/accounts/{address}/settings":                        s.answer(s.settings),
		"GET /v1/accounts/{address}/away":                            s.answer(s.away),
		"PUT /v1/accounts/{address}/away":                            s.answer(s.setAway),
		"GET /v1/accounts/{address}/scripts":                         s.answer(s.scripts),
		"PUT /v1/accounts/{address}/scripts":                         s.answer(s.saveScript),
		"POST /v1/accounts/{address}/scripts/active":                 s.answer(s.activateScript),
		"POST /v1/accounts/{address}/scripts/name":                   s.answer(s.renameScript),
		"POST /v1/accounts/{address}/scripts/trial":                  s.answerTo(maxTrial, s.tryScript),
		"GET /v1/accounts/{address}/scripts/one":                     s.answer(s.script),
		"DELETE /v1/accounts/{address}/scripts/one":                  s.answer(s.removeScript),
		"GET /v1/accounts/{address}/passwords":                       s.answer(s.appPasswords),
		"POST /v1/accounts/{address}/passwords":                      s.answer(s.addAppPassword),
		"DELETE /v1/accounts/{address}/passwords/{name}":             s.answer(s.removeAppPassword),
		"GET /v1/accounts/{address}/certificates":                    s.answer(s.certificates),
		"POST /v1/accounts/{address}/certificates":                   s.answer(s.addCertificate),
		"DELETE /v1/accounts/{address}/certificates/{name}":          s.answer(s.removeCertificate),
		"GET /v1/accounts/{address}/withheld-capabilities":           s.answer(s.withheld),
		"POST /v1/accounts/{address}/withheld-capabilities":          s.answer(s.switchOff),
		"DELETE /v1/accounts/{address}/withheld-capabilities/{name}": s.answer(s.switchOn),
		"GET /v1/accounts/{address}/pop3":                            s.answer(s.pop3Plan),
		"PUT /v1/accounts/{address}/pop3":                            s.answer(s.setPOP3Policy),
		"DELETE /v1/accounts/{address}/pop3":                         s.answer(s.clearPOP3Policy),
		"GET /v1/accounts/{address}/pop3/ledger":                     s.answer(s.pop3Ledger),
		"GET /v1/accounts/{address}/forward":                         s.answer(s.forward),
		"PUT /v1/accounts/{address}/forward":                         s.answer(s.setForward),
		"DELETE /v1/accounts/{address}/forward":                      s.answer(s.clearForward),
		"GET /v1/limits":                                             s.answer(s.limits),
		"POST /v1/accounts/{address}/limit/release":                  s.answer(s.releaseLimit),
		"PUT /v1/accounts/{address}/disabled":                        s.answer(s.disable),
		"DELETE /v1/accounts/{address}/disabled":                     s.answer(s.enable),
		"GET /v1/outposts":                                           s.answer(s.allOutposts),
		"GET /v1/accounts/{address}/outposts":                        s.answer(s.outposts),
		"POST /v1/accounts/{address}/outposts/{name}":                s.answer(s.addOutpost),
		"PATCH /v1/accounts/{address}/outposts/{name}":               s.answer(s.changeOutpost),
		"DELETE /v1/accounts/{address}/outposts/{name}":              s.answer(s.removeOutpost),
		"POST /v1/accounts/{address}/outposts/{name}/{action}":       s.answer(s.handleOutpost),
		"GET /v1/accounts/{address}/deleted":                         s.answer(s.deleted),
		"GET /v1/accounts/{address}/deleted/gone":                    s.answer(s.gone),
		"POST /v1/accounts/{address}/deleted/restore":                s.answer(s.restoreDeleted),
		"GET /v1/accounts/{address}/mailboxes":                       s.answer(s.mailboxes),
		"GET /v1/accounts/{address}/mailboxes/{id}/sharing":          s.answer(s.sharing),
		"GET /v1/accounts/{address}/mailboxes/{id}/messages":         s.messages,
		"PUT /v1/accounts/{address}/admin":                           s.answer(s.setAdmin),
		"DELETE /v1/accounts/{address}/admin":                        s.answer(s.unsetAdmin),
		"GET /v1/accounts/{address}/seen":                            s.answer(s.seenMode),
		"PUT /v1/accounts/{address}/seen":                            s.answer(s.setSeenMode),
		"GET /v1/shared/{address}/rights":                            s.answer(s.rights),
		"PUT /v1/shared/{address}/rights":                            s.answer(s.share),
	}
}

// aboutMoves is what comes from another server.
func (s *Server) aboutMoves() routes {
	return routes{
		"POST /v1/accounts/{address}/import/folder":   s.answer(s.moveFolder),
		"POST /v1/accounts/{address}/import/sharing":  s.answerTo(maxSharing, s.moveSharing),
		"POST /v1/accounts/{address}/import/known":    s.answer(s.moveKnown),
		"POST /v1/accounts/{address}/import/flags":    s.answer(s.moveFlags),
		"POST /v1/accounts/{address}/import/messages": s.answerTo(mover.MaxMessage+mover.MaxBatchBytes, s.moveMessages),
		"POST /v1/accounts/{address}/import/here":     s.answerTo(maxHere, s.moveDeletions),
		"GET /v1/moves":                         s.answer(s.moves),
		"PUT /v1/accounts/{address}/move":       s.answer(s.beginMove),
		"POST /v1/accounts/{address}/move/flip": s.answer(s.flipMove),
		"POST /v1/accounts/{address}/move/back": s.answer(s.backMove),
		"DELETE /v1/accounts/{address}/move":    s.answer(s.endMove),
	}
}

// aboutMail is the server and the mail in it.
func (s *Server) aboutMail() routes {
	return routes{
		"GET /v1/status":                   s.answer(func(*http.Request) (any, error) { return Status{Version: s.Version}, nil }),
		"GET /v1/queue":                    s.answer(s.queued),
		"GET /v1/queue/summary":            s.answer(s.heaps),
		"POST /v1/queue/reroute":           s.answer(s.rerouteGroup),
		"POST /v1/queue/{id}/reroute":      s.answer(s.rerouteOne),
		"POST /v1/queue/{action}":          s.answer(s.changeGroup),
		"POST /v1/queue/{id}/{action}":     s.answer(s.changeOne),
		"DELETE /v1/queue/{id}":            s.answer(s.drop),
		"GET /v1/suppression":              s.answer(s.suppressed),
		"DELETE /v1/suppression/{address}": s.answer(s.unsuppress),
		"GET /v1/messages/{id}/story":      s.answer(s.story),
		"GET /v1/tls":                      s.answer(s.safety),
		"GET /v1/reports/tls":              s.answer(s.toldTLS),
		"POST /v1/backup":                  s.answer(s.makeBackup),
		"GET /v1/backup":                   s.answer(s.backupState),
		"GET /v1/reports/dmarc":            s.answer(s.toldDMARC),
		"GET /v1/reports/failures":         s.answer(s.toldFailures),
		"GET /v1/reports/sent":             s.answer(s.sentReports),
		"POST /v1/check":                   s.check,
		"GET /v1/metrics":                  s.Metrics.ServeHTTP,
	}
}
