package imap

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func dec(in string, utf8 bool) (*Decoder, *int) {
	asked := 0
	d := NewDecoder(strings.NewReader(in), func() error { asked++; return nil })
	d.Limits = LimitsAfterLogin
	d.UTF8 = utf8
	return d, &asked
}

func seqs(r ...Range) Set   { return Set{Ranges: r} }
func uidsOf(r ...Range) Set { return Set{UID: true, Ranges: r} }
func one(n uint32) Range    { return Range{n, n} }
func day(y int, m time.Month, d int) time.Time {
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

var commandTests = []struct {
	in   string
	name string
	args any
}{
	{"a CAPABILITY", "CAPABILITY", nil},
	{"a noop", "NOOP", nil},
	{"a1.~x LOGOUT", "LOGOUT", nil},
	{"a ID NIL", "ID", &ID{}},
	{"a ID ()", "ID", &ID{}},
	{`a ID ("name" "sodr" "version" NIL)`, "ID", &ID{[]IDField{{"name", "sodr"}, {"version", ""}}}},
	{`a ID ("vendor", "x", "version", 1.2.3, "os", NIL)`, "ID", &ID{[]IDField{{"vendor", "x"}, {"version", "1.2.3"}, {"os", ""}}}},
	{`a ID ("name" sodr "version" NIL)`, "ID", &ID{[]IDField{{"name", "sodr"}, {"version", ""}}}},
	{"a STARTTLS", "STARTTLS", nil},
	{`a AUTHENTICATE "plain" =`, "AUTHENTICATE", &Authenticate{Mechanism: "PLAIN", Initial: []byte{}}},
	{"a AUTHENTICATE PLAIN {8+}\r\nAGEAYg==", "AUTHENTICATE", &Authenticate{Mechanism: "PLAIN", Initial: []byte("\x00a\x00b")}},
	{"a FETCH 1 (FAST)", "FETCH", &Fetch{Set: seqs(one(1)), Items: kinds(ItemFlags, ItemInternalDate, ItemSize)}},
	{"a AUTHENTICATE {5+}\r\nPLAIN =", "AUTHENTICATE", &Authenticate{Mechanism: "PLAIN", Initial: []byte{}}},
	{"a AUTHENTICATE plain", "AUTHENTICATE", &Authenticate{Mechanism: "PLAIN"}},
	{"a AUTHENTICATE PLAIN =", "AUTHENTICATE", &Authenticate{Mechanism: "PLAIN", Initial: []byte{}}},
	{"a AUTHENTICATE SCRAM-SHA-256 AGEAYg==", "AUTHENTICATE", &Authenticate{Mechanism: "SCRAM-SHA-256", Initial: []byte("\x00a\x00b")}},
	{"a LOGIN smith sesame", "LOGIN", &Login{"smith", "sesame"}},
	{`a LOGIN "sm\"i\\th" ""`, "LOGIN", &Login{`sm"i\th`, ""}},
	{"a LOGIN {5}\r\nsmith {6}\r\nses me", "LOGIN", &Login{"smith", "ses me"}},
	{"a  LOGIN  {5}\r\nsmith   {6}\r\nses me  ", "LOGIN", &Login{"smith", "ses me"}},
	{"a LOGIN {5+}\r\nsmith {0+}\r\n", "LOGIN", &Login{"smith", ""}},
	{"a LOGIN {7+}\r\na\r\nb {2 x", "LOGIN", &Login{"a\r\nb {2", "x"}},
	{"a LOGIN gr€n p", "LOGIN", &Login{"gr€n", "p"}},
	{"a LIST \"\" Gr\u00fc\u00df*", "LIST", &List{Patterns: []string{"Gr\u00fc\u00df*"}}},
	{"a LOGIN gr\xff p", "", "the string is not UTF-8"},
	{`a LOGIN "gr€n" p]`, "LOGIN", &Login{"gr€n", "p]"}},
	{"a ENABLE CondStore UTF8=ACCEPT", "ENABLE", &Enable{[]string{"CONDSTORE", "UTF8=ACCEPT"}}},
	{"a SELECT inbox", "SELECT", &Select{Mailbox: "INBOX", Given: "inbox"}},
	{"a SELECT Inbox/x (CONDSTORE)", "SELECT", &Select{Mailbox: "INBOX/x", Given: "Inbox/x", CondStore: true}},
	{
		"a SELECT x (QRESYNC (67890007 90060115194045000 41:211,214:541))", "SELECT",
		&Select{Mailbox: "x", Resync: &Resync{UIDValidity: 67890007, ModSeq: 90060115194045000, Known: Set{UID: true, Ranges: []Range{{41, 211}, {214, 541}}}}},
	},
	{"a SELECT x (QRESYNC (1 2 3 (4 5)))", "SELECT", &Select{Mailbox: "x", Resync: &Resync{
		UIDValidity: 1, ModSeq: 2,
		Known: Set{UID: true, Ranges: []Range{{3, 3}}}, MatchSeq: Set{UID: true, Ranges: []Range{{4, 4}}}, MatchUID: Set{UID: true, Ranges: []Range{{5, 5}}},
	}}},
	{"a SELECT x (QRESYNC (1 2 1:*))", "", "no * here"},
	{"a SELECT x (QRESYNC (0 2))", "", "zero is not allowed here"},
	{"a COMPRESS deflate", "COMPRESS", &Compress{"DEFLATE"}},
	{`a GETMETADATA "" /shared/comment`, "GETMETADATA", &GetMetadata{Entries: []string{"/shared/comment"}}},
	{"a GETMETADATA x ( MAXSIZE 5 ) ( /private/a )", "GETMETADATA", &GetMetadata{Mailbox: "x", Options: MetadataOptions{Bounded: true, MaxSize: 5}, Entries: []string{"/private/a"}}},
	{"a GETMETADATA (MAXSIZE 1024 DEPTH 1) INBOX (/shared/comment /private/Comment)", "GETMETADATA", &GetMetadata{
		Mailbox: "INBOX", Options: MetadataOptions{Bounded: true, MaxSize: 1024, Depth: DepthOne}, Entries: []string{"/shared/comment", "/private/Comment"},
	}},
	{"a GETMETADATA INBOX (DEPTH infinity) /private/a", "GETMETADATA", &GetMetadata{
		Mailbox: "INBOX", Options: MetadataOptions{Depth: DepthInfinity}, Entries: []string{"/private/a"},
	}},
	{"a GETMETADATA (DEPTH infinity) INBOX (/private /Shared)", "GETMETADATA", &GetMetadata{
		Mailbox: "INBOX", Options: MetadataOptions{Depth: DepthInfinity}, Entries: []string{"/private", "/Shared"},
	}},
	{"a GETMETADATA INBOX /privately", "", "this is no name of an entry"},
	{"a GETMETADATA INBOX /private/", "", "this is no name of an entry"},
	{"a SETMETADATA x (/private b)", "", "this is no name of an entry"},
	{`a GETMETADATA INBOX ("/private/a%")`, "", "this is no name of an entry"},
	{"a GETMETADATA INBOX (DEPTH 2) /private/a", "", "unknown depth"},
	{"a GETMETADATA INBOX ()", "", "expected a word"},
	{"a SETMETADATA x (/private/a NIL /shared/b {2+}\r\nhi /shared/c ~{3+}\r\na\x00b /shared/d \"\")", "SETMETADATA", &SetMetadata{"x", []MetadataChange{
		{"/private/a", nil}, {"/shared/b", []byte("hi")}, {"/shared/c", []byte("a\x00b")}, {"/shared/d", []byte{}},
	}}},
	{"a SETMETADATA x (/private/a)", "", "expected a space"},
	{"a SETMETADATA x (/a b)", "", "this is no name of an entry"},
	{`a LIST "" % RETURN (METADATA (/shared/a "/private/b") CHILDREN)`, "LIST", &List{
		Patterns: []string{"%"}, Extended: true, Return: ReturnMetadata | ReturnChildren, Entries: []string{"/shared/a", "/private/b"},
	}},
	{"a SETACL inbox/Drafts John lrswid", "SETACL", &SetACL{"INBOX/Drafts", "John", "lrswid"}},
	{`a SETACL x "-a b" +l`, "SETACL", &SetACL{"x", "-a b", "+l"}},
	{`a SETACL x y ""`, "SETACL", &SetACL{"x", "y", ""}},
	{`a SETACL x "" l`, "", "this is no identifier"},
	{"a SETACL x y", "", "expected a space"},
	{"a DELETEACL x {4}\r\nanyo", "DELETEACL", &DeleteACL{"x", "anyo"}},
	{"a GETACL x", "GETACL", &GetACL{"x"}},
	{"a LISTRIGHTS x smith", "LISTRIGHTS", &ListRights{"x", "smith"}},
	{"a MYRIGHTS x", "MYRIGHTS", &MyRights{"x"}},
	{`a LIST "" * RETURN (MYRIGHTS)`, "LIST", &List{Patterns: []string{"*"}, Extended: true, Return: ReturnMyRights}},
	{`a SETQUOTA "" (storage 512 MESSAGE 10)`, "SETQUOTA", &SetQuota{"", []QuotaLimit{{"STORAGE", 512}, {"MESSAGE", 10}}}},
	{`a SETQUOTA "Other Users/a@b" ()`, "SETQUOTA", &SetQuota{"Other Users/a@b", nil}},
	{"a SETQUOTA x (STORAGE -1)", "", "expected a number"},
	{"a GETQUOTA \"\"", "GETQUOTA", &GetQuota{""}},
	{"a GETQUOTAROOT inbox", "GETQUOTAROOT", &GetQuotaRoot{"INBOX"}},
	{`a CANCELUPDATE "A01" "A02"`, "CANCELUPDATE", &CancelUpdate{[]string{"A01", "A02"}}},
	{"a SORT (SUBJECT REVERSE DATE) UTF-8 ALL", "SORT", &Sort{Search: Search{Charset: "UTF-8", Key: All{}}, By: []SortBy{{Key: SortSubject}, {SortDate, true}}}},
	{"a UID SORT RETURN (PARTIAL -100:-1) (DISPLAYTO) utf-8 SEEN", "UID SORT", &Sort{Search: Search{
		UID: true, Return: ReturnPartial, Partial: Window{-1, -100},
		Charset: "UTF-8", Key: HasFlag{FlagSeen},
	}, By: []SortBy{{Key: SortDisplayTo}}}},
	{"a SORT (NONE) UTF-8 ALL", "", "unknown sort key"},
	{"a SORT (DATE) ALL", "", "expected a space"},
	{"a THREAD REFERENCES UTF-8 ALL", "THREAD", &Thread{Search: Search{Charset: "UTF-8", Key: All{}}, Algorithm: References}},
	{"a THREAD X UTF-8 ALL", "", "unknown algorithm"},
	{"a SEARCH RETURN (PARTIAL 5:2) ALL", "SEARCH", &Search{Return: ReturnPartial, Partial: Window{2, 5}, Key: All{}}},
	{"a SEARCH RETURN (PARTIAL 1:-2) ALL", "", "expected a number"},
	{"a UID FETCH 1:2 UID (PARTIAL 1:3)", "UID FETCH", &Fetch{Set: Set{UID: true, Ranges: []Range{{1, 2}}}, Items: []FetchItem{{Kind: ItemUID}}, Window: Window{1, 3}}},
	{"a UID FETCH 1 (PREVIEW (LAZY) EMAILID)", "UID FETCH", &Fetch{Set: Set{UID: true, Ranges: []Range{{1, 1}}}, Items: []FetchItem{{Kind: ItemPreview}, {Kind: ItemEmailID}}}},
	{"a EXAMINE inboxes", "EXAMINE", &Select{Mailbox: "inboxes"}},
	{`a EXAMINE "~peter/mail/&U,BTFw-/&ZeVnLIqe-"`, "EXAMINE", &Select{Mailbox: "~peter/mail/台北/日本語"}},
	{"a CREATE Entw&APw-rfe/", "CREATE", &Create{Mailbox: "Entwürfe"}},
	{`a CREATE "R & D"`, "CREATE", &Create{Mailbox: "\xffR & D"}},
	{`a CREATE "R &- D"`, "CREATE", &Create{Mailbox: "R & D"}},
	{`a CREATE Mine (USE (\sent \Trash))`, "CREATE", &Create{Mailbox: "Mine", Use: []string{`\sent`, `\Trash`}}},
	{"a DELETE {3}\r\nfoo", "DELETE", &Delete{Mailbox: "foo"}},
	{"a RENAME foo \"bar baz\"", "RENAME", &Rename{From: "foo", To: "bar baz"}},
	{"a SUBSCRIBE #news.comp", "SUBSCRIBE", &Subscribe{"#news.comp"}},
	{"a UNSUBSCRIBE x", "UNSUBSCRIBE", &Subscribe{"x"}},
	{`a LIST "" ""`, "LIST", &List{Patterns: []string{""}}},
	{`a LIST ~/Mail/ %`, "LIST", &List{Reference: "~/Mail/", Patterns: []string{"%"}}},
	{`a LIST (SUBSCRIBED RECURSIVEMATCH) "" ("*" in%) RETURN (CHILDREN STATUS (MESSAGES UIDNEXT))`, "LIST", &List{
		Patterns: []string{"*", "in%"}, Extended: true, Select: SelectSubscribed | SelectRecursiveMatch,
		Return: ReturnChildren | ReturnStatus, Status: StatusMessages | StatusUIDNext,
	}},
	{`a LIST () "" * RETURN ()`, "LIST", &List{Patterns: []string{"*"}, Extended: true}},
	{`a LIST (SPECIAL-USE REMOTE) "" * RETURN (SPECIAL-USE SUBSCRIBED)`, "LIST", &List{
		Patterns: []string{"*"}, Extended: true,
		Select: SelectSpecialUse | SelectRemote, Return: ReturnSpecialUse | ReturnSubscribed,
	}},
	{`a LIST (RECURSIVEMATCH) "" *`, "", "RECURSIVEMATCH alone selects nothing"},
	{`a LSUB "#news." "comp.%"`, "LSUB", &Lsub{"#news.", "comp.%"}},
	{"a STATUS blurdybloop (UIDNEXT messages)", "STATUS", &Status{"blurdybloop", StatusUIDNext | StatusMessages}},
	{
		"a STATUS x (SIZE DELETED RECENT HIGHESTMODSEQ UNSEEN UIDVALIDITY)", "STATUS",
		&Status{"x", StatusSize | StatusDeleted | StatusRecent | StatusHighestModSeq | StatusUnseen | StatusUIDValidity},
	},
	{"a STATUS x ()", "", "expected a word"},
	{"a COPY 2:4 MEETING", "COPY", &Copy{seqs(Range{2, 4}), "MEETING"}},
	{"a UID COPY 7,* x", "UID COPY", &Copy{uidsOf(one(7), one(Star)), "x"}},
	{"a MOVE $ x", "MOVE", &Copy{Set{Saved: true}, "x"}},
	{"a UID MOVE 1:* x", "UID MOVE", &Copy{uidsOf(Range{1, Star}), "x"}},
	{"a EXPUNGE", "EXPUNGE", nil},
	{"a uid expunge 3000:3002", "UID EXPUNGE", &UIDExpunge{uidsOf(Range{3000, 3002})}},
	{"a STORE 2:4 +FLAGS (\\deleted $x)", "STORE", &Store{Set: seqs(Range{2, 4}), Op: AddFlags, Flags: []string{`\Deleted`, "$x"}}},
	{"a UID STORE 1 (UNCHANGEDSINCE 12121230045) -flags.silent \\Seen \\recent Junk", "UID STORE", &Store{
		Set: uidsOf(one(1)), Op: RemoveFlags, Silent: true, Flags: []string{`\Seen`, "Junk"}, Conditional: true, Unchanged: 12121230045,
	}},
	{"a STORE 1 FLAGS ()", "STORE", &Store{Set: seqs(one(1)), Flags: []string{}}},
	{"a STORE 1 FLAGS (\\Nope)", "", "unknown system flag"},
	{"a FETCH 1 ALL", "FETCH", &Fetch{Set: seqs(one(1)), Items: kinds(ItemFlags, ItemInternalDate, ItemSize, ItemEnvelope)}},
	{"a FETCH 1 body", "FETCH", &Fetch{Set: seqs(one(1)), Items: kinds(ItemBody)}},
	{"a UID FETCH 1:* (FLAGS UID MODSEQ) (CHANGEDSINCE 9)", "UID FETCH", &Fetch{
		Set:   uidsOf(Range{1, Star}),
		Items: kinds(ItemFlags, ItemUID, ItemModSeq), Changed: true, Since: 9,
	}},
	{"a FETCH 2:4 (RFC822 RFC822.HEADER RFC822.TEXT RFC822.SIZE BODYSTRUCTURE)", "FETCH", &Fetch{
		Set:   seqs(Range{2, 4}),
		Items: kinds(ItemRFC822, ItemRFC822Header, ItemRFC822Text, ItemSize, ItemBodyStructure),
	}},
	{"a FETCH 1 BODY[]", "FETCH", &Fetch{Set: seqs(one(1)), Items: []FetchItem{{Kind: ItemBodySection}}}},
	{`a FETCH 1 (BODY.PEEK[4.2.HEADER.FIELDS.NOT (Date "X Y" {4}` + "\r\nfrom)]<0.65536> BODY[3.MIME])", "FETCH", &Fetch{Set: seqs(one(1)), Items: []FetchItem{
		{Kind: ItemBodySection, Peek: true, Partial: true, Count: 65536, Section: Section{Path: []uint32{4, 2}, Text: TextFieldsNot, Fields: []string{"Date", "X Y", "from"}}},
		{Kind: ItemBodySection, Section: Section{Path: []uint32{3}, Text: TextMIME}},
	}}},
	{"a FETCH 1 (BINARY[1.2]<3.4> BINARY.PEEK[] BINARY.SIZE[1] BODY[TEXT] BODY[1.HEADER])", "FETCH", &Fetch{Set: seqs(one(1)), Items: []FetchItem{
		{Kind: ItemBinary, Section: Section{Path: []uint32{1, 2}}, Partial: true, Offset: 3, Count: 4},
		{Kind: ItemBinary, Peek: true},
		{Kind: ItemBinarySize, Peek: true, Section: Section{Path: []uint32{1}}},
		{Kind: ItemBodySection, Section: Section{Text: TextText}},
		{Kind: ItemBodySection, Section: Section{Path: []uint32{1}, Text: TextHeader}},
	}}},
	{"a FETCH 1 BODY[MIME]", "", "MIME needs a part"},
	{"a FETCH 1 BODY[1.]", "", "a section ends in a dot"},
	{"a FETCH 1 BODY[]<0.0>", "", "zero is not allowed here"},
	{"a FETCH 1 BODY[]<9223372036854775808.1>", "", "the number is too large"},
	{"a FETCH 4294967296 FLAGS", "", "the number is too large"},
	{"a FETCH 0 FLAGS", "", "zero is not allowed here"},
	{"a FETCH 1 (FLAGS) (CHANGEDSINCE 18446744073709551615)", "", "the number is too large"},
	{"a SEARCH ALL", "SEARCH", &Search{Key: All{}}},
	{"a UID SEARCH RETURN (MIN COUNT SAVE) CHARSET utf-8 UNSEEN {3+}\r\n1:2", "", "expected a word"},
	{"a UID SEARCH RETURN (MIN COUNT SAVE) CHARSET utf-8 UNSEEN 1:2", "UID SEARCH", &Search{
		UID: true, Return: ReturnMin | ReturnCount | ReturnSave,
		Charset: "UTF-8", Key: And{[]Key{Not{HasFlag{FlagSeen}}, Messages{seqs(Range{1, 2})}}},
	}},
	{"a SEARCH RETURN () $ UID 5,3", "SEARCH", &Search{Return: ReturnAll, Key: And{[]Key{Messages{Set{Saved: true}}, Messages{uidsOf(one(3), one(5))}}}}},
	{"a SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"", "SEARCH", &Search{Key: And{[]Key{
		HasFlag{FlagFlagged},
		Arrived{Since, day(1994, 2, 1)},
		Not{HeaderHas{"From", "Smith"}},
	}}}},
	{"a SEARCH CHARSET UTF-8 TEXT {13}\r\nпривет!", "SEARCH", &Search{Charset: "UTF-8", Key: TextHas{"привет!"}}},
	{"a SEARCH OR (TO x BODY y) NOT (LARGER 5 SMALLER 4294967296)", "SEARCH", &Search{Key: Or{
		And{[]Key{HeaderHas{"To", "x"}, BodyHas{"y"}}}, Not{And{[]Key{Larger{5}, Smaller{1 << 32}}}},
	}}},
	{"a SEARCH HEADER Message-ID <a@b> SENTON \"03-Mar-2020\" KEYWORD $f UNKEYWORD g NEW OLD", "SEARCH", &Search{Key: And{[]Key{
		HeaderHas{"Message-ID", "<a@b>"},
		Sent{On, day(2020, 3, 3)},
		HasFlag{"$f"},
		Not{HasFlag{"g"}},
		And{[]Key{HasFlag{FlagRecent}, Not{HasFlag{FlagSeen}}}},
		Not{HasFlag{FlagRecent}},
	}}}},
	{`a SEARCH MODSEQ "/flags/\\draft" all 620162338 MODSEQ 0`, "SEARCH", &Search{Key: And{[]Key{ChangedSince{620162338}, ChangedSince{0}}}}},
	{"a SEARCH ON 31-Feb-2020", "", "not a date"},
	{"a ESEARCH IN (subtree x) RETURN (COUNT) ALL", "ESEARCH", &MultiSearch{
		Search: Search{UID: true, Return: ReturnCount, Key: All{}}, Sources: []MailboxSource{{FilterSubtree, []string{"x"}}},
	}},
	{
		"a GENURLAUTH \"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=user+joe\" internal x INTERNAL", "GENURLAUTH",
		&GenURLAuth{[]ToAuthorize{{"imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=user+joe", "INTERNAL"}, {"x", "INTERNAL"}}},
	},
	{"a GENURLAUTH x", "", "expected a space"},
	{"a URLFETCH x (y binary bodypartstructure) (z)", "URLFETCH", &URLFetch{[]ToFetch{{"x", 0}, {"y", URLBinary | URLBodyPartStructure}, {"z", 0}}}},
	{"a URLFETCH (x nope)", "", "unknown item"},
	{"a URLFETCH x" + strings.Repeat(" x", 100), "", "too many URLs"},
	{"a RESETKEY", "RESETKEY", &ResetKey{}},
	{"a RESETKEY inbox internal", "RESETKEY", &ResetKey{"INBOX", []string{"INTERNAL"}}},
	{"a UIDBATCHES 2000 10:20", "UIDBATCHES", &UIDBatches{2000, 10, 20}},
	{"a UIDBATCHES 2000", "UIDBATCHES", &UIDBatches{Size: 2000}},
	{"a UIDBATCHES 0", "", "zero is not allowed here"},
	{"a UIDBATCHES 500 10", "", "expected :"},
	{"a COMPARATOR", "COMPARATOR", &Comparator{}},
	{`a COMPARATOR "cz;*" i;basic *`, "COMPARATOR", &Comparator{[]string{"cz;*", "i;basic", "*"}}},
	{"a COMPARATOR" + strings.Repeat(" x", 31), "", "too many comparators"},
	{"a NOTIFY NONE", "NOTIFY", &Notify{}},
	{"a SEARCH RETURN (UPDATE (UID FLAGS) COUNT) ALL", "SEARCH", &Search{Return: ReturnUpdate | ReturnCount, Fetch: kinds(ItemUID, ItemFlags), Key: All{}}},
	{"a SEARCH UID 300:900 FILTER on-the-road SINCE \"3-Dec-2002\"", "SEARCH", &Search{Key: And{[]Key{
		Messages{uidsOf(Range{300, 900})}, Filter{"on-the-road"}, Arrived{Since, day(2002, 12, 3)},
	}}}},
	{"a SEARCH FILTER a/b", "", "the name of a filter has no /"},
	{"a SEARCH UIDAFTER 25 UIDBEFORE 27", "SEARCH", &Search{Key: And{[]Key{Messages{uidsOf(Range{26, 4294967295})}, Messages{uidsOf(Range{1, 26})}}}}},
	{"a SEARCH UIDAFTER 4294967295 UIDBEFORE 1", "SEARCH", &Search{Key: And{[]Key{Not{All{}}, Not{All{}}}}}},
	{"a SEARCH UIDAFTER 0", "", "zero is not allowed here"},
	{"a SEARCH NOPE", "", "unknown search key"},
	{"a SEARCH ()", "", "expected a word"},
	{"a XYZZY", "", "unknown command"},
	{"a UID NOOP", "", "unknown command"},
	{"a", "", "expected a space"},
	{"", "", "expected a tag"},
	{"+ NOOP", "", "expected a tag"},
	{"a NOOP x", "", "too much, or not understood, behind the arguments"},
	{" a NOOP", "", "expected a tag"},
	{"a LOGIN x \"y", "", "a string without end"},
	{"a LOGIN x \"\\y\"", "", `bad use of \ in a string`},
	{"a LOGIN x \"\xff\"", "", "the string is not UTF-8"},
	{"a LOGIN x {3}\r\na\x00b", "", "NUL in a literal"},
	{"a LOGIN x {0x10+}", "", "expected a literal"},
	{"a LOGIN x {-1}", "", "expected a literal"},
	{"a DELETE &AAo-x", "", "this is no name for a mailbox"},
	{"a NOOP " + strings.Repeat("(", 4000), "", "too much, or not understood, behind the arguments"},
	{"a SEARCH " + strings.Repeat("(", 4000), "", "too deeply nested"},
	{"a SEARCH " + strings.Repeat("NOT ", 4000) + "ALL", "", "too deeply nested"},
	{"a SEARCH " + strings.Repeat("OR ALL ", 4000) + "ALL", "", "too deeply nested"},
	{"a SEARCH " + strings.Repeat("BODY x ", 1001) + "ALL", "", "too many search keys"},
	{"a FETCH 1 (" + strings.Repeat("BODY.PEEK[] ", 2000) + "UID)", "", "too many FETCH items"},
	{"a FETCH 1 " + strings.Repeat("(", 20000), "", "expected a word"},
	{"a FETCH 1 BODY[" + strings.Repeat("1.", 5000) + "1]", "", "too deep a section"},
	{"a FETCH 1 BODY[HEADER.FIELDS (" + strings.Repeat("x ", 5000) + "x)]", "", "too many header fields"},
	{"a ID (" + strings.Repeat(`"a" "b" `, 2000) + `"a" "b")`, "", "more than 30 fields"},
	{`a LIST "" (` + strings.Repeat("x ", 2000) + "x)", "", "too many patterns"},
}

