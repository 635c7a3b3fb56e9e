// Follows sessions as a client does whose connections break all the time.
//
//   node follow.mjs '{"client": "eventsource" | "chromium" | "tickets", "host": "http://…",
//     "token": "…", "sessions": ["…"], "types": ["…"], "cuts": 1000, "seed": 1,
//     "chromium": "/usr/bin/chromium"}'
//
// Says `following` on a line when the clients begin, and `enough` when so many
// connections were cut; goes on until the sessions have ended and every client was
// sent away; then says what was seen and how it was cut.

import { execFileSync } from 'node:child_process';
import { EventSource } from 'eventsource';
import { chromium } from 'playwright-core';
import { cutter, PAGE } from './cutter.mjs';
import { follow, followWithOneTicket, followWithTickets } from './witness.mjs';

const job = JSON.parse(process.argv[2]);
const authorization = `Bearer ${job.token}`;
const { hostname: host, port } = new URL(job.host);
const proxy = await cutter({
  host,
  port,
  authorization: job.client === 'chromium' ? authorization : undefined,
  random: mulberry32(job.seed),
  secure: job.client === 'eventsource' ? undefined : certificate(),
});
const watch = setInterval(() => {
  if (proxy.tally.cuts < job.cuts) return;
  clearInterval(watch);
  console.log('enough');
}, 20);

const clients = { eventsource: inNode, chromium: inBrowser, tickets: inBrowser };
const result = await clients[job.client]();
clearInterval(watch);
proxy.stop();
console.log(JSON.stringify({ ...result, tally: proxy.tally }));

async function inNode() {
  globalThis.EventSource = class extends EventSource {
    constructor(url) {
      const withToken = (url, init) =>
        fetch(url, { ...init, headers: { ...init.headers, authorization } });
      super(url, { fetch: withToken });
    }
  };
  console.log('following');
  return { seen: await Promise.all(job.sessions.map((session) => follow(task(session)))) };
}

async function inBrowser() {
  const browser = await chromium.launch({
    executablePath: job.chromium,
    // Its sandbox does not run as root.
    args: ['--ignore-certificate-errors', ...(process.getuid() === 0 ? ['--no-sandbox'] : [])],
  });
  const page = await browser.newPage();
  await page.goto(proxy.url + PAGE);
  console.log('following');
  const tickets = job.client === 'tickets';
  const witness = tickets ? followWithTickets : follow;
  const [alone, ...seen] = await Promise.all([
    tickets && page.evaluate(followWithOneTicket, task(job.sessions[0])),
    ...job.sessions.map((session) => page.evaluate(witness, task(session))),
  ]);
  await browser.close();
  return { browser: browser.version(), alone, seen };
}

function task(session) {
  return { url: `${proxy.url}/sessions/${session}/stream`, types: job.types, authorization };
}

/** A key and a certificate that nobody has vouched for. */
function certificate() {
  const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost';
  const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] };
  const both = execFileSync('openssl', [...request.split(' '), '-keyout', '-'], options);
  return { key: both, cert: both };
}

/** Random numbers that a seed repeats. */
function mulberry32(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
