// Package sieved lets people look after the Sieve scripts of their accounts from a mail
// program, over ManageSieve: RFC 5804 with UNAUTHENTICATE.
//
// It promises:
//
//   - A script is stored only if it can be run: what is wrong with one is told line by
//     line, and the one of that name stays as it was.
//   - The active script cannot be deleted, and a new name leaves it active.
//   - No password is taken in clear unless ClearAuth says so, and what came in clear is
//     never executed under TLS.
//   - Before login a session holds a few KB, whatever its client announces.
//   - A session ends at once when what opened it opens the account no more.
//
// Scripts are run by agent/rules, where mail is delivered.
package sieved
