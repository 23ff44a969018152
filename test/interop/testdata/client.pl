# Mail::IMAPClient, Net::POP3 and Net::SMTP against the server.
use strict;
use warnings;
use IO::Socket::SSL;
use Mail::IMAPClient;
use Net::POP3;
use Net::SMTP;

my ( $ca, $imap, $pop3, $submission, $user, $password, $to ) = @ARGV;
my @tls = ( SSL_ca_file => $ca, SSL_verifycn_name => 'localhost', SSL_verify_mode => SSL_VERIFY_PEER );

my $text = "From: $user\r\nTo: $to\r\nSubject: From Perl\r\nMessage-ID: <perl\@here.example>\r\n\r\n.\r\n..\r\nHello\r\n";

my $smtp = Net::SMTP->new( 'localhost', Port => $submission, Timeout => 20, Hello => 'there.example' ) or die "smtp: $@";
$smtp->starttls(@tls) or die 'starttls: ' . $smtp->message . ' ' . IO::Socket::SSL::errstr();
$smtp->auth( $user, $password ) or die 'auth: ' . $smtp->message;
$smtp->mail($user) && $smtp->to( $to, 'nobody@hill.example', { SkipBad => 1 } ) && $smtp->data( [ map { "$_\n" } split /\r\n/, $text ] ) or die 'send: ' . $smtp->message;
$smtp->quit;

my $i = Mail::IMAPClient->new( Server => 'localhost', Port => $imap, User => $user, Password => $password, Ssl => [@tls], Uid => 1, Timeout => 20 )
  or die "imap: $@";
for my $m ( 'PLAIN', 'LOGIN' ) {
    my $other = Mail::IMAPClient->new( Server => 'localhost', Port => $imap, Ssl => [@tls], Timeout => 20, Authmechanism => $m, User => $user, Password => $password )
      or die "$m: $@";
    $other->logout;
}
$i->create('Perl &- "friends"')    or die $i->LastError;
$i->subscribe('Perl &- "friends"') or die $i->LastError;
grep { $_ eq 'Perl &- "friends"' } $i->subscribed or die 'not subscribed: ' . join ', ', $i->subscribed;
my $uid = $i->append_string( 'INBOX', $text, '\Flagged', '03-Mar-2026 10:20:30 +0100' ) or die $i->LastError;
$i->select('INBOX')                or die $i->LastError;
my ($found) = $i->search( 'HEADER', 'Message-ID', \'<perl@here.example>' );
$found == $uid                     or die "search gives $found, APPENDUID $uid";
$i->message_string($uid) eq $text  or die 'other bytes: ' . $i->message_string($uid);
$i->internaldate($uid) eq '03-Mar-2026 10:20:30 +0100' or $i->internaldate($uid) eq '03-Mar-2026 09:20:30 +0000' or die $i->internaldate($uid);
$i->get_envelope($uid)->{messageid} eq '<perl@here.example>' or die 'envelope';
$i->get_bodystructure($uid)->bodytype eq 'TEXT' or die 'bodystructure';
$i->parse_headers( $uid, 'Subject' )->{Subject}[0] eq 'From Perl' or die 'headers';
join( ' ', sort grep { !/Recent/ } $i->flags($uid) ) eq '\Flagged \Seen' or die 'flags: ' . join ' ', $i->flags($uid);
$i->idle                           or die $i->LastError;
$i->done                           or die $i->LastError;
$i->move( 'Perl &- "friends"', $uid ) or die $i->LastError;
$i->expunge;
$i->select('Perl &- "friends"')     or die $i->LastError;
$i->message_count == 1             or die 'not moved';
$i->close                          or die $i->LastError;
$i->rename( 'Perl &- "friends"', 'Perl/sub' ) or die $i->LastError;
grep { $_ eq 'Perl/sub' } $i->folders or die 'not renamed';
$i->delete('Perl/sub')             or die $i->LastError;
$i->logout;

my $p = Net::POP3->new( 'localhost', Port => $pop3, Timeout => 20 ) or die "pop3: $@";
$p->starttls(@tls) or die 'stls: ' . $p->message;
my $n = $p->login( $user, $password );
defined $n or die 'login: ' . $p->message;
$p->quit;
