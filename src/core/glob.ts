/** `*` stands for any characters; everything else is literal. Linear: no regular expression of the user's is run. */
export function globMatcher(pattern: string): (text: string) => boolean {
  if (pattern === "*") return () => true;
  const pieces = pattern.split("*");
  if (pieces.length === 1) return (text) => text === pattern;
  const first = pieces[0]!;
  const last = pieces.at(-1)!;
  const middle = pieces.slice(1, -1);
  return (text) => {
    if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    for (const piece of middle) {
      const found = text.indexOf(piece, at);
      if (found === -1) return false;
      at = found + piece.length;
    }
    return at <= text.length - last.length;
  };
}

/** True when any of the patterns matches. */
export function anyGlob(patterns: string | readonly string[]): (text: string) => boolean {
  const matchers = (typeof patterns === "string" ? [patterns] : patterns).map(globMatcher);
  return matchers.length === 1 ? matchers[0]! : (text) => matchers.some((matches) => matches(text));
}
