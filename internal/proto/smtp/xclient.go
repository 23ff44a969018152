package smtp

import (
	"net/netip"
	"strconv"
	"strings"

	"posthaste/internal/base/mail"
)

// An XClient is what a front tells of the client that it speaks for, as Postfix has
// it. What it does not tell is nil; what it cannot find out is the zero value.
type XClient struct {
	Name  *string // as the DNS has it, confirmed
	Addr  *netip.Addr
	Port  *uint16
	Hello *string
	Login *string // who has logged in at the front
}

// XClientNames are the attributes that are understood, as EHLO announces them. What
// PROTO, DESTADDR and DESTPORT say is not used.
const XClientNames = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

// ErrAttribute refuses an attribute of XCLIENT.
var ErrAttribute = mail.Refuse("5.5.4", "bad XCLIENT attribute", "")

// parseXClient reads the attributes, of which none may come twice.
func parseXClient(s string) (x XClient, err error) {
	if s == "" {
		return x, ErrAttribute
	}
	err = eachParam(" "+s, func(key, value string, _ bool) (bit uint, err error) {
		text, err := parseXtext(value)
		if err != nil {
			return 0, ErrAttribute
		}
		known := !strings.EqualFold(text, "[UNAVAILABLE]") && !strings.EqualFold(text, "[TEMPUNAVAIL]")
		if !known {
			text = ""
		}
		switch key {
		case "NAME":
			x.Name = &text
			return 0, checkHost(text, known)
		case "ADDR":
			x.Addr, err = parseFrontAddr(text, known)
			return 1, err
		case "PORT":
			x.Port, err = parseFrontPort(text, known)
			return 2, err
		case "PROTO":
			if known && !strings.EqualFold(text, "SMTP") && !strings.EqualFold(text, "ESMTP") && !strings.EqualFold(text, "LMTP") {
				return 0, ErrAttribute
			}
			return 3, nil
		case "HELO":
			x.Hello = &text
			return 4, checkHost(text, known)
		case "LOGIN":
			x.Login = &text
			return 5, nil
		case "DESTADDR":
			_, err = parseFrontAddr(text, known)
			return 6, err
		case "DESTPORT":
			_, err = parseFrontPort(text, known)
			return 7, err
		}
		return 0, ErrAttribute
	})
	if err != nil {
		return XClient{}, ErrAttribute
	}
	return x, nil
}

// checkHost refuses what could not stand in a Received field.
func checkHost(s string, known bool) error {
	if !known {
		return nil
	}
	_, err := parseHello([]byte(s))
	return err
}

// parseFrontAddr reads an address, of IPv6 with "IPV6:" before it.
func parseFrontAddr(s string, known bool) (*netip.Addr, error) {
	if !known {
		return &netip.Addr{}, nil
	}
	if len(s) > 5 && strings.EqualFold(s[:5], "IPV6:") {
		s = s[5:]
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return nil, ErrAttribute
	}
	ip = ip.Unmap()
	return &ip, nil
}

func parseFrontPort(s string, known bool) (*uint16, error) {
	if !known {
		return new(uint16), nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return nil, ErrAttribute
	}
	port := uint16(n)
	return &port, nil
}
