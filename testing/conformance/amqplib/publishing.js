'use strict';
const assert = require('assert');
const {test, take, bounded} = require('./tap');

test('publish: all properties and headers of every type come back', async (s) => {
  const ch = await s.channel(), q = s.name();
  await ch.assertQueue(q);
  const headers = {
    text: 'ünïcode', yes: true, no: false, small: 7, negative: -70000, large: 2 ** 40, float: 1.5, nothing: null,
    list: [1, 'two', [3, {four: 4}]], table: {deep: {deeper: 'x'}}, bytes: Buffer.from([0, 255]),
    int8: {'!': 'int8', value: -5}, int16: {'!': 'int16', value: -500}, long: {'!': 'int64', value: 5}, single: {'!': 'float', value: 0.5},
    when: {'!': 'timestamp', value: 1700000000}, money: {'!': 'decimal', value: {digits: 12345, places: 2}},
  };
  const properties = {
    contentType: 'text/plain', contentEncoding: 'utf-8', deliveryMode: 2, priority: 5, correlationId: 'c', replyTo: 'r', messageId: 'm', timestamp: 1700000000,
    type: 'kind', userId: 'guest', appId: 'app', headers,
  };
  ch.sendToQueue(q, Buffer.from('body'), properties);
  const [m] = await take(ch, q, 1);
  assert.strictEqual(m.content.toString(), 'body');
  for (const [k, v] of Object.entries(properties)) if (k !== 'headers') assert.strictEqual(m.properties[k], v, k);
  assert.strictEqual(m.properties.headers.large, 2 ** 40);
  assert.deepStrictEqual(m.properties.headers.list, headers.list);
  assert.deepStrictEqual(m.properties.headers.table, headers.table);
  assert.deepStrictEqual(m.properties.headers.bytes, headers.bytes);
  assert.deepStrictEqual(m.properties.headers.when, headers.when);
  assert.deepStrictEqual(m.properties.headers.money, headers.money);
  assert.strictEqual(m.properties.headers.nothing, null);
  assert.strictEqual(m.properties.headers.negative, -70000);
  assert.strictEqual(m.fields.redelivered, false);
  assert.strictEqual(m.fields.routingKey, q);
  assert.strictEqual(m.fields.exchange, '');
});

for (const size of [0, 1, 4095, 131063, 131064, 131065, 1 << 20, 8 << 20]) {
  test('publish: a body of ' + size + ' octets', async (s) => {
    const ch = await s.confirmChannel(), q = s.name();
    await ch.assertQueue(q);
    const body = Buffer.alloc(size, 'abc');
    ch.sendToQueue(q, body);
    await ch.waitForConfirms();
    const m = await ch.get(q, {noAck: true});
    assert.ok(m && m.content.equals(body));
  });
}

test('publish: frames of 4096 octets', async (s) => {
  const c = await require('amqplib').connect(process.env.AMQP_URL + '?frameMax=4096');
  s.connections.push(c);
  const ch = await c.createConfirmChannel(), q = s.name();
  await ch.assertQueue(q);
  ch.sendToQueue(q, Buffer.alloc(50000, 'x'));
  await ch.waitForConfirms();
  assert.strictEqual((await ch.get(q, {noAck: true})).content.length, 50000);
});

test('confirms: each publish has its callback', async (s) => {
  const ch = await s.confirmChannel(), q = s.name();
  await ch.assertQueue(q);
  const all = [];
  for (let k = 0; k < 500; k++) all.push(new Promise((resolve, reject) => ch.sendToQueue(q, Buffer.from('' + k), {}, (e) => e ? reject(e) : resolve())));
  await Promise.all(all);
  assert.strictEqual((await ch.checkQueue(q)).messageCount, 500);
});

test('confirms: what goes to no queue is confirmed', async (s) => {
  const ch = await s.confirmChannel();
  ch.publish('amq.direct', s.name('nowhere'), Buffer.from('x'));
  await ch.waitForConfirms();
});

