// Package pop3d lets people fetch their mail over POP3: RFC 1939 with CAPA
// (RFC 2449), STLS (RFC 2595), AUTH (RFC 5034), UTF8 and LANG (RFC 6856), and
// response codes (RFC 3206).
//
// What a session sees is INBOX, or what the device's policy makes of the account
// (package maildrop), as it was at login: numbers and sizes stand still, and
// sizes are the exact octets of RETR. Only one session at a time has an account's
// maildrop (Maildrops); IMAP is not hindered by it.
//
// It promises:
//
//   - Messages go at QUIT, and only there: a session that is lost deletes nothing,
//     and the next login finds the maildrop free.
//   - What was retrieved whole is marked \Seen, so that it is not shown as new
//     elsewhere; that is done once, when the session ends, in whatever way.
//     TOP does not mark; with a million lines or more it counts as collecting.
//   - A UIDL is "uidvalidity.uid", or what the message brought along from where
//     its account was before: it does not change, and is never given again.
//   - CAPA's EXPIRE and LOGIN-DELAY are what happens to this device.
//   - A client that has not said UTF8 gets headers of ASCII, and sizes that are
//     those of what it gets.
//   - A session whose client has crashed ends, and the maildrop with it: when the
//     connection is found dead (TCP keep-alive, minutes), or after ten minutes
//     without a word.
//   - No password is taken in clear unless ClearAuth says so.
//   - A session that waits for its client holds a few KB.
package pop3d
