'use strict';
const assert = require('assert');
const {test, take, eventually, bounded} = require('./tap');

// filled makes a queue with the bodies 0, 1, 2 …
async function filled(s, count, options) {
  const ch = await s.confirmChannel(), q = s.name();
  await ch.assertQueue(q, options);
  for (let k = 0; k < count; k++) ch.sendToQueue(q, Buffer.from('' + k));
  await ch.waitForConfirms();
  return q;
}
const bodies = (messages) => messages.map((m) => m.content.toString());

test('consume: in order, on another node than the publisher', async (s) => {
  const q = await filled(s, 100);
  const got = await take(await s.channel(2), q, 100);
  assert.deepStrictEqual(bodies(got), Array.from({length: 100}, (_, k) => '' + k));
});

test('consume: the server names the consumer, or takes the given name', async (s) => {
  const ch = await s.channel(), q = s.name();
  await ch.assertQueue(q);
  assert.match((await ch.consume(q, () => {})).consumerTag, /^amq\.ctag-/);
  assert.strictEqual((await ch.consume(q, () => {}, {consumerTag: 'mine'})).consumerTag, 'mine');
  assert.strictEqual((await ch.checkQueue(q)).consumerCount, 2);
});

test('cancel: no delivery afterwards, what was delivered can still be acknowledged', async (s) => {
  const ch = await s.channel(), q = s.name();
  await ch.assertQueue(q);
  const got = [];
  const {consumerTag} = await ch.consume(q, (m) => got.push(m));
  ch.sendToQueue(q, Buffer.from('1'));
  await eventually(() => got.length === 1, 'the first');
  await ch.cancel(consumerTag);
  ch.sendToQueue(q, Buffer.from('2'));
  ch.ack(got[0]);
  assert.strictEqual((await eventually(() => ch.get(q), 'the second')).content.toString(), '2');
  assert.strictEqual(got.length, 1);
});

test('cancel: of an unknown tag is ok', async (s) => { await (await s.channel()).cancel('nobody'); });

test('cancel by the server: when the queue is deleted', async (s) => {
  const ch = await s.channel(0), q = s.name();
  await ch.assertQueue(q);
  const cancelled = new Promise((resolve) => ch.consume(q, resolve));
  await ch.checkQueue(q);
  await (await s.channel(1)).deleteQueue(q);
  assert.strictEqual(await cancelled, null);
});

test('get: an empty queue says false; the count is of those that remain', async (s) => {
  const ch = await s.channel(), q = await filled(s, 3);
  const m = await ch.get(q);
  assert.strictEqual(m.fields.messageCount, 2);
  ch.ack(m);
  await ch.get(q, {noAck: true});
  await ch.get(q, {noAck: true});
  assert.strictEqual(await ch.get(q), false);
});

test('ack: of all up to one', async (s) => {
  const q = await filled(s, 5), ch = await s.channel();
  const got = await take(ch, q, 5);
  ch.ack(got[2], true);
  await ch.close();
  const again = await s.channel();
  assert.deepStrictEqual(bodies(await take(again, q, 2)), ['3', '4']);
});

test('ackAll and nackAll', async (s) => {
  const q = await filled(s, 4), ch = await s.channel();
  await ch.get(q); await ch.get(q);
  ch.ackAll();
  await ch.get(q); await ch.get(q);
  ch.nackAll(true);
  assert.deepStrictEqual(bodies([await ch.get(q), await ch.get(q)]), ['2', '3']);
});

test('nack and reject: returned with the redelivered flag, or dropped', async (s) => {
  const q = await filled(s, 3), ch = await s.channel();
  ch.nack(await ch.get(q));
  const m = await ch.get(q);
  assert.deepStrictEqual([m.content.toString(), m.fields.redelivered], ['0', true]);
  ch.reject(m, true);
  ch.reject(await ch.get(q), false);
  ch.nack(await ch.get(q), false, false);
  assert.strictEqual((await ch.get(q)).content.toString(), '2');
});

test('recover: unacknowledged messages come again', async (s) => {
  const q = await filled(s, 2), ch = await s.channel();
  await ch.get(q); await ch.get(q);
  await ch.recover();
  const m = await ch.get(q);
  assert.deepStrictEqual([m.content.toString(), m.fields.redelivered], ['0', true]);
});

test('a closed channel gives back what it held', async (s) => {
  const q = await filled(s, 3), ch = await s.channel();
  await take(ch, q, 3);
  await ch.close();
  assert.strictEqual((await (await s.channel()).checkQueue(q)).messageCount, 3);
});

test('a closed connection gives back what it held', async (s) => {
  const q = await filled(s, 3), c = await s.open(), ch = await c.createChannel();
  await take(ch, q, 3);
  await c.close();
  assert.strictEqual((await (await s.channel()).checkQueue(q)).messageCount, 3);
});

test('prefetch: of a consumer, of a channel', async (s) => {
  for (const global of [false, true]) {
    const q = await filled(s, 20), ch = await s.channel();
    await ch.prefetch(3, global);
    const got = [];
    await ch.consume(q, (m) => got.push(m));
    await eventually(() => got.length === 3, 'three');
    ch.ack(got[0]);
    await eventually(() => got.length === 4, 'a fourth');
    assert.strictEqual((await (await s.channel()).checkQueue(q)).messageCount, 16);
    assert.strictEqual(got.length, 4);
  }
});

test('prefetch: of a channel is shared by its consumers', async (s) => {
  const a = await filled(s, 5), b = await filled(s, 5), ch = await s.channel();
  await ch.prefetch(4, true);
  const got = [];
  await ch.consume(a, (m) => got.push(m));
  await ch.consume(b, (m) => got.push(m));
  await eventually(() => got.length === 4, 'four');
  const other = await s.channel();
  assert.strictEqual((await other.checkQueue(a)).messageCount + (await other.checkQueue(b)).messageCount, 6);
});

