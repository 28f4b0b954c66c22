import { randomBytes } from "node:crypto";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** 12 characters of this process, then a counter: unique without asking the system for randomness each time. */
const process12 = Array.from(randomBytes(12), (byte) => ALPHABET[byte % 62]).join("");
let counter = 0;

/** `[0-9A-Za-z]+`, unique among processes and restarts. */
export function newId(): string {
  let rest = ++counter;
  let text = "";
  do {
    text = ALPHABET[rest % 62]! + text;
    rest = Math.floor(rest / 62);
  } while (rest > 0);
  return process12 + text.padStart(6, "0");
}
