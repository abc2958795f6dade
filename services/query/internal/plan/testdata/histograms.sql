-- "__name__=\"up\""

-- plain
SELECT "job", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" = 'up' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "measure_value::double" IS NOT NULL
GROUP BY "job"
ORDER BY CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job"

-- extension
SELECT "__name__", "job", "time", "__tributary_bits", "__tributary_h"
FROM "db"."metrics"
WHERE "measure_name" = '__tributary_1_s_20' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "__name__" = 'up' AND ("__tributary_bits" IS NOT NULL OR "__tributary_h" IS NOT NULL)
ORDER BY "__name__", CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job", "time"
