//! What runs inside Redis: one script for the limiter, one for the lease, two for the journal.
//!
//! A script is one step that nobody can cut in two, on one clock. Times are microseconds of that clock; they
//! and the numbers of commits are exact in Lua up to 2^53. Every script can be sent twice: the second time
//! changes nothing that matters.
//!
//! Invariant: nothing is granted before everything that a lost Redis may have granted is over. The server's
//! own key holds `run`, the id that each start of Redis draws anew, `history`, the one that each promotion draws
//! anew, and `since`, the moment from which these two have been known. Another id (a restart, a failover, also one
//! there and back) or no key (lost data) sets `since` to now, and whoever grants something for a time t grants
//! nothing before `since` + t.

use redis::Script;

/// Which clock it is, and since when: the beginning of each script that grants something.
/// `KEYS[1]` is the server's key, `ARGV[1]` the id of this start of Redis. The clock never goes back.
const CLOCK: &str = r"
local function text(n) return string.format('%.0f', n) end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local known = redis.call('HMGET', KEYS[1], 'run', 'since', 'last', 'history')
now = math.max(now, tonumber(known[3] or 0))
local since = tonumber(known[2] or now)
-- A server that was replaced and promoted again is the same process, with another history.
local history = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or ''
if known[1] ~= ARGV[1] or known[4] ~= history then
  since = now
  redis.call('HSET', KEYS[1], 'run', ARGV[1], 'history', history, 'since', text(since))
end
redis.call('HSET', KEYS[1], 'last', text(now))
";

/// `KEYS`: server, state, permits. `ARGV`: run, action, permit, limit, window, hold, gap, pause.
///
/// A permit is a member of a sorted set. Its score is the moment until which its request may still be
/// happening: `hold` after the grant, or the moment at which it was said to be done. It counts for one window
/// after that. `n` is how many there are: a set of another size has lost some, or come back from the dead.
const LIMITER: &str = r"
local action, permit = ARGV[2], ARGV[3]
local limit, window, hold, gap = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local kept = redis.call('HMGET', KEYS[2], 'limit', 'window', 'hold', 'gap', 'n', 'closed', 'until', 'next')
local closed, paused, next = tonumber(kept[6] or 0), tonumber(kept[7] or 0), tonumber(kept[8] or 0)
local other = kept[1]
  and (kept[1] ~= ARGV[4] or kept[2] ~= ARGV[5] or kept[3] ~= ARGV[6] or kept[4] ~= ARGV[7])
if other and action == 'acquire' then
  return {5, tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3])}
end
if other and action == 'enforce' and (window > tonumber(kept[2]) or hold > tonumber(kept[3])) then
  -- What was dropped as too old to count may count again.
  closed = math.max(closed, now + window + hold)
end
if other and action ~= 'enforce' then
  -- Those of other limits leave everything as it counts for the others.
  window, hold = tonumber(kept[2]), tonumber(kept[3])
end
if redis.call('ZCARD', KEYS[3]) ~= tonumber(kept[5] or 0) then
  closed = math.max(closed, now + window + hold)
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now - window))
local count = redis.call('ZCARD', KEYS[3])
local answer = {0, 0, 0}
if action == 'acquire' then
  local open = since + window + hold
  if now < open then
    answer = {4, open - now, now - since}
  elseif now < closed then
    answer = {6, closed - now, 0}
  elseif now < paused then
    answer = {3, paused - now, 0}
  elseif redis.call('ZSCORE', KEYS[3], permit) then
    -- The answer to the first time of asking was lost.
    redis.call('ZADD', KEYS[3], text(now + hold), permit)
  elseif count >= limit then
    local oldest = tonumber(redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2])
    answer = {1, math.min(oldest, now) + window - now, count}
  elseif gap > 0 and now < next then
    answer = {2, next - now, 0}
  else
    redis.call('ZADD', KEYS[3], text(now + hold), permit)
    -- Threads that sleep wake up a little late; that shall not slow down those after them.
    next = math.max(next, now - math.min(gap / 8, 1000)) + gap
  end
elseif action == 'done' then
  -- Also where it is not there any more: it may have gone on until now.
  redis.call('ZADD', KEYS[3], text(now), permit)
elseif action == 'unused' then
  redis.call('ZREM', KEYS[3], permit)
elseif action == 'pause' then
  paused = math.max(paused, now + tonumber(ARGV[8]))
end
if action == 'enforce' then
  -- The gap of before may have been long.
  next = math.min(next, now + gap)
