"""The generated sample depends on its seed only, and says everywhere that it is generated."""

from __future__ import annotations

from tickhouse.graph.wallet_sample import generate, nothing


def test_the_same_seed_gives_the_same_sample() -> None:
    assert generate(7) == generate(7)
    assert generate(7).trades != generate(8).trades


def test_every_id_says_that_it_is_synthetic() -> None:
    made = generate(7)
    ids = {row["user_id"] for row in made.users} | {row["wallet_id"] for row in made.wallets}

    assert ids
    assert all(one.startswith("SYNTHETIC-") for one in ids)


def test_trades_are_added_up_per_wallets_pair_and_hour() -> None:
    made = generate(7)
    keys = [(row["seller"], row["buyer"], row["pair"], row["hour"]) for row in made.trades]

    assert len(set(keys)) == len(keys)
    assert sum(row["trades"] for row in made.trades) == 400
    assert all(row["seller"] != row["buyer"] for row in made.trades)


def test_nothing_is_an_empty_sample() -> None:
    assert (nothing().seed, nothing().users, nothing().trades) == (None, (), ())
