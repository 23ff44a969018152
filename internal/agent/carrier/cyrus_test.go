package carrier

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
)

// cyrusIndex makes a cyrus.index of version 12, or an older one, of records of UID,
// system flags and keywords.
func cyrusIndex(version uint32, records ...[3]uint32) string {
	put := binary.BigEndian.PutUint32
	b := make([]byte, 128)
	put(b[8:], version)
	put(b[12:], 128)
	put(b[16:], 96)
	put(b[20:], uint32(len(records)))
	put(b[44:], 77)
	put(b[60:], 1)
	for _, r := range records {
		rec := make([]byte, 96)
		put(rec, r[0])
		put(rec[4:], 1580702706)
		put(rec[32:], r[1])
		put(rec[36:], r[2])
		put(rec[92:], crc32.ChecksumIEEE(rec[:92]))
		b = append(b, rec...)
	}
	return string(b)
}

const cyrusHead = "\241\002\213\015Cyrus mailbox header\n\"The best\n\t--Jim\n"

// TestCyrus reads folders in folders: flags, keywords and rights as the files have them;
// one whose index is lost comes without; what is expunged stays away.
func TestCyrus(t *testing.T) {
	dir := t.TempDir() + "/ada^l"
	file(t, dir+"/cyrus.header", cyrusHead+"user.ada^l\tid\nwork home\nada.l\tlrswipkxtecda\tbob\tlrscd0\tgroup:x\tl\t\n")
	file(t, dir+"/cyrus.index", cyrusIndex(12, [3]uint32{1, 16, 2}, [3]uint32{3, 1 << 31, 0}, [3]uint32{4, 2, 1}, [3]uint32{5, 0, 0}))
	for _, uid := range []string{"1", "3", "4"} {
		file(t, dir+"/"+uid+".", "Subject: "+uid+"\r\n\r\n")
	}
	file(t, dir+"/W&APw-rk/Sub^one/cyrus.header", cyrusHead+"\tid\n\n\n")
	file(t, dir+"/W&APw-rk/Sub^one/10.", "Subject: ten\r\n\r\n")
	file(t, dir+"/W&APw-rk/Sub^one/9.", "Subject: nine\r\n\r\n")
	file(t, dir+"/W&APw-rk/Sub^one/cyrus.cache", "x")
	file(t, dir+"/Old/cyrus.header", cyrusHead+"\tid\n\n\n")
	file(t, dir+"/Old/cyrus.index", cyrusIndex(10, [3]uint32{1, 16, 0}))
	file(t, dir+"/Old/1.", "Subject: old\r\n\r\n")
	file(t, dir+"/#calendars/Default/cyrus.header", cyrusHead+"\tid\n\n\n")
	src, err := NewCyrus(dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	s := newShelf()
	r := s.take(t, src, nil)
	const d = " 1580702706 "
	equal(t, s.mail, []string{
		"INBOX" + d + `\Seen,home77.1: ` + "Subject: 1\r\n\r\n", "INBOX" + d + `\Flagged,work77.4: ` + "Subject: 4\r\n\r\n",
		"Old" + d + "77.1: Subject: old\r\n\r\n",
		"Würk/Sub.one" + d + ": Subject: nine\r\n\r\n", "Würk/Sub.one" + d + ": Subject: ten\r\n\r\n",
	})
	equal(t, s.rights[:1], []string{"INBOXfalse bob:lrscd"})
	var told []string
	for _, p := range r.Problems {
		told = append(told, p.Folder+" "+p.ID+" "+p.Why[strings.LastIndexByte(p.Why, ':')+1:])
	}
	equal(t, told, []string{"INBOX 5  no such file or directory", "Würk/Sub.one   no such file or directory; what is there comes without flags"})

	// A torn record is told, and its message comes.
	b := []byte(cyrusIndex(12, [3]uint32{1, 16, 2}))
	b[130]++
	file(t, dir+"/cyrus.index", string(b))
	if r := newShelf().take(t, src, func(im *Import) { im.Only = []string{"INBOX"} }); len(r.Problems) == 0 {
		t.Error("a damaged record is not told")
	}
	for _, cut := range []string{"", string(b[:100]), string(b[:200])} {
		file(t, dir+"/cyrus.index", cut)
		if r := newShelf().take(t, src, func(im *Import) { im.Only = []string{"INBOX"} }); r.Added != 3 || len(r.Problems) != 1 {
			t.Errorf("an index of %d bytes: %+v", len(cut), r)
		}
	}
	for _, bad := range []string{t.TempDir(), dir + "/W&APw-rk", dir + "/none"} {
		if _, err := NewCyrus(bad, "", ""); err == nil {
			t.Error(bad, "is no mail of Cyrus")
		}
	}
}

// TestCyrusByID finds the folders of one user among those of others, by their headers.
func TestCyrusByID(t *testing.T) {
	dir := t.TempDir() + "/[odd] *"
	for id, name := range map[string]string{
		"a1": "user.ada^l", "h8": "user.ada^l.#calendars.x", "b2": "\"user.ada^l.Sub one^x.y\"", "c3": "user.ada^lovelace", "d4": "DELETED.user.ada^l.5E37", "e5": "x.org!user.ada^l", "f6": "x.org!user.ada^l.Work", "g7": "shared",
	} {
		p := dir + "/uuid/" + id[:1] + "/" + id[1:] + "/" + id
		file(t, p+"/cyrus.header", cyrusHead+"%(N "+name+" A %(ada.l lr))\n")
		file(t, p+"/1.", "Subject: "+id+"\r\n\r\n")
	}
	for user, want := range map[string][]string{"ada.l": {"INBOX", "Sub one.x/y"}, "ada.l@x.org": {"INBOX", "Work"}, "ada.lovelace": {"INBOX"}} {
		src, err := NewCyrus(dir, user, "")
		if err != nil {
			t.Fatal(err)
		}
		s := newShelf()
		s.take(t, src, nil)
		equal(t, s.boxes, want)
	}
	if _, err := NewCyrus(dir, "eve", ""); err == nil || !strings.Contains(err.Error(), "of eve") {
		t.Error(err)
	}
	file(t, dir+"/uuid/g/7/g7/cyrus.header", "x")
	src, err := NewCyrus(dir, "ada.l", "")
	if err != nil {
		t.Fatal(err)
	}
	if r := newShelf().take(t, src, nil); r.Added != 2 || len(r.Problems) != 3 || !strings.Contains(r.Problems[0].Why, "whose folder") {
		t.Errorf("%+v", r)
	}
}

// TestCyrusSubscriptions finds what is subscribed in the places and forms of old and new
// servers; where there is nothing of the user's, that is told.
func TestCyrusSubscriptions(t *testing.T) {
	root := t.TempDir()
	old, conf := root+"/ada^l", root+"/[conf] *"
	byID := root + "/partition"
	for dir, name := range map[string]string{old: "", old + "/W&APw-rk": "", old + "/Gone": "", byID + "/uuid/a/1/a1": "user.ada^l", byID + "/uuid/b/2/b2": "\"user.ada^l.W&APw-rk\"", byID + "/uuid/c/3/c3": "user.ada^l.Gone"} {
		head := cyrusHead + "\tid\n\n\n"
		if name != "" {
			head = cyrusHead + "%(N " + name + " A %(ada.l lr))\n"
		}
		file(t, dir+"/cyrus.header", head)
		file(t, dir+"/1.", "Subject: x\r\n\r\n")
	}
	subscribed := func(dir, user string) string {
		t.Helper()
		src, err := NewCyrus(dir, user, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := src.Subscriptions(conf); err != nil {
			return err.Error()
		}
		list, err := src.Folders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range list {
			if f.Subscribed {
				names = append(names, f.Name)
			}
		}
		return strings.Join(names, " ")
	}
	want := func(got, want string) {
		t.Helper()
		if got != want && !(strings.HasPrefix(want, "!") && strings.Contains(got, want[1:])) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	want(subscribed(old, ""), "!has no subscriptions of ada.l, as a file ada^l.sub")
	want(subscribed(byID, "ada.l"), "!has no subscriptions of ada.l")
	file(t, conf+"/user/a/ada^l.sub", "user.ada^l\t\nuser.ada^l.W&APw-rk\t\nuser.ada^l.Never\t\n")
	want(subscribed(old, ""), "INBOX Würk")
	want(subscribed(byID, "ada.l"), "INBOX Würk")
	file(t, conf+"/user/uuid/a/1/a1/sub.db", "\x1fVER\x1f\t2\nNINBOX\x1fGone\t\n")
	want(subscribed(byID, "ada.l"), "Gone")
	want(subscribed(old, ""), "INBOX Würk")
	file(t, conf+"/user/a/ada^l.sub", "\241\002\213\015skiplist file\000\000\000")
	want(subscribed(old, ""), "!cvt_cyrusdb")
	file(t, conf+"/user/x/ada^l.sub", "")
	want(subscribed(old, ""), "!of several users")
}
