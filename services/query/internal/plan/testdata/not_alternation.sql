-- "__name__=\"up\""
-- "job!~\"api|web\""

-- plain
SELECT "instance", "job", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" = 'up' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND ("job" IS NULL OR "job" NOT IN ('api', 'web')) AND "measure_value::double" IS NOT NULL
GROUP BY "instance", "job"
ORDER BY CASE WHEN "instance" IS NOT NULL THEN 1 WHEN "job" IS NULL THEN 0 ELSE 2 END, "instance", CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job"
