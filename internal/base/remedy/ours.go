package remedy

// What we found out without an answer, or say ourselves.
var ours = []rule{
	{"send-as-paused", Policy, Sender, "", "!&send-as&is paused", "It goes out by an account that the sender has elsewhere, and has paused.", "Let it go on: \"posthaste collect resume\"."},
	{"send-as-gone", Policy, Sender, "", "!&send-as&no longer sends", "It was to go out by an account elsewhere which the sender no longer has here.", "Add that account again (\"posthaste collect\"), or send the message with another address."},
	{"send-as-untried", Login, Sender, "", "!&send-as&nobody has been seen", "It goes out by an account that the sender has elsewhere, and whether one can log in there has not been tried.", "Try it: \"posthaste collect set ... --send-as\"."},
	{"send-as-mx", Policy, Postmaster, "", "!&send-as&mx of its recipients", "It goes out by an account that the sender has elsewhere, and an administrator had it go to the recipients' own servers, which cannot be.", "Let it go by that account: \"posthaste queue reroute --via default\"."},
	{"send-as-login", Login, Sender, "", "!&send-as&refuses the user name|!&send-as&access token", "It goes out by an account that the sender has elsewhere, and that provider does not let this server log in.", "Put in the right password: \"posthaste collect set ... --ask-password\". What waits goes at once then."},
	{"send-as-tls", Crypto, Sender, "", "!&send-as&certificate|!&send-as&starttls|!&send-as&begin with tls|!&send-as&in clear", "It goes out by an account that the sender has elsewhere, and there is no safe connection to that provider. Nothing was sent.", "Look at the submission server and at how to connect to it: \"posthaste collect show\"."},
	{"send-as-later", Unreachable, Nobody, "", "!&send-as", "It goes out by an account that the sender has elsewhere, and that provider's server cannot be spoken to now.", "It is tried again. If it goes on, look at \"posthaste collect show\"."},
	{"requiretls", Crypto, Sender, "", "!&requiretls", "The sender asked that the message travel only between servers that encrypt, prove who they are and promise the same of the next (REQUIRETLS), and no server of the recipient's does. Nothing was sent.", "Send it without that condition, or reach the recipient another way."},
	{"dane-unknown", Crypto, Theirs, "", "!&dane: what certificate", "The recipient's domain says in the DNS what certificate its server has (DANE), and that cannot be found out just now, or is not properly signed.", "It is tried again. If it goes on, the domain's administrator has to mend his DNSSEC and TLSA records."},
	{"dane-no-tls", Crypto, Theirs, "", "!&dane: starttls is not offered", "The recipient's domain says that its server can encrypt (DANE), and it did not offer to: somebody may sit in between. Nothing was sent.", "It is tried again. If it goes on, the administrator of that server has to look at it."},
	{"dane-mismatch", Crypto, Theirs, "", "!&dane:", "The recipient's server has another certificate than its domain says in the DNS (DANE): it may not be the right server. Nothing was sent.", "It is tried again. If it goes on, the administrator of that server has to mend his TLSA records."},
	{"sts-not-named", Crypto, Theirs, "", "!&mta-sts: the policy of the domain does not name", "The domain's mail servers are not among those that its policy (MTA-STS) names: somebody may have put others in their place. Nothing was sent.", "It is tried again. If it goes on, the domain's administrator has to mend his policy or his MX records."},
	{"sts-no-tls", Crypto, Theirs, "", "!&mta-sts: starttls is not offered", "The recipient's domain asks that its mail be encrypted (MTA-STS), and its server did not offer to: somebody may sit in between. Nothing was sent.", "It is tried again. If it goes on, the administrator of that server has to look at it."},
	{"sts-certificate", Crypto, Theirs, "", "!&mta-sts:", "The recipient's domain asks that its server show a valid certificate (MTA-STS), and it has not: it may not be the right server. Nothing was sent.", "It is tried again. If it goes on, the administrator of that server has to renew its certificate."},
	{"no-domain", Names, Sender, "", "!&there is no domain called", "The domain does not exist.", "Look whether the part behind the @ is written as it should be."},
	{"no-deadline", Policy, Sender, "", "!&(deliverby)", "The sender asked that the message be delivered by a certain time or come back, and the next server does not promise that, or has too little time left.", "Send it without that condition, or with more time."},
	{"too-late", Policy, Sender, "", "!&, as its sender asked", "The message was not delivered by the time that its sender had set.", "Reach the recipient another way, or send it again with more time."},
	{"null-mx", Names, Sender, "", "!&takes no mail", "The domain says that it takes no mail at all.", "Look for another address of the recipient."},
	{"no-address", Names, Theirs, "", "!&have no address", "The servers that should take the domain's mail do not exist in the DNS.", "The domain's administrator has to mend his MX records; reach the recipient another way."},
	{"bogus-dns", Names, Theirs, "", "!&not properly signed", "The DNS of the domain is signed, and the signature is wrong: the answer may be forged.", "It is tried again. If it goes on, the domain's administrator has to mend his DNSSEC."},
	{"dns-silent", Names, Nobody, "", "!&cannot be found out just now", "The DNS servers of the domain do not answer.", "It is tried again. If it happens for many domains, look at the [dns] servers of this machine."},
	{"loop-here", Loop, Postmaster, "", "!&comes back to us|!&runs in a circle|!&lead in a circle", "Mail for this address leads back to this server, which does not serve it.", "Add the domain (\"posthaste domain add\"), mend the alias, or mend the MX record."},
	{"refused-connection", Unreachable, Nobody, "", "!&connection refused", "The recipient's server is reached, and no mail server runs on it at this moment.", "It is tried again. If it goes on, its administrator should be told another way."},
	{"port-blocked", Unreachable, Postmaster, "", "!&i/o timeout|!&deadline exceeded|!&timed out|!&timeout", "The recipient's server does not answer.", "It is tried again. If no server anywhere answers, your provider blocks port 25: ask him to open it, or send through a relay."},
	{"no-route", Unreachable, Postmaster, "", "!&no route to host|!&network is unreachable|!&host is down|!&cannot assign requested address", "There is no way in the network from this server to the recipient's.", "It is tried again. If it happens for many domains, look at the network of this machine (IPv6 too)."},
	{"reset", Unreachable, Nobody, "", "!&reset by peer|!&broken pipe|!&eof", "The recipient's server hung up.", "It is tried again; there is nothing to do."},
	{"certificate", Crypto, Theirs, "", "!&certificate|!&x509", "The next server's certificate is not valid, and the way to it must be secure.", "It is tried again. If it goes on, the administrator of that server has to renew it."},
	{"no-starttls", Crypto, Theirs, "", "!&starttls is not offered", "The next server cannot do what was asked for: the message must travel protected.", "Send it without that condition, or ask the administrator of the other server."},
	{"tls-failed", Crypto, Theirs, "", "!&tls:", "No secure connection with the next server came about.", "It is tried again. If it goes on, its administrator should be told."},
	{"full-here", Full, Recipient, "", "!&mailbox full", "The recipient's mailbox on this server is full.", "The recipient must delete something, or the administrator gives more room."},
	{"nobody-here", NoUser, Sender, "", "!&nobody called", "There is no such address on this server.", "Look whether the address is written as it should be."},
	{"size-here", Size, Sender, "", "!&too large for the next host", "The message is larger than the next server takes.", "Send it with less in it, or a link to the files."},
	{"utf8-here", Form, Sender, "", "!&needs smtputf8", "The next server does not know addresses that have other than plain ASCII letters.", "Use another address, of yours or of the recipient."},
	{"eightbit-here", Form, Sender, "", "!&needs 8bitmime|!&needs binarymime", "The next server cannot take the message as it is.", "Send it as plain text, or with another program."},
	{"returned", Policy, Postmaster, "", "!&administrator", "An administrator of this server returned the message.", "Ask him why."},
	{"trouble-here", Busy, Postmaster, "", "!&local error|!&no room on this server", "This server has a difficulty of its own.", "It is tried again. The log of this server says what it is."},
}

// What is left to say where nothing else is known.
var rest = []rule{
	{"cut-off", Busy, Nobody, "", "!&session ended|!&no host would speak to us", "The recipient's server broke off.", "It is tried again; there is nothing to do."},
	{"nobody-answered", Unreachable, Nobody, "", "!&no host could be reached", "None of the domain's mail servers could be reached.", "It is tried again; there is nothing to do."},
}
