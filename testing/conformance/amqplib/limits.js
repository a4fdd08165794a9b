'use strict';
const assert = require('assert');
const {test, eventually} = require('./tap');

async function contents(ch, q) {
  const got = [];
  for (let m; (m = await ch.get(q, {noAck: true}));) got.push(m.content.toString());
  return got.join(' ');
}

// sent publishes 0, 1, 2 … one after the other and says which were refused.
async function sent(ch, q, count, size) {
  const refused = [];
  for (let k = 0; k < count; k++) await new Promise((resolve) => ch.sendToQueue(q, Buffer.from(('' + k).padEnd(size || 1)), {}, (e) => { if (e) refused.push(k); resolve(); }));
  return refused.join(' ');
}

test('max-length: the oldest goes', async (s) => {
  const ch = await s.confirmChannel(), q = s.name();
  await ch.assertQueue(q, {maxLength: 3});
  assert.strictEqual(await sent(ch, q, 5), '');
  assert.strictEqual(await contents(ch, q), '2 3 4');
});

test('max-length: the oldest goes to the dead-letter exchange', async (s) => {
  const ch = await s.confirmChannel(), q = s.name(), dead = s.name();
  await ch.assertQueue(dead);
  await ch.assertQueue(q, {maxLength: 1, deadLetterExchange: '', deadLetterRoutingKey: dead});
  await sent(ch, q, 3);
  const m = await eventually(() => ch.get(dead, {noAck: true}), 'the dead letter');
  assert.deepStrictEqual([m.content.toString(), m.properties.headers['x-death'][0].reason], ['0', 'maxlen']);
  assert.strictEqual(await contents(ch, dead), '1');
});

test('max-length: reject-publish nacks what does not fit', async (s) => {
  const ch = await s.confirmChannel(), q = s.name();
  await ch.assertQueue(q, {maxLength: 2, arguments: {'x-overflow': 'reject-publish'}});
  assert.strictEqual(await sent(ch, q, 4), '2 3');
  assert.strictEqual(await contents(ch, q), '0 1');
});

test('max-length: reject-publish-dlx nacks and dead-letters', async (s) => {
  const ch = await s.confirmChannel(), q = s.name(), dead = s.name();
  await ch.assertQueue(dead);
  await ch.assertQueue(q, {maxLength: 1, deadLetterExchange: '', deadLetterRoutingKey: dead, arguments: {'x-overflow': 'reject-publish-dlx'}});
  assert.strictEqual(await sent(ch, q, 2), '1');
  assert.strictEqual((await eventually(() => ch.get(dead, {noAck: true}), 'the dead letter')).content.toString(), '1');
});

test('max-length-bytes: counts bodies', async (s) => {
  const ch = await s.confirmChannel(), q = s.name();
  await ch.assertQueue(q, {arguments: {'x-max-length-bytes': 2500}});
  await sent(ch, q, 5, 1000);
  assert.strictEqual((await ch.checkQueue(q)).messageCount, 2);
});
