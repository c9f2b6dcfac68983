package Ship::Bell;

use strict;
use warnings;

our $VERSION = '0.4';

sub strike { return 'ding' x shift }

1;

=head1 NAME

Ship::Bell - strikes

=cut
