import { createHash } from "node:crypto";

/**
 * Opaque bytes that only their fake can have issued, such as encrypted reasoning: Base64 of a head, what they are about,
 * and a check over both. Nothing needs to be remembered to know them again.
 */
export class Seal {
  readonly #head: Buffer;

  /** @param head first bytes, the provider's own: with them real ones are recognised at a glance */
  constructor(head: readonly number[]) {
    this.#head = Buffer.from(head);
  }

  /** @param about at most 255 characters, ASCII */
  issue(about: string): string {
    const told = Buffer.concat([this.#head, Buffer.from([about.length]), Buffer.from(about, "latin1")]);
    return Buffer.concat([told, check(told)]).toString("base64");
  }

  /** What it was issued about; undefined when it was not issued here, or tampered with. */
  read(value: string): string | undefined {
    const bytes = Buffer.from(value, "base64");
    const told = bytes.subarray(0, -CHECK_BYTES);
    const at = this.#head.length;
    const isOurs = told.subarray(0, at).equals(this.#head) && told[at] === told.length - at - 1;
    return isOurs && check(told).equals(bytes.subarray(-CHECK_BYTES)) ? told.toString("latin1", at + 1) : undefined;
  }
}

const CHECK_BYTES = 24;

function check(told: Uint8Array): Buffer {
  return createHash("sha256").update("fake seal").update(told).digest().subarray(0, CHECK_BYTES);
}
