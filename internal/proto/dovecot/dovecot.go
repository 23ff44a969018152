// Package dovecot reads what Dovecot's tools print: rows of doveadm's formatter
// "tab".
package dovecot

import "strings"

// escapes are what stands behind 0x01 in a column, and for what.
var escapes = strings.NewReplacer("\x010", "\x00", "\x011", "\x01", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n")

// Row gives the columns of a row, which stands in a line without its end.
func Row(line string) []string {
	columns := strings.Split(line, "\t")
	for i, c := range columns {
		if strings.IndexByte(c, 1) >= 0 {
			columns[i] = escapes.Replace(c)
		}
	}
	return columns
}
