export const ID = "anthropic-messages";
