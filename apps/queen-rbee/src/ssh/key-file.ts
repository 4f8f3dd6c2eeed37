const MAGIC = 'openssh-key-v1\0';

/** The public key in a private key file of OpenSSH's own format, where it stands unencrypted; else `undefined`. */
export function publicPart(text: string): Buffer | undefined {
  const match = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]+?)-----END/.exec(text);
  const content = Buffer.from(match?.[1] ?? '', 'base64');
  if (content.toString('latin1', 0, MAGIC.length) !== MAGIC) return undefined;
  let offset = MAGIC.length;
  const next = () => {
    const end = offset + 4 + content.readUInt32BE(offset);
    const field = content.subarray(offset + 4, end);
    offset = end;
    return field;
  };
  try {
    // Cipher, key derivation and its options stand before the number of keys, which is always 1.
    for (let i = 0; i < 3; i++) next();
    offset += 4;
    return next();
  } catch (error) {
    // A file that was cut off.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
