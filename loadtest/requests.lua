-- For wrk: plays the requests of a file in turn, and prints one JSON line when done.
-- wrk -s requests.lua URL -- FILE PAUSE      FILE: request heads as they go on the wire, each ended by its empty line;
-- PAUSE: milliseconds a connection waits before each request, 0 for none.

local requests, count, at = {}, 0, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text = file:read("*a")
  file:close()
  local from = 1
  while true do
    local _, stop = text:find("\r\n\r\n", from, true)
    if not stop then break end
    count = count + 1
    requests[count] = text:sub(from, stop)
    from = stop + 1
  end
  assert(count > 0, "no request in the file")
  local pause = tonumber(args[2])
  if pause > 0 then
    function delay() return pause end
  end
end

function request()
  at = at % count + 1
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"socket_errors":%d,"status_errors":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d}\n',
    summary.requests, summary.duration / 1e6, errors.connect + errors.read + errors.write + errors.timeout,
    errors.status, latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
