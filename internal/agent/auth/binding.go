package auth

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
)

// Binding gives what ties an authentication to a TLS connection, and the key that
// the client has shown. Connections that cannot be told apart tie nothing: TLS 1.2
// without extended master secret. RFC 9266 §4.2
func Binding(cs tls.ConnectionState) (cb sasl.ChannelBinding) {
	if material, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32); err == nil {
		cb.Exporter = material
	}
	if len(cs.PeerCertificates) > 0 {
		cb.Client = KeyOf(cs.PeerCertificates[0])
	}
	return cb
}

// KeyOf names a certificate by its public key.
func KeyOf(c *x509.Certificate) []byte {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return sum[:]
}

// Protection gives what is known of the TLS of a connection, nil if it has none.
func Protection(c net.Conn) (*mail.TLS, sasl.ChannelBinding) {
	t, ok := c.(*tls.Conn)
	if !ok {
		return nil, sasl.ChannelBinding{}
	}
	cs := t.ConnectionState()
	return &mail.TLS{
		Version: strings.ReplaceAll(tls.VersionName(cs.Version), " ", ""),
		Cipher:  tls.CipherSuiteName(cs.CipherSuite),
		Server:  cs.ServerName,
	}, Binding(cs)
}