func kinds(ks ...ItemKind) []FetchItem {
	var items []FetchItem
	for _, k := range ks {
		items = append(items, FetchItem{Kind: k})
	}
	return items
}

// TestCommands reads each command whole, byte by byte, and with bare LF, and
// looks whether the decoder is in step behind it.
func TestCommands(t *testing.T) {
	for _, tc := range commandTests {
		in := tc.in + "\r\nnext NOOP\r\n"
		d, _ := dec(in, false)
		checkCommand(t, tc.in, d, tc.name, tc.args)
		d = NewDecoder(iotest.OneByteReader(strings.NewReader(in)), func() error { return nil })
		d.Limits = LimitsAfterLogin
		checkCommand(t, "bytewise "+tc.in, d, tc.name, tc.args)
		if !strings.Contains(tc.in, "\n") {
			d, _ = dec(strings.ReplaceAll(in, "\r\n", "\n"), false)
			checkCommand(t, "LF "+tc.in, d, tc.name, tc.args)
		}
	}
}

// TestSpaces has more of them than the syntax: they make no difference.
func TestSpaces(t *testing.T) {
	wide := strings.NewReplacer(" ", "   ", "(", "(  ", ")", "  )")
	for _, tc := range commandTests {
		if tc.name == "" || strings.ContainsAny(tc.in, "\"{") {
			continue
		}
		d, _ := dec(wide.Replace(tc.in)+"  \r\nnext NOOP\r\n", false)
		checkCommand(t, "wide "+tc.in, d, tc.name, tc.args)
	}
}

