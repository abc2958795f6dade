-- "__name__=\"it's\""
-- "\"semi;colon\"=\"'; DROP TABLE t; --\\n\\\\\""

-- plain
SELECT "semi;colon", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" = 'it''s' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "semi;colon" = '''; DROP TABLE t; --
\' AND "measure_value::double" IS NOT NULL
GROUP BY "semi;colon"
ORDER BY CASE WHEN "semi;colon" IS NOT NULL THEN 1 ELSE 0 END, "semi;colon"
