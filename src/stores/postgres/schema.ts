/**
 * Tables and functions of the store. Each operation is one function, so one call is one round trip and one transaction,
 * and works through any pool and through PgBouncer. All take and answer one JSON text: no driver settings for `bigint`
 * or `json` can get between.
 *
 * Locks, always in this order, so that two calls cannot wait for each other:
 * 1. an advisory lock on the reservation's id (at most one per call);
 * 2. the reservation's row;
 * 3. rows of counters by name (bytes) and bucket. A rolling window has an anchor row before all its buckets: two
 *    reserves in neighbouring buckets would otherwise not see each other.
 * Rows are locked before they are read, so READ COMMITTED is enough.
 */
import { ENDED_KEPT_MS } from "../../budget/arithmetic.ts";

export const SCHEMA_VERSION = 1;

/** What a migration fails with that another process has done meanwhile: its statements would wait for all live calls. */
export const MIGRATED = "turnpike schema is up to date";

const MAX_UNITS = Number.MAX_SAFE_INTEGER;
const ANCHOR = "(-9223372036854775808)";

/** A name as SQL reads it. @throws TypeError when it cannot be one. */
export function quoteName(name: unknown): string {
  if (typeof name !== "string" || name === "" || name.includes("\0") || Buffer.byteLength(name) > 63) {
    throw new TypeError("schema must be a name of 1 to 63 bytes");
  }
  return `"${name.replaceAll('"', '""')}"`;
}

/** One multi-statement text is one transaction, and each statement can be repeated. `s`: the quoted schema. */
export function migration(s: string): string {
  return `
SELECT pg_advisory_xact_lock(hashtextextended('turnpike migrate ' || ${text(s)}, 0));
CREATE SCHEMA IF NOT EXISTS ${s};
CREATE TABLE IF NOT EXISTS ${s}.version(one boolean PRIMARY KEY DEFAULT true CHECK(one), version int NOT NULL);
DO $do$ BEGIN
  IF (SELECT version FROM ${s}.version) > ${SCHEMA_VERSION} THEN
    RAISE EXCEPTION 'turnpike newer schema %', (SELECT version FROM ${s}.version);
  ELSIF (SELECT version FROM ${s}.version) = ${SCHEMA_VERSION} THEN
    RAISE EXCEPTION '${MIGRATED}';
  END IF;
END $do$;

CREATE TABLE IF NOT EXISTS ${s}.counter(
  key text COLLATE "C" NOT NULL,
  win bigint NOT NULL,
  used bigint NOT NULL DEFAULT 0 CHECK(used BETWEEN 0 AND ${MAX_UNITS}),
  held bigint NOT NULL DEFAULT 0 CHECK(held BETWEEN 0 AND ${MAX_UNITS}),
  keep_until bigint NOT NULL,
  PRIMARY KEY(key, win)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS counter_old ON ${s}.counter(keep_until);

CREATE TABLE IF NOT EXISTS ${s}.reservation(
  id text COLLATE "C" PRIMARY KEY,
  state text NOT NULL CHECK(state IN ('held', 'settled', 'released', 'expired')),
  fp text NOT NULL,
  granted bigint NOT NULL,
  on_expire text NOT NULL CHECK(on_expire IN ('release', 'charge')),
  expires_at bigint NOT NULL,
  ended_at bigint,
  mark text NOT NULL,
  outcome text,
  overrun bigint,
  parts jsonb NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS reservation_live ON ${s}.reservation(expires_at) WHERE state = 'held';
CREATE INDEX IF NOT EXISTS reservation_ended ON ${s}.reservation(ended_at) WHERE state <> 'held';

${functions(s)}
INSERT INTO ${s}.version(version) VALUES(${SCHEMA_VERSION}) ON CONFLICT(one) DO UPDATE SET version = excluded.version;
`;
}

