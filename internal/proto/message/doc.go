// Package message reads and writes messages: RFC 5322 headers, MIME trees,
// the encodings in them, and nothing about how they travel.
//
// One walker (Parse) finds the structure of a message; everything else in the
// house uses the tree it makes and never looks for boundaries again. The tree
// holds byte ranges, not bytes: with it and the stored message any part can be
// read directly. It is made once, at delivery, and kept in its binary form.
//
// Invariants:
//   - Parse fails only if the bytes cannot be read. Whatever is wrong with a
//     message, it has a tree; what goes over a budget becomes one opaque
//     application/octet-stream part.
//   - The range of a part lies within its parent's body; siblings follow one
//     another; the root covers the whole message.
//   - The work is linear in the size of the input for every function, and
//     memory is bounded by the budgets below, however the input was made.
//   - Lines end with LF, with or without a CR before it; a bare CR ends nothing.
//     Ranges are those of the bytes as they are: nothing is normalised.
//
// Strings in the tree are as the message has them, unfolded but not decoded;
// they may hold bytes that are not ASCII, or not UTF-8. NUL, CR and LF are
// never in them.
package message

// Budgets of one message. What is beyond them is not looked at.
const (
	MaxDepth       = 100     // multiparts and messages within each other
	MaxParts       = 10_000  // parts of one tree
	MaxHeaderBytes = 1 << 20 // bytes of all headers together
	MaxFields      = 10_000  // fields of all headers together
	MaxParams      = 1_000   // parameters of all parts together
	MaxAddresses   = 10_000  // addresses of one list, and of all envelopes together
	MaxBoundary    = 998     // bytes of a boundary; RFC 2046 §5.1.1 allows 70
)
