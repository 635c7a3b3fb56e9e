// What a mailed link opens: an invitation to accept, a password to choose, an address to
// confirm. The link's secret is behind the #, which browsers send to nobody; it is taken
// out of the address at once, so that no history keeps it.

const kind = location.pathname.split('/').pop();
const token = location.hash.slice(1);
history.replaceState(null, '', location.pathname);

const at = (id) => document.getElementById(id);
const say = (text) => { at('what').textContent = text; };

async function ask(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: body ? { 'content-type': 'application/json' } : {},
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  const said = text ? JSON.parse(text) : {};
  if (!answer.ok) {
    throw Object.assign(new Error(said.detail ?? `The server answers ${answer.status}.`), said);
  }
  return said;
}

// Shows the fields, and does `then` with what was put in, until it works.
function form({ name, password, button }, then) {
  at('name-label').hidden = !name;
  at('password-label').hidden = !password;
  at('name').required = Boolean(name);
  at('password').required = Boolean(password);
  at('password-text').textContent = password ?? '';
  at('go').textContent = button;
  at('form').hidden = false;
  at('form').onsubmit = async (event) => {
    event.preventDefault();
    at('go').disabled = true;
    try {
      say(await then({ name: at('name').value, password: at('password').value }));
      at('form').hidden = true;
    } catch (error) {
      say(error.message);
    }
    at('go').disabled = false;
  };
}

const kinds = {
  async invitation() {
    const path = `/invitations/${encodeURIComponent(token)}`;
    const { company, email, hasAccount } = await ask('GET', path);
    const joined = `You are a member of ${company.name} now.`;
    if (!hasAccount) {
      say(`${company.name} invites ${email}. Who are you?`);
      form({ name: true, password: 'A password for your account', button: 'Accept' }, async (given) => {
        await ask('POST', `${path}/accept`, { ...given, cookie: true });
        return joined;
      });
      return;
    }
    say(`${company.name} invites ${email}. Sign in to accept.`);
    form({ password: `The password of ${email}`, button: 'Sign in and accept' }, async ({ password }) => {
      await ask('POST', '/auth/login', { email, password, cookie: true });
      await ask('POST', `${path}/accept`);
      return joined;
    });
  },
  async password() {
    say('Choose a new password for your account.');
    form({ password: 'New password', button: 'Keep it' }, async ({ password }) => {
      await ask('POST', '/auth/password/reset', { token, password });
      return 'You have a new password. Sign in with it.';
    });
  },
  async email() {
    say('Is this address to be that of your account?');
    form({ button: 'Confirm it' }, async () => {
      const { user } = await ask('POST', '/auth/email/confirm', { token });
      return `The address of your account is ${user.email} now.`;
    });
  },
};

try {
  await kinds[kind]();
} catch (error) {
  say(error.message);
}
