// Uploads a file with npm's tus-js-client, which comes back by itself when the host is
// gone. Tells how far it is, a number a line, and in the end where the file is and how
// often it had to begin a request anew.
import { createReadStream } from 'node:fs';
import { Upload } from 'tus-js-client';

const { host, token, path, chunk } = JSON.parse(process.argv[2]);
let retries = 0;
let told = 0;
const upload = new Upload(createReadStream(path), {
  endpoint: `${host}/files/tus`,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: 'large.bin', filetype: 'application/octet-stream' },
  chunkSize: chunk ?? Infinity,
  retryDelays: [100, 300, 1000, 3000, 5000, 5000],
  onShouldRetry: () => {
    retries += 1;
    return true;
  },
  onProgress: (sent) => {
    if (sent - told >= 1 << 20) {
      told = sent;
      console.log(sent);
    }
  },
  onError: (error) => {
    console.error(error);
    process.exit(1);
  },
  onSuccess: () => console.log(JSON.stringify({ url: upload.url, retries })),
});
upload.start();
