-- Reads a home's rows, or compares and writes them: all of them or none.
--
-- KEYS: the rows. One key alone, because a cluster answers for no two while it moves them to another server.
-- ARGV: the version and the life that was decided from, an empty version to read; a number that no other command has;
-- how many rows change, their names and texts; the names of those that go.
-- Answers 1 and the version where it has written, else 0, the life of the server, and the rows as names and texts.
local rows, expected, number = KEYS[1], ARGV[1], ARGV[3]

local function told(info, name)
  return string.match(info, name .. ':([%w_]+)') or ''
end
local replication = redis.call('INFO', 'replication')

-- A replica has rows, too: whoever decides from them must not, even where nothing is to be written.
if told(replication, 'role') ~= 'master' then
  return redis.error_reply('READONLY it is a replica, and its rows may be old')
end

-- The same number came last: its sender has not heard that it was written. Earlier ones name an older version.
local version = redis.call('HGET', rows, 'version') or '0'
if expected ~= '' and redis.call('HGET', rows, 'said') == number then return {1, version} end

-- A restart, a fail-over, a move to another server and a restored file each begin another life, in which what was
-- acknowledged may be missing.
local life = told(redis.call('INFO', 'server'), 'run_id') .. '-' .. told(replication, 'master_replid')

-- Rows that were all removed count their writes anew: what their first write was called tells them from those before.
local birth = redis.call('HGET', rows, 'birth') or ''
if version ~= expected or life .. birth ~= ARGV[2] then
  return {0, life, redis.call('HGETALL', rows)}
end

local changed = tonumber(ARGV[4])
for i = 5, 4 + 2 * changed, 2 do
  redis.call('HSET', rows, ARGV[i], ARGV[i + 1])
end
for i = 5 + 2 * changed, #ARGV do
  redis.call('HDEL', rows, ARGV[i])
end
if #ARGV > 4 then
  redis.call('HSET', rows, 'life', life, 'birth', birth ~= '' and birth or number)
  version = tostring(redis.call('HINCRBY', rows, 'version', 1))
end
-- Written even where no row changes: whoever then waits for the disk waits for all that was read, too.
redis.call('HSET', rows, 'said', number)
return {1, version}
