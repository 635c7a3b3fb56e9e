// Makes stripe.json: the parameters of those requests that stripe.mjs takes, and what the
// things in its answers have. Both are what Stripe's own library declares, which is made of
// Stripe's OpenAPI description; the values are those of Stripe's own fixtures, which are
// openapi/fixtures3.json of the repository stripe/openapi.
//
//   npm install --no-save ts-json-schema-generator@2.9.0
//   node trim.mjs fixtures3.json > stripe.json

import { readFileSync } from 'node:fs';
import Stripe from 'stripe';
import { createGenerator } from 'ts-json-schema-generator';
import ts from 'typescript';

const fixtures = JSON.parse(readFileSync(process.argv[2])).resources;

/** The file that declares it, and the name of its parameters. */
const REQUESTS = {
  'POST /v1/account_links': 'AccountLinks AccountLinkCreate',
  'POST /v1/accounts': 'Accounts AccountCreate',
  'GET /v1/accounts/{}': 'Accounts AccountRetrieve',
  'GET /v1/balance_transactions': 'BalanceTransactions BalanceTransactionList',
  'POST /v1/billing_portal/sessions': 'BillingPortal/Sessions BillingPortal.SessionCreate',
  'GET /v1/charges/{}': 'Charges ChargeRetrieve',
  'POST /v1/customers': 'Customers CustomerCreate',
  'GET /v1/customers/{}': 'Customers CustomerRetrieve',
  'GET /v1/events': 'Events EventList',
  'GET /v1/invoices/{}': 'Invoices InvoiceRetrieve',
  'POST /v1/payment_intents': 'PaymentIntents PaymentIntentCreate',
  'GET /v1/payment_intents/{}': 'PaymentIntents PaymentIntentRetrieve',
  'POST /v1/payment_intents/{}/cancel': 'PaymentIntents PaymentIntentCancel',
  'POST /v1/payment_intents/{}/confirm': 'PaymentIntents PaymentIntentConfirm',
  'POST /v1/prices': 'Prices PriceCreate',
  'GET /v1/refunds': 'Refunds RefundList',
  'POST /v1/refunds': 'Refunds RefundCreate',
  'POST /v1/subscriptions': 'Subscriptions SubscriptionCreate',
  'GET /v1/subscriptions/{}': 'Subscriptions SubscriptionRetrieve',
  'POST /v1/subscriptions/{}': 'Subscriptions SubscriptionUpdate',
  'DELETE /v1/subscriptions/{}': 'Subscriptions SubscriptionCancel',
  'GET /v1/transfers': 'Transfers TransferList',
  'POST /v1/transfers': 'Transfers TransferCreate',
};

const THINGS = {
  account: 'Accounts Account',
  account_link: 'AccountLinks AccountLink',
  balance_transaction: 'BalanceTransactions BalanceTransaction',
  'billing_portal.session': 'BillingPortal/Sessions Session',
  charge: 'Charges Charge',
  customer: 'Customers Customer',
  event: 'Events EventBase',
  invoice: 'Invoices Invoice',
  line_item: 'InvoiceLineItems InvoiceLineItem',
  payment_intent: 'PaymentIntents PaymentIntent',
  plan: 'Plans Plan',
  price: 'Prices Price',
  product: 'Products Product',
  refund: 'Refunds Refund',
  subscription: 'Subscriptions Subscription',
  subscription_item: 'SubscriptionItems SubscriptionItem',
  transfer: 'Transfers Transfer',
};

/** Long, and not sent by anybody here: whatever is in it passes. */
const UNREAD = ['payment_method_data', 'payment_method_options'];

const declared = (name) => `node_modules/stripe/cjs/resources/${name}.d.ts`;

/** A JSON schema of the parameters. */
function request(named) {
  const [file, name] = named.split(' ');
  const generator = createGenerator({
    path: declared(file), additionalProperties: false, expose: 'none', jsDoc: 'none',
    skipTypeCheck: true, topRef: false,
  });
  const { $schema, definitions, ...schema } = generator.createSchema(`${name}Params`);
  for (const name of UNREAD) if (schema.properties[name]) schema.properties[name] = {};
  return narrow(schema);
}

/** Enumerations are declared open, integers as numbers, and decimals as a class. */
function narrow(schema) {
  if (Array.isArray(schema)) return schema.map(narrow);
  if (schema === null || typeof schema !== 'object') return schema;
  if (schema.type === 'number') return { ...schema, type: 'integer' };
  if (schema.anyOf?.some((one) => one.enum)) {
    schema.anyOf = schema.anyOf.filter((one) => one.enum || one.type !== 'string');
  }
  return Object.fromEntries(Object.entries(schema).map(([name, value]) =>
    [name, name.endsWith('_decimal') ? { type: 'string' } : narrow(value)]));
}

/** What it always has, and what it may have. */
function thing(named, object) {
  const [file, name] = named.split(' ');
  const text = readFileSync(declared(file), 'utf8');
  const { statements } = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const { members } = statements.find((one) => ts.isInterfaceDeclaration(one) && one.name.text === name);
  const fields = members.map((member) => ({
    field: member.name.text,
    optional: Boolean(member.questionToken),
    value: /\bnull$/.test(member.type.getText()) ? null : fixtures[object][member.name.text],
  }));
  const always = fields.filter(({ optional }) => !optional);
  const maybe = fields.filter(({ optional }) => optional).map(({ field }) => field);
  return { always: Object.fromEntries(always.map(({ field, value }) => [field, plain(value)])), maybe };
}

/** Some fixtures have any number; and what is somebody's own is always given. */
function plain(value = null) {
  if (typeof value === 'number') return 0;
  const things = [value?.id, value?.object?.id, value?.[0]?.key, value?.data?.[0]].some(Boolean);
  if (things || String(value).startsWith('https:')) return Array.isArray(value) ? [] : null;
  return value;
}

/** One to a line. */
function lines(table, make) {
  const rows = Object.entries(table).map(([name, value]) => [name, make(value, name)]);
  return `{\n${rows.map((row) => row.map((half) => JSON.stringify(half)).join(': ')).join(',\n')}\n}`;
}

console.log(`{"version": "${Stripe.API_VERSION}",
"requests": ${lines(REQUESTS, request)},
"things": ${lines(THINGS, thing)}}`);
