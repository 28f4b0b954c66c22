/** The form of a virtual key: `tp-`, 256 random bits, and a checksum that tells a typo from an unknown key. */
import { hash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

const PREFIX = "tp-";
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** Digits that 256 bits and that 32 bits need in base 62. */
const SECRET_LENGTH = 43;
const CHECK_LENGTH = 6;
const FORM = new RegExp(`^${PREFIX}[0-9A-Za-z]{${SECRET_LENGTH + CHECK_LENGTH}}$`);

/** A new key, 52 characters that a double click selects as a whole after its prefix. */
export function newKey(): string {
  const secret = PREFIX + base62(BigInt(`0x${randomBytes(32).toString("hex")}`), SECRET_LENGTH);
  return secret + checksum(secret);
}

/** Whether a text claims to be such a key, right or mistyped. */
export const hasKeyPrefix = (text: string) => text.startsWith(PREFIX);

/** Whether a text can be such a key. Says nothing about who knows it; a mistyped or cut off one is told without a look-up. */
export function isKey(text: string): boolean {
  return FORM.test(text) && checksum(text.slice(0, -CHECK_LENGTH)) === text.slice(-CHECK_LENGTH);
}

/** SHA-256 of a key as `sha256:` and 64 hexadecimal digits: the only form in which it is kept. */
export function hashKey(key: string): string {
  return `sha256:${hash("sha256", key)}`;
}

/** Names a key in lists, logs and budgets; derived from nothing secret. */
export function newKeyId(): string {
  return `k${base62(BigInt(`0x${randomBytes(8).toString("hex")}`), 11)}`;
}

const checksum = (text: string) => base62(BigInt(crc32(text)), CHECK_LENGTH);

function base62(value: bigint, length: number): string {
  let text = "";
  for (let rest = value; text.length < length; rest /= 62n) text = DIGITS[Number(rest % 62n)] + text;
  return text;
}
