// Package smtpd talks SMTP: to strangers who bring mail, to our users who
// submit it, and LMTP. It is the same conversation each time; what differs is
// the smtp.Receiver behind it and a small Policy.
//
// What it promises:
//
//   - One goroutine owns a session; its state is in one struct.
//   - Replies leave when there is nothing left to read: a batch of commands
//     costs one read and one write.
//   - 250 to DATA is sent after the Receiver has said so, and carries its id.
//   - Nothing that came before TLS is believed after it, and no byte that came
//     in clear is read as if it had come protected.
//   - A session ends after a message with forbidden line ends, so that what
//     follows it cannot be taken for commands by anybody.
//   - Memory: an idle session holds some 8 KB, one that reads borrows 32 KB,
//     whatever the client sends.
package smtpd
