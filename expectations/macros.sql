-- The quote quantity of a trade on COIN-M, in 10^-16 of the base coin: contracts x size / price, rounded half up. HUGEINT
-- has 38 digits, so it is a long division: whole coins first, then eight decimals twice; the last remainder decides the
-- rounding. tickhouse/checks/audit/lake_views.py creates `contract_size(symbol)` from schemas/contract_sizes.yaml.
CREATE MACRO long_division(dollars, price) AS
    (dollars // price) * 10000000000000000::HUGEINT
    + ((dollars % price) * 100000000 // price) * 100000000
    + ((dollars % price) * 100000000 % price) * 100000000 // price
    + CASE WHEN 2 * (((dollars % price) * 100000000 % price) * 100000000 % price) >= price THEN 1 ELSE 0 END;
CREATE MACRO base_coin(symbol, price, qty) AS
    CASE WHEN price <= 0 OR qty <= 0 THEN 0
        ELSE long_division((qty * 100000000)::HUGEINT * contract_size(symbol), (price * 100000000)::HUGEINT) END;
-- DECIMAL(38,16) always prints sixteen decimals.
CREATE MACRO quote_units(quote_qty) AS replace(quote_qty::VARCHAR, '.', '')::HUGEINT;
