<?php
// php-amqplib against a cluster, spread over its nodes. Prints TAP.
require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

const SECONDS = 20;

$nodes = explode(',', getenv('AMQP_NODES'));
$connections = 0;

function connection(array $options = []): AMQPStreamConnection
{
    global $nodes, $connections;
    [$host, $port] = explode(':', $nodes[$connections++ % count($nodes)]);
    return new AMQPStreamConnection($host, $port, 'guest', $options['password'] ?? 'guest', $options['vhost'] ?? '/');
}

function equal($want, $have): void
{
    if ($want !== $have) {
        throw new Exception('want ' . json_encode($want) . ', have ' . json_encode($have));
    }
}

function get($ch, string $queue): AMQPMessage
{
    $end = microtime(true) + SECONDS;
    while (($m = $ch->basic_get($queue, true)) === null) {
        if (microtime(true) > $end) {
            throw new Exception("$queue stays empty");
        }
    }
    return $m;
}

function declared($ch, array $arguments = []): string
{
    return $ch->queue_declare('', false, false, true, false, false, new AMQPTable($arguments))[0];
}

$tests = [
    'properties, headers and a large body' => function ($ch) {
        $q = declared($ch);
        $headers = ['text' => 'x', 'number' => 7, 'flag' => true, 'list' => [1, 'b'], 'nothing' => null];
        $ch->basic_publish(new AMQPMessage(str_repeat('x', 300000), ['content_type' => 'text/plain', 'delivery_mode' => 2, 'priority' => 3,
            'correlation_id' => 'c', 'application_headers' => new AMQPTable($headers)]), '', $q);
        $m = get($ch, $q);
        equal(300000, strlen($m->body));
        equal('c', $m->get('correlation_id'));
        equal($headers, $m->get('application_headers')->getNativeData());
    },
    'consume, ack, nack with requeue, reject, prefetch' => function ($ch) {
        $q = declared($ch);
        $ch->basic_qos(0, 1, false);
        foreach (['a', 'b', 'c'] as $body) {
            $ch->basic_publish(new AMQPMessage($body), '', $q);
        }
        $seen = [];
        $ch->basic_consume($q, '', false, false, false, false, function ($m) use (&$seen) {
            $seen[] = $m->body . ($m->isRedelivered() ? '*' : '');
            if ($m->body === 'b' && !$m->isRedelivered()) {
                $m->nack(true);
            } elseif ($m->body === 'c') {
                $m->reject(false);
            } else {
                $m->ack();
            }
        });
        while (count($seen) < 4) {
            $ch->wait(null, false, SECONDS);
        }
        equal(['a', 'b', 'b*', 'c'], $seen);
    },
    'confirms, and what is returned' => function ($ch) {
        $q = declared($ch);
        $acked = $returned = 0;
        $ch->confirm_select();
        $ch->set_ack_handler(function () use (&$acked) { $acked++; });
        $ch->set_return_listener(function ($code) use (&$returned) { $returned = $code; });
        for ($n = 0; $n < 20; $n++) {
            $ch->basic_publish(new AMQPMessage("$n"), '', $q);
        }
        $ch->basic_publish(new AMQPMessage('lost'), '', 'ph.nowhere', true);
        $ch->wait_for_pending_acks_returns(SECONDS);
        equal([21, 312], [$acked, $returned]);
    },
    'transactions' => function ($ch) {
        $q = declared($ch);
        $ch->tx_select();
        $ch->basic_publish(new AMQPMessage('rolled back'), '', $q);
        $ch->tx_rollback();
        $ch->basic_publish(new AMQPMessage('committed'), '', $q);
        $ch->tx_commit();
        equal('committed', get($ch, $q)->body);
    },
    'exchanges of all types, bound to one another' => function ($ch) {
        $q = declared($ch);
        foreach (['direct', 'fanout', 'topic', 'headers'] as $type) {
            $ch->exchange_declare("ph.$type", $type, false, false, true);
        }
        $ch->exchange_bind('ph.fanout', 'ph.topic', 'a.#');
        $ch->queue_bind($q, 'ph.fanout');
        $ch->queue_bind($q, 'ph.direct', 'd');
        $ch->queue_bind($q, 'ph.headers', '', false, new AMQPTable(['x-match' => 'any', 'k' => 'v']));
        $ch->basic_publish(new AMQPMessage('no'), 'ph.topic', 'b');
        $ch->basic_publish(new AMQPMessage('topic'), 'ph.topic', 'a.b');
        $ch->basic_publish(new AMQPMessage('direct'), 'ph.direct', 'd');
        $ch->basic_publish(new AMQPMessage('headers', ['application_headers' => new AMQPTable(['k' => 'v'])]), 'ph.headers', '');
        equal(['topic', 'direct', 'headers'], [get($ch, $q)->body, get($ch, $q)->body, get($ch, $q)->body]);
    },
    'message TTL, dead letters, limits, priorities' => function ($ch) {
        $dead = declared($ch, ['x-max-priority' => 10]);
        $ttl = declared($ch, ['x-message-ttl' => 30, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead]);
        $ch->basic_publish(new AMQPMessage('old'), '', $ttl);
        $death = get($ch, $dead)->get('application_headers')->getNativeData()['x-death'][0];
        equal([$ttl, 'expired', 1], [$death['queue'], $death['reason'], $death['count']]);
        foreach ([1, 9, 5] as $p) {
            $ch->basic_publish(new AMQPMessage("$p", ['priority' => $p]), '', $dead);
        }
        equal(['9', '5', '1'], [get($ch, $dead)->body, get($ch, $dead)->body, get($ch, $dead)->body]);
        $short = declared($ch, ['x-max-length' => 1]);
        $ch->basic_publish(new AMQPMessage('first'), '', $short);
        $ch->basic_publish(new AMQPMessage('second'), '', $short);
        equal('second', get($ch, $short)->body);
    },
    'rpc over direct reply-to, between nodes' => function ($ch) {
        $server = connection();
        $sc = $server->channel();
        $q = declared($sc);
        $answer = null;
        $ch->basic_consume('amq.rabbitmq.reply-to', '', false, true, false, false, function ($m) use (&$answer) { $answer = $m->body; });
        $ch->basic_publish(new AMQPMessage('question', ['reply_to' => 'amq.rabbitmq.reply-to']), '', $q);
        $sc->basic_publish(new AMQPMessage('answer'), '', get($sc, $q)->get('reply_to'));
        while ($answer === null) {
            $ch->wait(null, false, SECONDS);
        }
        equal('answer', $answer);
        $server->close();
    },
    'errors by code' => function ($ch, $c) {
        foreach ([404 => ['ph.missing', true], 403 => ['amq.mine', false]] as $code => [$queue, $passive]) {
            try {
                $c->channel()->queue_declare($queue, $passive);
                throw new Exception('no error');
            } catch (AMQPProtocolChannelException $e) {
                equal($code, $e->getCode());
            }
        }
    },
];

foreach ($tests as $name => $test) {
    try {
        $c = connection();
        $test($c->channel(), $c);
        $c->close();
        echo "ok $name\n";
    } catch (Throwable $e) {
        echo "not ok $name\n", get_class($e), ': ', $e->getMessage(), "\n", $e->getTraceAsString(), "\n";
    }
}
echo '1..' . count($tests) . "\n";
