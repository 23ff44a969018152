package auth

import (
	"crypto/tls"

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
