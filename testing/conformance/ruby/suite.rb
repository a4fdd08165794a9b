# Bunny against a cluster, through the balancer at AMQP_URL and on single nodes. Prints TAP.
require "bunny"
require "net/http"
require "timeout"

NODES = ENV.fetch("AMQP_NODES").split(",")
SECONDS = 20 # for what must come

def connect(options = {})
  Bunny.new(ENV.fetch("AMQP_URL"), { automatically_recover: false, log_level: :fatal, read_timeout: SECONDS }.merge(options)).start
end

def equal(want, have)
  raise "want #{want.inspect}, have #{have.inspect}" unless want == have
end

# Runs the block until it gives something else than nil or false.
def eventually
  Timeout.timeout(SECONDS) do
    loop do
      value = yield
      return value if value
      sleep 0.02
    end
  end
end

def body(queue)
  eventually { queue.pop[2] }
end

# The code with which the channel is closed by what the block does.
def channel_error
  yield
  nil
rescue Bunny::ChannelLevelException => e
  e.channel_close.reply_code
end

def control(path)
  r = Net::HTTP.post(URI(ENV.fetch("CONTROL_URL") + path), "")
  raise r.body unless r.is_a?(Net::HTTPSuccess)
end

TESTS = {}
def check(name, &block)
  TESTS[name] = block
end

# A connection and a channel for the block.
def session
  connection = connect
  yield connection.create_channel, connection
ensure
  connection&.close
end

check "publish with confirms and get" do
  session do |ch|
    ch.confirm_select
    q = ch.queue("rb.confirm", durable: true)
    50.times { |n| q.publish(n.to_s, persistent: true) }
    equal true, ch.wait_for_confirms
    equal 50, q.message_count
    equal (0...50).map(&:to_s), (0...50).map { q.pop[2] }
    q.delete
  end
end

check "properties and headers come as they were sent" do
  session do |ch|
    q = ch.queue("", exclusive: true)
    sent = { content_type: "text/plain", correlation_id: "c", reply_to: "r", message_id: "m", type: "t", app_id: "a", priority: 3,
             headers: { "text" => "x", "number" => 1 << 40, "flag" => true, "table" => { "a" => [1, "b"] }, "nothing" => nil, "double" => 1.5 } }
    q.publish("x" * 300_000, sent)
    _, properties, text = eventually { m = q.pop; m[0] && m }
    equal 300_000, text.size
    sent.each { |key, value| equal value, properties[key] }
  end
end

check "consume, ack, nack with requeue, reject" do
  session do |ch|
    q = ch.queue("", exclusive: true)
    3.times { |n| q.publish(n.to_s) }
    seen = Queue.new
    q.subscribe(manual_ack: true) do |delivery, _, text|
      seen << [text, delivery.redelivered?]
      case text
      when "0" then ch.ack(delivery.delivery_tag)
      when "1" then delivery.redelivered? ? ch.ack(delivery.delivery_tag) : ch.nack(delivery.delivery_tag, false, true)
      else ch.reject(delivery.delivery_tag, false)
      end
    end
    Timeout.timeout(SECONDS) { equal [["0", false], ["1", false], ["1", true], ["2", false]], Array.new(4) { seen.pop }.sort_by { |m| [m[0], m[1] ? 1 : 0] } }
    eventually { q.message_count.zero? }
  end
end

check "prefetch limits what is unacked" do
  session do |ch|
    ch.prefetch(2)
    q = ch.queue("", exclusive: true)
    5.times { |n| q.publish(n.to_s) }
    seen = Queue.new
    q.subscribe(manual_ack: true) { |d, _, text| seen << [d.delivery_tag, text] }
    first = Timeout.timeout(SECONDS) { Array.new(2) { seen.pop } }
    equal 3, q.message_count
    ch.ack(first[1][0], true)
    Timeout.timeout(SECONDS) { equal %w[2 3], Array.new(2) { seen.pop[1] } }
  end
end

check "fanout, topic, headers and exchange-to-exchange" do
  session do |ch|
    q = ch.queue("", exclusive: true)
    fanout, topic, headers = ch.fanout("rb.f", auto_delete: true), ch.topic("rb.t", auto_delete: true), ch.headers("rb.h", auto_delete: true)
    q.bind(fanout)
    fanout.bind(topic, routing_key: "a.#")
    q.bind(headers, arguments: { "x-match" => "all", "k" => 1 })
    topic.publish("topic", routing_key: "a.b.c")
    topic.publish("no", routing_key: "b")
    headers.publish("headers", headers: { "k" => 1 })
    headers.publish("no", headers: { "k" => 2 })
    equal %w[topic headers], [body(q), body(q)]
    equal 0, q.message_count
  end
end

