/**
 * The store's operations as Lua. Each runs as one atomic step in Redis 6.2 or later and in Valkey. What the tests of the
 * prototype taught:
 * - never `tostring` a number (`1e+15`) and beware of `-0`: `I` writes whole numbers;
 * - every key is declared, because Cluster, Dragonfly and Valkey may insist. A script that finds a reservation with
 *   other counters than its caller guessed writes nothing and answers `parts`; the caller calls again with the keys;
 * - scripts tell conflicts and losses as answers: an error may be retried by a client.
 *
 * Keys, all with one hash tag: `r:<id>` a reservation (hash), `x` when live reservations expire (sorted set of ids),
 * `c:…` the buckets of a counter (hash of `<bucket>u` and `<bucket>h`, and `t`, the latest bucket that it has).
 * Fields of a reservation: s state, f fingerprint, g granted, x onExpire, e expires at, c its parts as JSON of the
 * caller (opaque here), a their amounts, n mark of the last writer, o and v the outcome and overrun of its settlement.
 */
import { createHash } from "node:crypto";
import { ENDED_KEPT_MS } from "../../budget/arithmetic.ts";

export interface Script {
  readonly text: string;
  readonly sha: string;
}

/** Most expired reservations that one answer names. */
export const SWEEP_BATCH = 100;

const COMMON = `
local MAX, DAY = 9007199254740991, ${ENDED_KEPT_MS}
local function I(x) if x == 0 then return '0' end return string.format('%.0f', x) end
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000)
local function due(key, most) return redis.call('ZRANGEBYSCORE', key, '-inf', I(now), 'LIMIT', '0', I(most)) end

-- Life of a counter's key: only ever longer.
local function keep(key, untilMs)
  local left = redis.call('PTTL', key)
  if left < 0 or now + left < untilMs then redis.call('PEXPIREAT', key, I(untilMs)) end
end

-- One bucket. used stays at MAX once there; held never falls below 0, should the key have been evicted.
local function change(key, bucket, used, held, untilMs)
  local v = redis.call('HMGET', key, bucket .. 'u', bucket .. 'h', 't')
  local u = math.max(0, math.min((v[1] or 0) + used, MAX))
  local h = math.max(0, (v[2] or 0) + held)
  local t = math.max(tonumber(bucket), tonumber(v[3] or bucket))
  redis.call('HSET', key, bucket .. 'u', I(u), bucket .. 'h', I(h), 't', I(t))
  keep(key, math.max(untilMs, now + DAY))
end

-- A window: count keys from keyAt on; for each of them ARGV has its first and last bucket from argAt on.
local function sums(keyAt, argAt, count, step)
  local u, h = 0, 0
  for k = 0, count - 1 do
    local first, last = tonumber(ARGV[argAt + 2 * k]), tonumber(ARGV[argAt + 2 * k + 1])
    if first < last then last = math.min(last, tonumber(redis.call('HGET', KEYS[keyAt + k], 't') or first)) end
    local fields = {}
    for b = first, last, step do
      fields[#fields + 1] = I(b) .. 'u'
      fields[#fields + 1] = I(b) .. 'h'
    end
    local v = #fields > 0 and redis.call('HMGET', KEYS[keyAt + k], unpack(fields)) or {}
    for j = 1, #fields, 2 do
      u = math.min(u + (v[j] or 0), MAX)
      h = math.min(h + (v[j + 1] or 0), MAX)
    end
  end
  return u, h
end

local function split(text)
  local list = {}
  for number in string.gmatch(text or '', '[^,]+') do list[#list + 1] = tonumber(number) end
  return list
end
`;

/**
 * KEYS: reservation, expiries, then the keys of each hold. ARGV: id, fingerprint, ttl, want, min, onExpire, parts, mark,
 * force, holds; per hold: fixed, perUnit, limit (-1: none), keepUntil, bucket, position of its key (from 0), step, keys,
 * then first and last bucket of each key. Answers: kind, granted, now, "something is due", then used and held of each hold before this call.
 */
