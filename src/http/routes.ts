import type { Dialect, Operation, PathFacts } from "../core/dialect.ts";

export interface RouteMatch {
  dialect: Dialect;
  operation: Operation | "hello";
  /** What the path tells, where the route says it there. */
  path: PathFacts;
}

/** Routes that belong to no dialect. */
export type OwnRoute = "health" | "ready" | "me";

const OWN: Readonly<Record<string, OwnRoute>> = { "/healthz": "health", "/readyz": "ready", "/v1/me": "me" };

export type Found = RouteMatch | { own: OwnRoute } | { allow: string; dialect: Dialect } | undefined;

export interface RequestLine {
  method: string;
  /** Without query. */
  path: string;
  headers: Readonly<Record<string, string | undefined>>;
}

/**
 * Matches on the path alone (clients add `?beta=true` and more). Every dialect's routes stand at the root and under
 * its prefix; where two dialects share a path (`/v1/models`), the headers tell which one the caller speaks.
 */
export function routeTable(dialects: readonly Dialect[]): (line: RequestLine) => Found {
  const literal = new Map<string, Methods>();
  const patterns: Pattern[] = [];
  for (const dialect of dialects) {
    for (const { method, path, operation, stream } of dialect.routes) {
      const match: RouteMatch = { dialect, operation, path: stream === undefined ? {} : { stream } };
      for (const prefix of ["", dialect.prefix]) {
        const full = prefix + path;
        // The front page of an application is its own, whoever is mounted in it.
        if (full === "/") continue;
        const hole = full.indexOf("{model}");
        if (hole === -1) {
          const methods: Methods = literal.get(full) ?? new Map();
          literal.set(full, methods.set(method, [...(methods.get(method) ?? []), match]));
        } else patterns.push({ method, start: full.slice(0, hole), end: full.slice(hole + 7), match });
      }
    }
  }

  return ({ method, path, headers }) => {
    const methods = literal.get(path);
    const known = methods?.get(method);
    if (known) return preferred(known, headers);
    if (methods) {
      return {
        allow: [...methods.keys()].join(", "),
        dialect: preferred([...methods.values()].flat(), headers).dialect,
      };
    }
    const own = OWN[path];
    if (own) return method === "GET" || method === "HEAD" ? { own } : undefined;
    const fits = patterns.filter(
      ({ method: taken, start, end }) =>
        taken === method && path.length > start.length + end.length && path.startsWith(start) && path.endsWith(end),
    );
    if (fits.length === 0) return undefined;
    const match = preferred(
      fits.map((each) => each.match),
      headers,
    );
    const { start, end } = fits.find((each) => each.match === match)!;
    try {
      const model = decodeURIComponent(path.slice(start.length, path.length - end.length));
      return { ...match, path: { ...match.path, model } };
    } catch {
      return undefined;
    }
  };
}

/** What each method of a path means; more than one thing where dialects share it. */
type Methods = Map<string, readonly RouteMatch[]>;

interface Pattern {
  method: string;
  start: string;
  end: string;
  match: RouteMatch;
}

function preferred<T extends { dialect: Dialect }>(fits: readonly T[], headers: RequestLine["headers"]): T {
  if (fits.length === 1) return fits[0]!;
  return fits.find(({ dialect }) => dialect.knownBy?.some((name) => headers[name] !== undefined)) ?? fits[0]!;
}