func checkCommand(t *testing.T, in string, d *Decoder, name string, args any) {
	t.Helper()
	c, err := d.Command()
	if name == "" {
		se, ok := errors.AsType[*SyntaxError](err)
		if !ok || se.Text != args {
			t.Errorf("%.80q: got %v, want %v", in, err, args)
		}
	} else if err != nil || c.Name != name || args != nil && !reflect.DeepEqual(c.Args, args) || args == nil && c.Args != nil {
		t.Errorf("%.80q:\n got %s %+v, %v\nwant %s %+v", in, c.Name, c.Args, err, name, args)
	}
	if c, err = d.Command(); err != nil || c.Tag != "next" || c.Name != "NOOP" {
		t.Errorf("%.80q: out of step: then came %v, %v", in, c, err)
	}
	if _, err = d.Command(); err != io.EOF {
		t.Errorf("%.80q: at the end %v", in, err)
	}
}

// TestCut cuts each command at every place: it must not be carried out.
func TestCut(t *testing.T) {
	for _, tc := range commandTests {
		if tc.name == "" || len(tc.in) > 300 {
			continue
		}
		in := tc.in + "\r\n"
		for i := range len(in) - 1 { // without the last LF
			d, _ := dec(in[:i+1], false)
			if c, err := d.Command(); err == nil {
				t.Errorf("%q cut to %q: read as %+v", in, in[:i+1], c)
			}
		}
	}
}

