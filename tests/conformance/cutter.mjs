// A TCP proxy in front of the host that breaks event streams off: after a random
// number of bytes, wherever that is, with a FIN or with a reset.

import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';

/** A page at the streams' own origin, for a browser to stand on. */
export const PAGE = '/conformance';

/** More than the head of a request or an answer has. */
const MAX_HEAD = 16 * 1024;

/** So long a cut waits for the place it wants, before it takes any. */
const MAX_WAIT = 4_000;

/**
 * Starts one before `host`. `authorization` is for requests that bring no credential:
 * a browser's EventSource cannot set a header. With a key and a certificate, `secure`,
 * it speaks TLS to its clients: over plain HTTP Chromium takes a head that ended too
 * early for a whole one, finds no type in it and gives up for good. `tally` has the
 * cuts as they are made, and where they fell.
 */
export async function cutter({ host, port, authorization, random, secure }) {
  const tally = { streams: 0, cuts: 0, resets: 0, inHead: 0, inCharacter: 0, inId: 0, inEvent: 0 };
  const known = new Set();
  const server = net.createServer(async (socket) => {
    socket.on('error', () => {});
    const client = secure ? new tls.TLSSocket(socket, { isServer: true, ...secure }) : socket;
    client.on('error', () => {});
    // One that is gone before it asks needs no answer.
    const request = await head(client).catch(() => undefined);
    if (!request) return client.destroy();
    const path = request.text.split(' ', 2)[1];
    if (path === PAGE) return client.end(page());

    const upstream = net.connect({ host, port });
    upstream.on('error', () => client.destroy());
    client.on('close', () => upstream.destroy());
    upstream.write(withHeaders(request.text, authorization));
    upstream.write(request.rest);
    client.pipe(upstream, { end: false });
    const [stream, query] = path.split('?');
    if (!query || !stream.endsWith('/stream')) return upstream.pipe(client);

    tally.streams += 1;
    // A client's first stream is not cut before it has said how soon to come back:
    // until then that takes seconds.
    const spared = !known.has(stream);
    known.add(stream);
    cutOff(upstream, { client, socket }, plan(random), spared, tally);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http${secure ? 's' : ''}://127.0.0.1:${server.address().port}`;
  return { url, tally, stop: () => server.close() };
}

/** Most streams bring little more than their head, some a good many events. */
function plan(random) {
  const below = (bound) => Math.floor(random() * bound);
  return {
    after: below(random() < 0.7 ? 900 : 6_000),
    place: ['anywhere', 'anywhere', 'character', 'id'][below(4)],
    // How far into the line of an id: up to a little beyond its end.
    into: 1 + below(12),
    reset: random() < 0.4,
    delay: 1 + below(5),
  };
}

/** Passes an answer on as far as the plan says, then closes what carries it. */
function cutOff(upstream, { client, socket }, plan, spared, tally) {
  let got = Buffer.alloc(0);
  let sent = 0;
  let hurried = false;
  const pass = (end, then) => {
    client.write(got.subarray(sent, end), then);
    sent = end;
  };
  upstream.on('data', (chunk) => {
    got = Buffer.concat([got, chunk]);
    if (!hurried) {
      const welcome = hurry(got, plan.delay);
      if (welcome === undefined && got.length < MAX_HEAD) return;
      hurried = true;
      if (spared) plan.after += welcome ?? 0;
    }
    const at = cutAt(got, plan);
    if (at === undefined || at > got.length) return pass(got.length);
    const end = Math.max(at, sent);
    count(tally, got, end, plan.reset);
    upstream.removeAllListeners('data').removeAllListeners('end').destroy();
    // A reset overtakes what the client has not read yet; a FIN does not. TLS learns
    // of neither.
    pass(end, () => (plan.reset ? socket.resetAndDestroy() : socket.destroy()));
  });
  upstream.on('end', () => {
    pass(got.length);
    client.end();
  });
}

/**
 * Rewrites, in place, how many milliseconds a client is to wait before it comes
 * back: the host says some seconds, with which a thousand cuts would take an hour.
 * Zeros in front keep the length, which the chunk's size has told already. Returns
 * where the line ends, in an answer that is no stream where its head does; undefined
 * when that has not come yet.
 */
function hurry(got, delay) {
  const body = got.indexOf('\r\n\r\n') + 4;
  if (body < 4) return undefined;
  if (!got.toString('latin1', 0, 13).endsWith('200 ')) return body;
  const line = got.indexOf('retry: ', body);
  const end = got.indexOf('\n', line);
  if (line < 0 || end < 0) return undefined;
  const digits = line + 'retry: '.length;
  got.write(String(delay).padStart(end - digits, '0'), digits, 'latin1');
  return end + 1;
}

/** Where to cut, if that can be said yet. */
function cutAt(got, { after, place, into }) {
  const wanted = {
    anywhere: () => after,
    // Before a byte that goes on with a character.
    character: () => got.findIndex((byte, at) => at >= after && (byte & 0xc0) === 0x80),
    id: () => {
      const line = got.indexOf('\nid: ', after);
      return line < 0 ? -1 : line + into;
    },
  };
  const at = wanted[place]();
  if (at >= 0) return at;
  return got.length > after + MAX_WAIT ? got.length : undefined;
}

function count(tally, got, end, reset) {
  tally.cuts += 1;
  if (reset) tally.resets += 1;
  const before = got.toString('latin1', 0, end);
  const line = before.slice(before.lastIndexOf('\n') + 1);
  if (!before.includes('\r\n\r\n')) tally.inHead += 1;
  else if (got[end] >= 0x80 && got[end] < 0xc0) tally.inCharacter += 1;
  else if (line.startsWith('id:')) tally.inId += 1;
  else if (/^(event|data)/.test(line)) tally.inEvent += 1;
}

/** The head of a request, and what came behind it. */
async function head(socket) {
  let got = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    got = Buffer.concat([got, chunk]);
    const end = got.indexOf('\r\n\r\n') + 4;
    if (end >= 4) return { text: got.toString('latin1', 0, end), rest: got.subarray(end) };
    if (got.length > MAX_HEAD) return undefined;
  }
  return undefined;
}

/** One request for each connection, so that nobody needs to find where it ends. */
function withHeaders(head, authorization) {
  const credential = /^authorization:|^[^\r]*[?&]ticket=/im.test(head);
  const added = credential || !authorization ? '' : `authorization: ${authorization}\r\n`;
  const bare = head.replace(/^connection:.*\r\n/im, '');
  return bare.replace('\r\n', `\r\nconnection: close\r\n${added}`);
}

function page() {
  const body = '<!doctype html><title>conformance</title>';
  return `HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;
}
