// What stripe.mjs tells: the log of events, and how they are sent. What localstripe tells is
// passed on, in today's shape and with what Stripe tells besides.

import { randomBytes } from 'node:crypto';
import Stripe from 'stripe';
import { localstripe, today, version } from './stripe-answers.mjs';

/** The oldest first. */
export const events = [];

export const webhook = { url: process.env.WEBHOOK_URL, secret: process.env.WEBHOOK_SECRET };

export async function tell(type, object, more) {
  const event = {
    object: 'event',
    id: `evt_${randomBytes(12).toString('hex')}`,
    type,
    api_version: version,
    created: Math.floor(Date.now() / 1000),
    data: { object },
    livemode: false,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: null },
    ...more,
  };
  events.push(event);
  return deliver(event);
}

/** Sends it, once, and says how it was answered: 0 is not at all. */
export async function deliver(event) {
  if (!webhook.url) return { event: event.id, status: 0 };
  const body = JSON.stringify(event, null, 2);
  const header = Stripe.webhooks.generateTestHeaderString({ payload: body, secret: webhook.secret });
  const headers = { 'content-type': 'application/json; charset=utf-8', 'stripe-signature': header };
  const answer = await fetch(webhook.url, { method: 'POST', headers, body }).catch(() => undefined);
  if (answer?.ok) event.pending_webhooks = 0;
  return { event: event.id, status: answer?.status ?? 0, body: await answer?.text() };
}

/** Passes on what localstripe tells. */
export async function relay({ id, type, created, data }) {
  const object = await today(data.object);
  await tell(type, object, { id, created });
  if (type !== 'invoice.payment_succeeded') return;
  await tell('invoice.paid', object);
  const { subscription } = data.object;
  if (!subscription) return;
  const state = await localstripe.ask('GET', `/v1/subscriptions/${subscription}`);
  await tell('customer.subscription.updated', await today(state));
}
