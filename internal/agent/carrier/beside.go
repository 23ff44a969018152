package carrier

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"posthaste/internal/proto/maildir"
)

// What Dovecot and Courier keep beside the messages of a Maildir.

// known is what they know of the messages of a folder, by the unique parts of their
// names.
type known struct {
	validity uint32
	list     map[string]listed
	words    []string            // of Dovecot, by the letters in names
	keywords map[string][]string // of Courier
}

// A listed message has a UID, and an id of POP3 if it was given one.
type listed struct {
	uid  uint32
	uidl string
}

// eachLine goes over the lines of a file that need not be there.
func eachLine(path string, each func(string)) (there bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		each(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return true, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return true, nil
}

// readKnown reads what Dovecot knows; if it was not there, what Courier does. What is
// given is good also if there is an error.
func readKnown(dir string, inbox bool) (*known, error) {
	k := &known{list: map[string]listed{}, keywords: map[string][]string{}}
	if b, err := os.ReadFile(filepath.Join(dir, "dovecot-keywords")); err == nil {
		k.words = maildir.ParseKeywords(string(b))
	}
	there, err := k.uids(filepath.Join(dir, "dovecot-uidlist"))
	if there || err != nil {
		return k, err
	}
	_, err = k.uids(filepath.Join(dir, "courierimapuiddb"))
	if inbox {
		err = errors.Join(err, k.courierPOP3(dir))
	}
	return k, errors.Join(err, k.courierKeywords(filepath.Join(dir, "courierimapkeywords")))
}

// uids reads dovecot-uidlist or courierimapuiddb. Without one all is in the order of
// the names.
func (k *known) uids(path string) (there bool, err error) {
	first := true
	return eachLine(path, func(line string) {
		if first {
			k.validity, _ = maildir.ParseListHeader(line)
			first = false
			return
		}
		if l, ok := maildir.ParseListed(line); ok && k.validity != 0 {
			k.list[l.Base] = listed{l.UID, l.UIDL}
		}
	})
}

// courierPOP3 reads the ids that Courier's POP3 has given.
func (k *known) courierPOP3(dir string) error {
	var p maildir.POP3List
	_, err := eachLine(filepath.Join(dir, "courierpop3dsizelist"), func(line string) {
		if base, uidl, ok := p.Line(line); ok {
			l := k.list[base]
			l.uidl = uidl
			k.list[base] = l
		}
	})
	return err
}

// courierKeywords reads Courier's keywords: those of all, and what has changed since.
func (k *known) courierKeywords(dir string) error {
	var list maildir.CourierKeywords
	_, err := eachLine(filepath.Join(dir, ":list"), func(line string) {
		if base, words, ok := list.Line(line); ok {
			k.keywords[base] = words
		}
	})
	entries, err2 := os.ReadDir(dir)
	if errors.Is(err2, fs.ErrNotExist) {
		return err
	}
	err = errors.Join(err, err2)
	ages := map[string]uint64{}
	for _, e := range entries {
		base, age, ok := maildir.CourierUpdate(e.Name())
		if !ok || age <= ages[base] {
			continue
		}
		var words []string
		there, err2 := eachLine(filepath.Join(dir, e.Name()), func(w string) {
			if w != "" {
				words = append(words, w)
			}
		})
		if err = errors.Join(err, err2); there && err2 == nil {
			ages[base], k.keywords[base] = age, words
		}
	}
	return err
}

// aclFile gives the file that says who may do what with a folder; "" if there is none.
func aclFile(dir string) string {
	for _, name := range [...]string{"dovecot-acl", "courierimapacl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return name
		}
	}
	return ""
}

// readACL reads who may do what with a folder; without a file nobody may do anything.
func readACL(dir string) (*Sharing, []Left, error) {
	out := &Sharing{Rights: []Right{}}
	name := aclFile(dir)
	if name == "" {
		return out, nil, nil
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return &Sharing{}, nil, err
	}
	list, odd := maildir.ParseACL(string(b), name == "courierimapacl")
	var left []Left
	for _, who := range odd {
		left = append(left, Left{"rights of " + who, name + " does not tell them by letters"})
	}
	for _, e := range list {
		switch who, why := person(e.Who); {
		case why != "":
			left = append(left, Left{"rights of " + e.Who, why})
		case who != "":
			out.Rights = append(out.Rights, Right{who, e.Rights})
		}
	}
	return out, left, nil
}
