// Builds a handler as a component: node build.mjs [handler.js] [starling] [quickjs]
//
// Without arguments: handler.js on both engines, into ../out/. A handler may use
// npm packages and several files; esbuild makes one module of them.

import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build as bundle } from 'esbuild';

const HERE = import.meta.dirname;
const WIT = path.join(HERE, '../../wit');
const OUT = path.join(HERE, '../out');

const engines = {
  // 12 MB, and 10 s to compile at upload; the JavaScript of a browser.
  async starling(source) {
    const { componentize } = await import('@bytecodealliance/componentize-js');
    const { component } = await componentize(source, {
      witPath: WIT,
      worldName: 'agent',
      // An agent is not an HTTP server, and this one makes no requests. Take
      // 'http' out of the list for a handler that calls `fetch`.
      disableFeatures: ['fetch-event', 'http'],
    });
    return component;
  },

  // 1 MB, and 1 s to compile; no `fetch`, `URL` or `crypto`.
  async quickjs(source) {
    const { componentize } = (await import('componentize-qjs')).default;
    const witPath = await mkdtemp(path.join(tmpdir(), 'wit-'));
    try {
      await cp(path.join(HERE, 'quickjs.wit'), path.join(witPath, 'quickjs.wit'));
      await cp(WIT, path.join(witPath, 'deps/agent'), { recursive: true });
      const { component } = await componentize({ jsSource: source, witPath, world: 'agent', sync: true, optSize: true });
      return component;
    } finally {
      await rm(witPath, { recursive: true });
    }
  },
};

/** One ES module of the engine's entry, the adapter and the handler. */
async function bundled(handler, engine) {
  const { outputFiles } = await bundle({
    entryPoints: [path.join(HERE, `${engine}.mjs`)],
    alias: { 'agent-handler': handler },
    external: ['aiybiz:*', 'wasi:*'],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2022',
    // `await` becomes a call into quickjs.mjs's own promises.
    supported: engine === 'quickjs' ? { 'async-await': false, 'async-generator': false, 'for-await': false } : {},
  });
  return outputFiles[0].text;
}

const args = process.argv.slice(2);
const files = args.filter((arg) => !(arg in engines));
if (files.length > 1) {
  console.error(`usage: node build.mjs [handler.js] [${Object.keys(engines).join('] [')}]`);
  process.exit(2);
}
const handler = path.resolve(files[0] ?? path.join(HERE, 'handler.js'));
const wanted = args.filter((arg) => arg in engines);

await mkdir(OUT, { recursive: true });
for (const engine of wanted.length ? wanted : Object.keys(engines)) {
  const component = await engines[engine](await bundled(handler, engine));
  const file = path.join(OUT, `js-${engine}.wasm`);
  await writeFile(file, component);
  console.log(`${path.relative(process.cwd(), file)}: ${component.length} bytes`);
}
