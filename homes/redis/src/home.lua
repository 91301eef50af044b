-- Reads a home's rows, or compares and writes them: all of them or none.
--
-- KEYS: the rows; what was answered to this number.
-- ARGV: the version and the life that was decided from, an empty version to read; how many rows change, their names and
-- texts; the names of those that go.
-- Answers 1 and the version where it has written, else 0, the life of the server, and the rows as names and texts.
local rows, answered = KEYS[1], KEYS[2]

local function told(info, name)
  return string.match(info, name .. ':([%w_]+)') or ''
end
local replication = redis.call('INFO', 'replication')

-- A replica has rows, too: whoever decides from them must not, even where nothing is to be written.
if told(replication, 'role') ~= 'master' then
  return redis.error_reply('READONLY it is a replica, and its rows may be old')
end

-- The same number came before: its sender has not heard that it was written.
local before = redis.call('GET', answered)
if before then return {1, before} end

-- A restart, a fail-over and a restored file each begin another life, in which what was acknowledged may be missing.
local life = told(redis.call('INFO', 'server'), 'run_id') .. '-' .. told(replication, 'master_replid')

-- Rows that were all removed count their writes anew: what their first write was called tells them from those before.
local version = redis.call('HGET', rows, 'version') or '0'
local birth = redis.call('HGET', rows, 'birth') or ''
if version ~= ARGV[1] or life .. birth ~= ARGV[2] then
  return {0, life, redis.call('HGETALL', rows)}
end

local changed = tonumber(ARGV[3])
for i = 4, 3 + 2 * changed, 2 do
  redis.call('HSET', rows, ARGV[i], ARGV[i + 1])
end
for i = 4 + 2 * changed, #ARGV do
  redis.call('HDEL', rows, ARGV[i])
end
if #ARGV > 3 then
  redis.call('HSET', rows, 'life', life, 'birth', birth ~= '' and birth or answered)
  version = tostring(redis.call('HINCRBY', rows, 'version', 1))
end
-- Written even where no row changes: whoever then waits for the disk waits for all that was read, too.
redis.call('SET', answered, version, 'PX', 30000)
return {1, version}