test('prefetch: changed live', async (s) => {
  const q = await filled(s, 20), ch = await s.channel();
  await ch.prefetch(2);
  const got = [];
  await ch.consume(q, (m) => got.push(m));
  await eventually(() => got.length === 2, 'two');
  await ch.prefetch(6);
  await eventually(() => got.length === 6, 'six');
  await ch.prefetch(1);
  ch.ack(got[0]);
  assert.strictEqual((await (await s.channel()).checkQueue(q)).messageCount, 14);
});

test('consumers share fairly', async (s) => {
  const q = s.name(), counts = [0, 0, 0];
  const pub = await s.confirmChannel();
  await pub.assertQueue(q);
  for (let k = 0; k < 3; k++) {
    const ch = await s.channel(k);
    await ch.prefetch(1);
    await ch.consume(q, (m) => { counts[k]++; ch.ack(m); });
  }
  for (let k = 0; k < 300; k++) pub.sendToQueue(q, Buffer.from('x'));
  await eventually(() => counts[0] + counts[1] + counts[2] === 300, 'all');
  assert.ok(Math.min(...counts) > 30, counts.join(' '));
});

test('consumer priorities', async (s) => {
  const q = s.name(), high = [], low = [];
  const pub = await s.confirmChannel();
  await pub.assertQueue(q);
  const a = await s.channel(), b = await s.channel();
  await a.prefetch(2); await b.prefetch(100);
  await b.consume(q, (m) => low.push(m), {priority: 1});
  await a.consume(q, (m) => high.push(m), {priority: 10});
  for (let k = 0; k < 5; k++) pub.sendToQueue(q, Buffer.from('' + k));
  await eventually(() => high.length + low.length === 5, 'five');
  assert.deepStrictEqual([bodies(high), bodies(low)], [['0', '1'], ['2', '3', '4']]);
});

test('single active consumer: the next takes over', async (s) => {
  const q = s.name(), pub = await s.confirmChannel();
  await pub.assertQueue(q, {arguments: {'x-single-active-consumer': true}});
  const c1 = await s.open(0), a = await c1.createChannel(), b = await s.channel(1), first = [], second = [];
  await a.consume(q, (m) => { if (m) { first.push(m); a.ack(m); } });
  await b.consume(q, (m) => { if (m) { second.push(m); b.ack(m); } });
  for (let k = 0; k < 4; k++) pub.sendToQueue(q, Buffer.from('' + k));
  await eventually(() => first.length === 4, 'four at the first');
  assert.strictEqual(second.length, 0);
  await c1.close();
  pub.sendToQueue(q, Buffer.from('after'));
  await eventually(() => second.length === 1, 'the second takes over');
});

test('exclusive consumer: others are refused', async (s) => {
  const a = await s.channel(), b = await s.channel(), q = s.name();
  await a.assertQueue(q);
  await a.consume(q, () => {}, {exclusive: true});
  await assert.rejects(b.consume(q, () => {}), (e) => e.code === 403);
});

test('no-ack consumer', async (s) => {
  const q = await filled(s, 50), ch = await s.channel();
  await take(ch, q, 50, {noAck: true});
  await ch.close();
  assert.strictEqual((await (await s.channel()).checkQueue(q)).messageCount, 0);
});

test('the delivery limit: to the dead-letter exchange, with x-delivery-count on the way', async (s) => {
  const ch = await s.confirmChannel(), q = s.name(), dead = s.name();
  await ch.assertQueue(dead);
  await ch.assertQueue(q, {deadLetterExchange: '', deadLetterRoutingKey: dead, arguments: {'x-queue-type': 'quorum', 'x-delivery-limit': 2}});
  ch.sendToQueue(q, Buffer.from('poison'));
  await ch.waitForConfirms();
  const counts = [];
  for (let k = 0; k < 3; k++) {
    const m = await ch.get(q);
    counts.push(m.properties.headers['x-delivery-count']);
    ch.nack(m);
  }
  assert.deepStrictEqual(counts, [undefined, 1, 2]);
  const m = await eventually(() => ch.get(dead, {noAck: true}), 'the dead letter');
  assert.strictEqual(m.properties.headers['x-death'][0].reason, 'delivery_limit');
});

test('consumer time-out: the consumer is cancelled, the message comes again, a late ack is no error', async (s) => {
  const ch = await s.channel(), q = s.name(), got = [];
  await ch.assertQueue(q, {arguments: {'x-consumer-timeout': 500}});
  ch.sendToQueue(q, Buffer.from('slow'));
  await ch.consume(q, (m) => got.push(m));
  await eventually(() => got.length === 2, 'the message and the cancel');
  assert.strictEqual(got[1], null);
  const m = await eventually(() => ch.get(q), 'the message again');
  assert.strictEqual(m.fields.redelivered, true);
  ch.ack(got[0]);
  ch.ack(m);
  assert.strictEqual((await ch.checkQueue(q)).messageCount, 0);
});

test('consumer time-out: of a message from get, the channel is closed with 406', async (s) => {
  const ch = await s.channel(), q = s.name();
  await ch.assertQueue(q, {arguments: {'x-consumer-timeout': 500}});
  ch.sendToQueue(q, Buffer.from('slow'));
  await eventually(() => ch.get(q), 'the message');
  const e = await bounded(ch.failed, 'the time-out');
  assert.strictEqual(e.code, 406);
  assert.match(e.message, /delivery acknowledgement on channel 1 timed out/);
});
