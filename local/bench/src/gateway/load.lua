-- wrk's script: posts user events, each with a unique id. Prints the figures as JSON.
-- Arguments: the Authorization header, and a number that differs between runs.

local thread = 0
function setup(t)
  t:set("thread", thread)
  thread = thread + 1
end

local count = 0
local headers = { ["Content-Type"] = "application/json" }
local prefix
local body = '{"id":"%s%012x","address":{"city":"Baltimore","state":"Maryland","country":"United States",' ..
  '"postCode":"21201"},"datetime":"2019-05-07 19:54:13.563"}'

function init(arguments)
  headers["Authorization"] = arguments[1]
  prefix = string.format("%08x-%04x-4000-8000-", tonumber(arguments[2]), thread)
end

function request()
  count = count + 1
  return wrk.format("POST", nil, headers, string.format(body, prefix, count))
end

function done(summary, latency, _)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status +
    summary.errors.timeout
  io.write(string.format('\n{"requests":%d,"failed":%d,"elapsed_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d}\n',
    summary.requests, failed, summary.duration, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9)))
end
