'use strict';
const assert = require('assert');
const {test, eventually} = require('./tap');

const direct = 'amq.rabbitmq.reply-to';

test('direct reply-to: across nodes', async (s) => {
  const client = await s.channel(0), server = await s.channel(1), q = s.name(), got = [];
  await server.assertQueue(q);
  await server.consume(q, (m) => { server.sendToQueue(m.properties.replyTo, Buffer.from('answer to ' + m.content), {correlationId: m.properties.correlationId}); server.ack(m); });
  await client.consume(direct, (m) => got.push(m), {noAck: true});
  for (let k = 0; k < 20; k++) client.sendToQueue(q, Buffer.from('' + k), {replyTo: direct, correlationId: 'c' + k});
  await eventually(() => got.length === 20, 'twenty answers');
  assert.strictEqual(got[0].content.toString(), 'answer to 0');
  assert.strictEqual(got[19].properties.correlationId, 'c19');
});

test('direct reply-to: the name that the server sees can be checked while the client lives', async (s) => {
  const c = await s.open(2), client = await c.createChannel(), server = await s.channel(1), q = s.name();
  await server.assertQueue(q);
  await client.consume(direct, () => {}, {noAck: true});
  client.sendToQueue(q, Buffer.from('x'), {replyTo: direct});
  const m = await eventually(() => server.get(q, {noAck: true}), 'the request');
  assert.match(m.properties.replyTo, /^amq\.rabbitmq\.reply-to\../);
  await server.checkQueue(m.properties.replyTo);
  await c.close();
  await assert.rejects(server.checkQueue(m.properties.replyTo), (e) => e.code === 404);
});

test('direct reply-to: needs no-ack, and a consumer before the request', async (s) => {
  await assert.rejects((await s.channel()).consume(direct, () => {}), (e) => e.code === 406);
  const ch = await s.channel(), q = s.name();
  await ch.assertQueue(q);
  ch.sendToQueue(q, Buffer.from('x'), {replyTo: direct});
  assert.strictEqual((await ch.failed).code, 406);
});

test('replies over an exclusive queue', async (s) => {
  const client = await s.channel(0), server = await s.channel(1), q = s.name(), got = [];
  await server.assertQueue(q);
  const {queue} = await client.assertQueue('', {exclusive: true});
  await client.consume(queue, (m) => got.push(m), {noAck: true});
  await server.consume(q, (m) => server.sendToQueue(m.properties.replyTo, m.content), {noAck: true});
  client.sendToQueue(q, Buffer.from('ping'), {replyTo: queue});
  await eventually(() => got.length === 1, 'the answer');
});
