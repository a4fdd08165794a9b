'use strict';
const assert = require('assert');
const {test, eventually} = require('./tap');

// arrived publishes keys to an exchange and says what came to each queue.
async function arrived(ch, exchange, keys, queues) {
  for (const k of keys) ch.publish(exchange, k, Buffer.from(k));
  await ch.waitForConfirms();
  const all = [];
  for (const q of queues) {
    const got = [];
    for (let m; (m = await ch.get(q, {noAck: true}));) got.push(m.content.toString());
    all.push(got.join(' '));
  }
  return all;
}

test('direct exchange', async (s) => {
  const ch = await s.confirmChannel(), x = s.name('x'), [a, b] = [s.name(), s.name()];
  await ch.assertExchange(x, 'direct');
  for (const q of [a, b]) await ch.assertQueue(q);
  await ch.bindQueue(a, x, 'red'); await ch.bindQueue(b, x, 'red'); await ch.bindQueue(b, x, 'blue');
  assert.deepStrictEqual(await arrived(ch, x, ['red', 'blue', 'green'], [a, b]), ['red', 'red blue']);
  await ch.unbindQueue(b, x, 'red');
  assert.deepStrictEqual(await arrived(ch, x, ['red', 'blue'], [a, b]), ['red', 'blue']);
});

test('fanout exchange', async (s) => {
  const ch = await s.confirmChannel(), x = s.name('x'), queues = [s.name(), s.name(), s.name()];
  await ch.assertExchange(x, 'fanout', {durable: false, autoDelete: true});
  for (const q of queues) { await ch.assertQueue(q); await ch.bindQueue(q, x, 'ignored'); }
  assert.deepStrictEqual(await arrived(ch, x, ['a', ''], queues), ['a ', 'a ', 'a ']);
});

test('topic exchange', async (s) => {
  const ch = await s.confirmChannel(), x = s.name('x');
  await ch.assertExchange(x, 'topic');
  const patterns = ['#', '*', 'a.*', 'a.#', '*.*.c', '#.c', 'a.#.c', ''], queues = [];
  for (const p of patterns) { const q = s.name(); queues.push(q); await ch.assertQueue(q); await ch.bindQueue(q, x, p); }
  assert.deepStrictEqual(await arrived(ch, x, ['a', 'a.b', 'a.b.c', 'b..c', ''], queues),
    ['a a.b a.b.c b..c ', 'a ', 'a.b', 'a a.b a.b.c', 'a.b.c b..c', 'a.b.c b..c', 'a.b.c', ''].map((v, k) => k === 1 ? 'a' : k === 7 ? '' : v));
});

test('headers exchange: the four ways to match', async (s) => {
  const ch = await s.confirmChannel(), x = s.name('x'), queues = {};
  await ch.assertExchange(x, 'headers');
  for (const way of ['all', 'any', 'all-with-x', 'any-with-x']) {
    queues[way] = s.name();
    await ch.assertQueue(queues[way]);
    await ch.bindQueue(queues[way], x, '', {'x-match': way, kind: 'letter', size: 3, 'x-mark': 'm'});
  }
  const publish = async (headers) => {
    ch.publish(x, 'ignored', Buffer.from('x'), {headers});
    await ch.waitForConfirms();
    const got = [];
    for (const [way, q] of Object.entries(queues)) if (await ch.get(q, {noAck: true})) got.push(way);
    return got.join(' ');
  };
  assert.strictEqual(await publish({kind: 'letter', size: 3}), 'all any any-with-x');
  assert.strictEqual(await publish({kind: 'letter', size: 4}), 'any any-with-x');
  assert.strictEqual(await publish({'x-mark': 'm'}), 'any-with-x');
  assert.strictEqual(await publish({kind: 'letter', size: 3, 'x-mark': 'm', other: 1}), 'all any all-with-x any-with-x');
  assert.strictEqual(await publish({other: 1}), '');
});

test('exchange-to-exchange bindings, with a cycle', async (s) => {
  const ch = await s.confirmChannel(), [a, b, c] = [s.name('a'), s.name('b'), s.name('c')], q = s.name();
  await ch.assertExchange(a, 'topic'); await ch.assertExchange(b, 'fanout'); await ch.assertExchange(c, 'direct');
  await ch.assertQueue(q);
  await ch.bindExchange(b, a, 'in.#'); await ch.bindExchange(c, b, ''); await ch.bindExchange(a, c, 'in.x'); await ch.bindQueue(q, c, 'in.x');
  assert.deepStrictEqual(await arrived(ch, a, ['in.x', 'in.y', 'out'], [q]), ['in.x']);
  await ch.unbindExchange(b, a, 'in.#');
  assert.deepStrictEqual(await arrived(ch, a, ['in.x'], [q]), ['']);
});

test('alternate exchange: takes what is not routed, and counts as routed', async (s) => {
  const ch = await s.confirmChannel(), [x, rest] = [s.name('x'), s.name('rest')], q = s.name();
  await ch.assertExchange(rest, 'fanout'); await ch.assertQueue(q); await ch.bindQueue(q, rest, '');
  await ch.assertExchange(x, 'direct', {alternateExchange: rest});
  let returned = 0;
  ch.on('return', () => returned++);
  ch.publish(x, 'nowhere', Buffer.from('x'), {mandatory: true});
  await ch.waitForConfirms();
  assert.strictEqual((await ch.get(q, {noAck: true})).fields.exchange, x);
  assert.strictEqual(returned, 0);
});

