#!/usr/bin/perl
# AnyEvent::RabbitMQ and Net::AMQP against a cluster, spread over its nodes. Prints TAP.
use strict;
use warnings;
use AnyEvent;
use AnyEvent::RabbitMQ;

my @nodes = split /,/, $ENV{AMQP_NODES};
my $seconds = 20;
my $count = 0;
my $connections = 0;

AnyEvent::RabbitMQ->load_xml_spec();

# Waits for a condition variable, not for ever.
sub await {
    my ($cv) = @_;
    my $timer = AnyEvent->timer(after => $seconds, cb => sub { $cv->croak('timed out') });
    return $cv->recv;
}

# Calls a method of the client that reports success or failure, and returns what it reported.
sub call {
    my ($object, $method, %arguments) = @_;
    my $cv = AnyEvent->condvar;
    $object->$method(%arguments, on_success => sub { $cv->send(@_) }, on_failure => sub { $cv->croak("$method: " . reason(@_)) });
    return await($cv);
}

sub reason {
    my ($why) = @_;
    return ref $why && $why->can('method_frame') ? $why->method_frame->reply_code . ' ' . $why->method_frame->reply_text : "$why";
}

sub connection {
    my ($host, $port) = split /:/, $nodes[$connections++ % @nodes];
    my $c = AnyEvent::RabbitMQ->new;
    my $cv = AnyEvent->condvar;
    $c->connect(host => $host, port => $port, user => 'guest', pass => 'guest', vhost => '/', timeout => $seconds,
        on_success => sub { $cv->send }, on_failure => sub { $cv->croak("connect: " . reason(@_)) }, on_read_failure => sub { }, on_close => sub { });
    await($cv);
    return $c;
}

