import type { z } from 'zod';

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** How a route answers when nothing fails; every failure is the error envelope. */
export type Answer =
  /** One JSON body; the first status is the default. */
  | { readonly kind: 'json'; readonly schema: z.ZodType; readonly status?: readonly number[] }
  /** Server-sent events, ended by `data: [DONE]`; `json` is the body for callers that asked for no stream. */
  | {
      readonly kind: 'sse';
      readonly events: z.ZodType;
      readonly json?: z.ZodType;
      /** Events go out without a name (their kind is in another field than `type`). */
      readonly unnamed?: true;
    }
  | { readonly kind: 'text' }
  /** A file, whole or the range that was asked for. */
  | { readonly kind: 'bytes' }
  /** 204 without a body. */
  | { readonly kind: 'empty' };

export interface Route {
  readonly method: Method;
  /** Path with `{parameter}` places, as in `/v1/workers/{worker_id}`. */
  readonly path: string;
  /** Older or neighbouring paths that behave the same. */
  readonly aliases?: readonly { readonly method?: Method; readonly path: string }[];
  /** Answers without a key: for health only. */
  readonly open?: true;
  /** Who else may call than the holder of the service's key: with `workers`, each worker that the service knows, with its own key. */
  readonly callers?: 'workers';
  /** The caller waits longer than for a usual call: no total deadline unless one is given. */
  readonly slow?: true;
  /** How often an idle stream shows that it lives, in milliseconds, where its reader must notice silence soon. Default 10 s. */
  readonly keepAliveMs?: number;
  readonly params?: z.ZodType;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  /** The body is a stream of bytes that the handler reads itself, of any length. */
  readonly upload?: true;
  readonly answer: Answer;
}

/** The routes of one service by name; server and client interpret the same table. */
export type RouteTable = Readonly<Record<string, Route>>;

type Output<T> = T extends z.ZodType ? z.output<T> : undefined;
type Input<T> = T extends z.ZodType ? z.input<T> : undefined;

export type ParamsOf<R extends Route> = Output<R['params']>;
export type QueryOf<R extends Route> = Output<R['query']>;
export type BodyOf<R extends Route> = Output<R['body']>;
export type BodyInputOf<R extends Route> = Input<R['body']>;
export type QueryInputOf<R extends Route> = Input<R['query']>;
export type JsonOf<R extends Route> = R['answer'] extends { kind: 'json'; schema: infer S } ? Output<S> : undefined;
export type EventOf<R extends Route> = R['answer'] extends { kind: 'sse'; events: infer S } ? Output<S> : undefined;

/** Checks a table's shape without widening its types. */
export function defineRoutes<const T extends RouteTable>(routes: T): T {
  return routes;
}

/** The path with its parameters filled in, each percent-encoded. Throws when one is missing. */
export function fillPath(path: string, params: Readonly<Record<string, string>> = {}): string {
  return path.replace(/\{(\w+)\}/g, (_place, name: string) => {
    const value = params[name];
    if (value === undefined) throw new TypeError(`the path ${path} needs the parameter ${name}`);
    return encodeURIComponent(value);
  });
}
