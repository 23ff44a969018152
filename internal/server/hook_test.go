package server

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthaste/internal/agent/mx"
	"posthaste/internal/server/config"
)

// TestHookOverHTTP: requests are signed, answers bounded, redirects not followed, and
// nothing in clear leaves our networks.
func TestHookOverHTTP(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		at, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Posthaste-Signature"), "t="), ",")
		sec, _ := strconv.ParseInt(at, 10, 64)
		if r.Method != http.MethodPost || string(b) != `{"a":1}` || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Posthaste-Signature") != hookSignature("secret", time.Unix(sec, 0), b) || time.Since(time.Unix(sec, 0)) > time.Hour {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		switch r.URL.Path {
		case "/long":
			io.Copy(w, io.LimitReader(endless{}, mx.MaxHookAnswer+1))
		case "/away":
			http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
		default:
			io.WriteString(w, "answer")
		}
	}))
	defer s.Close()
	h := &House{}
	ask := func(url, secretFile string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if strings.HasSuffix(url, "/slow") {
			cancel()
		}
		defer cancel()
		b, err := h.hooks([]config.Hook{{URL: url, SecretFile: secretFile}})[0].Ask(ctx, []byte(`{"a":1}`))
		return string(b), err
	}
	if got, err := ask(s.URL+"/ok", key); got != "answer" || err != nil {
		t.Error(got, err)
	}
	for path, want := range map[string]string{"/long": "too long", "/away": "307", "/slow": "canceled"} {
		if _, err := ask(s.URL+path, key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := ask(s.URL+"/ok", ""); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("without a signature: %v", err)
	}
	if _, err := ask("http://192.0.2.1/", key); err == nil || !strings.Contains(err.Error(), "use https") {
		t.Errorf("in clear: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
