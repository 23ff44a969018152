package admind

import "posthaste/internal/proto/message"

// letterOf reads the fields From and Subject.
func letterOf(header []byte) (l letter) {
	if f, ok := message.Find(header, "subject"); ok {
		l.subject = message.DecodeWords(f.Text())
	}
	_, authors := message.Authors(header)
	if len(authors) > 0 {
		if l.from = authors[0].Name; l.from == "" {
			l.from = authors[0].Raw
		}
	}
	return l
}