sub channel { return call($_[0], 'open_channel', on_close => $_[1] // sub { }) }

# Gets a message, asking until there is one.
sub get {
    my ($ch, $queue, %options) = @_;
    my $deadline = AnyEvent->now + $seconds;
    while (1) {
        my $got = call($ch, 'get', queue => $queue, no_ack => 1, %options);
        return $got if !$got->{empty};
        die "$queue stays empty" if AnyEvent->time > $deadline;
    }
}

sub body { return get(@_)->{body}->payload }

sub equal {
    my ($want, $have) = @_;
    die "want '$want', have '" . ($have // 'undef') . "'" if !defined $have || $want ne $have;
}

sub test {
    my ($name, $code) = @_;
    $count++;
    print eval { $code->(); 1 } ? "ok $name\n" : "not ok $name\n$@\n";
}

$| = 1;

test 'declare, publish, get' => sub {
    my $ch = channel(my $c = connection());
    call($ch, 'declare_queue', queue => 'pl.q', auto_delete => 0, durable => 1);
    $ch->publish(exchange => '', routing_key => 'pl.q', body => "m$_", header => { delivery_mode => 2, headers => { n => $_ } }) for 1 .. 3;
    equal("m$_", body($ch, 'pl.q')) for 1 .. 3;
    call($ch, 'delete_queue', queue => 'pl.q');
    call($c, 'close');
};

test 'consume, ack, reject, nack' => sub {
    my $ch = channel(my $c = connection());
    call($ch, 'declare_queue', queue => 'pl.c', auto_delete => 0);
    my @seen;
    my $done = AnyEvent->condvar;
    call($ch, 'consume', queue => 'pl.c', no_ack => 0, on_consume => sub {
        my ($m) = @_;
        my $tag = $m->{deliver}->method_frame->delivery_tag;
        my $again = $m->{deliver}->method_frame->redelivered;
        push @seen, $m->{body}->payload . ($again ? '*' : '');
        if ($m->{body}->payload eq 'b' && !$again) { $ch->reject(delivery_tag => $tag, requeue => 1) } else { $ch->ack(delivery_tag => $tag) }
        $done->send if @seen == 4;
    });
    $ch->publish(exchange => '', routing_key => 'pl.c', body => $_) for qw(a b c);
    await($done);
    equal('a b b* c', join ' ', sort @seen);
    call($ch, 'delete_queue', queue => 'pl.c');
    call($c, 'close');
};

test 'prefetch' => sub {
    my $ch = channel(my $c = connection());
    call($ch, 'qos', prefetch_count => 2);
    call($ch, 'declare_queue', queue => 'pl.p', auto_delete => 0);
    my @tags;
    my $two = AnyEvent->condvar;
    my $four = AnyEvent->condvar;
    $ch->publish(exchange => '', routing_key => 'pl.p', body => $_) for 1 .. 5;
    call($ch, 'consume', queue => 'pl.p', no_ack => 0, on_consume => sub {
        push @tags, $_[0]{deliver}->method_frame->delivery_tag;
        $two->send if @tags == 2;
        $four->send if @tags == 4;
    });
    await($two);
    equal(3, call($ch, 'declare_queue', queue => 'pl.p', passive => 1)->method_frame->message_count);
    $ch->ack(delivery_tag => $tags[1], multiple => 1);
    await($four);
    call($ch, 'delete_queue', queue => 'pl.p');
    call($c, 'close');
};

test 'exchanges of all types, bound to one another' => sub {
    my $ch = channel(my $c = connection());
    call($ch, 'declare_exchange', exchange => "pl.$_", type => $_) for qw(direct fanout topic headers);
    call($ch, 'declare_queue', queue => 'pl.x', auto_delete => 0);
    call($ch, 'bind_queue', queue => 'pl.x', exchange => 'pl.direct', routing_key => 'd');
    call($ch, 'bind_queue', queue => 'pl.x', exchange => 'pl.headers', routing_key => '', arguments => { 'x-match' => 'all', k => 'v' });
    call($ch, 'bind_exchange', source => 'pl.topic', destination => 'pl.fanout', routing_key => 'a.#');
    call($ch, 'bind_queue', queue => 'pl.x', exchange => 'pl.fanout', routing_key => '');
    $ch->publish(exchange => 'pl.direct', routing_key => 'd', body => 'direct');
    $ch->publish(exchange => 'pl.topic', routing_key => 'a.b', body => 'topic');
    $ch->publish(exchange => 'pl.topic', routing_key => 'b', body => 'no');
    $ch->publish(exchange => 'pl.headers', routing_key => '', body => 'headers', header => { headers => { k => 'v' } });
    equal($_, body($ch, 'pl.x')) for qw(direct topic headers);
    call($ch, 'delete_exchange', exchange => "pl.$_") for qw(direct fanout topic headers);
    call($ch, 'delete_queue', queue => 'pl.x');
    call($c, 'close');
};

test 'confirms, and what is returned' => sub {
    my $ch = channel(my $c = connection());
    call($ch, 'confirm');
    call($ch, 'declare_queue', queue => 'pl.k', auto_delete => 0);
    for my $key ('pl.k', 'pl.nowhere') {
        my $acked = AnyEvent->condvar;
        my $returned = 0;
        $ch->publish(exchange => '', routing_key => $key, body => 'm', mandatory => 1, on_ack => sub { $acked->send }, on_nack => sub { $acked->croak('nacked') },
            on_return => sub { $returned = 1 });
        await($acked);
        equal($key eq 'pl.k' ? 0 : 1, $returned);
    }
    call($ch, 'delete_queue', queue => 'pl.k');
    call($c, 'close');
};

test 'transactions' => sub {
    my $ch = channel(my $c = connection());
    call($ch, 'declare_queue', queue => 'pl.tx', auto_delete => 0);
    call($ch, 'select_tx');
    $ch->publish(exchange => '', routing_key => 'pl.tx', body => 'rolled back');
    call($ch, 'rollback_tx');
    $ch->publish(exchange => '', routing_key => 'pl.tx', body => 'committed');
    call($ch, 'commit_tx');
    equal('committed', body($ch, 'pl.tx'));
    call($ch, 'delete_queue', queue => 'pl.tx');
    call($c, 'close');
};

# Net::AMQP cannot read x-death, whose count is a 64-bit integer, RabbitMQ's no more than ours: what is dead-lettered is counted here, not got.
test 'message TTL, dead letters, priorities' => sub {
    my $ch = channel(my $c = connection());
    call($ch, 'declare_queue', queue => 'pl.dead', auto_delete => 0, arguments => { 'x-max-priority' => 5 });
    call($ch, 'declare_queue', queue => 'pl.ttl', auto_delete => 0,
        arguments => { 'x-message-ttl' => 30, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => 'pl.dead' });
    $ch->publish(exchange => '', routing_key => 'pl.ttl', body => 'old');
    my $deadline = AnyEvent->time + $seconds;
    until (call($ch, 'declare_queue', queue => 'pl.dead', passive => 1)->method_frame->message_count) {
        die 'nothing is dead-lettered' if AnyEvent->time > $deadline;
    }
    call($ch, 'purge_queue', queue => 'pl.dead');
    $ch->publish(exchange => '', routing_key => 'pl.dead', body => $_, header => { priority => $_ }) for 1, 4, 2;
    equal($_, body($ch, 'pl.dead')) for 4, 2, 1;
    call($ch, 'delete_queue', queue => $_) for 'pl.ttl', 'pl.dead';
    call($c, 'close');
};

test 'rpc over direct reply-to, between nodes' => sub {
    my $server = channel(my $s = connection());
    my $client = channel(my $c = connection());
    call($server, 'declare_queue', queue => 'pl.rpc', auto_delete => 0);
    call($server, 'consume', queue => 'pl.rpc', on_consume => sub {
        my ($m) = @_;
        $server->publish(exchange => '', routing_key => $m->{header}->reply_to, body => uc $m->{body}->payload);
    });
    my $answer = AnyEvent->condvar;
    call($client, 'consume', queue => 'amq.rabbitmq.reply-to', no_ack => 1, on_consume => sub { $answer->send($_[0]{body}->payload) });
    $client->publish(exchange => '', routing_key => 'pl.rpc', body => 'question', header => { reply_to => 'amq.rabbitmq.reply-to' });
    equal('QUESTION', await($answer));
    call($server, 'delete_queue', queue => 'pl.rpc');
    call($_, 'close') for $s, $c;
};

test 'errors close the channel, with their code' => sub {
    my $c = connection();
    for my $case ([404, queue => 'pl.missing', passive => 1], [403, queue => 'amq.mine']) {
        my ($code, %arguments) = @$case;
        my $closed = AnyEvent->condvar;
        my $ch = channel($c, sub { $closed->send($_[0]->method_frame->reply_code) });
        $ch->declare_queue(%arguments, on_success => sub { $closed->croak('it was declared') }, on_failure => sub { });
        equal($code, await($closed));
    }
    call($c, 'close');
};

print "1..$count\n";