test('internal exchange: publishing is refused, bindings work', async (s) => {
  const ch = await s.confirmChannel(), [x, inner] = [s.name('x'), s.name('inner')], q = s.name();
  await ch.assertExchange(inner, 'fanout', {internal: true}); await ch.assertExchange(x, 'fanout');
  await ch.assertQueue(q); await ch.bindQueue(q, inner, ''); await ch.bindExchange(inner, x, '');
  assert.deepStrictEqual(await arrived(ch, x, ['k'], [q]), ['k']);
  ch.publish(inner, '', Buffer.from('x'));
  assert.strictEqual((await ch.failed).code, 403);
});

test('auto-delete exchange: goes with its last binding', async (s) => {
  const ch = await s.channel(), x = s.name('x'), q = s.name();
  await ch.assertExchange(x, 'direct', {autoDelete: true}); await ch.assertQueue(q);
  await ch.bindQueue(q, x, 'k');
  await ch.unbindQueue(q, x, 'k');
  await assert.rejects(ch.checkExchange(x), (e) => e.code === 404);
});

test('auto-delete queue: goes with its last consumer', async (s) => {
  const ch = await s.channel(), q = s.name();
  await ch.assertQueue(q, {autoDelete: true});
  const {consumerTag} = await ch.consume(q, () => {});
  await ch.cancel(consumerTag);
  await assert.rejects(ch.checkQueue(q), (e) => e.code === 404);
});

test('exclusive queue: for its connection alone, gone with it', async (s) => {
  const c = await s.open(), ch = await c.createChannel(), q = s.name();
  await ch.assertQueue(q, {exclusive: true});
  await assert.rejects((await s.channel()).checkQueue(q), (e) => e.code === 405);
  await c.close();
  await assert.rejects((await s.channel()).checkQueue(q), (e) => e.code === 404);
});

test('a name made by the server', async (s) => {
  const ch = await s.channel();
  const {queue} = await ch.assertQueue('', {exclusive: true});
  assert.match(queue, /^amq\.gen-/);
  await ch.bindQueue('', 'amq.fanout', '');
});

test('declare: counts messages and consumers; purge and delete count', async (s) => {
  const ch = await s.confirmChannel(), q = s.name();
  await ch.assertQueue(q);
  for (let k = 0; k < 3; k++) ch.sendToQueue(q, Buffer.from('x'));
  await ch.waitForConfirms();
  assert.deepStrictEqual(await ch.assertQueue(q), {queue: q, messageCount: 3, consumerCount: 0});
  assert.deepStrictEqual(await ch.purgeQueue(q), {messageCount: 3});
  ch.sendToQueue(q, Buffer.from('x'));
  await ch.waitForConfirms();
  assert.deepStrictEqual(await ch.deleteQueue(q), {messageCount: 1});
  assert.deepStrictEqual(await ch.deleteQueue(q), {messageCount: 0});
  await ch.deleteExchange(s.name('missing'));
});

test('built-in exchanges are there', async (s) => {
  const ch = await s.channel();
  for (const [x, kind] of [['amq.direct', 'direct'], ['amq.fanout', 'fanout'], ['amq.topic', 'topic'], ['amq.headers', 'headers'], ['amq.match', 'headers']]) {
    await ch.checkExchange(x);
    await ch.assertExchange(x, kind, {durable: true});
  }
});

test('dead letters: rejected, with x-death and the first and last death', async (s) => {
  const ch = await s.confirmChannel(), x = s.name('dlx'), q = s.name(), dead = s.name();
  await ch.assertExchange(x, 'direct'); await ch.assertQueue(dead); await ch.bindQueue(dead, x, q);
  await ch.assertQueue(q, {deadLetterExchange: x});
  ch.sendToQueue(q, Buffer.from('bad'), {headers: {mine: 1}, messageId: 'm'});
  await ch.waitForConfirms();
  ch.reject(await ch.get(q), false);
  const m = await eventually(() => ch.get(dead, {noAck: true}), 'the dead letter');
  const [death, ...more] = m.properties.headers['x-death'];
  assert.strictEqual(more.length, 0);
  assert.deepStrictEqual([death.reason, death.queue, death.exchange, death.count], ['rejected', q, '', 1]);
  assert.deepStrictEqual(death['routing-keys'], [q]);
  assert.strictEqual(death.time['!'], 'timestamp');
  for (const which of ['first', 'last']) {
    assert.strictEqual(m.properties.headers['x-' + which + '-death-reason'], 'rejected');
    assert.strictEqual(m.properties.headers['x-' + which + '-death-queue'], q);
    assert.strictEqual(m.properties.headers['x-' + which + '-death-exchange'], '');
  }
  assert.deepStrictEqual([m.properties.headers.mine, m.properties.messageId, m.fields.exchange], [1, 'm', x]);
});
