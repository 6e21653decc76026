-- What wrk sends: requests that were made beforehand, one after another and round again, thread by thread.
-- LOAD_FILES names a file of requests for each thread (each request behind a line with its length), LOAD_ADDRESSES
-- the server that the thread's connections go to.

local count = 0
local sent = 0

local function parts(text)
   local found = {}
   for part in string.gmatch(text, "[^,]+") do
      found[#found + 1] = part
   end
   return found
end

function setup(thread)
   count = count + 1
   local host, port = string.match(parts(os.getenv("LOAD_ADDRESSES"))[count], "^(.*):(%d+)$")
   thread.addr = wrk.lookup(host, port)[1]
   thread:set("number", count)
end

function init(_)
   local file = assert(io.open(parts(os.getenv("LOAD_FILES"))[number], "rb"))
   requests = {}
   for line in file:lines() do
      requests[#requests + 1] = file:read(tonumber(line))
   end
   file:close()
end

function request()
   sent = sent % #requests + 1
   return requests[sent]
end

function done(summary, latency, _)
   local errors = summary.errors
   io.write(string.format(
      '\nRESULT {"requests":%d,"seconds":%.6f,"refused":%d,"broken":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
