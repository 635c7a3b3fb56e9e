// Who answers what of stripe.mjs: what Stripe has renamed since localstripe was written, and
// what neither localstripe nor stripe-stateful-mock has: transfers, and links to pages of
// Stripe's. Those are ours.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { accounts } from 'stripe-stateful-mock/dist/api/accounts.js';
import { prices } from 'stripe-stateful-mock/dist/api/prices.js';
import { products } from 'stripe-stateful-mock/dist/api/products.js';
import { RestError } from 'stripe-stateful-mock/dist/api/RestError.js';
import { events, tell } from './stripe-events.mjs';

const file = readFileSync(join(import.meta.dirname, 'stripe.json'));
export const { version, requests: declared, things } = JSON.parse(file);

/** The platform itself, in stripe-stateful-mock. */
const PLATFORM = 'acct_default';

export function refuse(status, error) {
  throw new RestError(status, { type: 'invalid_request_error', ...error });
}

const now = () => Math.floor(Date.now() / 1000);
const name = (prefix) => prefix + randomBytes(12).toString('hex');

/** localstripe, with nothing on disk; it ends with its input. */
const LOCALSTRIPE = `
import os, socket, sys, threading
from aiohttp import web
from localstripe.resources import Store
from localstripe.server import app
Store.dump_to_disk = lambda store: None
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
web.run_app(app, sock=listener, access_log=None, print=None)
`;

export const localstripe = {
  async start(relay) {
    const python = join(import.meta.dirname, '.venv/bin/python');
    const options = { stdio: ['pipe', 'pipe', 'inherit'] };
    const child = spawn(python, ['-c', LOCALSTRIPE], options).on('exit', () => process.exit(1));
    this.url = `http://127.0.0.1:${Number(await once(child.stdout, 'data'))}`;
    const body = JSON.stringify({ url: relay, secret: 'none' });
    await fetch(`${this.url}/_config/webhooks/relay`, { method: 'POST', body });
  },

  async ask(method, path, parameters) {
    const headers = { authorization: 'Bearer sk_test_localstripe' };
    const body = parameters && JSON.stringify(parameters);
    const answer = await fetch(this.url + path, { method, headers, body });
    const text = await answer.text();
    if (answer.ok) return JSON.parse(text);
    if (answer.status >= 500) refuse(500, { type: 'api_error', message: `localstripe: ${text}` });
    const code = answer.status === 404 && { code: 'resource_missing' };
    return refuse(answer.status, { ...code, ...JSON.parse(text).error });
  },
};

const get = (path) => localstripe.ask('GET', path);
const post = (path, parameters) => localstripe.ask('POST', path, parameters);

/** What has another name in localstripe, or another place, or less in it. */
const MOVED = {
  charge: ({ captured, amount }) => ({ amount_captured: captured ? amount : 0 }),
  customer: ({ invoice_settings: settings }) => ({
    invoice_settings: { custom_fields: null, footer: null, rendering_options: null, ...settings },
    sources: null,
    subscriptions: null,
    tax_ids: null,
  }),
  invoice: async ({ subscription, lines, status_transitions: times }) => {
    const { metadata } = subscription ? await get(`/v1/subscriptions/${subscription}`) : {};
    const details = { subscription_details: { subscription, metadata }, quote_details: null };
    return {
      lines: await today(lines),
      parent: subscription ? { type: 'subscription_details', ...details } : null,
      status_transitions: { marked_uncollectible_at: null, ...times },
    };
  },
  line_item: ({ type, subscription, subscription_item, invoice_item = null, proration }) => {
    const of = { invoice_item, subscription, proration, proration_details: null };
    const [item, line] = type === 'invoiceitem' ? [of, null] : [null, { ...of, subscription_item }];
    const parent = item ? 'invoice_item_details' : 'subscription_item_details';
    return { parent: { type: parent, invoice_item_details: item, subscription_item_details: line } };
  },
  list: async ({ data }) => ({ data: await Promise.all(data.map(today)) }),
  payment_intent: ({ status, amount, latest_charge: charge, last_payment_error: error }) => ({
    amount_received: status === 'succeeded' ? amount : 0,
    last_payment_error: error && { type: 'card_error', ...error },
    latest_charge: charge && charge.id,
  }),
  subscription: async ({ id, items, start_date, current_period_start, current_period_end }) => {
    const of = { subscription: id, current_period_start, current_period_end };
    const data = items.data.map((item) => ({ ...item, ...of }));
    return { items: await today({ ...items, data }), billing_cycle_anchor: start_date };
  },
  subscription_item: async ({ plan }) => ({
    plan: await today(plan),
    price: await today(prices.retrieve(PLATFORM, plan.id, 'price')),
  }),
};