func TestUTF8Names(t *testing.T) {
	d, _ := dec("a SELECT \"R & D/für\"\r\nb SELECT &ZeVnLIqe-\r\n", true)
	for _, want := range []string{"R & D/für", "&ZeVnLIqe-"} {
		c, err := d.Command()
		if err != nil || c.Args.(*Select).Mailbox != want {
			t.Fatalf("got %v, %v; want %q", c.Args, err, want)
		}
	}
	d, _ = dec("a SELECT {4+}\r\nf\xc3\xbcr\r\n", false)
	if c, err := d.Command(); err != nil || c.Args.(*Select).Mailbox != "für" {
		t.Fatal(c, err)
	}
}

// TestStep sends what must be refused, with what looks like commands in it.
func TestStep(t *testing.T) {
	big := strings.Repeat("x", 70_000)
	for _, tc := range []struct {
		in    string
		want  string // tag and kind of each answer
		asked int
	}{
		{"a BOGUS {9+}\r\nq CREATE \r\nb NOOP\r\n", "a BAD, b NOOP", 0},
		{"a BOGUS {9}\r\nb NOOP\r\n", "a BAD, b NOOP", 0},
		{"a LOGIN {3+}\r\nfoo {4+}\r\n\r\n\r\n {2+}\r\nyy x\r\nb NOOP\r\n", "a BAD, b NOOP", 0},
		{"a LOGIN x {100000}\r\nb NOOP\r\n", "a TOOBIG, b NOOP", 0},
		{fmt.Sprintf("a LOGIN x {%d+}\r\n%s\r\nb NOOP\r\n", len(big), big), "a TOOBIG, b NOOP", 0},
		{"a LOGIN x {4294967296}\r\nb NOOP\r\n", "a TOOBIG, b NOOP", 0},
		{"a LOGIN x {18446744073709551617}\r\nb NOOP\r\n", "a TOOBIG, b NOOP", 0},
		{"a LOGIN x {18446744073709551617+}\r\nb NOOP\r\n", "a TOOBIG, end", 0},
		{"a LOGIN x {9223372036854775807+}\r\nb NOOP\r\n", "a TOOBIG, end", 0},
		{"a LOGIN " + big + " x\r\nb NOOP\r\n", "a BAD, b NOOP", 0},
		{"a LOGIN " + big + " {3+}\r\nc N\r\nb NOOP\r\n", "a BAD, b NOOP", 0},
		{"a LOGIN " + big[:64<<10-11] + " {3+}\r\nc N\r\nb NOOP\r\n", "a BAD, b NOOP", 0},
		{"a LOGIN {5}\r\nhello {60000}\r\n" + big[:60000] + "\r\nb NOOP\r\n", "a LOGIN, b NOOP", 2},
		{"a LOGIN {30000+}\r\n" + big[:30000] + " {40000+}\r\n" + big[:40000] + "\r\nb NOOP\r\n", "a TOOBIG, b NOOP", 0},
		{"a APPEND x {9+}\r\nq CREATE \r\nb NOOP\r\n", "a APPEND, b NOOP", 0},
		{"a APPEND x {9}\r\nb NOOP\r\n", "a APPEND, b NOOP", 0},
		{"a APPEND x (\\Bad) {9+}\r\nq CREATE \r\nb NOOP\r\n", "a BAD, b NOOP", 0},
		{"a APPEND x UTF8 (~{9+}\r\nq CREATE )\r\nb NOOP\r\n", "a APPEND, b NOOP", 0},
		{"a APPEND x {3+}\r\nabc {9+}\r\nq CREATE \r\nb NOOP\r\n", "a APPEND, b NOOP", 0},
		{"a APPEND x {999999999999+}\r\nq NOOP", "a APPEND, end", 0},
	} {
		d, asked := dec(tc.in, false)
		if got := answers(d); got != tc.want || *asked != tc.asked {
			t.Errorf("%.60q: got %s, asked %d times; want %s, %d", tc.in, got, *asked, tc.want, tc.asked)
		}
	}
}

