// Speaks like Stripe, on one port of 127.0.0.1, composed of what others have written:
//
//   localstripe            keeps payments, customers, subscriptions, invoices, refunds and the
//                          books, and tells of them;
//   stripe-stateful-mock   keeps accounts and prices, knows who may ask, and answers again what
//                          was asked under an Idempotency-Key before;
//   ajv                    holds every request against the parameters that Stripe's own library
//                          declares (stripe.json, which trim.mjs makes): one that is unknown,
//                          missing or of another type is refused;
//   stripe                 that library; signs what is told.
//
// What stands between them is in stripe-answers.mjs. Here is what every request goes through,
// and what a test can do:
//
//   POST /_test/webhook   {"url", "secret"}: where to tell, from now on
//   POST /_test/emit      {"type", "object"}: tells this, and says how it was answered
//   POST /_test/resend    {"event"}: tells one again, or all
//   POST /_test/fail      {"path", "mode", "times"}: see FAILURES
//   POST /_test/pay       {"intent", "card"}: pays, as a browser does; the card is a good one
//   GET  /_test/requests  all that was asked
//
//   WEBHOOK_URL=… WEBHOOK_SECRET=… node stripe.mjs
//
// Says `listening http://127.0.0.1:…` when it can be asked, and ends when its standard input
// does, if that is a pipe. Keys are any `sk_test_…`.

import { once } from 'node:events';
import { fstatSync } from 'node:fs';
import Ajv from 'ajv';
import express from 'express';
import { auth } from 'stripe-stateful-mock/dist/api/auth.js';
import { idempotencyRoute } from 'stripe-stateful-mock/dist/api/idempotency.js';
import { answers, confirm, declared, localstripe, refuse, today } from './stripe-answers.mjs';
import { deliver, events, relay, tell, webhook } from './stripe-events.mjs';

const asked = [];

/** Notes what is asked, and what became of it. */
function note(req, res, next) {
  const { method, path, query, body } = req;
  const key = req.get('idempotency-key') ?? null;
  const version = req.get('stripe-version');
  const entry = { method, path, params: { ...query, ...body }, key, version, status: null };
  asked.push(entry);
  res.type('json').on('finish', () => {
    Object.assign(entry, { status: res.statusCode, replayed: res.get('idempotent-replayed') === 'true' });
  });
  next();
}

const ajv = new Ajv({ coerceTypes: true, strict: false });
const known = Object.entries(declared).map(([name, schema]) => {
  const [method, path] = name.split(' ');
  return { name, method, path: new RegExp(`^${path.replace('{}', '([^/]+)')}$`), schema };
});
const WRONG = { additionalProperties: 'parameter_unknown', required: 'parameter_missing' };

/** Is there such a request, and are these parameters of it? */
function check(req, res, next) {
  const { method, path, query, body } = req;
  const found = known.find((one) => one.method === method && one.path.test(path));
  if (!found) refuse(404, { message: `Unrecognized request URL (${method}: ${path}).` });
  const sound = ajv.compile(found.schema);
  if (!sound(structuredClone({ ...query, ...body }))) {
    const wrong = sound.errors.find(({ keyword }) => keyword in WRONG) ?? sound.errors[0];
    const { keyword, instancePath, params } = wrong;
    const of = params.additionalProperty ?? params.missingProperty;
    const param = [...instancePath.split('/').slice(1), ...(of ? [of] : [])].join('.');
    const code = WRONG[keyword] ?? 'parameter_invalid';
    refuse(400, { code, param, message: `${param}: ${wrong.message}` });
  }
  Object.assign(res.locals, { handle: answers[found.name], id: found.path.exec(path)[1] });
  next();
}

const instead = (status, error) => (req, res, next) => {
  res.locals.handle = () => refuse(status, error);
  next();
};

/** The ways to fail: before the key is looked at, or with an answer that is kept with it. */
const FAILURES = {
  '500': () => refuse(500, { type: 'api_error', message: 'Nothing was done, or kept.' }),
  'kept-500': instead(500, { type: 'api_error', message: 'Nothing was done.' }),
  'insufficient': instead(400, { code: 'balance_insufficient', message: 'Insufficient funds.' }),
  'timeout': (req) => void setTimeout(() => req.socket.destroy(), 60_000).unref(),
  // It is done and kept, and nobody is told.
  'drop-after': (req, res, next) => {
    res.send = () => req.socket.destroy();
    next();
  },
};
const failures = [];

function fail(req, res, next) {
  const meant = ({ method, path, times }) => method === req.method && path === req.path && times > 0;
  const failure = failures.find(meant);
  if (!failure) return next();
  failure.times -= 1;
  return FAILURES[failure.mode](req, res, next);
}

const uses = new Map();
const running = new Set();

/** A key is for one kind of request, and for one at a time; the rest is stateful-mock's. */
function oneAtATime(req, res, next) {
  const key = req.get('idempotency-key');
  if (!key) return next();
  const type = 'idempotency_error';
  const use = `${req.method} ${req.path}`;
  const before = uses.get(key) ?? use;
  if (before !== use) refuse(400, { type, message: `This key was used for ${before}.` });
  if (running.has(key)) {
    refuse(409, { type, code: 'idempotency_key_in_use', message: 'Another request uses this key.' });
  }
  uses.set(key, use);
  return next();
}

async function answer(req, res) {
  const { method, path, originalUrl: url, query, body } = req;
  const { handle, id } = res.locals;
  const key = req.get('idempotency-key');
  running.add(key);
  try {
    res.status(200).json(await today(await handle({ method, path, url, query, body, id })));
  } finally {
    running.delete(key);
  }
}

const app = express();
app.set('query parser', 'extended');
app.use(express.urlencoded({ extended: true }), express.json({ limit: '10mb', type: () => true }));
app.use((req, res, next) => {
  req.body ??= {};
  next();
});
app.post('/_relay', (req, res) => {
  relay(req.body).catch(console.error);
  res.end();
});
app.post('/_test/webhook', ({ body }, res) => res.json(Object.assign(webhook, body)));
app.post('/_test/emit', async ({ body: { type, object, ...more } }, res) => {
  res.json(await tell(type, object, more));
});
app.post('/_test/resend', async ({ body }, res) => {
  const again = events.filter(({ id }) => !body.event || id === body.event);
  res.json(await Promise.all(again.map(deliver)));
});
app.post('/_test/fail', ({ body }, res) => {
  failures.unshift({ method: 'POST', times: 1, ...body });
  res.json(failures);
});
app.post('/_test/pay', async ({ body: { intent, card = 'pm_card_visa' } }, res) => {
  res.json(await today(await confirm(intent.split('_secret_')[0], card)));
});
app.get('/_test/requests', (req, res) => res.json(asked));
app.use(note, auth.authRoute, check, fail, oneAtATime, idempotencyRoute, answer);
app.use((failure, req, res, _next) => {
  const { statusCode = 500, error = { type: 'api_error', message: String(failure.stack) } } = failure;
  res.status(statusCode).json({ error });
});

process.on('SIGTERM', () => process.exit());
if (!fstatSync(0).isCharacterDevice()) process.stdin.resume().on('close', () => process.exit());
const server = app.listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${server.address().port}`;
await localstripe.start(`${url}/_relay`);
console.log(`listening ${url}`);
