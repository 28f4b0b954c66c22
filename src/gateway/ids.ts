import { randomBytes } from "node:crypto";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** 12 characters of this process, then a counter: unique without asking the system for randomness each time. */
const process12 = Array.from(randomBytes(12), (byte) => ALPHABET[byte % 62]).join("");
let counter = 0;

/** `[0-9A-Za-z]+`, unique among processes and restarts. */
export function newId(): string {
  return process12 + (++counter).toString(36).padStart(6, "0");
}
