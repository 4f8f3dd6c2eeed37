import type { Route, RouteTable } from '@rbee/protocol';
import type { NextFunction, Request, Response } from 'express';
import { checkBearer } from './bearer.js';
import type { Logger } from './logger.js';
import type { Secret } from './secret-file.js';

export interface Admission {
  /** The key that callers need now; without one every caller is let in. Read for each request. */
  readonly key?: Secret | undefined;
  /** Keys of the workers that the service knows now, for the routes with `callers: 'workers'`. */
  readonly workerKeys?: (() => Iterable<Secret>) | undefined;
  /** Who refuses, for the message. */
  readonly service?: string | undefined;
  readonly log: Logger;
}

/** One address of a route. */
export interface Address {
  readonly route: Route;
  readonly method: string;
  readonly path: string;
}

/** Every address of a table, aliases included. */
export function addressesOf(routes: RouteTable): Address[] {
  return Object.values(routes).flatMap((route) =>
    [{ method: route.method, path: route.path }, ...(route.aliases ?? [])].map((address) => ({
      route,
      method: address.method ?? route.method,
      path: address.path,
    })),
  );
}

/** A pattern for the paths of an address as they stand in a request, undecoded. */
export function toPathPattern(path: string): RegExp {
  return new RegExp(`^${path.replace(/[.+]/g, '\\$&').replace(/\{\w+\}/g, '[^/]+')}/?$`);
}

/**
 * The check in front of everything: whoever shows no right key learns neither which paths there are nor what is wrong with a
 * request, and nothing of a body is read. Only the paths of open routes are let through, whatever the method.
 */
export function authenticate(routes: RouteTable, admission: Admission) {
  const addresses = addressesOf(routes).map((address) => ({ ...address, pattern: toPathPattern(address.path) }));
  const open = addresses.filter(({ route }) => route.open);
  const workers = addresses.filter(({ route }) => route.callers === 'workers');
  return (request: Request, response: Response, next: NextFunction): void => {
    const path = pathOf(request);
    if (!open.some(({ pattern }) => pattern.test(path))) {
      const forWorkers = workers.some(({ method, pattern }) => method === request.method && pattern.test(path));
      response.locals.caller = admit(request, response, admission, forWorkers);
      response.locals.admitted = true;
    }
    next();
  };
}

function admit(request: Request, response: Response, admission: Admission, forWorkers: boolean): string | undefined {
  const { key, workerKeys, service, log } = admission;
  if (!key) return undefined;
  const keys = forWorkers ? [key, ...(workerKeys?.() ?? [])] : [key];
  const named = log.with({ correlation_id: response.locals.correlationId });
  return checkBearer(request.headers.authorization, keys, named, service);
}

/** The path of a request as it was sent; a target that is none gives the empty path, which no route has. */
export function pathOf(request: Request): string {
  try {
    return request.path ?? '';
  } catch {
    // What does not even parse as an address is refused like any other path without a route.
    return '';
  }
}
