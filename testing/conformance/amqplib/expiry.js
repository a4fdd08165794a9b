'use strict';
const assert = require('assert');
const {test, eventually} = require('./tap');

// withDead makes a queue whose dead letters go to another one.
async function withDead(s, ch, options) {
  const q = s.name(), dead = s.name();
  await ch.assertQueue(dead);
  await ch.assertQueue(q, {deadLetterExchange: '', deadLetterRoutingKey: dead, ...options});
  return [q, dead];
}

test('message TTL of a queue', async (s) => {
  const ch = await s.confirmChannel(), [q, dead] = await withDead(s, ch, {messageTtl: 200});
  ch.sendToQueue(q, Buffer.from('short-lived'));
  await ch.waitForConfirms();
  const m = await eventually(() => ch.get(dead, {noAck: true}), 'the dead letter');
  assert.strictEqual(m.properties.headers['x-death'][0].reason, 'expired');
  assert.strictEqual((await ch.checkQueue(q)).messageCount, 0);
});

test('message TTL 0: to a waiting consumer or not at all', async (s) => {
  const ch = await s.confirmChannel(), q = s.name(), got = [];
  await ch.assertQueue(q, {messageTtl: 0});
  ch.sendToQueue(q, Buffer.from('nobody waits'));
  await ch.waitForConfirms();
  assert.strictEqual(await ch.get(q), false);
  await ch.consume(q, (m) => got.push(m));
  ch.sendToQueue(q, Buffer.from('somebody waits'));
  await eventually(() => got.length === 1, 'the delivery');
});

test('expiration of a message: stripped from the dead letter and noted there', async (s) => {
  const ch = await s.confirmChannel(), [q, dead] = await withDead(s, ch, {});
  ch.sendToQueue(q, Buffer.from('stays'));
  ch.sendToQueue(q, Buffer.from('goes, though not at the head'), {expiration: '150'});
  await ch.waitForConfirms();
  const m = await eventually(() => ch.get(dead, {noAck: true}), 'the dead letter');
  assert.strictEqual(m.properties.expiration, undefined);
  assert.strictEqual(m.properties.headers['x-death'][0]['original-expiration'], '150');
  assert.strictEqual((await ch.checkQueue(q)).messageCount, 1);
});

test('retry by TTL: a cycle of two queues counts in x-death', async (s) => {
  const ch = await s.confirmChannel(), work = s.name('work'), wait = s.name('wait');
  await ch.assertQueue(work, {deadLetterExchange: '', deadLetterRoutingKey: wait});
  await ch.assertQueue(wait, {deadLetterExchange: '', deadLetterRoutingKey: work, messageTtl: 50});
  ch.sendToQueue(work, Buffer.from('x'));
  const counts = [];
  for (let k = 0; k < 3; k++) {
    const m = await eventually(() => ch.get(work), 'round ' + k);
    const deaths = m.properties.headers['x-death'] || [];
    counts.push(deaths.map((d) => d.reason + d.count).join(' '));
    ch.nack(m, false, false);
  }
  assert.deepStrictEqual(counts, ['', 'expired1 rejected1', 'expired2 rejected2']);
});

test('queue expiry: an unused queue goes, a used one stays', async (s) => {
  const ch = await s.confirmChannel(), unused = s.name(), used = s.name();
  await ch.assertQueue(unused, {expires: 300});
  await ch.assertQueue(used, {expires: 300});
  await ch.consume(used, () => {});
  // Publishing is no use of a queue; declaring it, even passively, would be.
  let returned = false;
  ch.on('return', () => { returned = true; });
  await eventually(async () => {
    ch.sendToQueue(unused, Buffer.from('x'), {mandatory: true});
    await ch.waitForConfirms();
    return returned;
  }, 'the queue expires');
  await ch.checkQueue(used);
});

test('delayed messages: x-delayed-message', async (s) => {
  const ch = await s.confirmChannel(), x = s.name('x'), q = s.name();
  await ch.assertExchange(x, 'x-delayed-message', {arguments: {'x-delayed-type': 'direct'}});
  await ch.assertQueue(q); await ch.bindQueue(q, x, 'k');
  const began = Date.now();
  ch.publish(x, 'k', Buffer.from('late'), {headers: {'x-delay': 400}});
  ch.publish(x, 'k', Buffer.from('now'));
  await ch.waitForConfirms();
  assert.strictEqual((await eventually(() => ch.get(q, {noAck: true}), 'the first')).content.toString(), 'now');
  const m = await eventually(() => ch.get(q, {noAck: true}), 'the second');
  assert.strictEqual(m.content.toString(), 'late');
  assert.ok(Date.now() - began >= 390);
});
