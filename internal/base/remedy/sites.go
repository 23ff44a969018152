package remedy

import "strings"

// The sites that have rules of their own, or many domains.
const (
	google    = "google"
	microsoft = "microsoft"
	yahoo     = "yahoo"
	apple     = "apple"
	gmx       = "gmx"
	telekom   = "t-online"
	comcast   = "comcast"
	charter   = "charter"
	cox       = "cox"
	att       = "att"
	orange    = "orange"
	free      = "free"
	laposte   = "laposte"
	mailru    = "mail.ru"
	yandex    = "yandex"
	tencent   = "qq"
	netease   = "163"
	zoho      = "zoho"
	proton    = "proton"
	fastmail  = "fastmail"
	proofp    = "proofpoint"
	mimecast  = "mimecast"
	barracuda = "barracuda"
	cisco     = "cisco"
	cloudfl   = "cloudflare"
	symantec  = "symantec"
	trend     = "trendmicro"
	amazon    = "amazon"
	ovh       = "ovh"
	ionos     = "ionos"
	godaddy   = "godaddy"
)

// Hosts of MX records end in these.
var sites = []struct{ suffix, site string }{
	{"google.com", google},
	{"googlemail.com", google},
	{"outlook.com", microsoft},
	{"hotmail.com", microsoft},
	{"office365.us", microsoft},
	{"mx.microsoft", microsoft},
	{"yahoodns.net", yahoo},
	{"yahoo.com", yahoo},
	{"aol.com", yahoo},
	{"icloud.com", apple},
	{"apple.com", apple},
	{"gmx.net", gmx},
	{"web.de", gmx},
	{"mail.com", gmx},
	{"kundenserver.de", ionos},
	{"ionos.com", ionos},
	{"1and1.com", ionos},
	{"perfora.net", ionos},
	{"t-online.de", telekom},
	{"comcast.net", comcast},
	{"charter.net", charter},
	{"spectrum.com", charter},
	{"rr.com", charter},
	{"cox.net", cox},
	{"att.net", att},
	{"prodigy.net", att},
	{"orange.fr", orange},
	{"wanadoo.fr", orange},
	{"free.fr", free},
	{"proxad.net", free},
	{"laposte.net", laposte},
	{"mail.ru", mailru},
	{"yandex.ru", yandex},
	{"yandex.net", yandex},
	{"qq.com", tencent},
	{"163.com", netease},
	{"126.com", netease},
	{"netease.com", netease},
	{"zoho.com", zoho},
	{"zoho.eu", zoho},
	{"zoho.in", zoho},
	{"protonmail.ch", proton},
	{"messagingengine.com", fastmail},
	{"pphosted.com", proofp},
	{"ppe-hosted.com", proofp},
	{"proofpoint.com", proofp},
	{"mimecast.com", mimecast},
	{"mimecast.co.za", mimecast},
	{"barracudanetworks.com", barracuda},
	{"barracuda.com", barracuda},
	{"iphmx.com", cisco},
	{"mx.cloudflare.net", cloudfl},
	{"messagelabs.com", symantec},
	{"trendmicro.com", trend},
	{"trendmicro.eu", trend},
	{"amazonaws.com", amazon},
	{"ovh.net", ovh},
	{"secureserver.net", godaddy},
}

// Site gives the provider that runs a host, by its name: hosts of one site count
// together what we send them. "" is nobody known.
func Site(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, s := range sites {
		if rest, ok := strings.CutSuffix(host, s.suffix); ok && (rest == "" || strings.HasSuffix(rest, ".")) {
			return s.site
		}
	}
	return ""
}
