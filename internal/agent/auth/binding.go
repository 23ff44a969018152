package auth

import (
	"crypto/tls"
	"net"
	"strings"

	"posthaste/internal/base/mail"
	"posthaste/internal/proto/sasl"
)

// Binding gives what ties an authentication to a TLS connection. Connections
// that cannot be told apart have none: TLS 1.2 without extended master secret.
// RFC 9266 §4.2
func Binding(cs tls.ConnectionState) sasl.ChannelBinding {
	material, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", []byte{}, 32)
	if err != nil {
		return sasl.ChannelBinding{}
	}
	return sasl.ChannelBinding{Exporter: material}
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