test('mandatory: the return comes before the confirm', async (s) => {
  const ch = await s.confirmChannel();
  const order = [];
  ch.on('return', (m) => order.push(m));
  await new Promise((resolve, reject) => ch.publish('amq.direct', 'nowhere', Buffer.from('lost'), {mandatory: true, messageId: 'm1'}, (e) => { order.push('confirm'); e ? reject(e) : resolve(); }));
  assert.strictEqual(order.length, 2);
  assert.strictEqual(order[1], 'confirm');
  assert.strictEqual(order[0].fields.replyCode, 312);
  assert.strictEqual(order[0].fields.replyText, 'NO_ROUTE');
  assert.strictEqual(order[0].fields.routingKey, 'nowhere');
  assert.strictEqual(order[0].properties.messageId, 'm1');
  assert.strictEqual(order[0].content.toString(), 'lost');
});

test('mandatory: what is routed is not returned', async (s) => {
  const ch = await s.confirmChannel(), q = s.name();
  await ch.assertQueue(q);
  ch.on('return', () => assert.fail('returned'));
  ch.sendToQueue(q, Buffer.from('x'), {mandatory: true});
  await ch.waitForConfirms();
});

test('CC and BCC: copies go to both, BCC is taken out', async (s) => {
  const ch = await s.confirmChannel(), [a, b, c] = [s.name(), s.name(), s.name()];
  for (const q of [a, b, c]) await ch.assertQueue(q);
  ch.sendToQueue(a, Buffer.from('x'), {CC: [b], BCC: [c]});
  await ch.waitForConfirms();
  for (const q of [a, b, c]) {
    const m = await ch.get(q, {noAck: true});
    assert.ok(m, 'nothing in ' + q);
    assert.deepStrictEqual(m.properties.headers.CC, [b]);
    assert.strictEqual(m.properties.headers.BCC, undefined);
  }
});

test('priorities: urgent messages overtake, and keep their place when returned', async (s) => {
  const ch = await s.confirmChannel(), q = s.name();
  await ch.assertQueue(q, {maxPriority: 10});
  for (const p of [1, 9, 5, 0, 9]) ch.sendToQueue(q, Buffer.from('' + p), {priority: p});
  await ch.waitForConfirms();
  const first = await ch.get(q);
  ch.nack(first);
  const got = [];
  for (let k = 0; k < 5; k++) got.push((await ch.get(q, {noAck: true})).content.toString());
  assert.deepStrictEqual(got, ['9', '9', '5', '1', '0']);
});

test('channels: two hundred of a connection at a time', async (s) => {
  const c = await s.open(), q = s.name();
  const channels = await Promise.all(Array.from({length: 200}, () => c.createConfirmChannel()));
  await channels[0].assertQueue(q);
  for (const ch of channels) ch.sendToQueue(q, Buffer.from('x'));
  await Promise.all(channels.map((ch) => ch.waitForConfirms()));
  assert.strictEqual((await channels[199].checkQueue(q)).messageCount, 200);
  await Promise.all(channels.map((ch) => ch.close()));
  const again = await c.createChannel();
  assert.strictEqual((await again.checkQueue(q)).messageCount, 200);
});

test('connections: forty at a time, over all nodes', async (s) => {
  const q = s.name();
  const channels = await Promise.all(Array.from({length: 40}, () => s.confirmChannel()));
  await channels[0].assertQueue(q);
  await Promise.all(channels.map(async (ch) => { ch.sendToQueue(q, Buffer.from('x')); await ch.waitForConfirms(); }));
  assert.strictEqual((await channels[1].checkQueue(q)).messageCount, 40);
});

test('the write buffer: drain comes after sendToQueue said false', async (s) => {
  const ch = await s.confirmChannel(), q = s.name();
  await ch.assertQueue(q);
  let full = false;
  for (let k = 0; k < 2000 && !full; k++) full = !ch.sendToQueue(q, Buffer.alloc(10000));
  if (full) await bounded(new Promise((resolve) => ch.once('drain', resolve)), 'drain');
  await ch.waitForConfirms();
});

test('update-secret', async (s) => {
  const c = await s.open();
  await c.updateSecret(Buffer.from('guest'), 'renewed');
  await c.createChannel();
});

test('server-properties and tuning', async (s) => {
  const c = await s.open();
  const p = c.connection.serverProperties;
  assert.strictEqual(p.product, 'TriageMQ');
  for (const k of ['publisher_confirms', 'exchange_exchange_bindings', 'basic.nack', 'consumer_cancel_notify', 'connection.blocked', 'consumer_priorities',
    'authentication_failure_close', 'per_consumer_qos', 'direct_reply_to']) assert.strictEqual(p.capabilities[k], true, k);
  assert.strictEqual(c.connection.channelMax, 2047);
});
