package dns

import "strings"

// maxString is the longest string of a TXT record. RFC 1035 §3.3.14
const maxString = 255

// Quote gives a TXT record's value as zone files have it: in quotes, in as many
// strings as it needs. s has no quotes and backslashes.
func Quote(s string) string {
	var parts []string
	for len(s) > maxString {
		parts, s = append(parts, `"`+s[:maxString]+`"`), s[maxString:]
	}
	return strings.Join(append(parts, `"`+s+`"`), " ")
}
