// The entry for StarlingMonkey, which has timers and waits for an async export
// by itself.

import { adapt } from './adapt.mjs';
import agent from 'agent-handler';

export const handler = adapt(agent.default ?? agent);
