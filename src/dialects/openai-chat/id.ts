export const ID = "openai-chat";
