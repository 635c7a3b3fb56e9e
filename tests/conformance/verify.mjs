// Asks the npm libraries whether they take deliveries for ours.
//
// Reads `[{secret, now, headers, body}]` from its standard input; `now` is the
// receiver's clock in seconds. Says `{library: [verdict]}`, a verdict for each.

import { text } from 'node:stream/consumers';
import * as standard from 'standardwebhooks';
import * as svix from 'svix';

const deliveries = JSON.parse(await text(process.stdin));
const verdicts = {};
for (const [name, library] of Object.entries({ standardwebhooks: standard, svix })) {
  verdicts[`npm ${name}`] = deliveries.map((delivery) => verdict(library, delivery));
}
console.log(JSON.stringify(verdicts));

function verdict({ Webhook, WebhookVerificationError }, { secret, now, headers, body }) {
  // The libraries ask the machine what time it is; here it says what it is told.
  Date.now = () => now * 1000;
  try {
    new Webhook(secret).verify(body, headers);
    return 'accepted';
  } catch (error) {
    // Anything else is a library that broke, which is no verdict.
    if (error instanceof WebhookVerificationError) return error.message;
    throw error;
  }
}
