-- "__name__=\"up\""
-- "job!=\"api\""

-- plain
SELECT "instance", "job", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" = 'up' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND ("job" IS NULL OR "job" <> 'api') AND "measure_value::double" IS NOT NULL
GROUP BY "instance", "job"
ORDER BY coalesce('instance' || chr(0) || "instance" || chr(0), '') || coalesce('job' || chr(0) || "job" || chr(0), '')
