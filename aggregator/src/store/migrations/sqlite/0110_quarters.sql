-- Sums of agents' units by quarter, which a year's report reads few rows of. They are moved by the transaction that merges
-- the cells, and may be rebuilt at any time. Never edit this file once it was released: add the next number instead.

-- What an agent's quarter came to. A quarter is called by its first month. `units_2` is
-- its second month, `part_2_3` of that the third five days; what is left of the month is its sixth part, which has no column.
CREATE TABLE usage_quarter (
    project  TEXT    NOT NULL REFERENCES project (id),
    mode     TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    quarter  TEXT    NOT NULL,
    agent    TEXT    NOT NULL,
    units_1  INTEGER NOT NULL DEFAULT 0 CHECK (units_1 >= 0),
    units_2  INTEGER NOT NULL DEFAULT 0 CHECK (units_2 >= 0),
    units_3  INTEGER NOT NULL DEFAULT 0 CHECK (units_3 >= 0),
    part_1_1 INTEGER NOT NULL DEFAULT 0,
    part_1_2 INTEGER NOT NULL DEFAULT 0,
    part_1_3 INTEGER NOT NULL DEFAULT 0,
    part_1_4 INTEGER NOT NULL DEFAULT 0,
    part_1_5 INTEGER NOT NULL DEFAULT 0,
    part_2_1 INTEGER NOT NULL DEFAULT 0,
    part_2_2 INTEGER NOT NULL DEFAULT 0,
    part_2_3 INTEGER NOT NULL DEFAULT 0,
    part_2_4 INTEGER NOT NULL DEFAULT 0,
    part_2_5 INTEGER NOT NULL DEFAULT 0,
    part_3_1 INTEGER NOT NULL DEFAULT 0,
    part_3_2 INTEGER NOT NULL DEFAULT 0,
    part_3_3 INTEGER NOT NULL DEFAULT 0,
    part_3_4 INTEGER NOT NULL DEFAULT 0,
    part_3_5 INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (project, mode, quarter, agent)
) STRICT, WITHOUT ROWID;

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
    project TEXT    NOT NULL REFERENCES project (id),
    mode    TEXT    NOT NULL CHECK (mode IN ('live', 'test')),
    period  TEXT    NOT NULL,
    PRIMARY KEY (project, mode, period)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_coarse (project, mode, period) SELECT DISTINCT project, mode, period FROM usage_agent;

-- What wrote these sums before must not go on beside this release: they would not be those of the cells any more.
DROP TABLE usage_agent;
