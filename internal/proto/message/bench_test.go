package message

import (
	"bytes"
	"strings"
	"testing"
)

var plain4K = []byte("Return-Path: <a@example.org>\r\n" +
	"Received: from mx.example.org (mx.example.org [192.0.2.1])\r\n\tby mail.example.com with ESMTPS id abc123\r\n\tfor <b@example.com>; Mon, 1 Jan 2024 10:00:00 +0000\r\n" +
	"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x; h=from:to:subject;\r\n\tbh=" + strings.Repeat("x", 44) + ";\r\n\tb=" + strings.Repeat("y", 344) + "\r\n" +
	"Date: Mon, 1 Jan 2024 10:00:00 +0000\r\nFrom: \"Public, Joe\" <joe@example.org>\r\nTo: Jane Doe <jane@example.com>, team@example.com\r\n" +
	"Subject: The meeting of Monday\r\nMessage-ID: <1234@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" +
	strings.Repeat("All work and no play makes Jack a dull boy, so they say.\r\n", 56))

func multipart50K() []byte {
	var b Builder
	b.Text("Subject", "x")
	b.Body(Content{Type: "multipart/mixed", Boundary: "=_mixed", Parts: []Content{
		{Type: "multipart/alternative", Boundary: "=_alt", Parts: []Content{
			{Type: "text/plain", Data: []byte(strings.Repeat("Some text that is said.\r\n", 100))},
			{Type: "text/html", Data: []byte(strings.Repeat("<p>Some text that is said.</p>\r\n", 100))},
		}},
		{Type: "application/pdf", Filename: "a.pdf", Data: make([]byte, 33000)},
	}})
	msg, _ := b.Bytes()
	return msg
}

func BenchmarkParse4K(b *testing.B) {
	b.SetBytes(int64(len(plain4K)))
	b.ReportAllocs()
	for b.Loop() {
		ParseBytes(plain4K)
	}
}

func BenchmarkParse50K(b *testing.B) {
	msg := multipart50K()
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		ParseBytes(msg)
	}
}

func BenchmarkAppendBinary(b *testing.B) {
	p := ParseBytes(plain4K)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = p.AppendBinary(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "bytes")
}

func BenchmarkDecodePart(b *testing.B) {
	bin := ParseBytes(plain4K).AppendBinary(nil)
	b.ReportAllocs()
	for b.Loop() {
		DecodePart(bin)
	}
}

func BenchmarkSelect(b *testing.B) {
	s := NewFieldSet("Date", "From", "To", "Cc", "Subject", "Message-ID", "References")
	h := plain4K[:bytes.Index(plain4K, []byte("\r\n\r\n"))+4]
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = s.AppendSelected(buf[:0], h)
	}
}
