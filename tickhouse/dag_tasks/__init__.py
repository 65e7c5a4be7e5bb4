"""The work of the Airflow tasks: one module per DAG of `dags/`, with the same name.

A DAG file only declares schedule, parameters and order. Each of its tasks calls the function of the
same name here. The other modules are shared: `task` (the decorator), `run_context` (the days of a
run), `run_dag` (an operator), `alerts`, `assets`, `daily_tables`, and `nightly/` (the steps of the
nightly batch).
"""
