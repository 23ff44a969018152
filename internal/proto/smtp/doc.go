// Package smtp is RFC 5321 and its extensions without a network: commands,
// replies, the order they may come in, both sides of the conversation, and the
// interface between a conversation and what takes the mail.
package smtp
