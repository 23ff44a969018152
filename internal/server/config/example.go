package config

// Example is a configuration file with every setting. Each that has a default
// is commented out, and shows it.
const Example = `# The configuration of Posthaste. Every setting is optional; what is commented
# out shows its default. Domains, accounts and aliases are not in this file: they
# are added with "posthaste domain add" and so on, while the server runs.

# What the server calls itself: the name in its MX record and its certificate.
# The default is the name of the machine.
hostname = "mail.example.org"

# The folder of the store. File names in here are relative to this file's folder.
# data = "/var/lib/posthaste"

# Memory for what is often read. 0 is a 32nd of the machine's, from 128MB to 1GB.
# cache = "0"

[log]
# level = "info"                   # debug, info, warn, error
# format = "text"                  # text, json

# Certificates, as many as you like; the first answers for all other names.
# Without any, the server makes one itself, which mail programs do not trust.
# [[tls]]
# certificate = "/etc/ssl/mail.example.org.pem"   # with its chain
# key = "/etc/ssl/mail.example.org.key"

[dns]
# servers = []                     # "127.0.0.1", "[::1]:5353"; none: the system's
# recursive = false                # ask nobody else: go from the root servers down
# dnssec = "auto"                  # validate what DNSSEC has signed: always, never, or auto: if the
#                                  # servers pass signatures on. DANE needs it
# root_servers = []                # addresses of another root than the Internet's; needs recursive
# trust_anchors = []               # its keys: ". DS 12345 13 2 ab12...", as many as there are

# The ports. If there is one [[listener]] here, these defaults no longer apply.
# [[listener]]
# address = ":25"                  # host:port; without a host all addresses
# protocol = "smtp"                # smtp, submission, lmtp, imap, pop3, sieve, https, metrics
# tls = "starttls"                 # starttls, implicit, none
# plaintext_login = false          # passwords without TLS
# client_certificates = false      # ask mail programs for a certificate to log in with (EXTERNAL):
#                                  # see "posthaste account certificate --help"
# proxy_from = []                  # load balancers that send a PROXY header: "10.0.0.5/32"
# xclient_from = []                # fronts that say by XCLIENT whom they speak for, and who has
#                                  # logged in with them; only for smtp, submission, lmtp
# metrics_open = false             # only for metrics: they have no login, so that only this
#                                  # machine may read them, unless this is true
# [[listener]]
# address = ":587"
# protocol = "submission"
# tls = "starttls"
# [[listener]]
# address = ":465"
# protocol = "submission"
# tls = "implicit"
# [[listener]]
# address = ":143"
# protocol = "imap"
# tls = "starttls"
# [[listener]]
# address = ":993"
# protocol = "imap"
# tls = "implicit"
# [[listener]]
# address = ":110"
# protocol = "pop3"
# tls = "starttls"
# [[listener]]
# address = ":995"
# protocol = "pop3"
# tls = "implicit"

# Not among the defaults: a listener on ":443" with protocol "https" serves the
# policy of [mta_sts], and tells mail programs their settings. It needs certificates
# for "mta-sts.", "autoconfig." and "autodiscover." in front of each domain. Its setting alpn, a list of "imap", "pop3", "sieve" and "submission",
# has it serve these as well, for programs that ask for them as TLS begins (by ALPN "imap",
# "pop3", "managesieve" and "smtp"), as Delta Chat does where a network lets only port 443 through.
# Nor is one on ":4190" with protocol "sieve" and tls "starttls": ManageSieve, by which
# programs look after people's filter rules (Sieve scripts).
# Nor is one on "127.0.0.1:9725" with protocol "metrics", which Prometheus reads. Its
# tls is none or implicit.

# Where mail for a domain goes, instead of the hosts in its MX records; "*" is
# all mail that is not for people here.
# [[route]]
# domain = "*"
# from = ""                        # only mail whose sender is of this domain
# after = 0                        # only once other ways have failed so often
# name = ""                        # for "posthaste queue reroute"; a route with a name and without a
#                                  # domain is for that only
# host = "smtp.provider.example:587"
# egress = ""                      # the [[egress]] that it goes out from; none: as the system chooses
# protocol = "smtp"                # smtp, lmtp
# tls = "required"                 # none, opportunistic, required, implicit
# username = "you"                 # only with tls required or implicit
# password_file = "smarthost-password"
# Where a password is not taken: access tokens, got by the refresh token that the
# provider gave once for this server. When it gives another, that is kept in the
# store; to start anew, put a new one in the file. Without a refresh_token_file the
# server acts for itself (client credentials).
# oauth2 = { token_url = "https://oauth2.googleapis.com/token", client_id = "...", client_secret_file = "oauth-secret", refresh_token_file = "oauth-refresh", scope = "https://mail.google.com/" }

[auth]
# offer_channel_binding = false    # announce SCRAM-SHA-256-PLUS: who logs in with it knows that nobody
#                                  # sits between. Some programs (mutt) choose it, cannot do it, and
#                                  # then cannot log in. Those that ask for it get it in any case
# scram_sha_1 = false              # also SCRAM-SHA-1, for programs that know no better and must not
#                                  # send the password itself. It works with passwords that are set from
#                                  # then on; "posthaste account list" says which it does not work with.
#                                  # A stolen store is easier to guess passwords with

# Who gives tokens that people log in with (OAUTHBEARER, XOAUTH2), in place of a
# password: Keycloak, Authentik, Entra ID and the like. Accounts must exist here.
# A session goes on when its token ends.
# [[auth.issuer]]
# url = "https://id.example.org/realms/mail"   # as in its tokens (iss), to the letter
# audience = ["posthaste"]         # whom they are for (aud): one of these
# claim = "email"                  # what names the account; email counts only if it was verified
# domains = []                     # that it speaks for; none: all. The first is put behind a name
#                                  # without one, as in claim = "preferred_username"
# scopes = []                      # that a token must all have
# algorithms = ["RS256", "PS256", "ES256", "EdDSA"]
# introspect = false               # tokens are not signed: ask the issuer about each (RFC 7662), as
# client_id = ""                   # this client
# client_secret_file = ""

# Several addresses of this machine that mail goes out from, to the MX of other
# domains. Each domain always hears from the same one, as long as that works; when it
# is refused there, others take over. "posthaste domain dns" prints the records that
# belong to them, and says which are missing.
# [[egress]]
# name = "default"                 # for all mail; another name: for that of these senders, or of a
# from = []                        # [[route]] that names it
# [[egress.address]]
# hello = "out1.example.org"       # leads to the addresses, and they back to it
# ipv4 = "192.0.2.10"              # one of both is enough
# ipv6 = "2001:db8::10"
# weight = 1                       # how many destinations it serves, compared to the others

# How much a destination is sent at a time. Posthaste knows what the great
# providers bear, and slows down by itself for who says that it is too much.
# [[destination]]
# match = "example.com"            # a domain, an MX host, or a provider: google, microsoft, yahoo ...
# connections = 10
# messages_per_connection = 100
# messages_per_minute = 0          # 0: as many as go

[receive]
# Networks whose mail is not judged by SPF, DKIM and DMARC.
# trusted_networks = ["127.0.0.0/8", "::1/128"]
# forward_junk = false             # whether what looks like junk is sent on to other servers too, for
#                                  # accounts and aliases; else accounts keep it, and aliases refuse it
# What speaks against a client counts points. Mail is judged by their sum: from
# junk_points on it goes to Junk, from refuse_points on it is refused; 0 is never.
# no_name_points = 2               # its address has no name in the DNS that leads back to it
# bad_hello_points = 2             # it calls itself what it cannot be
# junk_points = 5
# refuse_points = 10
# messages_per_hour = 0            # that a network may bring (IPv6: a /64); 0 is no limit
# unknown_recipients = 100         # that it may name before it must wait for an hour; 0 is no limit
# greylist = "suspicious"          # a stranger whom something speaks against, such as points that do not
#                                  # suffice for Junk, has to send a message twice, a minute apart or more:
#                                  # who sends junk seldom does. never: nobody has to; always: every stranger.
#                                  # A stranger is no more who has brought mail that was no junk, from whose
#                                  # domain such mail was proven to be, or to whom people here have written

# Lists in the DNS of addresses that send junk. Ask them over a resolver of your
# own ([dns]): most do not answer the great public ones.
# [[receive.list]]
# zone = "zen.spamhaus.org"
# points = 10                      # if it is not said: refuse_points
# codes = []                       # the answers that count, such as "127.0.0.2/32"; none: all

# Filters outside that are asked about mail from others, over the milter protocol,
# in this order: rspamd, clamav-milter and the like.
# [[milter]]
# address = "unix:/run/rspamd/milter.sock"     # or host:port
# on_failure = "tempfail"          # the sender tries again; or accept: it is taken without the filter
# timeout = "30s"                  # of an answer; ten times that at the end of a message
# submissions = false              # true: it is asked about what people here send, too

# Programs outside that are asked about mail from others over HTTP, after the
# milters: see docs/hooks.md.
# [[hook]]
# url = "http://127.0.0.1:8080/mail"
# stage = "data"                   # or rcpt: about each recipient, before there is a message
# timeout = "10s"
# on_failure = "tempfail"          # or accept, as of a milter
# body = "0"                       # how much of the message is told, up to 10MB; 0: only its header
# secret_file = "hook-secret"      # the key that requests are signed with

[limits]
# message_size = "50MB"
# recipients = 100                 # of one message
# recipients_per_day = 2000        # in other servers' domains that an account may write to; 0: as many as it likes
# usual_recipients_per_day = 300   # so many are never strange; else 3 times what the account had on
                                   # its busiest day of the last 30 is taken, and more has to be released:
                                   # "posthaste account limit"; 0: recipients_per_day alone counts
# connections = 10000              # on each listener
# connections_per_address = 100    # of an IPv6 address: its /64
# sessions_per_account = 100       # of IMAP, at once
# imap_messages_per_command = 0    # at least 1000, announced as MESSAGELIMIT; 0 is no limit
# imap_messages_per_save = 0       # the same for COPY and APPEND only, announced as SAVELIMIT
# trusted_networks = []            # "10.0.0.0/8": no limits per address, no slowed log-ins
# account_quota = "0"              # of new accounts, such as "5GB"; 0 is no limit

[queue]
# first_retry = "1m"               # the wait after the first failure; it doubles,
# last_retry = "4h"                # up to this
# warn_after = "4h"                # when the sender hears of a delay
# give_up = "5d"                   # when the sender hears that it failed
# workers = 100                    # messages that are sent at a time,
# per_domain = 10                  # and to one domain, or to the hosts of one provider
# suppress_after = 3               # messages to an address that have come back as addressed to
#                                  # nobody, until no more go there for a week; 0: never

# Our MTA-STS policy, for all domains, if there is a listener for https: that
# others send to this host name only, with a certificate that is valid for it.
# "posthaste domain dns" prints the records that belong to it.
[mta_sts]
# mode = "testing"                 # testing: others report what is wrong; enforce: they send
#                                  # nothing else; none: ends a policy that there was
# max_age = "7d"                   # how long others keep it

# Pages where people look after their own accounts with a browser, if there is a
# listener for https: app passwords, what becomes of mail that POP3 collects, deleted
# mail, the password. They are at https://HOST/account/.
[web]
# account_pages = true

# Who asks for it in the DNS hears once a day what TLS came to in our sessions
# with his servers (RFC 8460), and what mail came here in his name, from which
# addresses, and whether it was proven to be his (RFC 9990). Of people nothing is
# told. "posthaste reports sent" shows what went where.
[reports]
# send = true                      # false: nobody hears anything
# dmarc = true                     # false: nothing is counted and told of mail

[deleted]                          # mail that was deleted for good can be restored
# keep = "30d"                     # for so long (if the disk is full, for a day; then deleted, for an hour),
# limit = "5GB"                    # but no more than that of an account; 0 is no limit

[collect]                          # mail of accounts elsewhere: see "posthaste collect --help"
# enabled = true                   # false: none is fetched; what is sent by them still goes
# clear = false                    # also without TLS from other machines than this one
# at_once = 8                      # accounts at a time

# Copies of the whole store, while the server runs; see "posthaste backup --help".
[backup]
# directory = ""                   # where they go, a folder or s3://bucket/prefix; without it there are none
# every = "1d"
# keep = 14                        # generations; 0 is all
# recipients = []                  # public keys of age, "age1...", that they are encrypted for

[backup.s3]                        # how a bucket is reached
# endpoint = ""                    # "https://s3.example.net"; without it Amazon's
# region = ""                      # of the bucket; without it the server is asked
# path_style = false               # the bucket stands in the path of URLs, not in the host's name
# credentials = ""                 # a file with key and secret, as Amazon's tools have it; without it
                                   # AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment
# clear = false                    # http:// is allowed, not only to this machine

[pop3]
# login_delay = "0"                # that a device waits between two logins, such as "5m"; 0 is none
`
