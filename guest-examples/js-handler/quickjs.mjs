// The entry for QuickJS, which lacks what a handler takes for granted: inside an
// export it runs no promise jobs (an async function silently stops at its first
// `await`), it has no timers, and its random seed is part of the snapshot, hence
// the same in every instance. All three are filled in from WASI.
//
// The build lowers async functions to generators, so that `await` uses the
// `Promise` found here and not the engine's own.

import * as clock from 'wasi:clocks/monotonic-clock@0.2.12';
import * as random from 'wasi:random/random@0.2.12';

import { install } from './event-loop.mjs';
import { adapt } from './adapt.mjs';

const NS_PER_MS = 1e6;

const runToCompletion = install({
  now: () => Number(clock.now()) / NS_PER_MS,
  sleep: (ms) => clock.subscribeDuration(Math.ceil(ms * NS_PER_MS)).block(),
});

// 53 random bits, as many as fit a number between 0 and 1.
Math.random = () => {
  const [first, ...rest] = random.getRandomBytes(7);
  return rest.reduce((bits, byte) => bits * 256 + byte, first & 31) / 2 ** 53;
};

// Required, not imported: it must be loaded when the globals are in place.
const agent = require('agent-handler');
const { onSessionStarted, onMessage, onSessionEnded } = adapt(agent.default ?? agent);

export const handler = {
  onSessionStarted: () => runToCompletion(onSessionStarted),
  onMessage: (message) => runToCompletion(() => onMessage(message)),
  onSessionEnded: (reason) => runToCompletion(() => onSessionEnded(reason)),
};
