import { describe, expect, it } from '@jest/globals';
import { type Subject, toNetworkError, toRefusedError } from './hub-errors.js';

const LISTING: Subject = { endpoint: 'https://hub.example', repo: 'org/repo', hasToken: false };
const FILE: Subject = { ...LISTING, path: 'm.gguf' };
const NOW = Date.parse('2030-01-01T00:00:00Z');

const refuse = (status: number, headers: Record<string, string> = {}, subject = LISTING, fromHub = true) =>
  toRefusedError({ status, headers: new Map(Object.entries(headers)), host: 'hub.example', fromHub }, subject, NOW);

describe('a refusal of the hub', () => {
  it('with 404 is final and sends to the model page', () => {
    expect(refuse(404)).toMatchObject({
      code: 'MODEL_NOT_FOUND',
      retryable: false,
      message: 'there is no model hf:org/repo on hub.example',
      suggestion: expect.stringContaining('https://hub.example/org/repo'),
    });
    expect(refuse(404, {}, FILE).suggestion).toContain('rbee-keeper models variants hf:org/repo');
  });

  it.each<[string, number, Record<string, string>, boolean, RegExp]>([
    [
      'a licence to accept',
      403,
      { 'x-error-code': 'GatedRepo' },
      true,
      /^accept the licence on https:\/\/hub\.example\/org\/repo, then repeat/,
    ],
    ['a licence and no token', 401, { 'x-error-code': 'GatedRepo' }, false, /^accept the licence .*set HF_TOKEN/],
    [
      'no token',
      401,
      { 'x-error-code': 'RepoNotFound' },
      false,
      /^check the spelling .*if it is private, set HF_TOKEN/,
    ],
    ['a bad token', 401, {}, true, /token in HF_TOKEN or its file is valid/],
  ])('with 401 or 403 is final: %s', (_, status, headers, hasToken, suggestion) => {
    expect(refuse(status, headers, { ...LISTING, hasToken })).toMatchObject({
      code: 'MODEL_ACCESS_DENIED',
      retryable: false,
      suggestion: expect.stringMatching(suggestion),
    });
  });

  it('counts as one of the hub when a mirror sent us to it', () => {
    expect(refuse(403, { 'x-error-code': 'GatedRepo' }, FILE, false).code).toBe('MODEL_ACCESS_DENIED');
    expect(refuse(404, { 'x-error-code': 'EntryNotFound' }, FILE, false).code).toBe('MODEL_NOT_FOUND');
  });

  it.each([401, 403, 404])('with %d by a content host, whose links expire, may pass', (status) => {
    expect(refuse(status, {}, FILE, false)).toMatchObject({ code: 'DOWNLOAD_FAILED', retryable: true });
  });

  it.each([
    ['5', 5_000],
    ['0', 0],
    ['3600', 60_000],
    ['Tue, 01 Jan 2030 00:00:20 GMT', 20_000],
    ['Mon, 31 Dec 2029 00:00:00 GMT', 0],
    ['soon', undefined],
  ])('asks to wait: Retry-After %s', (value, expected) => {
    const { code, retryable, details } = refuse(429, { 'retry-after': value });
    expect({ code, retryable }).toEqual({ code: 'DOWNLOAD_FAILED', retryable: true });
    expect(details.retry_after_ms).toBe(expected);
  });
});

describe('a fault of the network', () => {
  const fault = (code: string, extra: object = {}) => Object.assign(new Error('deep inside'), { code, ...extra });

  it.each([
    ['ENOTFOUND', /no such host name \(DNS\)/],
    ['ECONNREFUSED', /connection refused/],
    ['UND_ERR_CONNECT_TIMEOUT', /no connection in time/],
    ['UND_ERR_SOCKET', /the connection broke/],
    ['CERT_HAS_EXPIRED', /certificate has expired/],
    ['HPE_INVALID_CONSTANT', /hpe invalid constant/],
  ])('%s is named', (code, reason) => {
    expect(toNetworkError(fault(code), 'cdn.example', FILE)).toMatchObject({
      code: 'DOWNLOAD_FAILED',
      retryable: true,
      message: expect.stringMatching(reason),
      details: { model: 'hf:org/repo', file: 'm.gguf', host: 'cdn.example', cause: code },
      suggestion: expect.any(String),
    });
  });

  it('is found where several addresses were tried, or below another error', () => {
    const several = new AggregateError([fault('ENETUNREACH'), fault('ECONNREFUSED')]);
    expect(toNetworkError(several, 'h', LISTING)).toMatchObject({ details: { cause: 'ECONNREFUSED' } });
    const wrapped = new Error('fetch failed', { cause: fault('EAI_AGAIN') });
    expect(toNetworkError(wrapped, 'h', LISTING)).toMatchObject({ details: { cause: 'EAI_AGAIN' } });
  });

  it('is not what a mistake of ours is taken for', () => {
    const bug = new TypeError('x is not a function');
    expect(toNetworkError(bug, 'h', LISTING)).toBe(bug);
  });
});