// answers tells what a session would answer to all commands.
func answers(d *Decoder) string {
	var got []string
	for range 100 {
		c, err := d.Command()
		if e, ok := errors.AsType[*SyntaxError](err); ok {
			got = append(got, e.Tag+" BAD")
		} else if e, ok := errors.AsType[*TooBigError](err); ok {
			got = append(got, e.Tag+" TOOBIG")
		} else if err == io.EOF {
			break
		} else if err != nil {
			got = append(got, "end")
			break
		} else {
			got = append(got, c.Tag+" "+c.Name)
		}
	}
	return strings.Join(got, ", ")
}

// endless gives x for ever, and counts.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.n += len(p)
	return len(p), nil
}

func TestEndless(t *testing.T) {
	for _, start := range []string{"", "a LOGIN ", "a LOGIN {60000+}\r\n", "a NOOP\r\n{"} {
		src := new(endless)
		d := NewDecoder(io.MultiReader(strings.NewReader(start), src), func() error { return nil })
		var err error
		for range 5 {
			if _, err = d.Command(); err == ErrTooLong {
				break
			}
		}
		if err != ErrTooLong || src.n > 200_000 {
			t.Errorf("%q and then x without end: %v after %d bytes", start, err, src.n)
		}
		if cap(d.line) > 60_000 {
			t.Errorf("%q: %d bytes kept", start, cap(d.line))
		}
	}
}

