//go:build interop

package interop

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// goClient is a session of go-imap's, which must end well.
func (p person) goClient(t *testing.T, opts imapclient.Options) *imapclient.Client {
	t.Helper()
	opts.TLSConfig = roots(t, p.h.CA)
	c, err := imapclient.DialStartTLS(p.h.IMAP, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Logout().Wait(); err != nil {
			t.Error("logout:", err)
		}
		c.Close()
	})
	if err := c.Login(p.address, p.password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// must ends the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func goAppend(t *testing.T, c *imapclient.Client, box string, text []byte, opts *imap.AppendOptions) imap.UID {
	t.Helper()
	cmd := c.Append(box, int64(len(text)), opts)
	_, err := cmd.Write(text)
	must(t, err)
	must(t, cmd.Close())
	data, err := cmd.Wait()
	must(t, err)
	return data.UID
}

// TestGoIMAP is go-imap's client, in IMAP4rev2: two sessions, one of which
// waits in IDLE.
func TestGoIMAP(t *testing.T) {
	t.Parallel()
	ada := small.person(t)
	c := ada.goClient(t, imapclient.Options{})
	_, err := c.Enable(imap.CapIMAP4rev2).Wait()
	must(t, err)
	for _, name := range []string{"Entwürfe/日本", "with \"quotes\" & \\"} {
		must(t, c.Create(name, nil).Wait())
		must(t, c.Subscribe(name).Wait())
	}
	must(t, c.Delete("Archive").Wait()) // only one mailbox has a use
	must(t, c.Create("Old papers", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrArchive}}).Wait())
	list, err := c.List("", "*", &imap.ListOptions{ReturnSubscribed: true, ReturnSpecialUse: true, ReturnStatus: &imap.StatusOptions{NumMessages: true}}).Collect()
	must(t, err)
	found := make(map[string][]imap.MailboxAttr)
	for _, l := range list {
		if found[l.Mailbox] = l.Attrs; l.Status == nil && !slices.Contains(l.Attrs, imap.MailboxAttrNoSelect) {
			t.Errorf("%q has no STATUS", l.Mailbox)
		}
	}
	if !slices.Contains(found["Entwürfe/日本"], imap.MailboxAttrSubscribed) || !slices.Contains(found["Old papers"], imap.MailboxAttrArchive) || found["with \"quotes\" & \\"] == nil {
		t.Errorf("LIST gives %v", found)
	}

	texts := corpus()
	date := time.Date(2026, 3, 3, 10, 20, 30, 0, time.FixedZone("", 5400))
	for i, text := range texts {
		if uid := goAppend(t, c, "INBOX", text, &imap.AppendOptions{Flags: []imap.Flag{imap.FlagFlagged, "label"}, Time: date}); uid != imap.UID(i+1) {
			t.Errorf("UID %d for the message %d", uid, i+1)
		}
	}
	box, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	must(t, err)
	if box.NumMessages != uint32(len(texts)) || box.HighestModSeq == 0 {
		t.Errorf("SELECT gives %+v", box)
	}
	goFetches(t, c, texts, date)
	goSearches(t, c)
	goWaits(t, ada, c, box.HighestModSeq)
	goMoves(t, ada, c)
}

