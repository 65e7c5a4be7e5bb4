"""The live job: which markets are taken from the exchange, what that costs, and how it is doing."""
