-- "__name__=\"job:rate:sum\""

-- plain
SELECT "__tributary_labels_1", "__tributary_labels_2", "instance", "job", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" = 'job--rate--sum' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "measure_value::double" IS NOT NULL
GROUP BY "__tributary_labels_1", "__tributary_labels_2", "instance", "job"
ORDER BY CASE WHEN "__tributary_labels_1" IS NULL THEN 1 ELSE 0 END, CASE WHEN "instance" IS NOT NULL THEN 1 WHEN "job" IS NULL THEN 0 ELSE 2 END, "instance", CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job"

-- extension
SELECT "__name__", "__tributary_labels_1", "__tributary_labels_2", "instance", "job", "time", "__tributary_v", "__tributary_bits"
FROM "db"."metrics"
WHERE "measure_name" = '__tributary_1_s_01' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "__name__" = 'job:rate:sum' AND ("__tributary_v" IS NOT NULL OR "__tributary_bits" IS NOT NULL)
ORDER BY CASE WHEN "__tributary_labels_1" IS NULL THEN 1 ELSE 0 END, "__name__", CASE WHEN "instance" IS NOT NULL THEN 1 WHEN "job" IS NULL THEN 0 ELSE 2 END, "instance", CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job", "time"