// goFetches has the bytes and what the server says of them.
func goFetches(t *testing.T, c *imapclient.Client, texts [][]byte, date time.Time) {
	t.Helper()
	whole := &imap.FetchItemBodySection{Peek: true}
	msgs, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true, ModSeq: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{whole},
	}).Collect()
	must(t, err)
	if len(msgs) != len(texts) {
		t.Fatalf("%d messages, not %d", len(msgs), len(texts))
	}
	for i, m := range msgs {
		if !bytes.Equal(m.FindBodySection(whole), texts[i]) || m.RFC822Size != int64(len(texts[i])) || !m.InternalDate.Equal(date) ||
			!slices.Contains(m.Flags, "label") || m.ModSeq == 0 || m.Envelope.From[0].Addr() != "odd@outside.example" {
			t.Errorf("message %d is %+v", i+1, m)
		}
	}
	last := msgs[len(msgs)-1]
	multi, ok := last.BodyStructure.(*imap.BodyStructureMultiPart)
	if !ok || len(multi.Children) != 2 || multi.Children[1].MediaType() != "application/octet-stream" || multi.Children[1].Disposition().Params["filename*1*"] != "%20.bin" {
		t.Errorf("the structure is %+v", last.BodyStructure)
	}
	part := &imap.FetchItemBinarySection{Part: []int{2}, Peek: true}
	cmd := c.Fetch(imap.UIDSetNum(last.UID), &imap.FetchOptions{UID: true, BinarySection: []*imap.FetchItemBinarySection{part}, BinarySectionSize: []*imap.FetchItemBinarySectionSize{{Part: []int{2}}}})
	defer cmd.Close()
	var size int
	var body []byte
	for item := cmd.Next().Next; ; {
		switch it := item().(type) {
		case imapclient.FetchItemDataBinarySection:
			body, err = io.ReadAll(it.Literal)
			must(t, err)
			continue
		case imapclient.FetchItemDataBinarySectionSize:
			size = int(it.Size)
			continue
		case imapclient.FetchItemDataUID:
			continue
		}
		break
	}
	if size != 20_000 || len(body) != size || !bytes.Contains(last.FindBodySection(whole), []byte(strings.ReplaceAll(folded(body), "\n", "\r\n"))) {
		t.Errorf("BINARY gives %d bytes, BINARY.SIZE %d", len(body), size)
	}
}

// goSearches asks for results by ESEARCH, SORT and THREAD.
func goSearches(t *testing.T, c *imapclient.Client) {
	t.Helper()
	found, err := c.UIDSearch(&imap.SearchCriteria{Text: []string{"ΕΛΛΗΝΙΚΆ"}, Flag: []imap.Flag{"label"}}, &imap.SearchOptions{ReturnMin: true, ReturnMax: true, ReturnAll: true, ReturnCount: true}).Wait()
	must(t, err)
	if found.Min != 4 || found.Max != 4 || found.Count != 1 || !slices.Equal(found.AllUIDs(), []imap.UID{4}) {
		t.Errorf("SEARCH finds %+v", found)
	}
	found, err = c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "l"}}}, nil).Wait()
	must(t, err)
	if !slices.Equal(found.AllUIDs(), []imap.UID{1, 3, 5, 7}) {
		t.Errorf("SEARCH finds %+v", found)
	}
	sorted, err := c.UIDSort(&imapclient.SortOptions{SearchCriteria: &imap.SearchCriteria{UID: []imap.UIDSet{imap.UIDSetNum(1, 2, 3, 5)}}, SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeySubject, Reverse: true}}}).Wait()
	must(t, err)
	if !slices.Equal(sorted, []uint32{1, 3, 5, 2}) { // Plain, Long lines, Latin, Dots
		t.Errorf("SORT gives %v", sorted)
	}
	threads, err := c.UIDThread(&imapclient.ThreadOptions{Algorithm: imap.ThreadReferences, SearchCriteria: &imap.SearchCriteria{}}).Wait()
	must(t, err)
	if len(threads) != 9 {
		t.Errorf("THREAD gives %v", threads)
	}
}

