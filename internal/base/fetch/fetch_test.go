package fetch

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"posthaste/internal/base/dns/zone"
)

func TestCheckURL(t *testing.T) {
	for in, ok := range map[string]bool{
		"https://id.example/realms/x": true, "http://localhost:8080": true, "http://127.0.0.1:8080/x": true, "http://[::1]/": true,
		"http://id.example": false, "id.example": false, "": false, "ftp://id.example": false, "https://": false, "https://a:b@id.example": false, "https://id.example/#x": false, "http://127.0.0.1.example": false, "http://192.0.2.1/": false,
	} {
		if err := CheckURL(in); (err == nil) != ok {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// TestBody: names are found by the resolver that is given, redirects are not
// followed, and long answers not read to their end.
func TestBody(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/long":
			w.Write(make([]byte, 101))
		default:
			w.Write([]byte("hello"))
		}
	}))
	defer s.Close()
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	var z zone.Zone
	z.Address("id.example", "127.0.0.1")
	c := (&Web{DNS: &z, Dial: new(net.Dialer).DialContext}).Client()
	for url, want := range map[string]string{
		"http://id.example" + port: "hello", s.URL: "hello", "http://localhost" + port: "hello",
		"http://id.example" + port + "/moved": "!id.example" + port + " answered 302 Found", "http://id.example" + port + "/long": "!id.example" + port + " answered more than 100 bytes",
		"http://nobody.example" + port: "!", "http://no..name" + port: "!",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Body(c, req, http.StatusOK, 100)
		got := string(b)
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want && (want != "!" || err == nil) {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}
