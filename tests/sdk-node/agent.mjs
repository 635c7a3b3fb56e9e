// An agent that behaves on the wire exactly as the published SDK does: it activates
// without a credential, derives the socket's address by swapping the prefix, says
// `ready` on every open, beats, connects again for ever with a growing delay (and never
// activates again), and gives every frame to its handler whatever its type is.
//
//   AIYBIZ_URL=http://host/t/<token> AIYBIZ_SESSION_ID=… node agent.mjs echo|bridge
//
// `echo` answers each message by a message to whoever it is from. `bridge` does what the
// SDK's stock bridge does: it greets on every open, pulses before and with each answer,
// and tells its schedule once after it has started.
//
// Everything that happens is told on standard output, one JSON array a line.

import WebSocket from 'ws';

const url = process.env.AIYBIZ_URL;
const sessionId = process.env.AIYBIZ_SESSION_ID;
const baseDelay = Number(process.env.AIYBIZ_RECONNECT_DELAY ?? 1_000);
const beat = Number(process.env.AIYBIZ_HEARTBEAT_INTERVAL ?? 30_000);
const bridge = process.argv[2] === 'bridge';
const capabilities = ['chat', 'llm'];

const tell = (...what) => console.log(JSON.stringify(what));

let socket;
let attempt = 0;

function send(frame) {
  // Silently nothing while it is closed.
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ ...frame, instanceId: sessionId, timestamp: Date.now() }));
}

const pulse = (content, meta) => send({ type: 'pulse', content, meta });

function handle(message) {
  tell('message', message);
  const answer = `echo: ${message.content}`;
  if (!bridge) return send({ type: 'message', to: message.from, content: answer });
  if (message.type !== 'message' || !message.content?.trim()) return;
  pulse('⏳ Processing...', { processing: true });
  pulse(answer);
}

function open() {
  const opened = new WebSocket(`${url.replace(/^http/, 'ws')}/agent/ws?sessionId=${sessionId}`);
  socket = opened;
  opened.on('open', () => {
    attempt = 0;
    tell('open');
    send({ type: 'ready', capabilities });
    if (bridge) pulse('Agent is online and ready.', { sessionId });
  });
  opened.on('message', (data) => {
    let message;
    try {
      message = JSON.parse(data.toString());
    } catch {
      return;
    }
    handle(message);
  });
  opened.on('error', (error) => tell('error', error.message));
  opened.on('close', (code, reason) => {
    tell('close', code, reason.toString());
    const capped = Math.min(baseDelay * 2 ** attempt++, 30_000);
    setTimeout(open, Math.round(capped * (0.8 + Math.random() * 0.4)));
  });
}

async function call(method, path, body) {
  const answer = await fetch(`${url}/agent/sessions/${sessionId}/${path}`, {
    method,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  tell(path, answer.status, await answer.json());
  return answer.ok;
}

if (!(await call('POST', 'activate', { capabilities }))) process.exit(1);
open();
// Not through `send`: the SDK's beat has no instanceId.
setInterval(() => {
  if (socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: 'heartbeat', timestamp: Date.now() }));
}, beat);
if (bridge) {
  const job = {
    id: 'report', title: 'Report', description: '', prompt: 'Write the report.',
    schedule: '0 */2 * * *', nextRunAt: new Date(0).toISOString(), lastRunAt: null,
    lastRunState: null,
  };
  await call('PUT', 'cron-jobs', { jobs: [job] });
}
