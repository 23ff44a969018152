package config

import "testing"

func TestHooks(t *testing.T) {
	for text, ok := range map[string]bool{
		`url = "http://127.0.0.1:8080/mail"`: true, `url = "http://[::1]:8080"`: true, `url = "http://localhost/x"`: true, `url = "http://10.0.0.8/"`: true,
		`url = "https://hooks.example/"`: true, `url = "http://hooks.example/"`: false, `url = "http://192.0.2.1/"`: false, `url = "ftp://10.0.0.1/"`: false,
		`url = "https://me:secret@hooks.example/"`: false, `url = ""`: false, `url = "https://h.example"` + "\n" + `body = "11MB"`: false,
		`url = "https://h.example"` + "\n" + `body = "1MB"`: true, `url = "https://h.example"` + "\n" + `body = "1MB"` + "\n" + `stage = "rcpt"`: false,
		`url = "https://h.example"` + "\n" + `stage = "quit"`: false, `url = "https://h.example"` + "\n" + `on_failure = "drop"`: false,
	} {
		if _, err := Parse([]byte("[[hook]]\n" + text + "\n")); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}
