# Reads an aggregate report of DMARC with Debian's Mail::DMARC, and prints what it
# would keep.
use strict;
use warnings;
use Mail::DMARC::Report::Receive;

no warnings 'redefine';
*Mail::DMARC::Report::save_aggregate = sub {
    my $a = shift->aggregate;
    print join( " ", $a->policy_published->domain, $a->policy_published->p, $a->metadata->org_name, scalar @{ $a->record } ), "\n";
    for my $r ( @{ $a->record } ) {
        my $e = $r->row->policy_evaluated;
        print join( " ", $r->row->source_ip, $r->row->count, $e->disposition, $e->dkim, $e->spf, $r->identifiers->header_from ), "\n";
    }
    return 1;
};
local $/;
Mail::DMARC::Report::Receive->new->handle_body(<STDIN>);
