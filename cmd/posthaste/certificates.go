package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"posthaste/internal/service/admind"
)

// accountCertificate is the command "account certificate".
func (t *tool) accountCertificate() *cobra.Command {
	c := &cobra.Command{
		Use: "certificate", Short: "Certificates that open an account, in place of a password",
		Long: `Certificates that open an account, in place of a password (SASL EXTERNAL).

A mail program that has a certificate and its private key shows it when the
connection begins, if the listener asks for one:

  [[listener]]
  address = ":993"
  protocol = "imap"
  tls = "implicit"
  client_certificates = true

Only the key counts: who has signed the certificate, and until when it is good,
does not matter, and a new certificate for the same key need not be added again.
Each key opens one account. A certificate that is lost must be removed here.`,
		Example: `  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
      -subj "/CN=ada's laptop" -keyout laptop.key -out laptop.pem
  posthaste account certificate add ada@example.org laptop.pem
  posthaste account certificate list ada@example.org
  posthaste account certificate remove ada@example.org "ada's laptop"`,
	}
	c.AddCommand(t.certificateAdd(),
		&cobra.Command{
			Use: "list ADDRESS", Short: "List the certificates that open an account", Args: cobra.ExactArgs(1),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				list, err := c.Certificates(ctx, args[0])
				if err != nil {
					return err
				}
				if len(list) == 0 {
					stdout.Println("No certificates.")
					return nil
				}
				rows := [][]string{{"NAME", "FOR", "SINCE", "PUBLIC KEY (SHA-256)"}}
				for _, c := range list {
					rows = append(rows, []string{c.Name, c.Protocols, c.Created.Local().Format("2006-01-02 15:04"), c.Key})
				}
				table(rows)
				return nil
			}),
		},
		&cobra.Command{
			Use: "remove ADDRESS NAME", Short: "Let a certificate open the account no more", Args: cobra.ExactArgs(2),
			RunE: t.with(func(ctx context.Context, c *admind.Client, args []string) error {
				return c.RemoveCertificate(ctx, args[0], args[1])
			}),
		})
	return c
}

func (t *tool) certificateAdd() *cobra.Command {
	var protocols []string
	var name string
	c := &cobra.Command{
		Use: "add ADDRESS FILE", Short: "Let a certificate (PEM) open an account", Args: cobra.ExactArgs(2),
		Example: `  posthaste account certificate add ada@example.org laptop.pem
  posthaste account certificate add ada@example.org scanner.pem --name scanner --protocols submission`,
	}
	c.Flags().StringSliceVar(&protocols, "protocols", nil, "what it opens: `submission,imap,pop3,sieve`; all if not given")
	c.Flags().StringVar(&name, "name", "", "what it is called; the certificate's own `name` if not given")
	c.RunE = t.with(func(ctx context.Context, c *admind.Client, args []string) error {
		file, err := readFile(args[1])
		if err != nil {
			return err
		}
		public, err := withoutKeys(args[1], file)
		if err != nil {
			return err
		}
		got, err := c.AddCertificate(ctx, args[0], admind.Certificate{Name: name, Protocols: strings.Join(protocols, ","), PEM: public})
		if err != nil {
			return err
		}
		stdout.Printf("added %s, key %s\n", got.Name, got.Key)
		return nil
	})
	return c
}

// withoutKeys gives the certificates of a PEM file: a private key that is in it is
// nobody else's affair.
func withoutKeys(name string, file []byte) (string, error) {
	var out []byte
	for rest := file; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type == "CERTIFICATE" {
			out = append(out, pem.EncodeToMemory(b)...)
		}
	}
	if len(out) > 0 {
		return string(out), nil
	}
	if strings.Contains(string(file), "PRIVATE KEY-----") {
		return "", fmt.Errorf("%s is a private key, which stays with its owner: name the certificate that belongs to it", name)
	}
	return "", fmt.Errorf("%s has no certificate in it: one begins with -----BEGIN CERTIFICATE-----", name)
}
