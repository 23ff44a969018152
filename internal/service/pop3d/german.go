package pop3d

import "posthaste/internal/base/tongue"

// german has every text that a POP3 session says to people; a test looks that none is
// missing.
var german = tongue.Language{
	Tag: "de",
	Shapes: [][2]string{
		{"% octets", "% Bytes"},
		{"% deleted messages not removed", "% gelöschte Nachrichten sind noch da"},
		{"you may come once in %", "Sie können sich nur einmal in % anmelden"},
	},
	Words: map[string]string{
		// How it begins and ends.
		"welcome":                            "willkommen",
		"good-bye":                           "auf Wiedersehen",
		"this is what I can do":              "das ist hier möglich",
		"these languages":                    "diese Sprachen",
		"these mechanisms":                   "diese Verfahren",
		"I do not speak this language":       "diese Sprache gibt es hier nicht",
		"de is what I speak now":             "ab jetzt auf Deutsch",
		"headers may have UTF-8 in them now": "in Kopfzeilen darf jetzt UTF-8 sein",
		"begin TLS first":                    "zuerst muss TLS beginnen",
		"TLS is not to be had here, or is there already":         "TLS gibt es hier nicht, oder es ist schon da",
		"STLS comes before UTF8":                                 "STLS kommt vor UTF8",
		"nothing may follow STLS before TLS does":                "hinter STLS darf nichts kommen, bevor TLS beginnt",
		"begin TLS now":                                          "TLS kann jetzt beginnen",
		"now the password":                                       "jetzt das Passwort",
		"send USER first":                                        "zuerst USER",
		"APOP is not offered here":                               "APOP gibt es hier nicht",
		"authentication failed":                                  "Anmeldung fehlgeschlagen",
		"authentication cancelled":                               "Anmeldung abgebrochen",
		"malformed authentication message":                       "die Nachricht zur Anmeldung ist nicht so, wie sie sein soll",
		"mechanism not offered here":                             "dieses Verfahren gibt es hier nicht",
		"too many attempts, wait a little":                       "zu viele Versuche, bitte etwas warten",
		"another session has this maildrop":                      "dieses Postfach ist schon in einer anderen Sitzung offen",
		"what you have logged in with is no longer good":         "das, womit Sie sich angemeldet haben, gilt nicht mehr",
		"the server is shutting down":                            "der Server wird beendet",
		"no room on this server for the moment, try again later": "im Augenblick ist auf diesem Server kein Platz, bitte später noch einmal versuchen",
		"local error, try again later":                           "Fehler auf diesem Server, bitte später noch einmal versuchen",

		// While an account moves here.
		"this account is still at its former server, which is busy; try again in a minute":        "dieses Konto ist noch auf seinem bisherigen Server, der gerade nicht nachkommt; bitte in einer Minute noch einmal versuchen",
		"this account is still at its former server, which does not answer; try again later":      "dieses Konto ist noch auf seinem bisherigen Server, und der antwortet nicht; bitte später noch einmal versuchen",
		"this account is being moved to this server just now; try again in a minute":              "dieses Konto zieht gerade auf diesen Server um; bitte in einer Minute noch einmal versuchen",
		"this account is being moved to this server, and is read over IMAP until that is done":    "dieses Konto zieht auf diesen Server um und ist bis dahin nur über IMAP zu lesen",
		"this account is still at its former server: log in with its password, by PLAIN or LOGIN": "dieses Konto ist noch auf seinem bisherigen Server: melden Sie sich mit dem Passwort an, mit PLAIN oder LOGIN",

		// Messages.
		"messages follow":                      "es folgen die Nachrichten",
		"unique ids follow":                    "es folgen die Kennungen",
		"the top of it follows":                "es folgt der Anfang",
		"deleted when you QUIT":                "wird bei QUIT gelöscht",
		"nothing is deleted":                   "nichts wird gelöscht",
		"there is no message with this number": "eine Nachricht mit dieser Nummer gibt es nicht",
		"this message is deleted":              "diese Nachricht ist gelöscht",
		"this message is gone":                 "diese Nachricht ist weg",

		// What cannot be understood.
		"unknown command":                "unbekannter Befehl",
		"wrong arguments":                "falsche Angaben",
		"line too long":                  "die Zeile ist zu lang",
		"control character in command":   "ein Steuerzeichen im Befehl",
		"not base64":                     "kein Base64",
		"this command cannot come now":   "dieser Befehl passt jetzt nicht",
		"too many bad commands":          "zu viele unverständliche Befehle",
		"I cannot follow you any longer": "das ist nicht mehr zu verstehen",
	},
}