export const RESERVE = script(`
local id, fp, ttl, want, min = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local force, n = ARGV[9] == '1', tonumber(ARGV[10])
local old = redis.call('HMGET', KEYS[1], 's', 'f', 'g', 'e', 'n')
if old[1] then
  if old[2] ~= fp then return {'conflict'} end
  if old[1] == 'held' and tonumber(old[4]) <= now and not force then return {'sweep', id} end
end

local answer = {'', '0', I(now), '0'}
local granted, isDenied, over = want, false, 0
local plan = {}
local key, at = 3, 11
for i = 1, n do
  local fixed, per, limit = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local charged, step, count = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  local u, h = sums(key, at + 8, count, step)
  answer[#answer + 1] = I(u)
  answer[#answer + 1] = I(h)
  if limit >= 0 then
    local room, fits = limit - u - h - fixed, want
    if room < 0 then fits = -1 elseif per > 0 then fits = math.floor(room / per) end
    if fits < min then isDenied = true end
    if fits < granted then granted = fits end
  end
  plan[i] = {KEYS[key + charged], ARGV[at + 4], fixed, per, tonumber(ARGV[at + 3]), u + h}
  key, at = key + count, at + 8 + 2 * count
end

if old[1] then
  answer[1], answer[2] = old[5] == ARGV[8] and 'mine' or 'replay', old[3]
  return answer
end
local expired = due(KEYS[2], force and 1 or ${SWEEP_BATCH})
if #expired > 0 then answer[4] = '1' end
if (isDenied or granted < want) and #expired > 0 and not force then
  table.insert(expired, 1, 'sweep')
  return expired
end
if isDenied then answer[1] = 'denied' return answer end
for i = 1, n do
  if not (plan[i][6] + plan[i][3] + granted * plan[i][4] <= MAX) then return {'over', I(i)} end
end

local amounts = {}
for i = 1, n do
  local p = plan[i]
  local amount = p[3] + granted * p[4]
  change(p[1], p[2], 0, amount, math.max(p[5], now + ttl + DAY))
  amounts[i] = I(amount)
end
redis.call('HSET', KEYS[1], 's', 'held', 'f', fp, 'g', I(granted), 'x', ARGV[6], 'e', I(now + ttl), 'c', ARGV[7],
  'a', table.concat(amounts, ','), 'n', ARGV[8])
redis.call('ZADD', KEYS[2], I(now + ttl), id)
answer[1], answer[2] = 'ok', I(granted)
return answer
`);

/**
 * KEYS: reservation, expiries, keys of the parts, keys of the counters beyond the parts. ARGV: id, operation (settle,
 * release, expire, or look, which only tells the parts), parts, number of parts, mark, counters; per counter: bucket, actual, keepUntil. Answers: kind, and
 * the overrun of a settlement or the parts and amounts for `parts`.
 */
