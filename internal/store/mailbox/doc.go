// Package mailbox keeps people's mail: mailboxes, the messages in them, flags
// and keywords, threads, quota use, and the log of what changed.
//
// # Rows
//
// All rows of an account lie under its own lock, and every commit to it counts
// its modification sequence up by one, under the lock. So the order of commits
// is the order of the sequence and no gap in it is ever seen: what CONDSTORE,
// QRESYNC (RFC 7162) and JMAP's states (RFC 8620 §5.2) need.
//
//	00                 root: modseq, next ids, use and limits, floor of the log
//	01 mailbox         name, role, counters
//	02 mailbox uid     a message in a mailbox: email, date, size, flags
//	03 email           the bytes: trace fields of this copy, and where the body is
//	04 email           what FETCH and SEARCH ask of it, parsed once at delivery
//	05 modseq          what that commit changed
//	06 hash            thread of a Message-ID seen with a subject
//	07 name            mailbox of that name
//	08 mailbox         names of the keywords behind flag bits 5 to 63
//	09 name            a subscription; the mailbox need not exist
//	0a time modseq     emails that left a mailbox then, as older versions wrote it
//	0c mailbox         secret that URLs into it are authorized with
//	10 mailbox reader name  an annotation: of one reader, or of all (0); mailbox 0 is
//	                   the account as a whole
//	20 email           the unique id of POP3 that it brought along
//	24 time modseq mailbox uid  messages expunged then, for who wants them back
//	2c origin          a folder of another store that mail was brought from, and
//	                   the mailbox that it became
//	2c origin id       a message that was brought from there, and where it went
//	34 mailbox reader block  what a reader has seen of 512 UIDs, where that is each
//	                   reader's own; of reader 0 what all begin with
//
// Others keep theirs under the same lock: maildrop 21 to 23, allowance 30 and 31,
// outpost 3c, opinion 3e, signin 40.
//
// Under kv.Free, written only under the owner's lock:
//
//	S grantee owner mailbox   leads whom a mailbox is shared with to it
//
// # Invariants (Check verifies them)
//
// A UID is given once, in ascending order, and below the mailbox's UIDNEXT. The
// counters of row 01 are those of its rows 02. The use in row 00 is the sum of
// the sizes of all rows 02. Every row 02 has its rows 03 and 04; a blob in row
// 03 has its reference row. A message in a row 24 has its rows 03 and 04, and row
// 00 has the sum of their sizes. Whoever an ACL (in row 01) names is led to the
// mailbox by a row S, and by such rows to no other. A row 10 is of a mailbox that
// exists, and row 00 counts the bytes of all. A row 2c of a message names an email
// and a UID that have been given. A row 34 is of a mailbox whose row says so, and
// of reader 0 or somebody with rights in it.
//
// # Flags are a log
//
// Changing flags writes one row 05 with the set of UIDs, however many they are,
// and does not touch rows 02. A row 02 holds the flags as of its own modseq;
// later entries of the log apply on top. From time to time Fold writes them
// through, and raises the mailbox's floor below which the log need not be read.
//
// # Whose \Seen
//
// \Seen is common to all who read a mailbox, or each reader's own (SeenMode). Then
// the rows of the messages have the owner's, and rows 34 have what others have
// seen, each message with the commit that changed it: such a commit counts the
// account's sequence up like any other, but for the other readers nothing has
// changed. A reader's Snapshot is the one that all share, with a readState over it.
// Rows 34 may have UIDs that are gone, until Fold has tidied up.
//
// # Snapshots
//
// Readers share immutable Snapshots of a mailbox, kept in memory and brought
// forward by the log. A Snapshot is only handed out when all it shows is on
// stable storage. No transaction is open while somebody looks at one.
package mailbox
