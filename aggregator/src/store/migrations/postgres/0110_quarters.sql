-- Sums of agents' units by quarter, which a year's report reads few rows of. They are moved by the transaction that merges
-- the cells, and may be rebuilt at any time. Never edit this file once it was released: add the next number instead.

-- What an agent's quarter came to; as with cells, that rows refer to a project is not checked. A quarter is called by its first month. `units_2` is
-- its second month, `part_2_3` of that the third five days; what is left of the month is its sixth part, which has no column.
CREATE TABLE usage_quarter (
    project  TEXT COLLATE "C" NOT NULL,
    mode     TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    quarter  TEXT COLLATE "C" NOT NULL,
    agent    TEXT COLLATE "C" NOT NULL,
    units_1  BIGINT NOT NULL DEFAULT 0 CHECK (units_1 >= 0),
    units_2  BIGINT NOT NULL DEFAULT 0 CHECK (units_2 >= 0),
    units_3  BIGINT NOT NULL DEFAULT 0 CHECK (units_3 >= 0),
    part_1_1 BIGINT NOT NULL DEFAULT 0,
    part_1_2 BIGINT NOT NULL DEFAULT 0,
    part_1_3 BIGINT NOT NULL DEFAULT 0,
    part_1_4 BIGINT NOT NULL DEFAULT 0,
    part_1_5 BIGINT NOT NULL DEFAULT 0,
    part_2_1 BIGINT NOT NULL DEFAULT 0,
    part_2_2 BIGINT NOT NULL DEFAULT 0,
    part_2_3 BIGINT NOT NULL DEFAULT 0,
    part_2_4 BIGINT NOT NULL DEFAULT 0,
    part_2_5 BIGINT NOT NULL DEFAULT 0,
    part_3_1 BIGINT NOT NULL DEFAULT 0,
    part_3_2 BIGINT NOT NULL DEFAULT 0,
    part_3_3 BIGINT NOT NULL DEFAULT 0,
    part_3_4 BIGINT NOT NULL DEFAULT 0,
    part_3_5 BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (project, mode, quarter, agent)
) WITH (fillfactor = 70);

INSERT INTO usage_quarter (project, mode, quarter, agent, units_1, units_2, units_3)
SELECT project, mode, quarter, agent,
       SUM(CASE WHEN place = 1 THEN units ELSE 0 END),
       SUM(CASE WHEN place = 2 THEN units ELSE 0 END),
       SUM(CASE WHEN place = 3 THEN units ELSE 0 END)
FROM (
    SELECT project, mode, agent, units,
           (CAST(substr(period, 6, 2) AS INTEGER) - 1) % 3 + 1 AS place,
           substr(period, 1, 5) || CASE
               WHEN substr(period, 6, 2) <= '03' THEN '01' WHEN substr(period, 6, 2) <= '06' THEN '04'
               WHEN substr(period, 6, 2) <= '09' THEN '07' ELSE '10' END AS quarter
    FROM usage_agent
) AS months
GROUP BY project, mode, quarter, agent;

-- Months whose parts are not summed yet: those from before there were parts, until a job has read their cells. Until then
-- reports read their sums, and their days from the cells.
CREATE TABLE usage_coarse (
    project TEXT COLLATE "C" NOT NULL,
    mode    TEXT COLLATE "C" NOT NULL CHECK (mode IN ('live', 'test')),
    period  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, mode, period)
);

INSERT INTO usage_coarse (project, mode, period) SELECT DISTINCT project, mode, period FROM usage_agent;

-- What wrote these sums before must not go on beside this release: they would not be those of the cells any more.
DROP TABLE usage_agent;
