-- "__name__=\"up\""

-- plain
SELECT "job", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" = 'up' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "measure_value::double" IS NOT NULL
GROUP BY "job"
ORDER BY coalesce('job' || chr(0) || "job" || chr(0), '')