/** Is written on what needs no more. */
const TODAY = Symbol('today');

/** With all that such a thing has at Stripe today, and no more; what is null says nothing. */
export async function today(thing) {
  if (thing[TODAY]) return thing;
  const moved = { ...thing, ...(await MOVED[thing.object]?.(thing)) };
  const { always, maybe } = things[thing.object] ?? { always: moved, maybe: [] };
  const given = [...Object.keys(always), ...maybe].map((field) => [field, moved[field]]);
  const kept = given.filter(([, value]) => value !== undefined && value !== null);
  return { ...always, ...Object.fromEntries(kept), [TODAY]: true };
}

/** A page of rows, the newest first; the oldest of them is the first. */
function page(rows, { created = {}, limit = 10, starting_after: after }, url) {
  const { gt = -1, gte = 0, lt = Infinity, lte = Infinity } = created;
  const within = ({ created: at }) => at > gt && at >= gte && at < lt && at <= lte;
  const found = rows.filter(within).reverse();
  const from = after ? found.findIndex(({ id }) => id === after) + 1 : 0;
  const end = from + Number(limit);
  return { object: 'list', url, has_more: found.length > end, data: found.slice(from, end) };
}

const only = (wanted) => (row) =>
  Object.entries(wanted).every(([field, value]) => value === undefined || row[field] === value);

const account = (id) => accounts.retrieve(PLATFORM, id, 'sk_test_platform');

const transfers = [];
const lines = [];

/** The others are localstripe's. */
const OURS = {
  'POST /v1/account_links': ({ body }) => {
    const url = `https://connect.stripe.com/setup/e/${account(body.account).id}/${name('')}`;
    return { object: 'account_link', url, created: now(), expires_at: now() + 300 };
  },
  'POST /v1/accounts': ({ body }) => accounts.create(PLATFORM, body),
  'GET /v1/accounts/{}': ({ id }) => account(id),
  'GET /v1/balance_transactions': async ({ path, query: { currency, ...query } }) => {
    const { data } = await get(`${path}?limit=1000000`);
    const rows = [...data, ...lines].filter(only({ currency }));
    return page(rows.sort((one, other) => one.created - other.created), query, path);
  },
  'POST /v1/billing_portal/sessions': async ({ body: { customer, return_url } }) => {
    await get(`/v1/customers/${customer}`);
    const [id, url] = [name('bps_'), `https://billing.stripe.com/p/session/${name('')}`];
    return { object: 'billing_portal.session', id, created: now(), customer, return_url, url };
  },
  'GET /v1/events': ({ path, query: { type, ...query } }) =>
    page(events.filter(only({ type })), query, path),
  'POST /v1/payment_intents/{}/confirm': ({ id, body }) => confirm(id, body.payment_method),
  'POST /v1/prices': async ({ body }) => {
    const price = prices.create(PLATFORM, body);
    const { id, unit_amount: amount, currency, recurring: { interval } = {} } = price;
    const product = { name: products.retrieve(PLATFORM, price.product, 'product').name };
    // There a price is a plan.
    if (interval) await post('/v1/plans', { id, amount, currency, interval, product });
    return price;
  },
  'POST /v1/refunds': refund,
  'POST /v1/subscriptions': subscribe,
  'POST /v1/subscriptions/{}': async ({ path, body: { proration_behavior, ...rest } }) => {
    const state = await today(await post(path, { ...rest, items: planned(rest.items) }));
    tell('customer.subscription.updated', state);
    return state;
  },
  'GET /v1/transfers': ({ path, query: { transfer_group, destination, ...query } }) =>
    page(transfers.filter(only({ transfer_group, destination })), query, path),
  'POST /v1/transfers': transfer,
};

