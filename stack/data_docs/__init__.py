"""How the reports of the audits are served."""
