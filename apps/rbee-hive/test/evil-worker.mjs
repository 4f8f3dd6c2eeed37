/**
 * The scripted worker, which does evil to some of the requests that it gets. Script (JSON after --script), beside its own:
 * evil, a list of {match: a pattern of `METHOD /path`, deed: the name of one of EVILS}.
 */
import http from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import { register } from 'tsx/esm/api';

register();
const { EVILS } = await import('../../../packages/daemon-kit/src/testing/evil-peer.ts');
const { evil = [] } = JSON.parse(process.argv[process.argv.indexOf('--script') + 1]);

const createServer = http.createServer;
http.createServer = (handler) =>
  createServer((request, response) => {
    const name = `${request.method} ${request.url}`;
    const rule = evil.find(({ match }) => new RegExp(match).test(name));
    if (rule) EVILS[rule.deed](request.socket);
    else handler(request, response);
  });
syncBuiltinESMExports();
await import('./scripted-worker.mjs');
