package message

import "strings"

// maxIDs is how many message ids of one field are looked at.
const maxIDs = 10_000

// MessageIDs gives the ids in a value of Message-ID, In-Reply-To or
// References, with their brackets and without white space in them. What is not
// in brackets, such as the phrases of old In-Reply-To fields, is left out.
// RFC 5322 §3.6.4, §4.5.4
func MessageIDs(value string) []string {
	var ids []string
	for len(ids) < maxIDs {
		i := strings.IndexByte(value, '<')
		if i < 0 {
			break
		}
		value = value[i:]
		end := strings.IndexByte(value[1:], '>') + 1
		if end == 0 {
			break
		}
		// Of "<a <b>" the id is <b>.
		id := value[strings.LastIndexByte(value[:end], '<') : end+1]
		value = value[end+1:]
		if strings.ContainsAny(id, " \t\r\n\x00") {
			id = strings.Join(strings.FieldsFunc(id, func(r rune) bool { return strings.ContainsRune(" \t\r\n\x00", r) }), "")
		}
		if len(id) > len("<>") {
			ids = append(ids, id)
		}
	}
	return ids
}

// Authors counts the From fields of a header, and gives what is in them. A
// message that has not exactly one of each does not say whom DMARC is to ask
// about. RFC 5322 §3.6.2, RFC 7489 §6.6.1
func Authors(header []byte) (fields int, authors []Contact) {
	for f := range Fields(header) {
		if f.Is("from") {
			fields++
			if len(authors) < MaxAddresses {
				authors = append(authors, ParseAddresses(f.Text())...)
			}
		}
	}
	return fields, authors
}