// goWaits has another session wait, and tells it of changes.
func goWaits(t *testing.T, ada person, c *imapclient.Client, since uint64) {
	t.Helper()
	news := make(chan string, 100)
	o := ada.goClient(t, imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Expunge: func(n uint32) { news <- fmt.Sprint("expunge ", n) },
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				news <- fmt.Sprint("exists ", *d.NumMessages)
			}
		},
		Fetch: func(m *imapclient.FetchMessageData) {
			if b, err := m.Collect(); err == nil {
				slices.Sort(b.Flags)
				news <- fmt.Sprintf("flags %d %v", b.SeqNum, b.Flags)
			}
		},
	}})
	_, err := o.Select("INBOX", nil).Wait()
	must(t, err)
	idle, err := o.Idle()
	must(t, err)
	hear := func(want string) {
		t.Helper()
		for end := time.After(patience); ; {
			select {
			case got := <-news:
				if got == want {
					return
				}
			case <-end:
				t.Fatalf("IDLE does not tell %q", want)
			}
		}
	}
	must(t, c.Store(imap.UIDSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsSet, Flags: []imap.Flag{imap.FlagSeen}}, nil).Close())
	hear(`flags 2 [\Seen]`)
	goAppend(t, c, "INBOX", compose("New", "", "Hello\n"), nil)
	hear("exists 10")
	must(t, c.Store(imap.UIDSetNum(3), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close())
	gone, err := c.UIDExpunge(imap.UIDSetNum(3, 4)).Collect()
	must(t, err)
	if !slices.Equal(gone, []uint32{3}) {
		t.Errorf("UID EXPUNGE took %v", gone)
	}
	hear("expunge 3")
	must(t, idle.Close())
	must(t, idle.Wait())
	changed, err := c.Fetch(imap.UIDSet{{Start: 1}}, &imap.FetchOptions{UID: true, Flags: true, ChangedSince: since}).Collect()
	must(t, err)
	if len(changed) != 2 || changed[0].UID != 2 || changed[1].UID != 10 {
		t.Errorf("changed are %+v", changed)
	}
	if err := c.Store(imap.UIDSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{"late"}}, &imap.StoreOptions{UnchangedSince: since}).Close(); err != nil {
		t.Error("a conditional STORE:", err)
	}
}

// goMoves copies, moves, and asks for what belongs to the account.
func goMoves(t *testing.T, ada person, c *imapclient.Client) {
	t.Helper()
	copied, err := c.Copy(imap.UIDSetNum(1, 2), "Entwürfe/日本").Wait()
	must(t, err)
	if copied.SourceUIDs.String() != "1:2" || copied.DestUIDs.String() != "1:2" {
		t.Errorf("COPY gives %+v", copied)
	}
	moved, err := c.Move(imap.UIDSetNum(5), "Entwürfe/日本").Wait()
	must(t, err)
	if moved.SourceUIDs.(imap.UIDSet).String() != "5" || moved.DestUIDs.(imap.UIDSet).String() != "3" {
		t.Errorf("MOVE gives %+v", moved)
	}
	note := []byte("a note")
	must(t, c.SetMetadata("INBOX", map[string]*[]byte{"/private/comment": &note}).Wait())
	meta, err := c.GetMetadata("INBOX", []string{"/private/comment"}, nil).Wait()
	must(t, err)
	if v := meta.Entries["/private/comment"]; v == nil || string(*v) != "a note" {
		t.Errorf("METADATA gives %+v", meta)
	}
	rights, err := c.MyRights("INBOX").Wait()
	must(t, err)
	if !slices.Contains(rights.Rights, imap.RightAdminister) {
		t.Errorf("MYRIGHTS gives %+v", rights)
	}
	quota, err := c.GetQuotaRoot("INBOX").Wait()
	must(t, err)
	if len(quota) != 1 {
		t.Errorf("QUOTA gives %+v", quota)
	}
	must(t, c.Rename("Entwürfe", "Skizzen", nil).Wait())
	must(t, c.UnselectAndExpunge().Wait())
	j := ada.judge(t)
	want := corpusTexts(j.letters("INBOX"), 0, 1)
	var got [][]byte
	for _, l := range j.letters("Skizzen/&ZeVnLA-")[:2] {
		got = append(got, l.text)
	}
	sameBytes(t, "copied", got, want)
	if n := len(j.letters("INBOX")); n != 8 {
		t.Errorf("%d messages are left, not 8", n)
	}
	must(t, c.Delete("Skizzen/日本").Wait())
}

// corpusTexts gives the texts of some letters.
func corpusTexts(list []letter, at ...int) (texts [][]byte) {
	for _, i := range at {
		texts = append(texts, list[i].text)
	}
	return texts
}
