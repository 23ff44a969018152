package accountd

import (
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"posthaste/internal/base/mail"
)

// A full disk is told as what it is, in a form and on a page of its own.
func TestFullDisk(t *testing.T) {
	err := fmt.Errorf("script: %w", mail.ErrFull)
	if text, ok := meant(err); !ok || text != full {
		t.Errorf("in a form: %q, %v", text, ok)
	}
	w := httptest.NewRecorder()
	s := &Server{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	s.trouble(w, nil, httptest.NewRequest("GET", "/account/", nil), err)
	if w.Code != 507 || !strings.Contains(w.Body.String(), "no room just now") {
		t.Errorf("on a page: %d\n%s", w.Code, w.Body)
	}
}