function functions(s: string): string {
  const define = (head: string, returns: string, body: string) =>
    `CREATE OR REPLACE FUNCTION ${s}.${head} RETURNS ${returns} LANGUAGE plpgsql AS $fn$\n${body}\n$fn$;\n`;

  return [
    define("now_ms()", "bigint", "BEGIN RETURN floor(extract(epoch FROM clock_timestamp()) * 1000); END"),

    // Whether something expired: a call that depends on it answers {"sweep": true} and is repeated after \`sweep\`.
    define(
      "due(t bigint)",
      "boolean",
      `BEGIN RETURN EXISTS(SELECT 1 FROM ${s}.reservation WHERE state = 'held' AND expires_at <= t); END`,
    ),

    // Locks a row of a counter and makes it when missing.
    define(
      "lock_row(k text, w bigint, keep bigint, OUT used bigint, OUT held bigint)",
      "record",
      `
BEGIN
  LOOP
    SELECT c.used, c.held INTO used, held FROM ${s}.counter c WHERE c.key = k AND c.win = w FOR UPDATE;
    EXIT WHEN FOUND;
    INSERT INTO ${s}.counter(key, win, keep_until) VALUES(k, w, keep) ON CONFLICT DO NOTHING;
  END LOOP;
END`,
    ),

    define(
      "change(k text, w bigint, du bigint, dh bigint, keep bigint)",
      "void",
      `
BEGIN
  LOOP
    UPDATE ${s}.counter c SET used = greatest(0, least(c.used + du, ${MAX_UNITS})), held = greatest(0, c.held + dh),
      keep_until = greatest(c.keep_until, keep) WHERE c.key = k AND c.win = w;
    EXIT WHEN FOUND;
    INSERT INTO ${s}.counter(key, win, keep_until) VALUES(k, w, keep) ON CONFLICT DO NOTHING;
  END LOOP;
END`,
    ),

    define(
      "reserve(input text)",
      "text",
      `
DECLARE
  p jsonb := input::jsonb;
  p_id text := p->>'id';
  want bigint := (p->>'want')::bigint;
  min bigint := (p->>'min')::bigint;
  force boolean := (p->>'force')::boolean;
  n int := jsonb_array_length(p->'holds');
  r ${s}.reservation;
  h record;
  t bigint; u bigint; hl bigint; room bigint; fits bigint;
  g bigint := want;
  is_denied boolean := false;
  is_due boolean;
  us bigint[] := array_fill(0::bigint, ARRAY[n]);
  hs bigint[] := array_fill(0::bigint, ARRAY[n]);
  parts jsonb := '[]';
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(${text(s)} || p_id, 0));
  t := ${s}.now_ms();
  SELECT * INTO r FROM ${s}.reservation WHERE id = p_id;
  IF FOUND THEN
    IF r.fp <> p->>'fp' THEN RETURN '{"kind":"conflict"}'; END IF;
    IF r.state = 'held' AND r.expires_at <= t AND NOT force THEN RETURN '{"kind":"sweep"}'; END IF;
  END IF;

  FOR h IN SELECT * FROM jsonb_to_recordset(p->'holds') AS x(i int, k text, b bigint, f bigint, s bigint, keep bigint,
    fx bigint, pu bigint, lim bigint) ORDER BY x.k COLLATE "C"
  LOOP
    IF r.id IS NOT NULL THEN
      SELECT least(coalesce(sum(c.used), 0), ${MAX_UNITS}), least(coalesce(sum(c.held), 0), ${MAX_UNITS}) INTO u, hl
        FROM ${s}.counter c WHERE c.key = h.k AND c.win BETWEEN h.f AND h.b;
    ELSIF h.s = 0 THEN
      SELECT l.used, l.held INTO u, hl FROM ${s}.lock_row(h.k, h.b, h.keep) l;
    ELSE
      PERFORM ${s}.lock_row(h.k, ${ANCHOR}, h.keep);
      PERFORM ${s}.lock_row(h.k, h.b, h.keep);
      -- Windows of later buckets have this one in them too, and this call may come when such a bucket was charged already.
      SELECT least(coalesce(sum(c.used), 0), ${MAX_UNITS}), least(coalesce(sum(c.held), 0), ${MAX_UNITS}) INTO u, hl
        FROM ${s}.counter c WHERE c.key = h.k AND c.win BETWEEN h.f AND 2 * h.b - h.f;
    END IF;
    us[h.i] := u;
    hs[h.i] := hl;
    CONTINUE WHEN h.lim IS NULL;
    room := h.lim - u - hl - h.fx;
    fits := CASE WHEN room < 0 THEN -1 WHEN h.pu = 0 THEN want ELSE room / h.pu END;
    is_denied := is_denied OR fits < min;
    g := least(g, fits);
  END LOOP;

  t := ${s}.now_ms();
  IF r.id IS NOT NULL THEN
    RETURN jsonb_build_object('kind', CASE WHEN r.mark = p->>'mark' THEN 'mine' ELSE 'replay' END,
      'granted', r.granted, 'now', t, 'used', us, 'held', hs)::text;
  END IF;
  is_due := ${s}.due(t);
  IF is_due AND NOT force AND (is_denied OR g < want) THEN RETURN '{"kind":"sweep"}'; END IF;
  IF NOT is_denied THEN
    FOR h IN SELECT * FROM jsonb_to_recordset(p->'holds') AS x(i int, k text, b bigint, keep bigint, fx bigint,
      pu bigint)
    LOOP
      IF us[h.i] + hs[h.i] + h.fx + g::numeric * h.pu > ${MAX_UNITS} THEN
        RETURN jsonb_build_object('kind', 'over', 'counter', h.k)::text;
      END IF;
      parts := parts || jsonb_build_object('k', h.k, 'b', h.b, 'a', h.fx + g * h.pu, 'keep', h.keep);
    END LOOP;
    FOR h IN SELECT * FROM jsonb_to_recordset(parts) AS x(k text, b bigint, a bigint, keep bigint)
      ORDER BY x.k COLLATE "C"
    LOOP
      UPDATE ${s}.counter c SET held = c.held + h.a, keep_until = greatest(c.keep_until, h.keep)
        WHERE c.key = h.k AND c.win = h.b;
    END LOOP;
    INSERT INTO ${s}.reservation(id, state, fp, granted, on_expire, expires_at, mark, parts)
      VALUES(p_id, 'held', p->>'fp', g, p->>'onx', t + (p->>'ttl')::bigint, p->>'mark', parts);
  END IF;
  RETURN jsonb_build_object('kind', CASE WHEN is_denied THEN 'denied' ELSE 'ok' END, 'granted', greatest(g, 0),
    'now', t, 'due', is_due, 'used', us, 'held', hs)::text;
END`,
    ),

    // op: settle or release.
    define(
      "finish(input text)",
      "text",
      `
DECLARE
  p jsonb := input::jsonb;
  p_id text := p->>'id';
  is_settle boolean := p->>'op' = 'settle';
  r ${s}.reservation;
  h record;
  t bigint;
  was text := 'unknown';
  is_charged boolean := false;
  du bigint; dh bigint;
  over numeric := 0;
  answer text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(${text(s)} || p_id, 0));
  SELECT * INTO r FROM ${s}.reservation WHERE id = p_id FOR UPDATE;
  t := ${s}.now_ms();
  IF FOUND THEN
    was := r.state;
    IF was = 'held' AND r.expires_at <= t THEN was := 'expired'; END IF;
    is_charged := was = 'expired' AND r.on_expire = 'charge';
  END IF;

  IF is_settle THEN
    SELECT x->>'k' INTO answer FROM jsonb_array_elements(p->'actual') AS e(x)
      WHERE NOT EXISTS(SELECT 1 FROM jsonb_array_elements(p->'holds') AS y(o) WHERE o->>'k' = x->>'k')
        AND NOT EXISTS(SELECT 1 FROM jsonb_array_elements(r.parts) AS y(o) WHERE o->>'k' = x->>'k') LIMIT 1;
    IF FOUND THEN RETURN jsonb_build_object('kind', 'unnamed', 'counter', answer)::text; END IF;
    IF was = 'settled' THEN
      IF r.mark = p->>'mark' THEN RETURN jsonb_build_object('kind', r.outcome, 'overrun', r.overrun)::text; END IF;
      RETURN '{"kind":"duplicate","overrun":0}';
    END IF;
  ELSE
    IF was = 'released' AND r.mark = p->>'mark' THEN RETURN '{"kind":"released"}'; END IF;
    IF was NOT IN ('held', 'expired') OR r.state = 'expired' THEN RETURN '{"kind":"gone"}'; END IF;
  END IF;

  FOR h IN
    SELECT coalesce(a.k, b.k) AS k, coalesce(a.b, b.b) AS b, coalesce(a.keep, b.keep) AS keep, a.k IS NOT NULL AS is_part,
      coalesce(a.a, 0) AS amount, coalesce(c.a, 0) AS actual
    FROM jsonb_to_recordset(coalesce(r.parts, '[]')) AS a(k text, b bigint, a bigint, keep bigint)
    FULL JOIN jsonb_to_recordset(coalesce(p->'holds', '[]')) AS b(k text, b bigint, keep bigint) ON a.k = b.k
    LEFT JOIN jsonb_to_recordset(coalesce(p->'actual', '[]')) AS c(k text, a bigint) ON c.k = coalesce(a.k, b.k)
    ORDER BY coalesce(a.k, b.k) COLLATE "C"
  LOOP
    du := 0;
    dh := CASE WHEN h.is_part AND r.state = 'held' THEN -h.amount ELSE 0 END;
    IF is_settle THEN
      du := h.actual - CASE WHEN is_charged AND r.state = 'expired' THEN h.amount ELSE 0 END;
      over := over + greatest(0, h.actual - CASE WHEN was = 'held' OR is_charged THEN h.amount ELSE 0 END);
    ELSIF is_charged THEN
      du := h.amount;
    END IF;
    IF du <> 0 OR dh <> 0 THEN PERFORM ${s}.change(h.k, h.b, du, dh, h.keep); END IF;
  END LOOP;

  over := least(over, ${MAX_UNITS});
  IF is_settle THEN
    answer := CASE was WHEN 'held' THEN 'settled' ELSE 'late-' || was END;
    IF r.id IS NULL THEN
      INSERT INTO ${s}.reservation(id, state, fp, granted, on_expire, expires_at, ended_at, mark, outcome, overrun, parts)
        VALUES(p_id, 'settled', '', 0, 'release', t, t, p->>'mark', answer, over, '[]');
    ELSE
      UPDATE ${s}.reservation SET state = 'settled', ended_at = t, mark = p->>'mark', outcome = answer, overrun = over,
        parts = '[]' WHERE id = p_id;
    END IF;
    RETURN jsonb_build_object('kind', answer, 'overrun', over)::text;
  END IF;
  answer := CASE was WHEN 'held' THEN 'released' ELSE 'expired' END;
  UPDATE ${s}.reservation SET state = answer, ended_at = t, mark = p->>'mark' WHERE id = p_id;
  RETURN jsonb_build_object('kind', answer)::text;
END`,
    ),

    define(
      "renew(input text)",
      "text",
      `
DECLARE
  p jsonb := input::jsonb;
  p_id text := p->>'id';
  r ${s}.reservation;
  h record;
  t bigint;
  moved bigint;
  rest jsonb := '[]';
  bad text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(${text(s)} || p_id, 0));
  SELECT * INTO r FROM ${s}.reservation WHERE id = p_id FOR UPDATE;
  t := ${s}.now_ms();
  IF NOT FOUND OR r.state <> 'held' OR r.expires_at <= t THEN RETURN '{"kind":"lost"}'; END IF;
  SELECT x->>'k' INTO bad FROM jsonb_array_elements(p->'charge') AS e(x)
    WHERE NOT EXISTS(SELECT 1 FROM jsonb_array_elements(r.parts) AS y(o) WHERE o->>'k' = x->>'k') LIMIT 1;
  IF FOUND THEN RETURN jsonb_build_object('kind', 'unnamed', 'counter', bad)::text; END IF;

  -- The same call once more, after a lost answer, must not charge twice.
  IF r.mark <> p->>'mark' AND jsonb_array_length(p->'charge') > 0 THEN
    FOR h IN SELECT a.*, coalesce(c.a, 0) AS charge
      FROM jsonb_to_recordset(r.parts) AS a(k text, b bigint, a bigint, keep bigint)
      LEFT JOIN jsonb_to_recordset(p->'charge') AS c(k text, a bigint) ON c.k = a.k ORDER BY a.k COLLATE "C"
    LOOP
      moved := least(h.charge, h.a);
      IF h.charge > 0 THEN PERFORM ${s}.change(h.k, h.b, h.charge, -moved, h.keep); END IF;
      rest := rest || jsonb_build_object('k', h.k, 'b', h.b, 'a', h.a - moved, 'keep', h.keep);
    END LOOP;
  ELSE
    rest := r.parts;
  END IF;
  UPDATE ${s}.reservation SET expires_at = greatest(expires_at, t + (p->>'ttl')::bigint), mark = p->>'mark',
    parts = rest WHERE id = p_id;
  RETURN '{"kind":"ok"}';
END`,
    ),

    // Ends what expired, at most a batch; others that do the same meanwhile take the next ones.
    define(
      "sweep(most int)",
      "int",
      `
DECLARE
  t bigint := ${s}.now_ms();
  r record;
  h record;
  ids text[] := '{}';
  parts jsonb := '[]';
BEGIN
  FOR r IN SELECT id, on_expire, v.parts FROM ${s}.reservation v WHERE state = 'held' AND expires_at <= t
    ORDER BY expires_at LIMIT most FOR UPDATE SKIP LOCKED
  LOOP
    ids := ids || r.id;
    parts := parts || (SELECT coalesce(jsonb_agg(x || jsonb_build_object('c', r.on_expire = 'charge')), '[]')
      FROM jsonb_array_elements(r.parts) AS e(x));
  END LOOP;
  FOR h IN SELECT x.k, x.b, sum(x.a)::bigint AS a, coalesce(sum(x.a) FILTER (WHERE x.c), 0)::bigint AS charged,
      max(x.keep) AS keep
    FROM jsonb_to_recordset(parts) AS x(k text, b bigint, a bigint, keep bigint, c boolean)
    GROUP BY x.k, x.b ORDER BY x.k COLLATE "C", x.b
  LOOP
    PERFORM ${s}.change(h.k, h.b, h.charged, -h.a, h.keep);
  END LOOP;
  UPDATE ${s}.reservation SET state = 'expired', ended_at = t WHERE id = ANY(ids);
  RETURN cardinality(ids);
END`,
    ),

    define(
      "usage(input text)",
      "text",
      `
DECLARE
  p jsonb := input::jsonb;
BEGIN
  IF NOT (p->>'force')::boolean AND ${s}.due(${s}.now_ms()) THEN RETURN '{"kind":"sweep"}'; END IF;
  RETURN (SELECT jsonb_build_object('kind', 'ok', 'used', coalesce(jsonb_agg(u ORDER BY i), '[]'),
      'held', coalesce(jsonb_agg(h ORDER BY i), '[]'))::text
    FROM (
      SELECT q.i, least(coalesce(sum(c.used), 0), ${MAX_UNITS}) AS u, least(coalesce(sum(c.held), 0), ${MAX_UNITS}) AS h
      FROM jsonb_to_recordset(p->'refs') AS q(i int, k text, f bigint, b bigint)
      LEFT JOIN ${s}.counter c ON c.key = q.k AND c.win BETWEEN q.f AND q.b GROUP BY q.i
    ) AS sums);
END`,
    ),

    // Forgets old rows, at most so many of each kind.
    define(
      "collect(most int)",
      "void",
      `
DECLARE
  t bigint := ${s}.now_ms();
BEGIN
  DELETE FROM ${s}.reservation WHERE id IN (SELECT id FROM ${s}.reservation
    WHERE state <> 'held' AND ended_at <= t - ${ENDED_KEPT_MS} LIMIT most FOR UPDATE SKIP LOCKED);
  DELETE FROM ${s}.counter WHERE (key, win) IN (SELECT key, win FROM ${s}.counter
    WHERE keep_until <= t AND held = 0 LIMIT most FOR UPDATE SKIP LOCKED);
END`,
    ),
  ].join("\n");
}

function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