func TestAppend(t *testing.T) {
	in := "a APPEND Saved (\\Seen $x) \" 7-Feb-1994 21:52:25 -0800\" {5}\r\nhello  {3+}\r\nabc ( )   ~{4+}\r\nd\x00ef \r\nb NOOP\r\n"
	for _, src := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
		asked := 0
		d := NewDecoder(src, func() error { asked++; return nil })
		d.Limits = LimitsAfterLogin
		c, err := d.Command()
		if err != nil {
			t.Fatal(err)
		}
		a := c.Args.(*Append)
		want := time.Date(1994, 2, 7, 21, 52, 25, 0, time.FixedZone("", -8*3600))
		if a.Mailbox != "Saved" || !reflect.DeepEqual(a.Message.Flags, []string{FlagSeen, "$x"}) || !a.Message.Date.Equal(want) || asked != 0 || !a.Message.Body.Waiting() {
			t.Fatalf("%+v", a)
		}
		m := &a.Message
		for i, want := range []string{"hello", "abc", "d\x00ef"} {
			b, err := io.ReadAll(m.Body)
			if err != nil || string(b) != want || m.Body.Size != int64(len(want)) {
				t.Fatalf("message %d: %q, %v", i, b, err)
			}
			if m, err = d.More("a"); err != nil || (m == nil) != (i == 2) {
				t.Fatalf("behind message %d: %v, %v", i, m, err)
			}
		}
		if c, err = d.Command(); err != nil || c.Tag != "b" || asked != 1 {
			t.Fatal(c, err, asked)
		}
	}
}

