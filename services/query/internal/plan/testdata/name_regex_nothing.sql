-- "__name__=~\"absent.+\""

-- extension
SELECT "__name__", "__tributary_labels_1", "__tributary_labels_2", "instance", "job", "time", "__tributary_v", "__tributary_bits"
FROM "db"."metrics"
WHERE "measure_name" = '__tributary_1_s_28' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND regexp_like("__name__", '\A(?s:absent.+)\z') AND ("__tributary_v" IS NOT NULL OR "__tributary_bits" IS NOT NULL)
ORDER BY CASE WHEN "__tributary_labels_1" IS NULL THEN 1 ELSE 0 END, "__name__", CASE WHEN "instance" IS NOT NULL THEN 1 WHEN "job" IS NULL THEN 0 ELSE 2 END, "instance", CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job", "time"
