// What a client of the event stream sees. Runs in Node.js and, sent there as text,
// in a browser: each function stands for itself and uses `EventSource` as it is.

/**
 * Follows a session from the start of its log until the host tells its EventSource
 * to stay away. Returns all there was: an event as `[type, lastEventId, data]`, and
 * `['open', '', '']` wherever a connection began.
 */
export function follow({ url, types }) {
  const seen = [];
  const source = new EventSource(`${url}?after=0`);
  for (const type of types) {
    source.addEventListener(type, (event) => seen.push([type, event.lastEventId, event.data]));
  }
  source.addEventListener('open', () => seen.push(['open', '', '']));
  return new Promise((resolve) => {
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED) resolve(seen);
    });
  });
}

/**
 * Follows a session with tickets. One opens one stream, so that an EventSource must
 * not come back by itself: for each stream there is a new one, which goes on
 * after what the one before has seen.
 */
export async function followWithTickets({ url, types, authorization }) {
  const seen = [];
  let last = 0;
  for (;;) {
    const answer = await fetch(`${url}-ticket`, { method: 'POST', headers: { authorization } });
    const { ticket } = await answer.json();
    const source = new EventSource(`${url}?after=${last}&ticket=${ticket}`);
    for (const type of types) {
      source.addEventListener(type, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        seen.push([type, event.lastEventId, event.data]);
      });
    }
    source.addEventListener('open', () => seen.push(['open', '', '']));
    await new Promise((resolve) => source.addEventListener('error', resolve));
    source.close();
    if (seen.some(([type]) => type === 'session_ended')) return seen;
  }
}

/** What becomes of an EventSource with a ticket that is left to itself. */
export async function followWithOneTicket({ url, authorization }) {
  const answer = await fetch(`${url}-ticket`, { method: 'POST', headers: { authorization } });
  const { ticket } = await answer.json();
  const source = new EventSource(`${url}?after=0&ticket=${ticket}`);
  let streams = 0;
  source.addEventListener('open', () => { streams += 1; });
  return new Promise((resolve) => {
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED) resolve({ streams });
    });
  });
}
