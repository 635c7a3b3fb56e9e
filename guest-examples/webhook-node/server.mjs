// The same handler as ../js-handler builds into a component, served as a webhook:
// what a builder runs on a machine of their own.
//
//   AIYBIZ_WEBHOOK_SECRET=whsec_… AIYBIZ_API_URL=https://… [PORT=8080] npm start
//
// A webhook is answered when the handler is done, and with 500 when it failed:
// the platform waits 10 seconds, and learns only from the answer whether it
// should send the event again.

import { once } from 'node:events';
import http from 'node:http';
import { createRequire } from 'node:module';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';

const handler = createRequire(import.meta.url)('../js-handler/handler.js');

const webhook = new Webhook(setting('AIYBIZ_WEBHOOK_SECRET'));
const api = setting('AIYBIZ_API_URL').replace(/\/+$/, '');

const MAX_BODY = 1024 * 1024;
/** Leaves the handler time to say so when the platform does not answer. */
const API_TIMEOUT_MS = 5_000;
/** Enough for every delivery that can still be repeated, and little memory. */
const REMEMBERED = 10_000;

/** webhook-id → the handling of that event, under way or done; oldest first. */
const handled = new Map();

const server = http.createServer(async (request, response) => {
  const [status, text] = await receive(request).catch((error) => {
    console.error(error);
    return [500, 'the handler failed'];
  });
  response.writeHead(status, { 'content-type': 'text/plain' }).end(text);
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
await once(server, 'listening');
console.log(`listening on http://127.0.0.1:${server.address().port}`);

async function receive(request) {
  if (request.method !== 'POST') return [405, 'webhooks are posted'];
  const body = await read(request);
  if (body === undefined) return [413, 'too large'];

  let event;
  try {
    event = webhook.verify(body, request.headers);
  } catch (error) {
    if (error instanceof WebhookVerificationError) return [401, error.message];
    return [400, 'not JSON'];
  }
  await handleOnce(request.headers['webhook-id'], event);
  return [200, 'ok'];
}

/** A repeated delivery shares the outcome of the first, unless that failed. */
function handleOnce(id, event) {
  if (!handled.has(id)) {
    const outcome = handle(id, event);
    outcome.catch(() => handled.delete(id));
    handled.set(id, outcome);
    if (handled.size > REMEMBERED) handled.delete(handled.keys().next().value);
  }
  return handled.get(id);
}

async function handle(id, { event, sessionId, agentAuthToken, message }) {
  const post = (action, body, key) => callPlatform(sessionId, action, agentAuthToken, body, key);
  let replies = 0;
  switch (event) {
    case 'session_started':
      // Proves that the token is good, which makes the session active.
      return post('auth', { agentAuthToken });
    case 'message':
      return handler({
        session: { id: sessionId, agentAuthToken },
        message: { ...message, createdAt: new Date(message.createdAt) },
        // The key makes a repeated reply, after a crash on either side, the same one.
        reply: (content) => post('message', { content }, `${id}-${++replies}`),
        sendTyping: () => post('typing', {}),
      });
  }
}

async function callPlatform(sessionId, action, token, body, key) {
  const answer = await fetch(`${api}/agent/${encodeURIComponent(sessionId)}/${action}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      ...(key && { 'idempotency-key': key }),
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(API_TIMEOUT_MS),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${action} was answered ${answer.status}: ${text.slice(0, 200)}`);
}

/** The body as text, for the signature is over its bytes; undefined if too large. */
async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function setting(name) {
  const value = process.env[name];
  if (value) return value;
  console.error(`${name} is not set`);
  process.exit(2);
}
