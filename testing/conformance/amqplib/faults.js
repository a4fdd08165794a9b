'use strict';
const assert = require('assert');
const {test, eventually, control} = require('./tap');

const nodes = process.env.AMQP_NODES.split(',');

// With CHAOS faults come from elsewhere, and two at a time are more than three nodes bear.
if (!process.env.CHAOS) {
  test('a leader that dies: clients of the others stay, nothing is lost or doubled', async (s) => {
    const leader = await control('/leader');
    const [a, b] = nodes.map((_, k) => k).filter((k) => 'n' + (k + 1) !== leader);
    const pub = await s.confirmChannel(a), con = await s.channel(b), q = s.name(), got = new Map();
    await pub.assertQueue(q);
    await con.prefetch(50);
    await con.consume(q, (m) => { got.set(m.content.toString(), (got.get(m.content.toString()) || 0) + 1); con.ack(m); });
    let over = false;
    const fault = control('/kill?node=' + leader).then(() => control('/start?node=' + leader)).finally(() => { over = true; });
    let sent = 0;
    while (!over || sent < 500) {
      pub.sendToQueue(q, Buffer.from('' + sent++));
      if (sent % 20 === 0) await pub.waitForConfirms();
    }
    await fault;
    await pub.waitForConfirms();
    await eventually(() => got.size === sent, 'all of ' + sent);
    assert.ok([...got.values()].every((n) => n === 1), 'a message came twice');
    assert.deepStrictEqual(s.connections.map((c) => c.errors.length), [0, 0]);
  });

  test('a node that dies: its clients are told, and go on elsewhere', async (s) => {
    const leader = await control('/leader');
    const k = nodes.findIndex((_, k) => 'n' + (k + 1) !== leader);
    const c = await s.open(k), ch = await c.createChannel(), q = s.name();
    await ch.assertQueue(q);
    ch.sendToQueue(q, Buffer.from('held'));
    await eventually(async () => ch.get(q), 'the message');
    const closed = new Promise((resolve) => c.on('close', resolve));
    await control('/kill?node=n' + (k + 1));
    await closed;
    const other = await s.channel((k + 1) % nodes.length);
    const m = await eventually(() => other.get(q), 'what the dead node held');
    assert.strictEqual(m.fields.redelivered, true);
    await control('/start?node=n' + (k + 1));
    await s.channel(k);
  });
}
