-- "__name__=\"up\""

-- plain
SELECT "instance", "job", coalesce("label_00", "label_01", "label_02", "label_03", "label_04", "label_05", "label_06", "label_07", "label_08", "label_09", "label_10", "label_11", "label_12", "label_13", "label_14", "label_15", "label_16", "label_17", "label_18", "label_19") IS NOT NULL AS "__tributary_rest", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" = 'up' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "measure_value::double" IS NOT NULL
GROUP BY "instance", "job", coalesce("label_00", "label_01", "label_02", "label_03", "label_04", "label_05", "label_06", "label_07", "label_08", "label_09", "label_10", "label_11", "label_12", "label_13", "label_14", "label_15", "label_16", "label_17", "label_18", "label_19") IS NOT NULL
ORDER BY "__tributary_rest" DESC, CASE WHEN "instance" IS NOT NULL THEN 1 WHEN "job" IS NULL THEN 0 ELSE 2 END, "instance", CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job"
