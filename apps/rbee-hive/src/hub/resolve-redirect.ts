import { downloadFailed, type Subject } from './hub-errors.js';

/** Where a redirect leads. Throws DOWNLOAD_FAILED for an address that is none, and where encryption would end. */
export function resolveRedirect(from: URL, location: string, subject: Subject): URL {
  const refuse = (why: string) => downloadFailed(subject, `${from.host} ${why}`, { reason: why, host: from.host });
  if (!URL.canParse(location, from.href)) throw refuse('sends us to an address that is none');
  const to = new URL(location, from);
  const isHttp = to.protocol === 'https:' || to.protocol === 'http:';
  if (!isHttp || (from.protocol === 'https:' && to.protocol === 'http:')) {
    throw refuse(`sends us to an address that is not safe (${to.protocol}//${to.host})`);
  }
  return to;
}
