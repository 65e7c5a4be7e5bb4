"""How the local exchange is started; the exchange itself is in standins/exchange."""
