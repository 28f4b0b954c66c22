export const ID = "openai-responses";
