package remedy

// What servers everywhere say of blocklists. What a list says of itself comes
// before what is said of lists in general.
var lists = []rule{
	{"spamhaus-resolver", Busy, Theirs, "", "spamhaus&open resolver|spamhaus&query refused|spamhaus&error code", "The recipient's server asks Spamhaus in a way that Spamhaus does not answer, and takes that for a \"no\".", "Tell its administrator another way: he asks through a public resolver, which Spamhaus refuses. Your server is not listed."},
	{"spamhaus-pbl", Blocked, Postmaster, "", "spamhaus&pbl|pbl.spamhaus|spamhaus.org/pbl", "Spamhaus lists this server's address as one of a home connection, or its provider says that no mail comes from there.", "Take it off the list yourself at https://check.spamhaus.org/, or send through your provider's relay."},
	{"spamhaus-xbl", Blocked, Postmaster, "", "spamhaus&xbl|xbl.spamhaus|cbl.abuseat", "Spamhaus has seen a virus or a broken-into machine behind this server's address.", "Find the machine (others behind the same address too), then take it off the list at https://check.spamhaus.org/."},
	{"spamhaus-css", Blocked, Postmaster, "", "spamhaus&css", "Spamhaus lists this server's address for mail of low repute.", "Look at https://check.spamhaus.org/: as a rule the host name, the reverse DNS or a broken-into account is the cause."},
	{"spamhaus-dbl", Blocked, Postmaster, "", "spamhaus&dbl|dbl.spamhaus", "Spamhaus lists the sender's domain, or one that the message links to.", "Look at https://check.spamhaus.org/ which one it is, and why."},
	{"spamhaus", Blocked, Postmaster, "", "spamhaus", "Spamhaus, whose lists the recipient's server uses, lists this server's address.", "Look it up at https://check.spamhaus.org/ and follow what it says there."},
	{"spamcop", Blocked, Postmaster, "", "spamcop", "SpamCop's list has this server's address, because people reported spam from it.", "It goes off the list by itself a day after the last report; find out what was sent: https://www.spamcop.net/bl.shtml."},
	{"sorbs", Blocked, Theirs, "", "sorbs", "The recipient's server uses SORBS, a list that no longer exists.", "Tell its administrator another way."},
	{"uceprotect-net", Blocked, Nobody, "", "dnsbl-2.uceprotect|dnsbl-3.uceprotect|uceprotect-level2|uceprotect-level3|uceprotectl2|uceprotectl3", "The recipient's server uses a list (UCEPROTECT 2 or 3) that blocks whole networks and providers because of single machines in them.", "You can do nothing but tell the recipient; his administrator should not use that list alone."},
	{"uceprotect", Blocked, Postmaster, "", "uceprotect", "UCEPROTECT lists this server's address, because mail from it went to its traps.", "It goes off the list by itself after a week; look at https://www.uceprotect.net/."},
	{"backscatterer", Blocked, Postmaster, "", "backscatterer", "A list says that this server sends reports to people who wrote nothing.", "Look whether mail is refused while it comes in, not after; the list forgets after a month."},
	{"abusix", Blocked, Postmaster, "", "abusix", "Abusix, whose lists the recipient's server uses, lists this server's address.", "Take it off the list yourself at https://lookup.abusix.com/."},
	{"spamrats", Blocked, Postmaster, "", "spamrats|rats-dyna|rats-noptr", "SpamRATS lists this server's address, as a rule because its reverse DNS looks like a home connection's.", "Set the reverse DNS to the server's host name, then ask at https://www.spamrats.com/removal.php."},
	{"invaluement", Blocked, Postmaster, "", "invaluement|ivmsip", "Invaluement lists this server's address.", "Ask at https://www.invaluement.com/lookup/."},
	{"mailspike", Blocked, Postmaster, "", "mailspike", "Mailspike has a bad opinion of this server's address.", "Look it up at https://www.mailspike.org/iplookup.html."},
	{"psbl", Blocked, Postmaster, "", "psbl.surriel|psbl.org", "PSBL lists this server's address, because mail from it went to its traps.", "Take it off the list yourself at https://psbl.org/remove."},
	{"nixspam", Blocked, Theirs, "", "nixspam|ix.dnsbl.manitu", "The recipient's server uses NiX Spam, a list that no longer exists.", "Tell its administrator another way."},
	{"truncate", Blocked, Postmaster, "", "truncate.gbudb|gbudb", "GBUdb has a bad opinion of this server's address.", "Look at http://www.gbudb.com/truncate/; it forgets by itself."},
	{"hostkarma", Blocked, Postmaster, "", "hostkarma|junkemailfilter", "Hostkarma lists this server's address.", "Take it off the list yourself at https://ipadmin.junkemailfilter.com/remove.php."},
	{"surbl", Content, Sender, "", "surbl|uribl|black link|url in message", "The message has a link to a domain that is known from spam.", "Leave the link out, or ask its owner to have it taken off the list."},
	{"listed", Blocked, Postmaster, "", "blocked using|dnsbl|rbl|blocklist|block list|blacklist|black list|listed in|listed at|listed by|listed on", "A blocklist that the recipient's server uses has this server's address.", "The answer says which list it is: look the address up there and ask."},
}
