/* librabbitmq against a cluster, through the balancer on 5672. Prints TAP. */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

enum { SECONDS = 20 };

static int tests;
static bool failed;

static void fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  failed = true;
  vprintf(format, args);
  printf("\n");
  va_end(args);
}

#define CHECK(condition) ((condition) ? true : (fail("line %d: %s", __LINE__, #condition), false))

/* text is the reply text of an error, "" when there was none. */
static const char *text(amqp_rpc_reply_t r) {
  static char out[300];
  if (r.reply_type == AMQP_RESPONSE_NORMAL) return "";
  if (r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) return amqp_error_string2(r.library_error);
  amqp_channel_close_t *m = r.reply.decoded; /* a connection.close begins alike */
  snprintf(out, sizeof out, "%d %.*s", m->reply_code, (int)m->reply_text.len, (char *)m->reply_text.bytes);
  return out;
}

static amqp_connection_state_t dial(void) {
  amqp_connection_state_t c = amqp_new_connection();
  amqp_socket_t *s = amqp_tcp_socket_new(c);
  CHECK(amqp_socket_open(s, "127.0.0.1", 5672) == 0);
  amqp_rpc_reply_t r = amqp_login(c, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
  if (*text(r)) fail("login: %s", text(r));
  amqp_channel_open(c, 1);
  CHECK(*text(amqp_get_rpc_reply(c)) == 0);
  return c;
}

static void hang_up(amqp_connection_state_t c) {
  amqp_connection_close(c, AMQP_REPLY_SUCCESS);
  amqp_destroy_connection(c);
}

static amqp_bytes_t b(const char *s) { return amqp_cstring_bytes(s); }

static void declare(amqp_connection_state_t c, const char *queue, amqp_table_t arguments) {
  amqp_queue_declare(c, 1, b(queue), 0, 0, 1, 0, arguments);
  const char *t = text(amqp_get_rpc_reply(c));
  if (*t) fail("declare %s: %s", queue, t);
}

static void publish(amqp_connection_state_t c, const char *exchange, const char *key, const char *body, amqp_basic_properties_t *p) {
  CHECK(amqp_basic_publish(c, 1, b(exchange), b(key), 0, 0, p, b(body)) == AMQP_STATUS_OK);
}

/* get asks until there is a message, and compares its body. */
static bool get(amqp_connection_state_t c, const char *queue, const char *want, amqp_message_t *m) {
  time_t end = time(NULL) + SECONDS;
  for (;;) {
    amqp_maybe_release_buffers(c);
    amqp_rpc_reply_t r = amqp_basic_get(c, 1, b(queue), 1);
    if (*text(r)) return fail("get %s: %s", queue, text(r)), false;
    if (r.reply.id == AMQP_BASIC_GET_OK_METHOD) break;
    if (time(NULL) > end) return fail("%s stays empty", queue), false;
  }
  if (*text(amqp_read_message(c, 1, m, 0))) return fail("get %s: no content", queue), false;
  if (m->body.len != strlen(want) || memcmp(m->body.bytes, want, m->body.len) != 0)
    return fail("want %s, have %.*s", want, (int)m->body.len, (char *)m->body.bytes), false;
  return true;
}

static void get_body(amqp_connection_state_t c, const char *queue, const char *want) {
  amqp_message_t m;
  if (get(c, queue, want, &m)) amqp_destroy_message(&m);
}

static bool consume(amqp_connection_state_t c, amqp_envelope_t *e) {
  struct timeval t = {SECONDS, 0};
  amqp_maybe_release_buffers(c);
  const char *bad = text(amqp_consume_message(c, e, &t, 0));
  return *bad ? (fail("consume: %s", bad), false) : true;
}

/* frame waits for a method and tells its id. */
static uint32_t frame(amqp_connection_state_t c, amqp_frame_t *f) {
  struct timeval t = {SECONDS, 0};
  return amqp_simple_wait_frame_noblock(c, f, &t) == AMQP_STATUS_OK && f->frame_type == AMQP_FRAME_METHOD ? f->payload.method.id : 0;
}

static amqp_table_entry_t number(const char *key, int n) {
  amqp_table_entry_t e = {b(key), {.kind = AMQP_FIELD_KIND_I32, .value.i32 = n}};
  return e;
}

static amqp_table_entry_t string(const char *key, const char *s) {
  amqp_table_entry_t e = {b(key), {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = b(s)}};
  return e;
}

static void publish_and_get(amqp_connection_state_t c) {
  declare(c, "c.q", amqp_empty_table);
  amqp_table_entry_t headers[] = {string("text", "x"), number("number", 7)};
  amqp_basic_properties_t p = {._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_HEADERS_FLAG, .content_type = b("text/plain"),
                               .delivery_mode = 2, .headers = {2, headers}};
  publish(c, "", "c.q", "hello", &p);
  amqp_message_t m;
  if (!get(c, "c.q", "hello", &m)) return;
  CHECK(m.properties._flags == p._flags && m.properties.delivery_mode == 2 && m.properties.headers.num_entries == 2);
  CHECK(m.properties.headers.entries[1].value.value.i32 == 7);
  amqp_destroy_message(&m);
}

static void consume_and_settle(amqp_connection_state_t c) {
  declare(c, "c.consume", amqp_empty_table);
  const char *bodies[] = {"0", "1", "2", "3"};
  for (int k = 0; k < 4; k++) publish(c, "", "c.consume", bodies[k], NULL);
  amqp_basic_qos(c, 1, 0, 1, 0);
  amqp_basic_consume(c, 1, b("c.consume"), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  CHECK(*text(amqp_get_rpc_reply(c)) == 0);
  const char *want[] = {"0", "1", "1", "2", "3"};
  for (int k = 0; k < 5; k++) {
    amqp_envelope_t e;
    if (!consume(c, &e)) return;
    CHECK(memcmp(e.message.body.bytes, want[k], 1) == 0 && e.redelivered == (k == 2));
    if (k == 1) amqp_basic_nack(c, 1, e.delivery_tag, 0, 1);
    else if (k == 3) amqp_basic_reject(c, 1, e.delivery_tag, 0);
    else amqp_basic_ack(c, 1, e.delivery_tag, 0);
    amqp_destroy_envelope(&e);
  }
}

static void confirms(amqp_connection_state_t c) {
  declare(c, "c.confirm", amqp_empty_table);
  amqp_confirm_select(c, 1);
  CHECK(*text(amqp_get_rpc_reply(c)) == 0);
  publish(c, "", "c.confirm", "m", NULL);
  amqp_frame_t f;
  CHECK(frame(c, &f) == AMQP_BASIC_ACK_METHOD);
  CHECK(amqp_basic_publish(c, 1, amqp_empty_bytes, b("c.nowhere"), 1, 0, NULL, b("lost")) == AMQP_STATUS_OK);
  if (!CHECK(frame(c, &f) == AMQP_BASIC_RETURN_METHOD)) return;
  CHECK(((amqp_basic_return_t *)f.payload.method.decoded)->reply_code == 312);
  amqp_message_t m;
  if (*text(amqp_read_message(c, 1, &m, 0)) == 0) amqp_destroy_message(&m);
  CHECK(frame(c, &f) == AMQP_BASIC_ACK_METHOD);
}

static void transactions(amqp_connection_state_t c) {
  declare(c, "c.tx", amqp_empty_table);
  amqp_tx_select(c, 1);
  publish(c, "", "c.tx", "rolled back", NULL);
  amqp_tx_rollback(c, 1);
  publish(c, "", "c.tx", "committed", NULL);
  amqp_tx_commit(c, 1);
  CHECK(*text(amqp_get_rpc_reply(c)) == 0);
  get_body(c, "c.tx", "committed");
}

static void exchanges(amqp_connection_state_t c) {
  declare(c, "c.x", amqp_empty_table);
  amqp_exchange_declare(c, 1, b("c.topic"), b("topic"), 0, 0, 1, 0, amqp_empty_table);
  amqp_exchange_declare(c, 1, b("c.fanout"), b("fanout"), 0, 0, 1, 0, amqp_empty_table);
  amqp_exchange_bind(c, 1, b("c.fanout"), b("c.topic"), b("a.#"), amqp_empty_table);
  amqp_queue_bind(c, 1, b("c.x"), b("c.fanout"), amqp_empty_bytes, amqp_empty_table);
  CHECK(*text(amqp_get_rpc_reply(c)) == 0);
  publish(c, "c.topic", "b", "no", NULL);
  publish(c, "c.topic", "a.b.c", "topic", NULL);
  get_body(c, "c.x", "topic");
}

static void dead_letters(amqp_connection_state_t c) {
  declare(c, "c.dead", amqp_empty_table);
  amqp_table_entry_t arguments[] = {number("x-message-ttl", 30), string("x-dead-letter-exchange", ""), string("x-dead-letter-routing-key", "c.dead")};
  declare(c, "c.ttl", (amqp_table_t){3, arguments});
  publish(c, "", "c.ttl", "old", NULL);
  amqp_message_t m;
  if (!get(c, "c.dead", "old", &m)) return;
  bool found = false;
  for (int k = 0; k < m.properties.headers.num_entries; k++) {
    amqp_table_entry_t *e = &m.properties.headers.entries[k];
    found |= e->key.len == 7 && memcmp(e->key.bytes, "x-death", 7) == 0 && e->value.kind == AMQP_FIELD_KIND_ARRAY;
  }
  CHECK(found);
  amqp_destroy_message(&m);
}

static void priorities(amqp_connection_state_t c) {
  amqp_table_entry_t arguments[] = {number("x-max-priority", 10)};
  declare(c, "c.priority", (amqp_table_t){1, arguments});
  const char *bodies[] = {"1", "9", "5"};
  for (int k = 0; k < 3; k++) {
    amqp_basic_properties_t p = {._flags = AMQP_BASIC_PRIORITY_FLAG, .priority = (uint8_t)atoi(bodies[k])};
    publish(c, "", "c.priority", bodies[k], &p);
  }
  get_body(c, "c.priority", "9");
  get_body(c, "c.priority", "5");
  get_body(c, "c.priority", "1");
}

static void direct_reply(amqp_connection_state_t c) {
  amqp_connection_state_t server = dial();
  declare(server, "c.rpc", amqp_empty_table);
  amqp_basic_consume(c, 1, b("amq.rabbitmq.reply-to"), amqp_empty_bytes, 0, 1, 0, amqp_empty_table);
  CHECK(*text(amqp_get_rpc_reply(c)) == 0);
  amqp_basic_properties_t p = {._flags = AMQP_BASIC_REPLY_TO_FLAG, .reply_to = b("amq.rabbitmq.reply-to")};
  publish(c, "", "c.rpc", "question", &p);
  amqp_message_t m;
  if (get(server, "c.rpc", "question", &m)) {
    CHECK(amqp_basic_publish(server, 1, amqp_empty_bytes, m.properties.reply_to, 0, 0, NULL, b("answer")) == AMQP_STATUS_OK);
    amqp_destroy_message(&m);
    amqp_envelope_t e;
    if (consume(c, &e)) {
      CHECK(e.message.body.len == 6 && memcmp(e.message.body.bytes, "answer", 6) == 0);
      amqp_destroy_envelope(&e);
    }
  }
  hang_up(server);
}

static void errors(amqp_connection_state_t c) {
  amqp_queue_declare(c, 1, b("c.missing"), 1, 0, 0, 0, amqp_empty_table);
  amqp_rpc_reply_t r = amqp_get_rpc_reply(c);
  CHECK(r.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && r.reply.id == AMQP_CHANNEL_CLOSE_METHOD);
  CHECK(strcmp(text(r), "404 NOT_FOUND - no queue 'c.missing' in vhost '/'") == 0);
}

static void large(amqp_connection_state_t c) {
  declare(c, "c.large", amqp_empty_table);
  size_t size = 3 << 20;
  char *body = malloc(size + 1);
  memset(body, 'x', size);
  body[size] = 0;
  publish(c, "", "c.large", body, NULL);
  get_body(c, "c.large", body);
  free(body);
}

static void test(const char *name, void (*run)(amqp_connection_state_t)) {
  failed = false;
  tests++;
  amqp_connection_state_t c = dial();
  run(c);
  hang_up(c);
  printf("%s %s\n", failed ? "not ok" : "ok", name);
  fflush(stdout);
}

int main(void) {
  test("publish and get, with properties and headers", publish_and_get);
  test("consume, ack, nack, reject, prefetch", consume_and_settle);
  test("confirms, and what is returned", confirms);
  test("transactions", transactions);
  test("exchanges bound to one another", exchanges);
  test("message TTL and dead letters", dead_letters);
  test("priorities", priorities);
  test("rpc over direct reply-to", direct_reply);
  test("errors by code", errors);
  test("a message of many frames", large);
  printf("1..%d\n", tests);
  return 0;
}
