// An event loop in one function call. An export must not return before the
// handler is done, so it runs the handler's jobs and timers itself and blocks on
// the clock when there is nothing to do but wait.

import { Promise, queueJob, reset, runJobs } from './promise.mjs';

/**
 * Replaces the globals that need a loop, and answers the function that runs one
 * event: it calls `start` and returns, or throws, what its promise comes to.
 * `clock` has `now()` and `sleep(ms)`.
 */
export function install(clock) {
  const timers = new Map(); // in the order they were set
  let lastId = 0;

  function set(callback, delay, values, every) {
    const ms = Math.max(0, Number(delay) || 0);
    timers.set(++lastId, { due: clock.now() + ms, run: () => callback(...values), every: every && Math.max(1, ms) });
    return lastId;
  }

  /** Runs the timer that is due first, after waiting for it. */
  function runNextTimer() {
    let next;
    for (const [id, timer] of timers) if (!next || timer.due < next.due) next = { id, ...timer };
    if (!next) throw new Error('the handler waits for something that never happens');

    const wait = next.due - clock.now();
    if (wait > 0) clock.sleep(wait);
    if (next.every) timers.get(next.id).due = clock.now() + next.every;
    else timers.delete(next.id);
    next.run();
  }

  Object.assign(globalThis, {
    Promise,
    queueMicrotask: (callback) => queueJob(() => callback()),
    setTimeout: (callback, delay, ...values) => set(callback, delay, values),
    setInterval: (callback, delay, ...values) => set(callback, delay, values, true),
    setImmediate: (callback, ...values) => set(callback, 0, values),
    clearTimeout: (id) => void timers.delete(id),
    clearInterval: (id) => void timers.delete(id),
    clearImmediate: (id) => void timers.delete(id),
  });

  return function runToCompletion(start) {
    let outcome;
    try {
      start().then(
        (value) => (outcome = { value }),
        (error) => (outcome = { error }),
      );
      for (runJobs(); !outcome; runJobs()) runNextTimer();
    } finally {
      // What was left undone dies with its event, as it would on a host that
      // takes a fresh instance for each.
      timers.clear();
      for (const reason of reset()) console.error('nobody handled a rejection:', reason);
    }
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  };
}
