package sieve

import (
	"fmt"
	"slices"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/message"
)

// A question compiles a test; ext is what must be required for it, tests how many tests
// it has in it: none, one, or (2) a list.
type question struct {
	ext     string
	tests   int
	compile func(c *compiler, n *node) test
}

func asked() map[string]question {
	return map[string]question{
		"true": {"", 0, (*compiler).always}, "false": {"", 0, (*compiler).always}, "not": {"", 1, (*compiler).not},
		"allof": {"", 2, (*compiler).several}, "anyof": {"", 2, (*compiler).several},
		"header": {"", 0, (*compiler).headerTest}, "address": {"", 0, (*compiler).addressTest}, "exists": {"", 0, (*compiler).existsTest},
		"size": {"", 0, (*compiler).sizeTest}, "envelope": {"envelope", 0, (*compiler).envelopeTest},
		"body": {"body", 0, (*compiler).bodyTest}, "string": {"variables", 0, (*compiler).stringTest},
		"hasflag": {"imap4flags", 0, (*compiler).hasFlag}, "date": {"date", 0, (*compiler).dateTest}, "currentdate": {"date", 0, (*compiler).dateTest},
		"environment": {"environment", 0, (*compiler).environmentTest}, "duplicate": {"duplicate", 0, (*compiler).duplicateTest},
		"ihave":         {"ihave", 0, (*compiler).ihave},
		"mailboxexists": {"mailbox", 0, (*compiler).mailboxTest}, "mailboxidexists": {"mailboxid", 0, (*compiler).mailboxTest},
		"specialuse_exists": {"special-use", 0, (*compiler).specialUseTest},
		"metadata":          {"mboxmetadata", 0, (*compiler).metadataTest}, "metadataexists": {"mboxmetadata", 0, (*compiler).metadataTest},
		"servermetadata": {"servermetadata", 0, (*compiler).metadataTest}, "servermetadataexists": {"servermetadata", 0, (*compiler).metadataTest},
	}
}

type testFunc func(m *machine) (bool, error)

func (f testFunc) holds(m *machine) (bool, error) {
	if err := m.charge(1); err != nil {
		return false, err
	}
	return f(m)
}

func (c *compiler) always(n *node) test {
	if c.take(n, nil) == nil {
		return nil
	}
	return testFunc(func(*machine) (bool, error) { return n.name == "true", nil })
}

func (c *compiler) not(n *node) test {
	if c.take(n, nil) == nil {
		return nil
	}
	t := c.test(n.tests[0])
	return testFunc(func(m *machine) (bool, error) {
		yes, err := t.holds(m)
		return !yes, err
	})
}

// several is allof and anyof, which ask no further than they must. RFC 5228 §5.2, §5.3
func (c *compiler) several(n *node) test {
	if c.take(n, nil) == nil {
		return nil
	}
	list := make([]test, len(n.tests))
	for i := range n.tests {
		list[i] = c.test(n.tests[i])
	}
	return testFunc(func(m *machine) (bool, error) {
		for _, t := range list {
			yes, err := t.holds(m)
			if err != nil || yes == (n.name == "anyof") {
				return yes, err
			}
		}
		return n.name == "allof", nil
	})
}

var indexTags = map[string]argKind{"index": argNumber, "last": none}

// An index is which of the fields of a name is meant; 0 is all. RFC 5260 §6
type index struct {
	n    int
	last bool
}

func (c *compiler) index(t *taken) (x index) {
	if a, ok := t.tags["index"]; ok {
		c.needs(t.line, ":index", "index")
		if a.num < 1 {
			c.fail(t.line, ":index counts from 1")
		}
		x.n = int(min(a.num, 1<<30))
	}
	if x.last = t.is("last"); x.last && x.n == 0 {
		c.fail(t.line, ":last wants an :index")
	}
	return x
}

// of gives those that are meant.
func (x index) of(list []string) []string {
	switch {
	case x.n == 0:
		return list
	case x.n > len(list):
		return nil
	case x.last:
		return list[len(list)-x.n:][:1]
	}
	return list[x.n-1:][:1]
}

