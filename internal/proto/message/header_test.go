package message

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

const header = "Return-Path: <>\r\nReceived: a\r\n\tb\r\nRECEIVED: c\r\nno colon\r\nFrom : x@y\r\nSubject:a\r\n \r\n\r\nBody: z\r\n"

func TestFields(t *testing.T) {
	var got []string
	var raw []byte
	for f := range Fields([]byte(header)) {
		got = append(got, string(f.Name)+"="+f.Text())
		if f.Offset != len(raw) {
			t.Errorf("%s at %d, told %d", f.Name, len(raw), f.Offset)
		}
		raw = append(raw, f.Raw...)
	}
	want := "Return-Path=<>|Received=a\tb|RECEIVED=c|=no colon|From=x@y|Subject=a"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("%s, want %s", s, want)
	}
	if !strings.HasPrefix(header, string(raw)) || header[len(raw):] != "\r\nBody: z\r\n" {
		t.Errorf("raw fields: %q", raw)
	}
	if f, ok := Find([]byte(header), "received"); !ok || f.Text() != "a\tb" {
		t.Errorf("found %q", f.Raw)
	}
	if _, ok := Find([]byte(header), "body"); ok {
		t.Error("found a field in the body")
	}
}

func TestSelection(t *testing.T) {
	many := strings.Fields("a b c d e f g h i j k l m n o p subject RECEIVED " + strings.Repeat("x", 300))
	for _, names := range [][]string{{"SUBJECT", "received"}, many} {
		s := NewFieldSet(names...)
		got := string(s.AppendSelected(nil, []byte(header)))
		if want := "Received: a\r\n\tb\r\nRECEIVED: c\r\nSubject:a\r\n \r\n"; got != want {
			t.Errorf("%q", got)
		}
		got = string(s.AppendOthers([]byte("x"), []byte(header)))
		if want := "xReturn-Path: <>\r\nno colon\r\nFrom : x@y\r\n"; got != want {
			t.Errorf("not: %q", got)
		}
	}
	if got := NewFieldSet().AppendSelected(nil, []byte(header)); len(got) != 0 {
		t.Errorf("nothing selects %q", got)
	}
}

func TestEdit(t *testing.T) {
	drop := func(f Field) bool { return f.Is("received") || f.Is("return-path") }
	want := "no colon\r\nFrom : x@y\r\nSubject:a\r\n \r\n\r\nBody: z\r\n"
	if got := string(RemoveFields([]byte(header), drop)); got != want {
		t.Errorf("removed: %q", got)
	}
	e := Edit{Prefix: []byte("X: y\r\n"), Cut: CutFields([]byte(header), drop)}
	if len(e.Cut) != 1 {
		t.Errorf("ranges that touch are %v", e.Cut)
	}
	got, err := io.ReadAll(e.Reader(strings.NewReader(header), int64(len(header))))
	if err != nil || string(got) != "X: y\r\n"+want || e.Size(int64(len(header))) != int64(len(got)) {
		t.Errorf("edited: %q %v, size %d", got, err, e.Size(int64(len(header))))
	}
	h := []byte(header)
	if got := RemoveFields(h, func(Field) bool { return false }); !bytes.Equal(got, h) {
		t.Errorf("nothing removed: %q", got)
	}
}
