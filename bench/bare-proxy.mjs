/**
 * What relaying costs at the least: a node:http server that pipes every request to one address and the answer back, and does
 * nothing else. Usage: node bare-proxy.mjs PORT TARGET_URL KEY.
 */
import { createServer, request } from 'node:http';

const [port, target, key] = process.argv.slice(2);
createServer((incoming, outgoing) => {
  if (incoming.url === '/health') return void outgoing.end('ok');
  const headers = { 'Content-Type': 'application/json', Accept: 'text/event-stream', Authorization: `Bearer ${key}` };
  const upstream = request(target, { method: 'POST', headers }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
    outgoing.flushHeaders();
    answer.pipe(outgoing);
  });
  incoming.pipe(upstream);
}).listen(Number(port), '127.0.0.1');
