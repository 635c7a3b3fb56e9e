// Between two shapes of one agent: the webhook SDK's handler, a single async
// function, and the exports of aiybiz:agent@0.1.0, one function per event.
// Knows nothing of the engine it runs on.

import * as host from 'aiybiz:agent/session@0.1.0';
import * as secrets from 'aiybiz:agent/secrets@0.1.0';
import * as log from 'aiybiz:agent/log@0.1.0';

const ROLES = { client: 'user', agent: 'agent', platform: 'platform' };

/** The contract's exports, each as an async function. */
export function adapt(handler) {
  if (typeof handler !== 'function') throw new TypeError('the module must export a handler function');
  return {
    // The SDK tells a handler of messages only.
    async onSessionStarted() {},
    async onSessionEnded() {},

    async onMessage({ id, content, author, createdAt }) {
      const message = { id, content, role: ROLES[author], createdAt: new Date(Number(createdAt)) };
      try {
        await handler({ session, message, reply, sendTyping });
      } catch (error) {
        console.error(error);
        // As a webhook would be, which answers 500 when its handler throws.
        throw { tag: 'retry', val: String(error?.message ?? error) };
      }
    },
  };
}

// Getters, for nothing may be asked of the host while the component is built,
// and so that the token is in the guest's memory only if the handler wants it.
const session = {
  get id() {
    return host.id();
  },
  get agentAuthToken() {
    const secret = secrets.get('aiybiz.agent-auth-token');
    try {
      return secret.reveal();
    } finally {
      // Otherwise the host keeps the handle until the engine collects garbage.
      secret[Symbol.dispose]?.();
    }
  },
};

async function reply(content) {
  try {
    return host.reply(String(content));
  } catch (error) {
    throw new Error(`reply was not sent: ${describe(error)}`);
  }
}

async function sendTyping() {
  host.sendTyping();
}

// What the handler prints is a log entry of its level, not a line of stdout.
const LEVELS = { trace: 'trace', debug: 'debug', log: 'info', info: 'info', warn: 'warn', error: 'error' };
globalThis.console ??= {};
for (const [method, level] of Object.entries(LEVELS)) {
  console[method] = (...values) => log.write(level, values.map(describe).join(' '), []);
}

/** A value as text. Errors of the host carry the contract's variant as `payload`. */
function describe(value) {
  if (typeof value === 'string') return value;
  if (value?.payload !== undefined) value = value.payload;
  // One engine's stack begins with the message, another's does not.
  else if (value instanceof Error) return `${value.name}: ${value.message}\n${value.stack ?? ''}`.trimEnd();
  const json = JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? String(inner) : inner));
  return json ?? String(value);
}
