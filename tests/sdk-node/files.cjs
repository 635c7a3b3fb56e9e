// The three samples of the public documentation on files, as they stand there, and what
// calls them: `node files.cjs <session id> <file to upload>` prints what they came to.
const samples = {};

// "SDK example", list accessible files
samples.list = async function handler({ session, reply }) {
  const files = await fetch(
    `${process.env.AIYBIZ_API_URL}/agent/sessions/${session.id}/files`,
    { headers: { Authorization: `Bearer ${session.agentAuthToken}` } }
  ).then((r) => r.json());

  const readable = files.filter((f) => f.type === 'file' && f.storagePath);
  await reply(`I can see ${readable.length} file(s): ${readable.map((f) => f.name).join(', ')}`);
};

// "SDK example — fetch file content"
async function downloadFile(session, nodeId) {
  const { signedUrl } = await fetch(
    `${process.env.AIYBIZ_API_URL}/agent/sessions/${session.id}/files/${nodeId}/download-url`,
    { headers: { Authorization: `Bearer ${session.agentAuthToken}` } }
  ).then((r) => r.json());

  const content = await fetch(signedUrl).then((r) => r.arrayBuffer());
  return Buffer.from(content);
}

// "SDK example — full upload flow"
const fs = require('fs');

async function uploadResult(session, filePath, fileName) {
  const apiBase = process.env.AIYBIZ_API_URL;
  const headers = {
    Authorization: `Bearer ${session.agentAuthToken}`,
    'Content-Type': 'application/json',
  };

  // Step 1: get signed upload URL
  const { nodeId, storagePath, signedUrl } = await fetch(
    `${apiBase}/agent/sessions/${session.id}/files/upload-url`,
    { method: 'POST', headers, body: JSON.stringify({ name: fileName }) }
  ).then((r) => r.json());

  // Step 2: upload
  const bytes = fs.readFileSync(filePath);
  await fetch(signedUrl, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/octet-stream' },
    body: bytes,
  });

  // Step 3: confirm
  const node = await fetch(
    `${apiBase}/agent/sessions/${session.id}/files/${nodeId}/complete-upload`,
    {
      method: 'POST',
      headers,
      body: JSON.stringify({
        storagePath,
        fileSize: bytes.length,
        mimeType: 'application/octet-stream',
      }),
    }
  ).then((r) => r.json());

  return node;
}

// Not of the documentation: the caller.
(async () => {
  const [id, path] = process.argv.slice(2);
  const session = { id, agentAuthToken: process.env.AGENT_TOKEN };
  let said;
  const node = await uploadResult(session, path, 'result.bin');
  await samples.list({ session, reply: async (text) => { said = text; } });
  const content = await downloadFile(session, node.id);
  const same = content.equals(fs.readFileSync(path));
  console.log(JSON.stringify({ node, said, same, bytes: content.length }));
})();