// fieldNames makes a list of names of header fields. One that can be none is no error: no
// message has it. RFC 5228 §2.4.2.2
func (c *compiler) fieldNames(a argument) []value {
	list := c.texts(a)
	for _, v := range list {
		if s, ok := v.constant(); ok && !isField(s) {
			c.warn(a.line, "%q is no name of a header field, so no message has it%s", s, colon(s))
		}
	}
	return list
}

func colon(s string) string {
	if strings.HasSuffix(s, ":") {
		return ": leave the colon out"
	}
	return ""
}

func isField(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == ':' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// headerTest. RFC 5228 §5.7, RFC 5703 §4.1
func (c *compiler) headerTest(n *node) test {
	t := c.take(n, with(matchTags, indexTags, mimeTags), argList, argList)
	if t == nil {
		return nil
	}
	names, where, idx, x := c.fieldNames(t.pos[0]), c.mime(t), c.index(t), c.matcher(t, t.pos[1])
	return testFunc(func(m *machine) (bool, error) {
		values, err := where.values(m, all(m, names), idx)
		if err != nil {
			return false, err
		}
		return x.match(m, values)
	})
}

// existsTest. RFC 5228 §5.5
func (c *compiler) existsTest(n *node) test {
	t := c.take(n, mimeTags, argList)
	if t == nil {
		return nil
	}
	names, where := c.fieldNames(t.pos[0]), c.mime(t)
	if where.want != "" {
		c.fail(n.line, "exists has no :%s", where.want)
	}
	return testFunc(func(m *machine) (bool, error) {
		for _, name := range all(m, names) {
			values, err := where.values(m, []string{name}, index{})
			if err != nil || len(values) == 0 {
				return false, err
			}
		}
		return true, nil
	})
}

// sizeTest. RFC 5228 §5.9
func (c *compiler) sizeTest(n *node) test {
	t := c.take(n, map[string]argKind{"over": argNumber, "under": argNumber})
	if t == nil {
		return nil
	}
	way := c.only(t, "over", "under")
	if way == "" {
		c.fail(n.line, "size wants :over or :under, and a number")
		return nil
	}
	limit := int64(t.tags[way].num)
	return testFunc(func(m *machine) (bool, error) {
		if way == "over" {
			return m.in.Size > limit, nil
		}
		return m.in.Size < limit, nil
	})
}

var addressTags = map[string]argKind{"all": none, "localpart": none, "domain": none, "user": none, "detail": none}

// addressPart gives which part of addresses is meant. RFC 5228 §2.7.4, RFC 5233 §4
func (c *compiler) addressPart(t *taken) string {
	part := c.only(t, "all", "localpart", "domain", "user", "detail")
	if part == "user" || part == "detail" {
		c.needs(t.line, ":"+part, "subaddress")
	}
	return part
}

// part gives a part of an address; false if it has none of that kind.
func (m *machine) partOf(part, local, domain string) (string, bool) {
	switch part {
	case "localpart":
		return local, true
	case "domain":
		return domain, true
	case "user", "detail":
		i := strings.IndexAny(local, m.in.Separators)
		if m.in.Separators == "" || i < 0 {
			return local, part == "user"
		}
		if part == "user" {
			return local[:i], true
		}
		return local[i+1:], true
	}
	if domain == "" {
		return local, true
	}
	return local + "@" + domain, true
}

// plainFields are those that are known to have no addresses in them.
var plainFields = []string{
	"subject", "date", "message-id", "in-reply-to", "references", "received", "comments", "keywords", "resent-date", "resent-message-id",
	"mime-version", "content-type", "content-transfer-encoding", "content-id", "content-description", "content-disposition", "content-language",
	"list-id", "list-help", "list-unsubscribe", "list-post", "list-archive", "importance", "priority", "x-priority", "auto-submitted", "precedence",
}

// addressTest. RFC 5228 §5.1
func (c *compiler) addressTest(n *node) test {
	t := c.take(n, with(matchTags, addressTags, indexTags, mimeTags), argList, argList)
	if t == nil {
		return nil
	}
	names, part, where, idx, x := c.fieldNames(t.pos[0]), c.addressPart(t), c.mime(t), c.index(t), c.matcher(t, t.pos[1])
	if where.want != "" {
		c.fail(n.line, "address has no :%s", where.want)
	}
	for _, v := range names {
		if s, ok := v.constant(); ok && slices.Contains(plainFields, strings.ToLower(s)) {
			c.fail(n.line, "the field %q has no addresses in it: use the test header", s)
		}
	}
	return testFunc(func(m *machine) (bool, error) {
		var list []string
		for _, name := range all(m, names) {
			fields, err := where.raw(m, name)
			if err != nil {
				return false, err
			}
			for _, f := range idx.of(fields) {
				list = append(list, m.addresses(f, part)...)
			}
		}
		if x.kind == count {
			list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
		}
		return x.match(m, list)
	})
}

// addresses gives a part of each address in a field. What is no address is itself as a
// whole, and has no parts. RFC 5228 §2.7.4
func (m *machine) addresses(field, part string) (out []string) {
	whole := part == "" || part == "all"
	for _, a := range message.ParseAddressList(field) {
		switch {
		case a.Kind != message.Single:
		case a.Local != "" && a.Domain != "":
			if s, ok := m.partOf(part, a.Local, people(a.Domain)); ok {
				out = append(out, s)
			}
		case whole && a.Domain != "":
			out = append(out, "@"+a.Domain)
		case whole:
			out = append(out, a.Local)
		}
	}
	if whole && out == nil {
		out = []string{""}
	}
	return out
}

// people gives a domain name with the letters that people know.
func people(domain string) string {
	d, err := mail.ParseDomain(domain)
	if err != nil || !strings.Contains(string(d), "xn--") {
		return domain
	}
	return d.Unicode()
}

// envelopeTest. RFC 5228 §5.4
func (c *compiler) envelopeTest(n *node) test {
	t := c.take(n, with(matchTags, addressTags), argList, argList)
	if t == nil {
		return nil
	}
	names, part, x := c.texts(t.pos[0]), c.addressPart(t), c.matcher(t, t.pos[1])
	for _, v := range names {
		if s, ok := v.constant(); ok && !strings.EqualFold(s, "from") && !strings.EqualFold(s, "to") {
			c.fail(n.line, "an envelope has \"from\" and \"to\", and no %q", s)
		}
	}
	return testFunc(func(m *machine) (bool, error) {
		var list []string
		for _, name := range all(m, names) {
			a := m.in.Sender
			if strings.EqualFold(name, "to") {
				a = m.in.Recipient
			}
			if a.IsZero() { // the null sender is "" in all its parts
				list = append(list, "")
			} else if s, ok := m.partOf(part, a.Local, a.Domain.Unicode()); ok {
				list = append(list, s)
			}
		}
		return x.match(m, list)
	})
}

// environmentTest. RFC 5183
func (c *compiler) environmentTest(n *node) test {
	t := c.take(n, matchTags, argText, argList)
	if t == nil {
		return nil
	}
	name, x := c.value(t.pos[0]), c.matcher(t, t.pos[1])
	return testFunc(func(m *machine) (bool, error) {
		v, known := m.in.Environment[strings.ToLower(name.of(m))]
		if !known {
			return false, nil
		}
		return x.match(m, []string{v})
	})
}

// ihave tells whether extensions are there, and lets the script use them. RFC 5463 §4
func (c *compiler) ihave(n *node) test {
	t := c.take(n, nil, argList)
	if t == nil {
		return nil
	}
	there := true
	for _, name := range t.pos[0].list {
		low := strings.ToLower(name)
		switch {
		case !slices.Contains(Extensions, low), !c.has[low] && (low == "variables" || low == "encoded-character"):
			there = false // the last two change what all strings mean. RFC 5463 §4
		default:
			c.grant(low)
		}
	}
	c.doubtful = c.doubtful || !there
	return testFunc(func(*machine) (bool, error) { return there, nil })
}

// failing is the command error. RFC 5463 §5
func (c *compiler) failing(n *node) command {
	t := c.take(n, nil, argText)
	if t == nil {
		return nil
	}
	text := c.value(t.pos[0])
	return commandFunc(func(m *machine) error { return &Error{n.line, "the script says: " + text.of(m)} })
}

type commandFunc func(m *machine) error

func (f commandFunc) run(m *machine) error { return f(m) }

// mailboxTest asks for mailboxes by name or id. RFC 5490 §3.1, RFC 9042 §3.3
func (c *compiler) mailboxTest(n *node) test {
	t := c.take(n, nil, argList)
	if t == nil {
		return nil
	}
	names := c.texts(t.pos[0])
	return testFunc(func(m *machine) (bool, error) {
		for _, name := range all(m, names) {
			by := Place{Name: name}
			if n.name == "mailboxidexists" {
				by = Place{ID: name}
			}
			if yes, err := m.in.World.Mailbox(m.ctx, by); !yes || err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// specialUseTest. RFC 8579 §4
func (c *compiler) specialUseTest(n *node) test {
	var t *taken
	if places(n, nil) > 1 {
		t = c.take(n, nil, argText, argList)
	} else {
		t = c.take(n, nil, argList)
	}
	if t == nil {
		return nil
	}
	uses := c.texts(t.pos[len(t.pos)-1])
	var box value
	if len(t.pos) > 1 {
		box = c.value(t.pos[0])
	}
	return testFunc(func(m *machine) (bool, error) {
		for _, use := range all(m, uses) {
			if yes, err := m.in.World.Mailbox(m.ctx, Place{Name: box.of(m), Use: use}); !yes || err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// metadataTest is metadata, servermetadata, and the tests whether there is such an entry.
// RFC 5490 §3.3 to §4.2
func (c *compiler) metadataTest(n *node) test {
	asks := strings.HasSuffix(n.name, "exists")
	ofServer := strings.HasPrefix(n.name, "server")
	var kinds []argKind
	if !ofServer {
		kinds = append(kinds, argText)
	}
	tags := matchTags
	if asks {
		tags = nil
		kinds = append(kinds, argList)
	} else {
		kinds = append(kinds, argText, argList)
	}
	t := c.take(n, tags, kinds...)
	if t == nil {
		return nil
	}
	var box value
	if !ofServer {
		box = c.value(t.pos[0])
		t.pos = t.pos[1:]
	}
	entries := c.texts(t.pos[0])
	var x matcher
	if !asks {
		x = c.matcher(t, t.pos[1])
	}
	return testFunc(func(m *machine) (bool, error) {
		name := ""
		if !ofServer {
			if name = box.of(m); name == "" {
				return false, nil
			}
		}
		for _, e := range all(m, entries) {
			v, ok, err := m.in.World.Annotation(m.ctx, name, e)
			if err != nil || !ok {
				return false, err
			}
			if !asks {
				return x.match(m, []string{v})
			}
		}
		return true, nil
	})
}

// duplicateTest tells whether a message like this one was there before. RFC 7352
func (c *compiler) duplicateTest(n *node) test {
	t := c.take(n, map[string]argKind{"handle": argText, "header": argText, "uniqueid": argText, "seconds": argNumber, "last": none})
	if t == nil {
		return nil
	}
	c.only(t, "header", "uniqueid")
	var handle, header, unique value
	if t.is("handle") {
		handle = c.value(t.tags["handle"])
	}
	if t.is("header") {
		header = c.fieldNames(t.tags["header"])[0]
	}
	if t.is("uniqueid") {
		unique = c.value(t.tags["uniqueid"])
	}
	mark := Mark{Kind: 'd', For: defaultDuplicate, Last: t.is("last")}
	if a, ok := t.tags["seconds"]; ok {
		mark.For = seconds(a.num, maxDuplicate)
	}
	return testFunc(func(m *machine) (bool, error) {
		id := unique.of(m)
		if !t.is("uniqueid") {
			name := "message-id"
			if t.is("header") {
				name = header.of(m)
			}
			list, err := m.rawOf(name)
			if err != nil || len(list) == 0 || list[0] == "" {
				return false, err
			}
			id = list[0]
		}
		mark := mark
		mark.Key = fmt.Sprintf("%q %v %q", handle.of(m), t.is("uniqueid"), id)
		m.marks = append(m.marks, mark)
		return m.in.World.Seen(m.ctx, mark)
	})
}
