// What a browser shows of the platform's own pages, and what it complains of.
//
//   node browse.mjs '{"chromium": "/usr/bin/chromium", "visits": [{"url": "http://…",
//     "fill": {"password": "…"}, "press": "#go", "until": "a text to wait for"}]}'
//
// Says for each visit the text of the page, what the browser complained of, and which other
// hosts it asked; and at last the cookies it has kept.

import { chromium } from 'playwright-core';

const job = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: job.chromium,
  // Its sandbox does not run as root.
  args: process.getuid() === 0 ? ['--no-sandbox'] : [],
});
const context = await browser.newContext();
const seen = [];
for (const visit of job.visits) {
  const page = await context.newPage();
  const complaints = [];
  const strangers = [];
  const own = new URL(visit.url).host;
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith('http') && url.host !== own) strangers.push(request.url());
  });
  await page.goto(visit.url, { waitUntil: 'networkidle' });
  for (const [name, text] of Object.entries(visit.fill ?? {})) {
    await page.locator(`#${name}`).fill(text);
  }
  if (visit.press) await page.locator(visit.press).first().click();
  let missing = null;
  await page.getByText(visit.until).first().waitFor({ timeout: 15_000 })
    .catch(() => { missing = visit.until; });
  const text = await page.locator('body').innerText();
  seen.push({ text, missing, complaints, strangers, address: page.url() });
  await page.close();
}
const cookies = await context.cookies();
await browser.close();
console.log(JSON.stringify({ seen, cookies }));
