-- "__name__=\"up\""

-- plain
SELECT "job", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" = 'up' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "measure_value::double" IS NOT NULL
GROUP BY "job"
ORDER BY CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job"
