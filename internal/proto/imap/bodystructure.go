package imap

import (
	"slices"
	"strconv"
	"strings"

	"posthaste/internal/proto/message"
)

// Detail is how much of a structure is told.
type Detail uint8

const (
	// Basic is BODY: without extension data.
	Basic Detail = iota
	// Extended is BODYSTRUCTURE.
	Extended
)

// AppendBodyStructure appends the structure of a message, as BODY or
// BODYSTRUCTURE has it. RFC 9051 §7.5.2
func AppendBodyStructure(dst []byte, p *message.Part, detail Detail) []byte {
	dst = append(dst, '(')
	if p.IsMultipart() {
		for _, child := range p.Children {
			dst = AppendBodyStructure(dst, child, detail)
		}
		if len(p.Children) == 0 { // the syntax wants one
			dst = AppendBodyStructure(dst, nothing, detail)
		}
		dst = AppendString(append(dst, ' '), p.Subtype)
		if detail == Extended {
			dst = appendParams(append(dst, ' '), p.Params)
			dst = appendExtension(dst, p)
		}
		return append(dst, ')')
	}
	dst = AppendString(dst, p.Type)
	dst = AppendString(append(dst, ' '), p.Subtype)
	dst = appendParams(append(dst, ' '), typeParams(p))
	dst = AppendNString(append(dst, ' '), p.ID)
	dst = AppendNString(append(dst, ' '), p.Description)
	encoding := p.Encoding
	if encoding == "" {
		encoding = "7BIT"
	}
	dst = AppendString(append(dst, ' '), encoding)
	dst = strconv.AppendInt(append(dst, ' '), p.BodySize, 10)
	switch {
	case p.IsType("text"):
		dst = strconv.AppendInt(append(dst, ' '), p.Lines, 10)
	case p.IsType("message") && (strings.EqualFold(p.Subtype, "rfc822") || strings.EqualFold(p.Subtype, "global")):
		dst = appendMessage(dst, p.Message, detail)
		dst = strconv.AppendInt(append(dst, ' '), p.Lines, 10)
	}
	if detail == Extended {
		dst = AppendNString(append(dst, ' '), p.MD5)
		dst = appendExtension(dst, p)
	}
	return append(dst, ')')
}

// nothing stands for a part that the syntax wants and the message does not have.
var nothing = &message.Part{Type: "text", Subtype: "plain"}

// typeParams gives the parameters of a part that is no multipart. Plain text that
// does not say its charset is in US-ASCII, and is told to be, as other servers do;
// unless it says that it has other bytes: then programs have to guess, and had better
// know. RFC 2046 §4.1.2
func typeParams(p *message.Part) []message.Param {
	named := func(v message.Param) bool {
		name, _, _ := strings.Cut(v.Name, "*")
		return strings.EqualFold(name, "charset")
	}
	if !p.Is("text", "plain") || slices.ContainsFunc(p.Params, named) ||
		strings.EqualFold(p.Encoding, "8bit") || strings.EqualFold(p.Encoding, "binary") {
		return p.Params
	}
	return append(slices.Clip(p.Params), message.Param{Name: "charset", Value: "us-ascii"})
}

// appendMessage appends what message/rfc822 has more than others; m may be nil
// if it was not looked into.
func appendMessage(dst []byte, m *message.Part, detail Detail) []byte {
	dst = append(dst, ' ')
	if m == nil {
		dst = AppendEnvelope(dst, nil)
		return AppendBodyStructure(append(dst, ' '), nothing, detail)
	}
	dst = AppendEnvelope(dst, m.Envelope)
	return AppendBodyStructure(append(dst, ' '), m, detail)
}

// appendExtension appends disposition, languages and location.
func appendExtension(dst []byte, p *message.Part) []byte {
	if p.Disposition == "" {
		dst = append(dst, " NIL"...)
	} else {
		dst = AppendString(append(dst, " ("...), p.Disposition)
		dst = appendParams(append(dst, ' '), p.DispositionParams)
		dst = append(dst, ')')
	}
	if len(p.Language) == 0 {
		dst = append(dst, " NIL"...)
	} else {
		dst = append(dst, ' ')
		for i, l := range p.Language {
			dst = AppendString(append(dst, opener(i)), l)
		}
		dst = append(dst, ')')
	}
	return AppendNString(append(dst, ' '), p.Location)
}

func appendParams(dst []byte, params []message.Param) []byte {
	if len(params) == 0 {
		return append(dst, "NIL"...)
	}
	for i, p := range params {
		dst = append(dst, opener(i))
		dst = AppendString(dst, p.Name)
		dst = AppendString(append(dst, ' '), p.Value)
	}
	return append(dst, ')')
}

// opener stands before item i of a list.
func opener(i int) byte {
	if i == 0 {
		return '('
	}
	return ' '
}
