package network

import "testing"

// TestFreePort: no port comes twice, and each can be had.
func TestFreePort(t *testing.T) {
	seen := map[string]bool{}
	for range 300 {
		at := FreePort()
		if seen[at] {
			t.Fatalf("%s comes twice", at)
		}
		seen[at] = true
	}
}
