/** What models of this dialect do differently. Each is asked with the upstream's name of the model. */
export interface GeminiStyle {
  /** Calls of the turn under way must carry a signature, or the API's word for one that is lost. @default no model */
  signedCalls?: (model: string) => boolean;
  /** Media may stand in a function's response; otherwise they follow it. @default no model */
  mediaInResults?: (model: string) => boolean;
  /** Instructions are written as the user's text. @default no model */
  systemAsUser?: (model: string) => boolean;
}
