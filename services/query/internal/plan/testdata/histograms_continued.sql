-- "__name__=\"up\""

-- extension
SELECT "__name__", "job", "time", "__tributary_v", "__tributary_h", "__tributary_h_2", "__tributary_h_3"
FROM "db"."metrics"
WHERE "measure_name" IN ('__tributary_1_s2_20', '__tributary_1_s3_20', '__tributary_1_s_20') AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "__name__" = 'up' AND ("__tributary_v" IS NOT NULL OR "__tributary_h" IS NOT NULL OR "__tributary_h_2" IS NOT NULL OR "__tributary_h_3" IS NOT NULL)
ORDER BY "__name__", CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job", "time"
