'use strict';
const assert = require('assert');
const {test, bounded} = require('./tap');

// refused expects a channel error of an operation; the connection goes on.
function refused(name, code, text, operation) {
  test('error ' + code + ': ' + name, async (s) => {
    // The other channel is opened first: amqplib gives a failed channel's number away while the rest of a large message may still wait to be written to it.
    const c = await s.open(), other = await c.createChannel(), ch = s.watch(await c.createChannel());
    await assert.rejects(async () => { await operation(ch, s); throw await bounded(ch.failed, 'the error'); }, (e) => {
      assert.strictEqual(e.code, code, e.stack);
      assert.match(e.message, text);
      return true;
    });
    await other.assertQueue('', {exclusive: true});
    assert.strictEqual(c.errors.length, 0);
  });
}

refused('consume from a missing queue', 404, /NOT_FOUND - no queue 'nowhere' in vhost '\/'/, (ch) => ch.consume('nowhere', () => {}));
refused('get from a missing queue', 404, /NOT_FOUND - no queue 'nowhere' in vhost '\/'/, (ch) => ch.get('nowhere'));
refused('check of a missing queue', 404, /NOT_FOUND - no queue 'nowhere' in vhost '\/'/, (ch) => ch.checkQueue('nowhere'));
refused('check of a missing exchange', 404, /NOT_FOUND - no exchange 'nowhere' in vhost '\/'/, (ch) => ch.checkExchange('nowhere'));
refused('publish to a missing exchange', 404, /NOT_FOUND - no exchange 'nowhere' in vhost '\/'/, (ch) => { ch.publish('nowhere', '', Buffer.from('x')); });
refused('bind to a missing exchange', 404, /NOT_FOUND - no exchange 'nowhere' in vhost '\/'/, async (ch, s) => { await ch.assertQueue(s.name('q')); await ch.bindQueue(s.name('q'), 'nowhere', ''); });
refused('purge of a missing queue', 404, /NOT_FOUND - no queue 'nowhere' in vhost '\/'/, (ch) => ch.purgeQueue('nowhere'));
refused('a queue name beginning amq.', 403, /ACCESS_REFUSED - queue name 'amq\.mine' contains reserved prefix 'amq\.\*'/, (ch) => ch.assertQueue('amq.mine'));
refused('an exchange name beginning amq.', 403, /ACCESS_REFUSED - exchange name 'amq\.mine' contains reserved prefix 'amq\.\*'/, (ch) => ch.assertExchange('amq.mine', 'direct'));
refused('binding to the default exchange', 403, /ACCESS_REFUSED - operation not permitted on the default exchange/, async (ch, s) => { await ch.assertQueue(s.name('q')); await ch.bindQueue(s.name('q'), '', 'k'); });
refused('deleting a built-in exchange', 403, /ACCESS_REFUSED/, (ch) => ch.deleteExchange('amq.direct'));
refused('a queue redeclared with another durability', 406, /PRECONDITION_FAILED - inequivalent arg 'durable' for queue '.*' in vhost '\/': received 'false' but current is 'true'/,
  async (ch, s) => { await ch.assertQueue(s.name('q')); await ch.assertQueue(s.name('q'), {durable: false}); });
refused('a queue redeclared with another argument', 406, /PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '.*' in vhost '\/': received '2000' but current is '1000'/,
  async (ch, s) => { await ch.assertQueue(s.name('q'), {messageTtl: 1000}); await ch.assertQueue(s.name('q'), {messageTtl: 2000}); });
refused('a queue redeclared without an argument', 406, /PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '.*' in vhost '\/': received none but current is the value '5' of type 'byte'/,
  async (ch, s) => { await ch.assertQueue(s.name('q'), {maxLength: 5}); await ch.assertQueue(s.name('q')); });
refused('an exchange redeclared with another type', 406, /PRECONDITION_FAILED - inequivalent arg 'type' for exchange '.*' in vhost '\/': received 'fanout' but current is 'direct'/,
  async (ch, s) => { await ch.assertExchange(s.name('x'), 'direct'); await ch.assertExchange(s.name('x'), 'fanout'); });