func TestAppendBroken(t *testing.T) {
	d, _ := dec("a APPEND x {3+}\r\na\x00b\r\nb APPEND x {3+}\r\nabcjunk\r\nc APPEND x UTF8 (~{1+}\r\na)\r\nd APPEND x {5+}\r\nab", false)
	read := func() (*Append, string, error) {
		c, err := d.Command()
		if err != nil {
			t.Fatal(err)
		}
		a := c.Args.(*Append)
		b, err := io.ReadAll(a.Message.Body)
		return a, string(b), err
	}
	if _, _, err := read(); err != ErrNUL {
		t.Fatal("NUL:", err)
	}
	if _, s, err := read(); s != "abc" || err != nil {
		t.Fatal(s, err)
	}
	if _, err := d.More("b"); err == nil || err.(*SyntaxError).Tag != "b" {
		t.Fatal("junk behind the message:", err)
	}
	if a, s, err := read(); s != "a" || err != nil || !a.Message.Body.UTF8 || !a.Message.Body.Binary {
		t.Fatal(s, err)
	}
	if m, err := d.More("c"); m != nil || err != nil {
		t.Fatal(m, err)
	}
	if _, _, err := read(); err != io.ErrUnexpectedEOF {
		t.Fatal("cut message:", err)
	}
}