export const FINISH = script(`
local id, op, np, mark = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5]
local r = redis.call('HMGET', KEYS[1], 's', 'x', 'e', 'c', 'a', 'n', 'o', 'v')
local state = r[1]
local was = state
if state == 'held' and tonumber(r[3]) <= now then was = 'expired' end

if op == 'look' then return r[4] and {'parts', r[4], r[5]} or {'unknown'} end
if op == 'settle' then
  if state == 'settled' then
    if r[6] == mark then return {r[7], r[8]} end
    return {'duplicate', '0'}
  end
else
  if not state then redis.call('ZREM', KEYS[2], id) return {'unknown'} end
  if state ~= 'held' then return {state == 'released' and r[6] == mark and 'mine' or state} end
  if op == 'expire' and was == 'held' then return {'held'} end
end
if state and r[4] ~= ARGV[3] then return {'parts', r[4], r[5]} end

local amounts, overrun = split(state and r[5]), 0
local isCharged = was == 'expired' and r[2] == 'charge'
for i = 1, tonumber(ARGV[6]) do
  local at = 4 + 3 * i
  local actual, amount = tonumber(ARGV[at + 1]), i <= np and amounts[i] or 0
  local used, held = 0, state == 'held' and -amount or 0
  if op == 'settle' then
    used = actual
    if isCharged and state == 'expired' then used = actual - amount end
    overrun = overrun + math.max(0, actual - ((was == 'held' or isCharged) and amount or 0))
  elseif isCharged then used = amount end
  if used ~= 0 or held ~= 0 then change(KEYS[2 + i], ARGV[at], used, held, tonumber(ARGV[at + 2])) end
end

if state == 'held' then redis.call('ZREM', KEYS[2], id) end
if op == 'settle' then
  local outcome = not state and 'late-unknown' or was == 'held' and 'settled' or 'late-' .. was
  overrun = I(math.min(overrun, MAX))
  if not state then redis.call('HSET', KEYS[1], 'f', '', 'g', '0') end
  redis.call('HSET', KEYS[1], 's', 'settled', 'n', mark, 'o', outcome, 'v', overrun)
  redis.call('HDEL', KEYS[1], 'c', 'a', 'x', 'e')
  redis.call('PEXPIRE', KEYS[1], I(DAY))
  return {outcome, overrun}
end
local ended = was == 'expired' and 'expired' or 'released'
redis.call('HSET', KEYS[1], 's', ended, 'n', mark)
redis.call('PEXPIRE', KEYS[1], I(DAY))
return {ended == 'released' and 'mine' or ended}
`);

/**
 * KEYS: reservation, expiries, keys of the parts. ARGV: id, parts, ttl, mark, parts; per part: bucket, charge,
 * keepUntil. Answers ok, lost, or parts.
 */
export const RENEW = script(`
local ttl, mark = tonumber(ARGV[3]), ARGV[4]
local r = redis.call('HMGET', KEYS[1], 's', 'e', 'c', 'a', 'n')
if r[1] ~= 'held' or tonumber(r[2]) <= now then return {'lost'} end
if r[3] ~= ARGV[2] then return {'parts', r[3], r[4]} end

local amounts = split(r[4])
for i = 1, tonumber(ARGV[5]) do
  local at = 3 + 3 * i
  local charge, untilMs = tonumber(ARGV[at + 1]), math.max(tonumber(ARGV[at + 2]), now + ttl + DAY)
  -- The same call once more, after a lost answer, must not charge twice.
  if r[5] ~= mark and charge > 0 then
    local moved = math.min(charge, amounts[i])
    change(KEYS[2 + i], ARGV[at], charge, -moved, untilMs)
    amounts[i] = amounts[i] - moved
  else
    keep(KEYS[2 + i], untilMs)
  end
end
for i = 1, #amounts do amounts[i] = I(amounts[i]) end
local expires = I(math.max(tonumber(r[2]), now + ttl))
redis.call('HSET', KEYS[1], 'e', expires, 'a', table.concat(amounts, ','), 'n', mark)
redis.call('ZADD', KEYS[2], expires, ARGV[1])
return {'ok'}
`);

/** KEYS: expiries, keys of each window. ARGV: force, windows; per window: step, keys, first and last bucket of each. */
export const USAGE = script(`
if ARGV[1] ~= '1' then
  local expired = due(KEYS[1], ${SWEEP_BATCH})
  if #expired > 0 then
    table.insert(expired, 1, 'sweep')
    return expired
  end
end
local answer = {'ok'}
local key, at = 2, 3
for i = 1, tonumber(ARGV[2]) do
  local count = tonumber(ARGV[at + 1])
  local u, h = sums(key, at + 2, count, tonumber(ARGV[at]))
  answer[#answer + 1] = I(u)
  answer[#answer + 1] = I(h)
  key, at = key + count, at + 2 + 2 * count
end
return answer
`);

function script(body: string): Script {
  const text = COMMON + body;
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}
