'use strict';
// A list of tests that prints TAP. Each test gets a Scope, which ends what the test opened.

const amqp = require('amqplib');

const testBound = 30000; // milliseconds
const tests = [];

function test(name, body) { tests.push({name, body}); }

// Scope opens connections: open() through the balancer, open(k) to node k.
class Scope {
  constructor() { this.connections = []; this.queues = 0; this.prefix = 't' + process.pid + '.' + Math.random().toString(36).slice(2); }

  async open(node, options) {
    const host = node === undefined ? new URL(process.env.AMQP_URL).host : process.env.AMQP_NODES.split(',')[node];
    const c = await amqp.connect('amqp://guest:guest@' + host + '/%2F?heartbeat=30', options);
    c.errors = [];
    c.on('error', (e) => c.errors.push(e));
    this.connections.push(c);
    return c;
  }

  // channel opens a connection and a channel, whose errors it keeps.
  async channel(node) { return this.watch(await (await this.open(node)).createChannel()); }
  async confirmChannel(node) { return this.watch(await (await this.open(node)).createConfirmChannel()); }

  watch(ch) {
    ch.failed = new Promise((resolve) => ch.on('error', resolve));
    ch.on('error', () => {});
    return ch;
  }

  name(what) { return this.prefix + '.' + (what || 'q' + this.queues++); }

  // close ends what is still open; a connection whose node died under its close never says that it is closed.
  async close() { await Promise.all(this.connections.map(async (c) => bounded(c.close(), 'close', 5000).catch(() => {}))); }
}

// bounded rejects when a promise takes too long.
function bounded(promise, what, bound = testBound) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(what + ': not within ' + bound + ' ms')), bound); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function run() {
  for (const {name, body} of tests) {
    const scope = new Scope();
    try {
      await bounded(body(scope), 'the test');
      console.log('ok ' + name);
    } catch (e) {
      console.log('not ok ' + name + '\n' + (e && e.stack || e));
    }
    await scope.close();
  }
  console.log('1..' + tests.length);
  process.exit(0);
}

// take consumes until count messages came and returns them; they are not acknowledged.
function take(ch, queue, count, options) {
  return bounded(new Promise((resolve, reject) => {
    const got = [];
    ch.consume(queue, (m) => {
      got.push(m);
      if (got.length === count) resolve(got);
    }, options).catch(reject);
  }), count + ' messages from ' + queue);
}

// eventually waits until f gives something true.
async function eventually(f, what) {
  const end = Date.now() + 20000;
  for (;;) {
    const v = await f();
    if (v) return v;
    if (Date.now() > end) throw new Error('not in time: ' + what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function control(path) {
  const r = await fetch(process.env.CONTROL_URL + path, {method: path === '/leader' ? 'GET' : 'POST'});
  const text = await r.text();
  if (!r.ok) throw new Error(path + ': ' + text);
  return text.trim();
}

module.exports = {test, run, take, eventually, bounded, control};