end
if not kept[1] or action == 'enforce' then
  redis.call('HSET', KEYS[2], 'limit', ARGV[4], 'window', ARGV[5], 'hold', ARGV[6], 'gap', ARGV[7])
end
redis.call('HSET', KEYS[2], 'n', redis.call('ZCARD', KEYS[3]),
  'closed', text(closed), 'until', text(paused), 'next', text(next))
-- Whoever finds nothing may begin at once: nothing may be forgotten that still counts.
-- Permits may have been granted for a longer time than permits are now.
local last = tonumber(redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2] or now)
local left = math.max(window + hold, last + window - now, closed - now, paused - now)
local ttl = text(math.ceil(left / 1000) + 60000)
redis.call('PEXPIRE', KEYS[2], ttl)
redis.call('PEXPIRE', KEYS[3], ttl)
return answer
";

/// `KEYS`: server, lease. `ARGV`: run, action, owner, ttl.
///
/// The token is the time, or one more than the highest of all leases, which the server's key keeps: it rises
/// also where the key of the lease is gone and the clock was set back, or where all keys are and it was not.
const LEASE: &str = r"
local action, owner, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4])
local kept = redis.call('HMGET', KEYS[2], 'owner', 'token', 'until', 'ttl')
local token, held = tonumber(kept[2] or 0), tonumber(kept[3] or 0)
local live = held > now
local mine = live and kept[1] == owner
if action == 'release' then
  if mine then redis.call('HSET', KEYS[2], 'owner', '', 'until', '0') end
  return {1, token, 0}
end
if not mine then
  if action == 'renew' then return {5, token, 0} end
  if live and kept[4] ~= ARGV[4] then return {3, tonumber(kept[4]), 0} end
  if live then return {0, held - now, 0} end
  if now < since + ttl then return {2, since + ttl - now, now - since} end
  local top = tonumber(redis.call('HGET', KEYS[1], 'token') or 0)
  token = math.max(now, token + 1, top + 1)
  redis.call('HSET', KEYS[1], 'token', text(token))
end
redis.call('HSET', KEYS[2], 'owner', owner, 'token', text(token), 'until', text(now + ttl), 'ttl', ARGV[4])
redis.call('PEXPIRE', KEYS[2], text(math.ceil(ttl / 500) + 60000))
return {1, token, 0}
";

/// `KEYS`: state, stream. `ARGV`: database, fence, known upto, known seq, known part, new upto, entries at
/// most, `1` to begin anew, then per change: seq, part, kind, root, path, `1` and the path before or `0` and
/// nothing, id, entry kind.
///
/// The state says what is in the stream: of one database, all commits up to `upto`, and of the commit `seq` the
/// first `part` changes. What is there already is left out, so that a batch can come twice. Less than what the
/// publisher knows to be there means that Redis has lost it.
const PUBLISH: &str = r"
local database, fence = ARGV[1], tonumber(ARGV[2])
local known_upto, known_seq, known_part = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local most, anew = ARGV[7], ARGV[8] == '1'
local kept = redis.call('HMGET', KEYS[1], 'database', 'fence', 'upto', 'seq', 'part')
local top = tonumber(kept[2] or 0)
if fence < top then return {3, top, 0, 0, 0} end
local upto, seq, part = tonumber(kept[3] or 0), tonumber(kept[4] or 0), tonumber(kept[5] or 0)
local function add(fields)
  local n = redis.call('HINCRBY', KEYS[1], 'n', 1)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', most, '*', 'n', n, 'database', database, unpack(fields))
end
if anew then
  upto, seq, part = known_upto, 0, 0
  add({'seq', ARGV[3], 'part', '0', 'kind', 'reset'})
elseif kept[1] ~= database then
  if kept[1] or known_upto > 0 then return {2, 0, 0, 0, 0} end
else
  local behind = seq < known_seq or (seq == known_seq and part < known_part)
  -- A commit that is complete needs no place within it.
  if upto < known_upto or (behind and upto < known_seq) then return {2, 0, 0, 0, 0} end