const pass = ({ method, url, body }) =>
  localstripe.ask(method, url, method === 'POST' ? body : undefined);

export const answers = Object.fromEntries(Object.keys(declared).map((of) => [of, OURS[of] ?? pass]));

const planned = (items) => items?.map(({ price, ...item }) => ({ ...item, plan: price }));

const pays = (customer, card) =>
  post(`/v1/customers/${customer}`, { invoice_settings: { default_payment_method: card } });

/** localstripe takes the first payment at once, unless the card asks for its holder. */
async function subscribe({ path, body: { expand = [], payment_behavior: behaviour, ...rest } }) {
  if (behaviour === 'default_incomplete') {
    const card = { number: '4000002500003155', exp_month: 12, exp_year: 2040, cvc: '123' };
    await pays(rest.customer, (await post('/v1/payment_methods', { type: 'card', card })).id);
  }
  const made = await today(await post(path, { ...rest, items: planned(rest.items) }));
  if (!expand.some((field) => field.startsWith('latest_invoice'))) return made;
  const invoice = await get(`/v1/invoices/${made.latest_invoice}`);
  const { client_secret } = await get(`/v1/payment_intents/${invoice.payment_intent}`);
  const confirmation_secret = { type: 'payment_intent', client_secret };
  return { ...made, latest_invoice: { ...(await today(invoice)), confirmation_secret } };
}

/** Confirms a payment with a card, and answers what that asks. */
export async function confirm(id, card) {
  const path = `/v1/payment_intents/${id}`;
  const { status, client_secret, customer } = await get(path);
  if (status === 'requires_action') {
    if (customer && card) await pays(customer, card);
    return post(`${path}/_authenticate`, { client_secret, success: !card?.endsWith('Fail') });
  }
  const open = ['requires_payment_method', 'requires_confirmation'].includes(status);
  if (card && open) await post(path, { payment_method: card, latest_charge: null });
  return post(`${path}/confirm`);
}

/** localstripe would pay back more than there was, and tells nobody. */
async function refund({ path, body }) {
  const intent = await get(`/v1/payment_intents/${body.payment_intent}`);
  if (intent.status !== 'succeeded') refuse(400, { message: 'There is no charge to refund.' });
  const charge = () => get(`/v1/charges/${intent.latest_charge.id}`);
  const { amount: paid, amount_refunded: gone } = await charge();
  const { amount = paid - gone } = body;
  if (gone === paid) refuse(400, { code: 'charge_already_refunded', message: 'It is refunded.' });
  if (amount > paid - gone) refuse(400, { param: 'amount', message: `Only ${paid - gone} are left.` });
  const made = await post(path, { ...body, amount });
  tell('refund.created', await today(made));
  tell('charge.refunded', await today(await charge()));
  return made;
}

async function transfer({ body }) {
  account(body.destination);
  const { source_transaction, currency } = body;
  const amount = Number(body.amount);
  if (source_transaction) {
    const charge = await get(`/v1/charges/${source_transaction}`);
    const sent = transfers.filter(only({ source_transaction }));
    const total = sent.reduce((sum, made) => sum + made.amount, amount);
    if (total > charge.amount) refuse(400, { param: 'amount', message: `It had ${charge.amount}.` });
  }
  const [id, line] = [name('tr_'), name('txn_')];
  const created = now();
  const made = await today({ ...body, object: 'transfer', id, amount, created, balance_transaction: line });
  const of = { type: 'transfer', source: id, amount: -amount, net: -amount, currency, created };
  transfers.push(made);
  lines.push({ object: 'balance_transaction', id: line, reporting_category: 'transfer', ...of });
  tell('transfer.created', made);
  return made;
}
