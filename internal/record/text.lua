-- text: a subject before a text, "<its length> <subject><text>"; small sets, a line each; and lines that begin with a word
-- each, "<word> <value>".

local byte, sub, find = string.byte, string.sub, string.find

-- whole prints a number without an exponent: tostring() of Redis' Lua has only 14
-- digits, and tokens have 16. '%d' costs a third of '%.0f' and is as exact.
local function whole(n)
  return string.format('%d', n)
end

local function with_subject(subject, text)
  return #subject .. ' ' .. subject .. text
end

local function without_subject(text)
  local length, at = string.match(text, '^(%d+) ()')
  local after = at + tonumber(length)
  return sub(text, at, after - 1), sub(text, after)
end

local function with_line(set, line)
  return find('\n' .. set, '\n' .. line .. '\n', 1, true) and set or set .. line .. '\n'
end

local function without_line(set, line)
  local from, to = find('\n' .. set, '\n' .. line .. '\n', 1, true)
  return from and sub(set, 1, from - 1) .. sub(set, to) or set
end

-- lines_of returns how many are in a set.
local function lines_of(set)
  local n = 0
  for _ in string.gmatch(set, '\n') do
    n = n + 1
  end
  return n
end

-- value_in returns what a line says that begins with a word, or nil; with_value is the lines when it says that, and
-- without_value when there is no such line.
local function value_in(lines, word)
  local value = string.match('\n' .. lines, '\n' .. word .. ' ([^\n]*)\n')
  return value
end

local function without_value(lines, word)
  return sub((string.gsub('\n' .. lines, '\n' .. word .. ' [^\n]*\n', '\n', 1)), 2)
end

local function with_value(lines, word, value)
  return without_value(lines, word) .. word .. ' ' .. value .. '\n'
end