func TestAuthenticateAndIdle(t *testing.T) {
	d, _ := dec("a AUTHENTICATE X\r\nAGE=\r\n*\r\n!!\r\n\r\nb IDLE\r\nDoNe\r\n"+strings.Repeat("x", 20000), false)
	if _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	if b, err := d.Response("a"); string(b) != "\x00a" || err != nil {
		t.Fatal(b, err)
	}
	if _, err := d.Response("a"); err != ErrCancelled {
		t.Fatal(err)
	}
	if _, err := d.Response("a"); err == nil || err.(*SyntaxError).Tag != "a" {
		t.Fatal(err)
	}
	if b, err := d.Response("a"); len(b) != 0 || err != nil {
		t.Fatal(b, err)
	}
	if c, err := d.Command(); err != nil || c.Name != "IDLE" {
		t.Fatal(c, err)
	}
	if err := d.Wait(); err != nil {
		t.Fatal(err)
	}
	if line, err := d.Line(100); string(line) != "DoNe" || err != nil {
		t.Fatal(line, err)
	}
	if _, err := d.Line(100); err != ErrTooLong {
		t.Fatal(err)
	}
}

// TestIdleMemory looks that a decoder which waits keeps no buffers.
func TestIdleMemory(t *testing.T) {
	r, w := io.Pipe()
	d := NewDecoder(r, func() error { return nil })
	d.Limits = LimitsAfterLogin
	go func() {
		io.WriteString(w, "a LOGIN {20000+}\r\n"+strings.Repeat("x", 20000)+" y\r\n")
		w.Close()
	}()
	if _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	if err := d.Wait(); err != io.EOF {
		t.Fatal(err)
	}
	if cap(d.line) > 1<<10 || len(d.in.buf) > len(d.in.small) {
		t.Errorf("%d and %d bytes kept", cap(d.line), len(d.in.buf))
	}
}

// messageOf gives the message that comes with a command.
func messageOf(args any) *AppendMessage {
	switch c := args.(type) {
	case *Append:
		return &c.Message
	case *Replace:
		return &c.Message
	}
	return nil
}

// wholeMessage reads a message, in pieces if it comes so; URLs stand for
// themselves.
func wholeMessage(d *Decoder, tag string, m *AppendMessage) (string, error) {
	if !m.Catenate {
		b, err := io.ReadAll(m.Body)
		return string(b), err
	}
	var out strings.Builder
	for {
		p, err := d.Part(tag)
		if p == nil || err != nil {
			return out.String(), err
		}
		out.WriteString("<" + p.URL + ">")
		if p.Text != nil {
			b, err := io.ReadAll(p.Text)
			out.Write(b)
			if err != nil {
				return out.String(), err
			}
		}
	}
}

// TestCatenate looks at the pieces of messages, and that what follows is in step
// whatever becomes of them.
func TestCatenate(t *testing.T) {
	in := "a APPEND x (\\Seen) CATENATE ( URL \"/y/;UID=1\" TEXT {3+}\r\nabc  URL z TEXT {2}\r\nde UTF8 ( ~{2+}\r\nf\x00 )  UTF8 ({1+}\r\ng)) ~{1+}\r\nf CATENATE (URL q)\r\n" +
		"b APPEND x CATENATE (TEXT {9+}\r\nq CREATE  URL u)\r\nc NOOP\r\n"
	for _, src := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
		d := NewDecoder(src, func() error { return nil })
		d.Limits = LimitsAfterLogin
		c, err := d.Command()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for m := messageOf(c.Args); m != nil; {
			text, err := wholeMessage(d, "a", m)
			got = append(got, text)
			if err != nil {
				t.Fatal(err)
			}
			if m, err = d.More("a"); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"</y/;UID=1><>abc<z><>de<>f\x00<>g", "f", "<q>"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%q", got)
		}
		if c, err := d.Command(); err != nil || c.Tag != "b" { // refused without a look
			t.Fatal(c, err)
		}
		if c, err := d.Command(); err != nil || c.Name != "NOOP" {
			t.Fatal(c, err)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	for _, tc := range commandTests {
		if len(tc.in) < 300 {
			f.Add(tc.in + "\r\nz NOOP\r\n")
		}
	}
	f.Add("a APPEND x CATENATE (URL q TEXT {3+}\r\nabc TEXT ~{1}\r\n\x00) CATENATE (URL p)\r\n")
	f.Add("a UID REPLACE 3 x (\\Seen) {3+}\r\nabc\r\n")
	f.Add("a APPEND x () {3+}\r\nabc (\\Seen) {2}\r\nde\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		a, _ := dec(in, false)
		b := NewDecoder(iotest.OneByteReader(strings.NewReader(in)), func() error { return nil })
		b.Limits = LimitsAfterLogin
		for range len(in) + 2 {
			c1, err1 := a.Command()
			c2, err2 := b.Command()
			if fmt.Sprint(err1) != fmt.Sprint(err2) || c1.Tag != c2.Tag || c1.Name != c2.Name {
				t.Fatalf("%q: whole %v, %v; bytewise %v, %v", in, c1, err1, c2, err2)
			}
			_, syntax := errors.AsType[*SyntaxError](err1)
			_, big := errors.AsType[*TooBigError](err1)
			if err1 != nil && !syntax && !big {
				return
			}
			if x := messageOf(c1.Args); x != nil && err1 == nil {
				p, e1 := wholeMessage(a, c1.Tag, x)
				q, e2 := wholeMessage(b, c2.Tag, messageOf(c2.Args))
				if e1 == nil && e2 == nil && p != q {
					t.Fatalf("%q: message %q and %q", in, p, q)
				}
				continue
			}
			if err1 == nil && !reflect.DeepEqual(c1.Args, c2.Args) {
				t.Fatalf("%q: %+v and %+v", in, c1.Args, c2.Args)
			}
		}
		t.Fatalf("%q: more commands than bytes", in)
	})
}
