// Promises with a job queue that can be run by hand, for engines that do not run
// their own. The algorithms are those of ECMAScript, step by step, without
// subclassing; test-promises.mjs holds them against the Promises/A+ suite.

const PENDING = 'pending';
const FULFILLED = 'fulfilled';
const REJECTED = 'rejected';

const jobs = [];

/** Rejected promises nobody has asked about yet. */
const unhandled = new Set();

export function queueJob(job) {
  jobs.push(job);
}

/** Runs jobs until none is left, those that jobs queue included. */
export function runJobs() {
  try {
    // By index, for `shift` would move the whole queue each time.
    for (let next = 0; next < jobs.length; next++) jobs[next]();
  } finally {
    jobs.length = 0;
  }
}

/** Forgets what is left of an event; answers the rejections nobody handled. */
export function reset() {
  const reasons = [...unhandled].map((promise) => reasonOf(promise));
  unhandled.clear();
  jobs.length = 0;
  return reasons;
}

let reasonOf;

export class Promise {
  #state = PENDING;
  #value;
  #reactions = [];

  static {
    reasonOf = (promise) => promise.#value;
  }

  constructor(executor) {
    if (typeof executor !== 'function') throw new TypeError('a promise needs a function');
    const { resolve, reject } = this.#resolvers();
    try {
      executor(resolve, reject);
    } catch (error) {
      reject(error);
    }
  }

  then(onFulfilled, onRejected) {
    unhandled.delete(this);
    return new Promise((resolve, reject) => {
      const react = () => {
        const [handle, pass] = this.#state === FULFILLED ? [onFulfilled, resolve] : [onRejected, reject];
        if (typeof handle !== 'function') return pass(this.#value);
        try {
          resolve(handle(this.#value));
        } catch (error) {
          reject(error);
        }
      };
      if (this.#state === PENDING) this.#reactions.push(react);
      else queueJob(react);
    });
  }

  catch(onRejected) {
    return this.then(undefined, onRejected);
  }

  finally(onFinally) {
    if (typeof onFinally !== 'function') return this.then(onFinally, onFinally);
    return this.then(
      (value) => Promise.resolve(onFinally()).then(() => value),
      (reason) => Promise.resolve(onFinally()).then(() => Promise.reject(reason)),
    );
  }

  /** The two functions that decide this promise; only the first call counts. */
  #resolvers() {
    let called = false;
    const once = (decide) => (value) => {
      if (called) return;
      called = true;
      decide(value);
    };
    return {
      resolve: once((value) => this.#resolve(value)),
      reject: once((reason) => this.#settle(REJECTED, reason)),
    };
  }

  #resolve(value) {
    if (value === this) return this.#settle(REJECTED, new TypeError('a promise cannot wait for itself'));
    if (!isObject(value)) return this.#settle(FULFILLED, value);
    let then;
    try {
      then = value.then; // read once: it may be a getter
    } catch (error) {
      return this.#settle(REJECTED, error);
    }
    if (typeof then !== 'function') return this.#settle(FULFILLED, value);
    queueJob(() => {
      const { resolve, reject } = this.#resolvers();
      try {
        then.call(value, resolve, reject);
      } catch (error) {
        reject(error);
      }
    });
  }

  #settle(state, value) {
    this.#state = state;
    this.#value = value;
    if (state === REJECTED && this.#reactions.length === 0) unhandled.add(this);
    this.#reactions.forEach(queueJob);
    this.#reactions = undefined;
  }

  static resolve(value) {
    return value instanceof Promise ? value : new Promise((resolve) => resolve(value));
  }

  static reject(reason) {
    return new Promise((_, reject) => reject(reason));
  }

  static withResolvers() {
    let resolve, reject;
    const promise = new Promise((...functions) => ([resolve, reject] = functions));
    return { promise, resolve, reject };
  }

  static try(callback, ...values) {
    return new Promise((resolve) => resolve(callback(...values)));
  }

  static all(promises) {
    return new Promise((resolve, reject) => collect(promises, (one, put) => one.then(put, reject), resolve));
  }

  static allSettled(promises) {
    const report = (one, put) =>
      one.then(
        (value) => put({ status: FULFILLED, value }),
        (reason) => put({ status: REJECTED, reason }),
      );
    return new Promise((resolve) => collect(promises, report, resolve));
  }

  static any(promises) {
    const fail = (reject) => (reasons) => reject(new AggregateError(reasons, 'all promises were rejected'));
    return new Promise((resolve, reject) => collect(promises, (one, put) => one.then(resolve, put), fail(reject)));
  }

  static race(promises) {
    return new Promise((resolve, reject) => {
      for (const one of promises) Promise.resolve(one).then(resolve, reject);
    });
  }

  get [Symbol.toStringTag]() {
    return 'Promise';
  }
}

/** Waits until each promise has put its result in its place, then finishes with all of them. */
function collect(promises, wait, finish) {
  const results = [];
  let missing = 1; // one for the loop itself, which may find nothing
  const done = () => --missing === 0 && finish(results);
  let place = 0;
  for (const one of promises) {
    const mine = place++;
    missing++;
    wait(Promise.resolve(one), (result) => {
      results[mine] = result;
      done();
    });
  }
  done();
}

function isObject(value) {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
