//go:build race

package imapd

func init() { underRace = true }
