package imap

// Compress is COMPRESS. RFC 4978 §3
type Compress struct{ Algorithm string } // upper case

func parseCompress(d *Decoder) any {
	d.sp()
	return &Compress{Algorithm: d.keyword()}
}
