-- "__name__=~\"node_.+|job:.*\""
-- "__name__!=\"node_mem\""

-- plain
SELECT "measure_name", "__tributary_labels_1", "__tributary_labels_2", "instance", "job", CREATE_TIME_SERIES("time", "measure_value::double") AS "__tributary_samples"
FROM "db"."metrics"
WHERE "measure_name" NOT LIKE '\_\_tributary\_%' ESCAPE '\' AND regexp_like(replace("measure_name", '--', ':'), '\A(?s:node_.+|job\:.*)\z') AND replace("measure_name", '--', ':') <> 'node_mem' AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND "measure_value::double" IS NOT NULL
GROUP BY "measure_name", "__tributary_labels_1", "__tributary_labels_2", "instance", "job"
ORDER BY CASE WHEN "__tributary_labels_1" IS NULL THEN 1 ELSE 0 END, replace("measure_name", '--', ':'), CASE WHEN "instance" IS NOT NULL THEN 1 WHEN "job" IS NULL THEN 0 ELSE 2 END, "instance", CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job"

-- extension
SELECT "__name__", "__tributary_labels_1", "__tributary_labels_2", "instance", "job", "time", "__tributary_v", "__tributary_bits"
FROM "db"."metrics"
WHERE "measure_name" IN ('__tributary_1_s_00', '__tributary_1_s_01', '__tributary_1_s_02', '__tributary_1_s_03', '__tributary_1_s_04', '__tributary_1_s_05', '__tributary_1_s_06', '__tributary_1_s_07', '__tributary_1_s_08', '__tributary_1_s_09', '__tributary_1_s_0a', '__tributary_1_s_0b', '__tributary_1_s_0c', '__tributary_1_s_0d', '__tributary_1_s_0e', '__tributary_1_s_0f', '__tributary_1_s_10', '__tributary_1_s_11', '__tributary_1_s_12', '__tributary_1_s_13', '__tributary_1_s_14', '__tributary_1_s_15', '__tributary_1_s_16', '__tributary_1_s_17', '__tributary_1_s_18', '__tributary_1_s_19', '__tributary_1_s_1a', '__tributary_1_s_1b', '__tributary_1_s_1c', '__tributary_1_s_1d', '__tributary_1_s_1e', '__tributary_1_s_1f', '__tributary_1_s_20', '__tributary_1_s_21', '__tributary_1_s_22', '__tributary_1_s_23', '__tributary_1_s_24', '__tributary_1_s_25', '__tributary_1_s_26', '__tributary_1_s_27', '__tributary_1_s_28', '__tributary_1_s_29', '__tributary_1_s_2a', '__tributary_1_s_2b', '__tributary_1_s_2c', '__tributary_1_s_2d', '__tributary_1_s_2e', '__tributary_1_s_2f', '__tributary_1_s_30', '__tributary_1_s_31', '__tributary_1_s_32', '__tributary_1_s_33', '__tributary_1_s_34', '__tributary_1_s_35', '__tributary_1_s_36', '__tributary_1_s_37', '__tributary_1_s_38', '__tributary_1_s_39', '__tributary_1_s_3a', '__tributary_1_s_3b', '__tributary_1_s_3c', '__tributary_1_s_3d', '__tributary_1_s_3e', '__tributary_1_s_3f') AND "time" >= from_milliseconds(1700000000000) AND "time" < from_milliseconds(1700000300001) AND regexp_like("__name__", '\A(?s:node_.+|job\:.*)\z') AND "__name__" <> 'node_mem' AND ("__tributary_v" IS NOT NULL OR "__tributary_bits" IS NOT NULL)
ORDER BY CASE WHEN "__tributary_labels_1" IS NULL THEN 1 ELSE 0 END, "__name__", CASE WHEN "instance" IS NOT NULL THEN 1 WHEN "job" IS NULL THEN 0 ELSE 2 END, "instance", CASE WHEN "job" IS NOT NULL THEN 1 ELSE 0 END, "job", "time"
