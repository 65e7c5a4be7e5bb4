-- The ids applied to the candles, a row per stream and block of 16,384 ids (docs/adr/0017-ids-that-skip.md). Where ids
-- skip, the set of a stream has a range per id; a batch now reads, locks and writes only the blocks that it touches.
-- A row holds 8,192 ranges at most, about 150 KiB.

CREATE OR REPLACE FUNCTION market.id_blocks(ids int8multirange)
RETURNS TABLE (block bigint, block_ids int8multirange) LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10 AS $$
    SELECT b, range_agg(r * int8range(b << 14, (b + 1) << 14))
    FROM unnest(ids) AS r, generate_series(lower(r) >> 14, (upper(r) - 1) >> 14) AS b
    GROUP BY b
$$;
COMMENT ON FUNCTION market.id_blocks IS 'cuts ids into the blocks of market.trade_ranges';

ALTER TABLE market.trade_ranges ADD COLUMN IF NOT EXISTS block bigint;
ALTER TABLE market.trade_ranges DROP CONSTRAINT IF EXISTS trade_ranges_pkey;
INSERT INTO market.trade_ranges (market, symbol, stream, block, seen, updated_at)
SELECT market, symbol, stream, b.block, b.block_ids, updated_at
FROM market.trade_ranges, market.id_blocks(seen) AS b
WHERE trade_ranges.block IS NULL;
DELETE FROM market.trade_ranges WHERE block IS NULL;
ALTER TABLE market.trade_ranges ALTER COLUMN block SET NOT NULL;
ALTER TABLE market.trade_ranges ADD PRIMARY KEY (market, symbol, stream, block);
COMMENT ON TABLE market.trade_ranges IS 'ids already applied to candles_1m, sentinels included, by block of 16,384 ids';
COMMENT ON COLUMN market.trade_ranges.block IS 'id / 16384, rounded down';
