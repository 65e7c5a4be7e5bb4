"""Compare the contract sizes of COIN-M at the exchange with those that the stores use.

Every store computes the value of a trade from `schemas/contract_sizes.yaml`. A symbol whose
contract size differs at the exchange is not taken, so that no store ever holds a wrong amount. All
other symbols are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from common.errors import ConfigurationError, ExchangeUnavailable
from producer.exchange.rest import RestClient
from producer.exchange.rest_responses import ExchangeRefused
from schemas.contracts import COIN_M

log = structlog.get_logger(__name__)


class ContractSizeCheck:
    """Finds symbols whose contract size differs, and logs each of them once.

    Args:
        rest: The market's REST API.
        market: spot, usdm or coinm.
    """

    def __init__(self, rest: RestClient, market: str) -> None:
        self._rest, self._market = rest, market
        self._reported: set[str] = set()

    async def with_matching_size(self, symbols: Sequence[str]) -> list[str]:
        """Return the symbols whose contract size equals the exchange's.

        When the exchange does not answer, return all symbols.

        Raises:
            ConfigurationError: The sizes of all symbols differ.
        """
        if self._market != COIN_M:
            return list(symbols)
        try:
            wrong = (await self._rest.exchange_info()).wrong_sizes()
        except (ExchangeUnavailable, ExchangeRefused) as error:
            log.warning("contract sizes are not compared with the exchange's", error=str(error))
            return list(symbols)
        refused = {symbol: wrong[symbol] for symbol in symbols if symbol in wrong}
        self.report(refused)
        if refused and len(refused) == len(symbols):
            raise ConfigurationError(" ".join(refused.values()), next_command="tickhouse doctor")
        return [symbol for symbol in symbols if symbol not in refused]

    def report(self, wrong: Mapping[str, str]) -> None:
        """Log once per symbol whose size differs, with what to do."""
        for symbol, why in wrong.items():
            if symbol not in self._reported:
                log.error("a symbol is not taken: its contract size differs", symbol=symbol, why=why)
        self._reported |= wrong.keys()
