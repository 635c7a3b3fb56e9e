// A handler as the webhook SDK calls it: this file knows nothing of components.
// The builds beside it run it on two engines inside the host, ../webhook-node
// serves it, byte for byte the same, as a webhook.

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

module.exports = async function handler({ session, message, reply, sendTyping }) {
  await sendTyping();
  await pause(20); // thinking
  if (message.content === 'boom') throw new Error(`boom in session ${session.id}`);
  await reply(`js: ${message.content}`);
};