end
local added = 0
for at = 9, #ARGV, 9 do
  local s, p = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  if s > upto and (s > seq or (s == seq and p > part)) then
    local fields = {'seq', ARGV[at], 'part', ARGV[at + 1], 'kind', ARGV[at + 2], 'root', ARGV[at + 3],
      'path', ARGV[at + 4], 'id', ARGV[at + 7], 'entry_kind', ARGV[at + 8]}
    if ARGV[at + 5] == '1' then
      fields[#fields + 1] = 'from'
      fields[#fields + 1] = ARGV[at + 6]
    end
    add(fields)
    seq, part, added = s, p, added + 1
  end
end
upto = math.max(upto, tonumber(ARGV[6]))
redis.call('HSET', KEYS[1], 'database', database, 'fence', string.format('%.0f', fence),
  'upto', string.format('%.0f', upto), 'seq', string.format('%.0f', seq), 'part', string.format('%.0f', part))
return {1, added, upto, seq, part}
";

/// `KEYS`: state, stream. `ARGV`: action, group, consumer, entries at most (to accept: the number of lost ones
/// that this consumer was told of, 0 for all), idle in ms, where to look for the abandoned.
///
/// Entries are numbered without a gap. `at:GROUP` is the last number that the group was given, `lost:GROUP` how
/// many were ever cut off before it was given them, or before they were done, `ok:GROUP` how many of these were
/// accepted. While more are lost than accepted nothing is read.
const CONSUME: &str = r"
local action, group, consumer, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local at_field, lost_field, ok_field = 'at:' .. group, 'lost:' .. group, 'ok:' .. group
local function lost()
  local kept = redis.call('HMGET', KEYS[1], lost_field, ok_field)
  return tonumber(kept[1] or 0), tonumber(kept[2] or 0)
end
local all, ok = lost()
if action == 'accept' then
  -- What was lost after that is still to be told.
  local told = count > 0 and math.min(count, all) or all
  if told <= ok then return {0} end
  redis.call('HSET', KEYS[1], ok_field, told)
  return {1}
end
local function number(entry)
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'n' then return tonumber(entry[2][i + 1]) end
  end
end
local function first_after(id) return redis.call('XRANGE', KEYS[2], '(' .. id, '+', 'COUNT', 1)[1] end
local delivered
if redis.call('EXISTS', KEYS[2]) == 1 then
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
    local found = {}
    for i = 1, #row, 2 do found[row[i]] = row[i + 1] end
    if found['name'] == group then delivered = found['last-delivered-id'] end
  end
end
local total = tonumber(redis.call('HGET', KEYS[1], 'n') or 0)
if not delivered then
  redis.call('XGROUP', 'CREATE', KEYS[2], group, '0', 'MKSTREAM')
  delivered = '0-0'
  local first = first_after(delivered)
  local before = (first and number(first) or total + 1) - 1
  local at = redis.call('HGET', KEYS[1], at_field)
  if at and before > 0 then
    -- Somebody has removed the group, or the stream. What is there comes again; of the rest nobody knows what
    -- was done.
    redis.call('HINCRBY', KEYS[1], lost_field, math.max(before - tonumber(at), 1))
    all, ok = lost()
  end
  redis.call('HSET', KEYS[1], at_field, before)
end
if all > ok then return {2, all - ok, all} end
local claim = redis.call('XAUTOCLAIM', KEYS[2], group, consumer, ARGV[5], ARGV[6], 'COUNT', count)
local entries = claim[2]
if claim[3] and #claim[3] > 0 then redis.call('HINCRBY', KEYS[1], lost_field, #claim[3]) end
if #entries == 0 then
  local first = first_after(delivered)
  local at = tonumber(redis.call('HGET', KEYS[1], at_field) or 0)
  local before = total
  if first then before = (number(first) or at + 1) - 1 end
  if before > at then
    redis.call('HINCRBY', KEYS[1], lost_field, before - at)
    redis.call('HSET', KEYS[1], at_field, before)
  end
  all, ok = lost()
  if all > ok then return {2, all - ok, all} end
  local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', KEYS[2], '>')
  if read and read[1] then entries = read[1][2] end
  if #entries > 0 then
    redis.call('HSET', KEYS[1], at_field, number(entries[#entries]) or at)
    delivered = entries[#entries][1]
  end
end
return {1, entries, delivered, claim[1]}
";

/// The scripts, with their hashes. Made once for each connection to a fleet.
pub(super) struct Scripts {
    pub(super) limiter: Script,
    pub(super) lease: Script,
    pub(super) publish: Script,
    pub(super) consume: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            limiter: Script::new(&format!("{CLOCK}{LIMITER}")),
            lease: Script::new(&format!("{CLOCK}{LEASE}")),
            publish: Script::new(PUBLISH),
            consume: Script::new(CONSUME),
        }
    }
}
