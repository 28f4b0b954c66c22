import type { Dialect, Operation, PathFacts, Route } from "../core/dialect.ts";

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
  const literal = new Map<string, { route: Route; dialect: Dialect }[]>();
  const patterns: { start: string; end: string; route: Route; dialect: Dialect }[] = [];
  for (const dialect of dialects) {
    for (const route of dialect.routes) {
      for (const prefix of ["", dialect.prefix]) {
        const path = prefix + route.path;
        // The front page of an application is its own, whoever is mounted in it.
        if (path === "/") continue;
        const hole = path.indexOf("{model}");
        if (hole === -1) literal.set(path, [...(literal.get(path) ?? []), { route, dialect }]);
        else patterns.push({ start: path.slice(0, hole), end: path.slice(hole + 7), route, dialect });
      }
    }
  }

  return ({ method, path, headers }) => {
    const own = OWN[path];
    if (own) return method === "GET" || method === "HEAD" ? { own } : undefined;
    const known = literal.get(path);
    if (known) {
      const fits = known.filter(({ route }) => route.method === method);
      if (fits.length === 0) {
        const allow = [...new Set(known.map((each) => each.route.method))].join(", ");
        return { allow, dialect: preferred(known, headers).dialect };
      }
      const { route, dialect } = preferred(fits, headers);
      return { dialect, operation: route.operation, path: factsOf(route) };
    }
    const fits = patterns.filter(
      ({ start, end, route }) =>
        route.method === method &&
        path.length > start.length + end.length &&
        path.startsWith(start) &&
        path.endsWith(end),
    );
    if (fits.length === 0) return undefined;
    const { start, end, route, dialect } = preferred(fits, headers);
    try {
      return {
        dialect,
        operation: route.operation,
        path: {
          ...factsOf(route),
          model: decodeURIComponent(path.slice(start.length, path.length - end.length)),
        },
      };
    } catch {
      return undefined;
    }
  };
}

const factsOf = ({ stream }: Route): PathFacts => (stream === undefined ? {} : { stream });

function preferred<T extends { dialect: Dialect }>(fits: readonly T[], headers: RequestLine["headers"]): T {
  if (fits.length === 1) return fits[0]!;
  return fits.find(({ dialect }) => dialect.knownBy?.some((name) => headers[name] !== undefined)) ?? fits[0]!;
}
