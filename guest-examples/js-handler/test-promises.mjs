// Holds promise.mjs against the Promises/A+ suite, and the rest of what
// quickjs.mjs fills in against node's own: `npm test`.

import assert from 'node:assert/strict';
import suite from 'promises-aplus-tests';
import { Promise as Ours, runJobs } from './promise.mjs';
import { install } from './event-loop.mjs';

// Written without `await`, which would bring in node's own promises.
const programs = {
  combinators(P) {
    const no = () => P.reject('no');
    const outcome = (promise) => promise.then((value) => ['ok', value], (error) => ['err', error?.errors ?? error]);
    return P.all([
      outcome(P.all([P.resolve(1), 2, P.resolve(3)])),
      outcome(P.all([P.resolve(1), no()])),
      outcome(P.all([])),
      outcome(P.any([no(), P.resolve(2)])),
      outcome(P.any([no(), no()])),
      outcome(P.any([])),
      outcome(P.race([P.resolve(1), no()])),
      outcome(P.allSettled([P.resolve(1), no(), 3])),
      outcome(P.all(7).catch((error) => error.name)),
      outcome(P.resolve(1).finally(() => 2)),
      outcome(no().finally(() => 2)),
      outcome(P.resolve(1).finally(no)),
      outcome(P.resolve(P.resolve(P.resolve(4)))),
    ]);
  },

  // The number of turns each thing takes is part of the language.
  order(P) {
    const said = [];
    const say = (word) => () => said.push(word);
    const done = P.resolve();
    let turns = done;
    for (let turn = 0; turn < 20; turn++) turns = turns.then(say(turn));
    new P((resolve) => resolve(done)).then(say('adopted'));
    done.then(() => P.resolve()).then(say('returned'));
    done.finally(say('finally')).then(say('after finally'));
    done.finally(() => P.reject()).catch(say('finally failed'));
    P.reject().catch(say('caught')).then(say('after caught'));
    P.all([done, 1]).then(say('all'));
    P.any([P.reject(), 1]).then(say('any'));
    P.race([done]).then(say('race'));
    P.allSettled([done]).then(say('settled'));
    return turns.then(() => said);
  },
};

/** Runs a program in the loop, on a clock that moves only when it is slept on. */
function inTheLoop(program) {
  const { Promise, queueMicrotask, setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate } = globalThis;
  let time = 0;
  const slept = [];
  const run = install({ now: () => time, sleep: (ms) => (slept.push(ms), (time += ms)) });
  try {
    return { value: run(program), slept };
  } finally {
    Object.assign(globalThis, { Promise, queueMicrotask, setTimeout, clearTimeout, setInterval, clearInterval, setImmediate, clearImmediate });
  }
}

for (const [name, program] of Object.entries(programs)) {
  assert.deepEqual(inTheLoop(() => program(Ours)).value, await program(Promise), name);
}

const timers = inTheLoop(() => {
  const said = [];
  setTimeout(() => said.push('late'), 30);
  setTimeout((word) => said.push(word), 10, 'early');
  clearTimeout(setTimeout(() => said.push('never'), 15));
  const interval = setInterval(() => said.push('tick'), 20);
  queueMicrotask(() => said.push('job'));
  return new Promise((resolve) => setTimeout(resolve, 70)).then(() => said);
});
assert.deepEqual(timers.value, ['job', 'early', 'tick', 'late', 'tick', 'tick']);
assert.deepEqual(timers.slept, [10, 10, 10, 10, 20, 10]);

assert.throws(() => inTheLoop(() => new Promise(() => {})), /never happens/);
assert.throws(() => inTheLoop(() => Promise.reject(new Error('out'))), /out/);
console.log('the loop: ok');

// The suite waits with node's timers, so our jobs are run between those.
(function pump() {
  runJobs();
  setImmediate(pump);
})();

suite({ deferred: () => Ours.withResolvers(), resolved: Ours.resolve, rejected: Ours.reject }, { reporter: 'dot' }, (error) => {
  process.exit(error ? 1 : 0);
});
