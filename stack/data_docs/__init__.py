"""The site with the reports of the audits."""
