import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { findConfigFile } from './find-config-file.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rbee-find-config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (...path: string[]) => join(folder, ...path);
const find = (variables: Record<string, string> = {}, flag?: string) =>
  findConfigFile({ home: at('home'), cwd: folder, variables: { RBEE_SYSTEM_ROOT: at('system'), ...variables } }, flag);

/** A configuration file whose only value tells which one it is. */
function write(path: string, port: number): string {
  mkdirSync(dirname(at(path)), { recursive: true });
  writeFileSync(at(path), `[queen]\nport = ${port}\n`);
  return at(path);
}

const USER = 'home/.config/rbee/config.toml';
const SYSTEM = 'system/etc/rbee/config.toml';

describe('the configuration file', () => {
  it('is that of the flag, of the variable, of the user, of the system, or none', () => {
    const port = (found: ReturnType<typeof find>) => (found.file?.content.queen as { port: number } | undefined)?.port;
    expect(find()).toEqual({ file: undefined, searched: [at(USER), at(SYSTEM)] });
    const system = write(SYSTEM, 7001);
    expect(find()).toMatchObject({ file: { name: system }, searched: [at(USER), system] });
    const user = write(USER, 7002);
    expect(find()).toEqual({ file: { name: user, content: { queen: { port: 7002 } } }, searched: [user] });
    write('variable.toml', 7003);
    expect(port(find({ RBEE_CONFIG: 'variable.toml' }))).toBe(7003);
    expect(port(find({ RBEE_CONFIG: '' }))).toBe(7002);
    const flag = write('flag.toml', 7004);
    expect(find({ RBEE_CONFIG: 'variable.toml' }, 'flag.toml')).toMatchObject({
      file: { name: flag },
      searched: [flag],
    });
    expect(port(find({}, 'flag.toml'))).toBe(7004);
  });

  it('of the user lies where XDG_CONFIG_HOME says, if that is absolute', () => {
    const elsewhere = write('xdg/rbee/config.toml', 7001);
    const user = write(USER, 7002);
    expect(find({ XDG_CONFIG_HOME: at('xdg') }).file?.name).toBe(elsewhere);
    expect(find({ XDG_CONFIG_HOME: 'xdg' }).file?.name).toBe(user);
    expect(find({ XDG_CONFIG_HOME: '' }).file?.name).toBe(user);
  });

  it('of the system lies in /etc', () => {
    const { searched } = findConfigFile({ home: at('home'), cwd: folder, variables: {} });
    expect(searched[1]).toBe('/etc/rbee/config.toml');
  });

  it.each([
    ['--config', {}, 'none.toml', /--config/],
    ['RBEE_CONFIG', { RBEE_CONFIG: 'none.toml' }, undefined, /RBEE_CONFIG/],
  ])('that %s names has to be there', (_what, variables, flag, advice) => {
    write(USER, 7002);
    expect(() => find(variables, flag)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: `the configuration file ${at('none.toml')} cannot be read (ENOENT)`,
        details: { file: at('none.toml'), cause: 'ENOENT' },
        suggestion: expect.stringMatching(advice),
      }),
    );
  });

  it('that is no file, or no TOML, is not passed over', () => {
    mkdirSync(at(USER), { recursive: true });
    expect(() => find()).toThrow(/EISDIR/);
    rmSync(at(USER), { recursive: true });
    writeFileSync(at(USER), 'queen = = 1\n');
    expect(() => find()).toThrow(/not valid TOML, line 1/);
  });

  it('that is closed to this user is passed over only if it is the system’s', () => {
    const [user, system] = [write(USER, 7002), write(SYSTEM, 7001)];
    for (const file of [user, system]) chmodSync(file, 0);
    const { getuid, seteuid } = process;
    // Nothing is closed to root.
    const root = getuid?.() === 0;
    chmodSync(folder, 0o755);
    if (root) seteuid?.(65_534);
    try {
      expect(() => find()).toThrow(
        expect.objectContaining({ message: expect.stringContaining(`${user} cannot be read (EACCES)`) }),
      );
      if (root) seteuid?.(0);
      rmSync(user);
      if (root) seteuid?.(65_534);
      expect(find()).toEqual({ file: undefined, searched: [user, system] });
      expect(() => find({}, system)).toThrow(/EACCES/);
    } finally {
      if (root) seteuid?.(0);
    }
  });
});
