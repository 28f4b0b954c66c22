export const ID = "gemini";