check "message TTL and dead letters with x-death" do
  session do |ch|
    dead = ch.queue("rb.dead", exclusive: true)
    ch.queue("rb.ttl", exclusive: true, arguments: { "x-message-ttl" => 50, "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => "rb.dead" }).publish("old")
    _, properties, = eventually { m = dead.pop; m[0] && m }
    death = properties.headers["x-death"][0]
    equal ["rb.ttl", "expired", 1], [death["queue"], death["reason"], death["count"]]
  end
end

check "length limit and queue expiry" do
  session do |ch|
    q = ch.queue("", exclusive: true, arguments: { "x-max-length" => 2 })
    4.times { |n| q.publish(n.to_s) }
    eventually { q.message_count == 2 }
    equal %w[2 3], [body(q), body(q)]
    ch.queue("rb.expires", arguments: { "x-expires" => 50 })
    session do |_, other|
      eventually do
        sleep 0.2 # asking renews the lease
        !other.queue_exists?("rb.expires")
      end
    end
  end
end

check "priorities" do
  session do |ch|
    q = ch.queue("", exclusive: true, arguments: { "x-max-priority" => 10 })
    [1, 9, 5].each { |p| q.publish(p.to_s, priority: p) }
    equal %w[9 5 1], Array.new(3) { body(q) }
  end
end

check "mandatory messages come back" do
  session do |ch|
    x = ch.default_exchange
    returned = Queue.new
    x.on_return { |info, _, text| returned << [info.reply_code, info.reply_text, text] }
    x.publish("lost", routing_key: "rb.nowhere", mandatory: true)
    Timeout.timeout(SECONDS) { equal [312, "NO_ROUTE", "lost"], returned.pop }
  end
end

check "transactions" do
  session do |ch|
    q = ch.queue("", exclusive: true)
    ch.tx_select
    q.publish("rolled back")
    ch.tx_rollback
    q.publish("committed")
    equal 0, q.message_count
    ch.tx_commit
    equal "committed", body(q)
  end
end

check "rpc over direct reply-to, between nodes" do
  server, client = [NODES[0], NODES[-1]].map { |n| connect(host: n.split(":")[0], port: n.split(":")[1].to_i) }
  ch, answers = client.create_channel, Queue.new
  sc = server.create_channel
  q = sc.queue("rb.rpc", auto_delete: true)
  q.subscribe { |_, p, text| sc.default_exchange.publish(text.upcase, routing_key: p.reply_to, correlation_id: p.correlation_id) }
  ch.basic_consume("amq.rabbitmq.reply-to", "", true) { |_, p, text| answers << [p.correlation_id, text] }
  ch.default_exchange.publish("question", routing_key: "rb.rpc", reply_to: "amq.rabbitmq.reply-to", correlation_id: "7")
  Timeout.timeout(SECONDS) { equal %w[7 QUESTION], answers.pop }
  [client, server].each(&:close)
end

check "errors by code" do
  session do |_, c|
    equal 404, channel_error { c.create_channel.queue("rb.missing", passive: true) }
    equal 403, channel_error { c.create_channel.queue("amq.mine") }
    c.create_channel.queue("rb.plain", exclusive: true)
    equal 406, channel_error { c.create_channel.queue("rb.plain", exclusive: true, auto_delete: true) }
    other = connect
    equal 405, channel_error { other.create_channel.queue("rb.plain", passive: true) }
    other.close
  end
  begin
    connect(vhost: "missing")
    raise "a missing vhost was opened"
  rescue Bunny::NotAllowedError, Bunny::TCPConnectionFailedForAllHosts
  end
  begin
    connect(password: "wrong")
    raise "a wrong password was taken"
  rescue Bunny::AuthenticationFailureError
  end
end

check "a deleted queue's consumer is told" do
  session do |ch, c|
    q = ch.queue("rb.cancel")
    told = Queue.new
    consumer = Bunny::Consumer.new(ch, q)
    consumer.on_cancellation { told << true }
    q.subscribe_with(consumer)
    c.create_channel.queue_delete("rb.cancel")
    Timeout.timeout(SECONDS) { told.pop }
  end
end

check "the leader dies: clients of the others notice nothing" do
  leader = Net::HTTP.get(URI(ENV.fetch("CONTROL_URL") + "/leader")).strip
  host, port = NODES[leader[1..].to_i % NODES.size].split(":") # the node after the leader
  c = connect(host: host, port: port.to_i)
  ch = c.create_channel
  ch.confirm_select
  q = ch.queue("rb.leader", durable: true)
  20.times { |n| q.publish(n.to_s, persistent: true) }
  control("/kill?node=#{leader}")
  20.times { |n| q.publish((20 + n).to_s, persistent: true) }
  equal true, ch.wait_for_confirms
  equal (0...40).map(&:to_s), (0...40).map { body(q) }
  q.delete
  c.close
  control("/start?node=#{leader}")
end

check "its own node dies: it recovers on another, with its topology" do
  node = 1
  hosts = NODES.rotate(node)
  c = Bunny.new(addresses: hosts, log_level: :fatal, recover_from_connection_close: true, network_recovery_interval: 0.2, hosts_shuffle_strategy: ->(x) { x }).start
  ch = c.create_channel
  got = Queue.new
  q = ch.queue("rb.recover", auto_delete: false, durable: true)
  q.bind(ch.topic("rb.recover.x", durable: true), routing_key: "k")
  q.subscribe { |_, _, text| got << text }
  control("/kill?node=n#{node + 1}")
  session do |other|
    eventually do
      other.topic("rb.recover.x", durable: true).publish("after", routing_key: "k")
      sleep 0.1
      !got.empty?
    end
    equal "after", got.pop
    control("/start?node=n#{node + 1}")
    other.queue_delete("rb.recover")
    other.exchange_delete("rb.recover.x")
  end
  c.close
end

chosen = TESTS.select { |name, _| !ENV["CHAOS"] || !name.include?("dies") }
chosen.each do |name, block|
  begin
    block.call
    puts "ok #{name}"
  rescue Exception => e # also a timeout
    puts "not ok #{name}", "#{e.class}: #{e.message}", e.backtrace.first(8)
  end
  $stdout.flush
end
puts "1..#{chosen.size}"