refused('an argument out of range', 406, /PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue '.*' in vhost '\/'/, (ch, s) => ch.assertQueue(s.name('q'), {messageTtl: -1}));
refused('an expiration that is no number', 406, /PRECONDITION_FAILED - invalid expiration 'soon'/, async (ch, s) => { await ch.assertQueue(s.name('q')); ch.sendToQueue(s.name('q'), Buffer.from('x'), {expiration: 'soon'}); });
refused("somebody else's user-id", 406, /PRECONDITION_FAILED - user_id property set to 'nobody' but authenticated user was 'guest'/, async (ch, s) => { await ch.assertQueue(s.name('q')); ch.sendToQueue(s.name('q'), Buffer.from('x'), {userId: 'nobody'}); });
refused('an unknown delivery tag', 406, /PRECONDITION_FAILED - unknown delivery tag 77/, (ch) => { ch.ack({fields: {deliveryTag: 77}}); });
refused('an acknowledgement twice', 406, /PRECONDITION_FAILED - unknown delivery tag 1/, async (ch, s) => { await ch.assertQueue(s.name('q')); ch.sendToQueue(s.name('q'), Buffer.from('x')); let m; while (!(m = await ch.get(s.name('q')))); ch.ack(m); ch.ack(m); });
refused('deleting a queue in use, if unused', 406, /PRECONDITION_FAILED - queue '.*' in vhost '\/' in use/, async (ch, s) => { await ch.assertQueue(s.name('q')); await ch.consume(s.name('q'), () => {}); await ch.deleteQueue(s.name('q'), {ifUnused: true}); });
refused('deleting a filled queue, if empty', 406, /PRECONDITION_FAILED - queue '.*' in vhost '\/' not empty/, async (ch, s) => { await ch.assertQueue(s.name('q')); ch.sendToQueue(s.name('q'), Buffer.from('x')); while (!(await ch.checkQueue(s.name('q'))).messageCount); await ch.deleteQueue(s.name('q'), {ifEmpty: true}); });
refused('deleting an exchange in use, if unused', 406, /PRECONDITION_FAILED - exchange '.*' in vhost '\/' in use/, async (ch, s) => { await ch.assertExchange(s.name('x'), 'direct'); await ch.assertQueue(s.name('q')); await ch.bindQueue(s.name('q'), s.name('x'), ''); await ch.deleteExchange(s.name('x'), {ifUnused: true}); });
refused('a message over the limit', 406, /PRECONDITION_FAILED - message size 17000000 is larger than configured max size 16777216/, async (ch, s) => { await ch.assertQueue(s.name('q')); ch.sendToQueue(s.name('q'), Buffer.alloc(17000000)); });

test('error 530: a consumer tag used twice closes the connection', async (s) => {
  const c = await s.open(), ch = s.watch(await c.createChannel()), q = s.name();
  await ch.assertQueue(q);
  const failed = new Promise((resolve) => c.on('error', resolve)), closed = new Promise((resolve) => c.on('close', resolve));
  await ch.consume(q, () => {}, {consumerTag: 'twice'});
  ch.consume(q, () => {}, {consumerTag: 'twice'}).catch(() => {});
  const e = await bounded(failed, 'the error');
  assert.strictEqual(e.code, 530);
  assert.match(e.message, /NOT_ALLOWED - attempt to reuse consumer tag 'twice'/);
  await bounded(closed, 'close');
});

// amqplib does not tell the code.
test('a virtual host that is not there is refused', async () => {
  await assert.rejects(require('amqplib').connect(process.env.AMQP_URL.replace('%2F', 'nowhere')), /ConnectionClose/);
});

test('channel and connection tell of their close', async (s) => {
  const c = await s.open(), ch = await c.createChannel();
  const closed = Promise.all([new Promise((resolve) => ch.on('close', resolve)), new Promise((resolve) => c.on('close', resolve))]);
  await ch.close();
  await c.close();
  await bounded(closed, 'close');
});
