-- "__name__=\"up\""

-- plain
SELECT "instance", "job", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" = 'up' AND "time" >= from_milliseconds(0) AND "measure_value::double" IS NOT NULL
GROUP BY "instance", "job", bin("time", 2h)
ORDER BY coalesce('instance' || chr(0) || "instance" || chr(0), '') || coalesce('job' || chr(0) || "job" || chr(0), ''), bin("time", 2h)
