import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { hiveRoutes } from './hive-routes.js';
import { queenRoutes } from './queen-routes.js';
import { fillPath, type Route, type RouteTable } from './route.js';
import { workerRoutes } from './worker-routes.js';

const tables: readonly (readonly [string, RouteTable])[] = [
  ['the queen', queenRoutes],
  ['a hive', hiveRoutes],
  ['a worker', workerRoutes],
];

const placesOf = (path: string) => [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);

/** Every method and path of a table, with the route's name, in the order in which a server tries them. */
function addressesOf(table: RouteTable) {
  return Object.entries(table).flatMap(([name, route]) =>
    [{ path: route.path }, ...(route.aliases ?? [])].map((address) => ({
      name,
      route: route as Route,
      method: 'method' in address && address.method ? address.method : route.method,
      path: address.path,
    })),
  );
}

describe.each(tables)('the routes of %s', (_name, table) => {
  const addresses = addressesOf(table);

  it('do not collide: each address leads to its own route', () => {
    for (const { name, method, path } of addresses) {
      const sample = path.replace(/\{\w+\}/g, 'x-1');
      const first = addresses.find(
        (other) => other.method === method && new RegExp(`^${other.path.replace(/\{\w+\}/g, '[^/]+')}$`).test(sample),
      );
      expect([method, path, first?.name]).toEqual([method, path, name]);
    }
  });

  it('are written once each', () => {
    const shapes = addresses.map(({ method, path }) => `${method} ${path.replace(/\{\w+\}/g, '{}')}`);
    expect(shapes.filter((shape, index) => shapes.indexOf(shape) !== index)).toEqual([]);
  });

  it('have a schema for exactly the parameters of each path', () => {
    for (const { route, path } of addresses) {
      const known = route.params instanceof z.ZodObject ? Object.keys(route.params.shape) : [];
      expect([path, placesOf(path)]).toEqual([path, known]);
    }
  });

  it('use plain paths that begin with a slash', () => {
    for (const { path } of addresses) expect(path).toMatch(/^(\/[a-z0-9-]+|\/\{[a-z_]+\})+$/);
  });

  it('take bodies only where HTTP has them', () => {
    for (const { route } of addresses) if (route.body) expect(['POST', 'PUT', 'PATCH']).toContain(route.method);
  });

  it('answer health without a key, on both paths', () => {
    const open = addresses.filter(({ route }) => route.open).map(({ method, path }) => `${method} ${path}`);
    expect(open).toEqual(expect.arrayContaining(['GET /health', 'GET /v1/health']));
  });
});

const namesWhere = (holds: (route: Route) => boolean) =>
  tables.map(([, table]) =>
    Object.entries(table)
      .filter(([, route]) => holds(route))
      .map(([name]) => name)
      .sort(),
  );

it('only health needs no key', () => {
  expect(namesWhere((route) => route.open === true)).toEqual([['health'], ['health'], ['health']]);
});

it('only what a worker reports to its hive takes the key of a worker', () => {
  expect(namesWhere((route) => route.callers === 'workers')).toEqual([[], ['heartbeat', 'workerReady'], []]);
});

describe('a filled path', () => {
  it('has its parameters percent-encoded', () => {
    expect(fillPath('/a/{x}/b/{y}', { x: 'a/b?#%', y: 'é ü' })).toBe('/a/a%2Fb%3F%23%25/b/%C3%A9%20%C3%BC');
  });

  it('needs all of them', () => {
    expect(() => fillPath('/a/{x}', {})).toThrow(/parameter x/);
    expect(() => fillPath('/a/{x}')).toThrow(TypeError);
  });

  it('without places stays as it is', () => expect(fillPath('/a', { x: '1' })).toBe('/a'));
});
