export { decodeError, encodeError, isErrorBody, statusOf } from "../openai-errors.ts";
